"""A member of a consumer group on Kafka.

aiokafka calls its rebalance listener from a task of its own, logs and swallows what it raises, and does not call
it when leaving. Here that task only hands the news over and waits; `poll` runs the real listener in the caller's
task. So exceptions reach the caller, nothing runs beside the caller's own work, and nothing is delivered between
`revoked` and `assigned`. The broker waits for all that up to REBALANCE_TIMEOUT_S.
"""

import asyncio
import logging
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Any, Literal, Self

from aiokafka import AIOKafkaConsumer, ConsumerRebalanceListener
from aiokafka import TopicPartition as KafkaPartition
from aiokafka.coordinator.assignors.range import RangePartitionAssignor
from aiokafka.errors import KafkaError

from shared.errors import Fenced, LogUnavailable
from shared.eventlog.kafka_connection import KafkaConnection, started, stopped
from shared.eventlog.kafka_errors import translated, translating
from shared.eventlog.kafka_reader import FETCH_BYTES, KafkaReader
from shared.eventlog.port import Offsets, RebalanceListener, Record, TopicPartition

REBALANCE_TIMEOUT_S = 60.0
SESSION_TIMEOUT_S = 6.0
"""The least that brokers allow by default: so soon a killed member's partitions go to another."""
HEARTBEAT_S = 1.0
PROBE_AFTER_S = 15.0
"""So long without a record, poll asks the broker whether there are any: it may be away, or the client stuck."""
PROBE_TIMEOUT_S = 10.0
COMMIT_TIMEOUT_S = 30.0
STUCK_AFTER_S = REBALANCE_TIMEOUT_S + 2 * PROBE_AFTER_S
"""So long without a record although there are some, or in a rebalance, the client is given up."""

logger = logging.getLogger(__name__)


class _News(ConsumerRebalanceListener):  # type: ignore[misc]  # aiokafka has no types
    """Hands what aiokafka's coordinator says to `poll` and makes it wait for the answer."""

    def __init__(self) -> None:
        self.arrived = asyncio.Event()
        self.settled = False
        """Between the end of `assigned` and the next `revoked`: records may be delivered."""
        self._pending: tuple[Literal["assigned", "revoked"], frozenset[KafkaPartition]] | None = None
        self._answered: asyncio.Future[None] | None = None
        self._abandoned = False

    @property
    def pending(self) -> tuple[Literal["assigned", "revoked"], frozenset[KafkaPartition]] | None:
        return self._pending

    async def on_partitions_revoked(self, revoked: set[KafkaPartition]) -> None:
        await self._hand_over("revoked", frozenset(revoked))

    async def on_partitions_assigned(self, assigned: set[KafkaPartition]) -> None:
        await self._hand_over("assigned", frozenset(assigned))

    async def _hand_over(
        self, kind: Literal["assigned", "revoked"], partitions: frozenset[KafkaPartition]
    ) -> None:
        if self._abandoned:
            return
        self._pending = (kind, partitions)
        self._answered = asyncio.get_running_loop().create_future()
        self.arrived.set()
        await self._answered

    def answer(self) -> None:
        """The news was handled: aiokafka may go on."""
        if self._pending is not None:
            self.settled = self._pending[0] == "assigned"
        self._pending = None
        self.arrived.clear()
        if self._answered is not None and not self._answered.done():
            self._answered.set_result(None)

    def abandon(self) -> None:
        """Nobody will poll any more: never make aiokafka wait again."""
        self._abandoned = True
        self.answer()
        self.settled = False


