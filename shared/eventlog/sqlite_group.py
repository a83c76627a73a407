"""A member of a consumer group on the SQLite log.

The listener runs inside `poll`, in the caller's task. Hand-over is cooperative: only the partitions that move are
revoked, and their next owner gets them after `revoked` has run here and the release is committed, or when the
session of this member has expired.
"""

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from shared.errors import Fenced, LogUnavailable
from shared.eventlog import sqlite_membership as membership
from shared.eventlog import sqlite_store as store
from shared.eventlog.port import Offsets, RebalanceListener, Record, TopicPartition
from shared.eventlog.sqlite_membership import Member, Standing
from shared.eventlog.sqlite_store import Catalogue, Span
from shared.eventlog.sqlite_thread import SqliteReader, SqliteWriter
from shared.eventlog.sqlite_watch import Watch

MAX_POLL_INTERVAL_S = 300.0
MAX_FETCH_BYTES = 8 * 1_048_576

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Engine:
    """What a consumer needs of its log."""

    writer: SqliteWriter
    reader: SqliteReader
    watch: Watch
    catalogue: Catalogue
    now_ms: Callable[[], int]
    instance_is_alive: Callable[[str], bool]


class SqliteConsumer:
    """See `port.Consumer`. A caller that does not poll for `MAX_POLL_INTERVAL_S` loses its membership."""

    def __init__(self, engine: Engine, member: Member, listener: RebalanceListener) -> None:
        self._engine = engine
        self._member = member
        self._listener = listener
        self._positions: dict[TopicPartition, int] = {}
        self._paused: frozenset[TopicPartition] = frozenset()
        self._order: list[TopicPartition] = []
        self._generation = 0  # below any real one: the first poll settles what is owned
        self._expired = False
        self._last_poll = asyncio.get_running_loop().time()
        self._heartbeat: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        await self._attend()
        self._heartbeat = asyncio.create_task(self._beat(), name=f"heartbeat of {self._member.name}")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            await self._listener.revoked(frozenset(self._positions))
        finally:
            if self._heartbeat is not None:
                self._heartbeat.cancel()
                await asyncio.wait((self._heartbeat,))
            member = self._member
            await self._engine.writer.run(
                lambda connection: membership.leave(connection, member.group, member.name)
            )
            self._positions.clear()

    async def poll(self, timeout_s: float, max_records: int) -> Sequence[Record]:
        loop = asyncio.get_running_loop()
        self._last_poll = loop.time()
        deadline = loop.time() + timeout_s
        while True:
            if self._must_attend():
                await self._rebalance()
            records = await self._fetch(max_records)
            left = deadline - loop.time()
            if records or left <= 0:
                return records
            await self._engine.watch.wait(lambda: self._must_attend() or bool(self._ready()), left)

    def seek(self, partition: TopicPartition, offset: int) -> None:
        if partition not in self._positions:
            raise Fenced(f"{partition[0]}:{partition[1]} is not owned by {self._member.name}.")
        self._positions[partition] = offset

    async def committed(self, partition: TopicPartition) -> int | None:
        number = self._engine.catalogue.ids[partition]
        group = self._member.group
        return await self._engine.reader.run(lambda connection: store.committed(connection, group, number))

    async def commit(self, offsets: Offsets) -> None:
        if not offsets:
            return
        for partition in offsets:
            if partition not in self._positions:
                raise Fenced(f"{partition[0]}:{partition[1]} is not owned by {self._member.name} any more.")
        wanted, catalogue, member = dict(offsets), self._engine.catalogue, self._member
        await self._engine.writer.run(
            lambda connection: membership.commit(connection, catalogue, member, wanted)
        )

    def pause(self, partitions: frozenset[TopicPartition]) -> None:
        self._paused |= partitions

    def resume(self, partitions: frozenset[TopicPartition]) -> None:
        self._paused -= partitions

    async def lag(self) -> Mapping[TopicPartition, int]:
        ends = await self._engine.reader.run(store.ends)
        ids = self._engine.catalogue.ids
        return {
            partition: max(0, ends[ids[partition]] - position)
            for partition, position in self._positions.items()
        }

    # reading

    def _ready(self) -> list[TopicPartition]:
        """Owned, not paused, and with records beyond the position; the one served last comes last."""
        ends, ids = self._engine.watch.ends, self._engine.catalogue.ids
        return [
            partition
            for partition in self._order
            if partition not in self._paused and self._positions[partition] < ends.get(ids[partition], 0)
        ]

    async def _fetch(self, max_records: int) -> list[Record]:
        ready = self._ready()
        if not ready:
            return []
        ends, catalogue = dict(self._engine.watch.ends), self._engine.catalogue
        spans = [
            (
                partition,
                Span(catalogue.ids[partition], self._positions[partition], ends[catalogue.ids[partition]]),
            )
            for partition in ready
        ]
        found = await self._engine.reader.run(
            lambda connection: store.read_many(connection, catalogue, spans, max_records, MAX_FETCH_BYTES)
        )
        records: list[Record] = []
        for partition, batch, position in found:
            self._positions[partition] = position
            self._order.remove(partition)
            self._order.append(partition)
            records.extend(batch)
        return records

    # membership

    def _must_attend(self) -> bool:
        return self._expired or self._engine.watch.generations.get(self._member.group, -1) > self._generation

    async def _attend(self) -> Standing:
        engine, member = self._engine, self._member
        standing = await engine.writer.run(
            lambda connection: membership.attend(
                connection, engine.catalogue, member, engine.now_ms(), engine.instance_is_alive
            )
        )
        self._expired = False
        engine.watch.update({}, {member.group: standing.generation})
        return standing

    async def _rebalance(self) -> None:
        standing = await self._attend()
        if standing.rejoined:
            lost = frozenset(self._positions)
            # Its session had expired: others may own these by now. The listener is told, its commits are refused.
            try:
                await self._listener.revoked(lost)
            finally:
                self._drop(lost)
        await self._take_over(standing)
        # Only now: after an exception of the listener the next poll does the rest.
        self._generation = standing.generation

    async def _take_over(self, standing: Standing) -> None:
        gone = frozenset(self._positions) - standing.owned
        surplus = standing.surplus & frozenset(self._positions)
        if gone or surplus:
            await self._listener.revoked(gone | surplus)
            self._drop(gone | surplus)
        if standing.surplus:
            engine, member = self._engine, self._member
            await engine.writer.run(
                lambda connection: membership.release(
                    connection, engine.catalogue, member, sorted(standing.surplus)
                )
            )
        gained = standing.owned - standing.surplus - frozenset(self._positions)
        if gained:
            engine, group = self._engine, self._member.group
            starts = await engine.reader.run(
                lambda connection: membership.positions(connection, engine.catalogue, group, sorted(gained))
            )
            self._positions.update(starts)
            self._order = sorted(self._positions)
            try:
                await self._listener.assigned(gained)
            except BaseException:
                self._drop(gained)  # the next poll assigns them again
                raise

    def _drop(self, partitions: frozenset[TopicPartition]) -> None:
        for partition in partitions:
            self._positions.pop(partition, None)
        self._order = [partition for partition in self._order if partition in self._positions]
        self._paused -= partitions

    async def _beat(self) -> None:
        """Renew the session while the caller polls, and notice members whose session or process has ended."""
        loop = asyncio.get_running_loop()
        engine, member = self._engine, self._member
        interval_s = member.session_ms / 3000
        while True:
            await asyncio.sleep(interval_s)
            if loop.time() - self._last_poll > MAX_POLL_INTERVAL_S:
                continue
            try:
                present = await engine.writer.run(
                    lambda connection: membership.beat(
                        connection, member, engine.now_ms(), engine.instance_is_alive
                    )
                )
            except LogUnavailable as error:
                logger.warning("Heartbeat of %s failed: %s", self._member.name, error)
                continue
            self._expired = self._expired or not present
            if self._expired:
                engine.watch.wake()
