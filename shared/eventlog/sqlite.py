"""EventLog on one SQLite file in WAL mode, shared by any number of processes on one host.

Durable: an append returns after its transaction was fsynced (`synchronous=FULL`), so neither `kill -9` nor a
power cut loses an acknowledged record. Concurrent appends share one transaction (group commit).
"""

import asyncio
import os
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from pathlib import Path

from shared.errors import LogUnavailable, RecordTooLarge
from shared.eventlog import sqlite_store as store
from shared.eventlog.file_lock import FileLock, holder_is_alive
from shared.eventlog.port import Consumer, NewRecord, RebalanceListener, Record
from shared.eventlog.record_size import record_bytes
from shared.eventlog.sqlite_group import Engine, SqliteConsumer
from shared.eventlog.sqlite_membership import Member
from shared.eventlog.sqlite_store import Catalogue, NewRow, Span
from shared.eventlog.sqlite_thread import SqliteReader, SqliteWriter
from shared.eventlog.sqlite_upkeep import Upkeep
from shared.eventlog.sqlite_watch import Watch
from shared.topics import TopicSpec

BATCH_RECORDS = 1_000
BATCH_BYTES = 8 * 1_048_576


def _wall_clock_ms() -> int:
    return time.time_ns() // 1_000_000


class SqliteEventLog:
    """See `port.EventLog`."""

    def __init__(
        self,
        path: Path,
        topics: Mapping[str, TopicSpec],
        *,
        session_timeout_s: float = 10.0,
        upkeep_interval_s: float = 60.0,
        now_ms: Callable[[], int] = _wall_clock_ms,
    ) -> None:
        self._path = path
        self._topics = dict(topics)
        self._session_ms = round(session_timeout_s * 1000)
        self._upkeep_interval_s = upkeep_interval_s
        self._now_ms = now_ms
        self._engine: Engine | None = None
        self._instance = FileLock(path.with_name(f"{path.name}.{os.urandom(6).hex()}.instance"))
        self._upkeep_lock = FileLock(path.with_name(f"{path.name}.upkeep"))
        self._scanner = SqliteReader(path, "event log upkeep")
        self.upkeep: Upkeep | None = None
        self._upkeep_task: asyncio.Task[None] | None = None

    # life cycle

    async def start(self) -> None:
        try:
            await asyncio.to_thread(self._prepare_files)
        except OSError as error:
            raise LogUnavailable(f"The event log {self._path} cannot be opened: {error.strerror}.") from error
        watch = Watch()
        writer = SqliteWriter(self._path, "event log writer")
        reader = SqliteReader(self._path, "event log reader", idle=watch.look)
        try:
            await writer.start()
            catalogue = await writer.run(
                lambda connection: store.prepare(connection, list(self._topics.values()))
            )
            await reader.start()
            watch.update(await reader.run(store.ends), {})
            await self._scanner.start()
        except BaseException:
            await asyncio.gather(writer.close(), reader.close(), self._scanner.close())
            self._instance.release(remove=True)
            raise
        self._engine = Engine(writer, reader, watch, catalogue, self._now_ms, self._instance_is_alive)
        self.upkeep = Upkeep(
            dict(self._topics), catalogue, self._scanner, writer, self._upkeep_lock, self._now_ms
        )
        self._upkeep_task = asyncio.create_task(
            self.upkeep.run(self._upkeep_interval_s), name="event log upkeep"
        )

    def _prepare_files(self) -> None:
        """The file, for its owner's eyes only; the lock that says this process lives; no such locks of dead ones."""
        self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        os.close(os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
        self._instance.acquire(wait=True)
        for path in self._path.parent.glob(f"{self._path.name}.*.instance"):
            left_behind = FileLock(path)
            if path != self._instance.path and left_behind.acquire():
                left_behind.release(remove=True)

    async def close(self) -> None:
        engine, self._engine = self._engine, None
        if engine is None:
            return
        if self._upkeep_task is not None:
            self._upkeep_task.cancel()
            await asyncio.wait((self._upkeep_task,))
        await asyncio.gather(engine.writer.close(), engine.reader.close(), self._scanner.close())
        self._upkeep_lock.release()
        self._instance.release(remove=True)

    def _instance_is_alive(self, name: str) -> bool:
        return holder_is_alive(self._path.with_name(name))

    @property
    def _running(self) -> Engine:
        if self._engine is None:
            raise LogUnavailable(f"The event log {self._path} is not open.")
        return self._engine

    # topics

    def partitions(self, topic: str) -> int:
        return self._topics[topic].partitions

    def max_record_bytes(self, topic: str) -> int:
        return self._topics[topic].max_record_bytes

    # writing

    async def append(self, records: Sequence[NewRecord]) -> Sequence[int]:
        if not records:
            return []
        engine = self._running
        rows = [self._row(engine.catalogue, record) for record in records]
        offsets, ends = await engine.writer.run(lambda connection: store.append(connection, rows))
        engine.watch.update(ends, {})
        return offsets

    def _row(self, catalogue: Catalogue, record: NewRecord) -> NewRow:
        size, limit = record_bytes(record), self._topics[record.topic].max_record_bytes
        if size > limit:
            raise RecordTooLarge(
                f"A record of {size} bytes is over the limit of {record.topic}: {limit} bytes."
            )
        return (
            catalogue.ids[record.topic, record.partition],
            record.timestamp_ms or self._now_ms(),
            record.key,
            store.encode_headers(record.headers),
            record.value,
        )

    # reading

    async def end_offsets(self, topic: str) -> Mapping[int, int]:
        engine = self._running
        ends = await engine.reader.run(store.ends)
        return {
            partition: ends[engine.catalogue.ids[topic, partition]]
            for partition in range(self._topics[topic].partitions)
        }

    async def read(self, topic: str, partition: int, start: int, end: int) -> AsyncIterator[Sequence[Record]]:
        engine = self._running
        number = engine.catalogue.ids[topic, partition]
        position, end = start, min(end, (await engine.reader.run(store.ends))[number])
        while position < end:
            batch, position = await self._read(Span(number, position, end))
            if batch:
                yield batch

    async def follow(
        self, topic: str, start: Mapping[int, int], *, caught_up: Callable[[], Awaitable[None]] | None = None
    ) -> AsyncIterator[Sequence[Record]]:
        engine = self._running
        numbers = {
            engine.catalogue.ids[topic, partition]: partition
            for partition in range(self._topics[topic].partitions)
        }
        positions = {number: start.get(partition, 0) for number, partition in numbers.items()}
        engine.watch.update(await engine.reader.run(store.ends), {})
        goal = {number: engine.watch.ends[number] for number in numbers}

        def behind() -> list[int]:
            return [number for number in numbers if positions[number] < engine.watch.ends[number]]

        while True:
            if caught_up is not None and all(positions[number] >= goal[number] for number in numbers):
                await caught_up()
                caught_up = None
            for number in behind():
                span = Span(number, positions[number], engine.watch.ends[number])
                batch, positions[number] = await self._read(span)
                if batch:
                    yield batch
            if caught_up is None:
                await engine.watch.wait(lambda: bool(behind()), None)

    async def _read(self, span: Span) -> tuple[list[Record], int]:
        engine = self._running
        partition = engine.catalogue.names[span.partition_id]
        found = await engine.reader.run(
            lambda connection: store.read_many(
                connection, engine.catalogue, [(partition, span)], BATCH_RECORDS, BATCH_BYTES
            )
        )
        _, batch, position = found[0]
        return batch, position

    def consumer(
        self, group: str, topics: Sequence[str], listener: RebalanceListener, *, member: str = ""
    ) -> Consumer:
        name = f"{member or 'member'}-{os.urandom(4).hex()}"
        identity = Member(group, name, tuple(topics), self._instance.path.name, self._session_ms)
        return SqliteConsumer(self._running, identity, listener)