class KafkaConsumer:
    """See `port.Consumer`."""

    def __init__(
        self,
        connection: KafkaConnection,
        reader: KafkaReader,
        prefix: str,
        group: str,
        topics: Sequence[str],
        listener: RebalanceListener,
        member: str,
        start_timeout_s: float,
    ) -> None:
        self._connection = connection
        self._reader = reader
        self._prefix = prefix
        self._group = group
        self._topics = tuple(topics)
        self._listener = listener
        self._member = member
        self._start_timeout_s = start_timeout_s
        self._client: AIOKafkaConsumer | None = None
        self._news = _News()
        self._owned: frozenset[TopicPartition] = frozenset()
        self._paused: frozenset[TopicPartition] = frozenset()
        self._progress_at = 0.0
        """When there was last a record, or none to wait for."""
        self._probed_at = 0.0

    async def __aenter__(self) -> Self:
        await self._join()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            await self._listener.revoked(self._owned)
        finally:
            self._owned = self._paused = frozenset()
            await self._leave()

    # polling

    async def poll(self, timeout_s: float, max_records: int) -> Sequence[Record]:
        loop = asyncio.get_running_loop()
        deadline = loop.time() + timeout_s
        if self._client is None:
            await self._rejoin()
        while True:
            if self._news.pending is not None:
                await self._handle_news()
            left = max(0.0, deadline - loop.time())
            records = await self._fetch(left, max_records) if self._news.settled else []
            if records:
                self._progress_at = loop.time()
                return records
            if not self._news.settled and self._news.pending is None and left > 0:
                await _wait(self._news.arrived, left)
            if self._news.pending is None and loop.time() >= deadline:
                await self._watch_over()
                return []

    async def _fetch(self, timeout_s: float, max_records: int) -> list[Record]:
        """Records, unless news of a rebalance comes first: then what was fetched is dropped, because its partitions
        are revoked and will be read again from their committed offsets."""
        assert self._client is not None
        fetching = asyncio.ensure_future(
            self._client.getmany(timeout_ms=round(timeout_s * 1000), max_records=max_records)
        )
        news = asyncio.ensure_future(self._news.arrived.wait())
        try:
            await asyncio.wait((fetching, news), return_when=asyncio.FIRST_COMPLETED)
        finally:
            news.cancel()
            if not fetching.done():
                fetching.cancel()
                await asyncio.wait((fetching,))
        if self._news.pending is not None or fetching.cancelled():
            if not fetching.cancelled() and (error := fetching.exception()) is not None:
                logger.warning("A fetch failed during a rebalance: %s", error)
            return []
        try:
            fetched: Mapping[KafkaPartition, Sequence[Any]] = fetching.result()
        except KafkaError as error:
            await self._leave()
            raise translated(error, f"polling {', '.join(self._topics)}") from error
        return [self._reader.record(record) for found in fetched.values() for record in found]

    async def _handle_news(self) -> None:
        """Run the listener. After its exception the news stays pending: the next poll runs it again."""
        assert self._news.pending is not None
        kind, partitions = self._news.pending
        ours = frozenset((part.topic.removeprefix(self._prefix), part.partition) for part in partitions)
        if kind == "revoked":
            if self._owned:
                await self._listener.revoked(self._owned)
            self._owned = self._paused = frozenset()
        else:
            self._owned = ours
            await self._listener.assigned(ours)
        self._progress_at = asyncio.get_running_loop().time()
        self._news.answer()

    async def _watch_over(self) -> None:
        """Without a record for long: find out why. aiokafka keeps still about brokers that are away, and can hang after
        a rebalance: then its client is given up, and the next poll makes a new one."""
        now = asyncio.get_running_loop().time()
        idle_s = now - self._progress_at
        if not self._news.settled:
            if idle_s > STUCK_AFTER_S:
                await self._leave()
                raise LogUnavailable(
                    f"The group {self._group} did not finish its rebalance in {idle_s:.0f} s."
                )
            return
        if min(idle_s, now - self._probed_at) < PROBE_AFTER_S:
            return
        self._probed_at = now
        lag = await self.lag()
        waiting = sum(count for partition, count in lag.items() if partition not in self._paused)
        if not waiting:
            self._progress_at = now
        elif idle_s > STUCK_AFTER_S:
            await self._leave()
            raise LogUnavailable(f"The group {self._group} got none of {waiting} records for {idle_s:.0f} s.")

    # positions

    def seek(self, partition: TopicPartition, offset: int) -> None:
        with translating(f"seeking in {partition[0]}"):
            self._running.seek(self._kafka(partition), offset)

    async def committed(self, partition: TopicPartition) -> int | None:
        with translating(f"asking for the offsets of {self._group}"):
            async with asyncio.timeout(COMMIT_TIMEOUT_S):
                offset = await self._running.committed(self._kafka(partition))
        return None if offset is None else int(offset)

    async def commit(self, offsets: Offsets) -> None:
        if not offsets:
            return
        lost = offsets.keys() - self._owned
        if lost or self._client is None:
            raise Fenced(f"{sorted(lost)} are not owned by this member of {self._group} any more.")
        wanted = {self._kafka(partition): offset for partition, offset in offsets.items()}
        with translating(f"committing offsets of {self._group}"):
            async with asyncio.timeout(COMMIT_TIMEOUT_S):  # aiokafka itself would try for ever
                await self._client.commit(wanted)

    def pause(self, partitions: frozenset[TopicPartition]) -> None:
        ours = partitions & self._owned
        self._paused |= ours
        self._running.pause(*(self._kafka(partition) for partition in ours))

    def resume(self, partitions: frozenset[TopicPartition]) -> None:
        ours = partitions & self._paused
        self._paused -= ours
        self._progress_at = asyncio.get_running_loop().time()
        self._running.resume(*(self._kafka(partition) for partition in ours))

    async def lag(self) -> Mapping[TopicPartition, int]:
        client, owned = self._running, sorted(self._owned)
        if not owned:
            return {}
        sources = [self._kafka(partition) for partition in owned]
        with translating(f"asking for the lag of {self._group}"):
            async with asyncio.timeout(PROBE_TIMEOUT_S):
                ends = await client.end_offsets(sources)
                positions = [await client.position(source) for source in sources]
        return {
            partition: max(0, ends[source] - position)
            for partition, source, position in zip(owned, sources, positions, strict=True)
        }

    # membership

    @property
    def _running(self) -> AIOKafkaConsumer:
        if self._client is None:
            raise LogUnavailable(f"This member of {self._group} is not connected; poll connects it again.")
        return self._client

    def _kafka(self, partition: TopicPartition) -> KafkaPartition:
        return KafkaPartition(self._prefix + partition[0], partition[1])

    async def _join(self) -> None:
        self._news = _News()
        client = await started(
            self._new_client,
            lambda client: client.start(),
            stopped,
            self._connection,
            self._start_timeout_s,
        )
        # After `start`, which would wait for an assignment that waits for `poll`.
        client.subscribe([self._prefix + topic for topic in self._topics], listener=self._news)
        self._client = client
        self._progress_at = asyncio.get_running_loop().time()

    def _new_client(self) -> AIOKafkaConsumer:
        return AIOKafkaConsumer(
            **self._connection.client_arguments(),
            group_id=self._prefix + self._group,
            client_id=self._member or "finops",
            partition_assignment_strategy=(RangePartitionAssignor,),
            enable_auto_commit=False,
            auto_offset_reset="earliest",
            rebalance_timeout_ms=round(REBALANCE_TIMEOUT_S * 1000),
            session_timeout_ms=round(SESSION_TIMEOUT_S * 1000),
            heartbeat_interval_ms=round(HEARTBEAT_S * 1000),
            max_partition_fetch_bytes=FETCH_BYTES,
        )

    async def _rejoin(self) -> None:
        """After the client was given up: what it owned is lost, others may own it by now."""
        lost = self._owned
        try:
            if lost:
                await self._listener.revoked(lost)
        finally:
            self._owned = self._paused = frozenset()
        await self._join()

    async def _leave(self) -> None:
        client, self._client = self._client, None
        self._news.abandon()
        if client is not None:
            await stopped(client)


async def _wait(event: asyncio.Event, timeout_s: float) -> None:
    waiter = asyncio.ensure_future(event.wait())
    try:
        await asyncio.wait((waiter,), timeout=timeout_s)
    finally:
        waiter.cancel()
