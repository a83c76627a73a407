"""The write-ahead outbox: events are on the local disk before anybody acts on them, and in the log soon after.

`put` is one `write`: what it returned for survives `kill -9` of the process. A power cut can take the last
`fsync_interval_s`. A forwarder hands the records to the log in the order of their `put`s, one batch at a time, so
that along each partition the sequence numbers of an incarnation rise. What a dead process left behind is forwarded
beside it by the next one with its original identity; some of that may be in the log already, readers drop it by
(producer, seq).
"""

import asyncio
import shutil
import time
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import NamedTuple, TypeVar

import msgspec

from shared.errors import ConfigurationError, FinOpsError, RecordTooLarge, SpoolFull
from shared.eventlog import spool_frames as frames
from shared.eventlog.delivery import Delivery
from shared.eventlog.file_lock import FileLock, holding
from shared.eventlog.leftovers import Leftover, adopt
from shared.eventlog.port import (
    HEADER_PRODUCER,
    HEADER_SEQ,
    HEADER_TYPE,
    HEADER_VERSION,
    EventLog,
    NewRecord,
)
from shared.eventlog.record_size import RECORD_OVERHEAD
from shared.eventlog.spool import LOCK, SpoolWriter, read_frames
from shared.eventlog.spool_frames import Frame, Place, SpooledRecord
from shared.events import EVENT_VERSION, AnyEvent, encode, event_type
from shared.ids import new_id
from shared.telemetry import get_logger
from shared.topics import SPREAD, partition_at, partition_for

SEGMENT_BYTES = 8 * 1_048_576
MEMORY_BYTES = 32 * 1_048_576
BATCH_RECORDS = 1_000
BATCH_BYTES = 4 * 1_048_576
LINGER_S = 0.05
"""A batch costs about as much as its partitions, not its records: at 600 requests/s this saves a third of the CPU that
events cost on Kafka, against 0.02, for 15 ms until others see them."""
CLOSE_FLUSH_S = 5.0
END_SHARE = 16
"""One part in so many of the spool is for ends alone."""
HEADERS_BYTES = 128
RESTART_S = 1.0

Argument = TypeVar("Argument")

log = get_logger("outbox")


class Position(NamedTuple):
    """Where an event will stand: its partition, and its number among all events of this incarnation."""

    partition: int
    seq: int


def _to_new_records(producer: str, batch: Sequence[Frame]) -> list[NewRecord]:
    """The records as they go to the log."""
    version = str(EVENT_VERSION)
    return [
        NewRecord(
            spooled.topic,
            spooled.partition,
            spooled.key,
            spooled.value,
            {
                HEADER_TYPE: spooled.event_type,
                HEADER_VERSION: version,
                HEADER_PRODUCER: producer,
                HEADER_SEQ: str(spooled.seq),
            },
            frame.at_ms,
        )
        for frame in batch
        for spooled in frame.records
    ]


def _cut(waiting: deque[Frame]) -> list[Frame]:
    """Take the first frames, as many as the log gets at a time: more would hold up the event loop."""
    batch: list[Frame] = []
    records = size = 0
    while waiting and records < BATCH_RECORDS and size < BATCH_BYTES:
        frame = waiting.popleft()
        batch.append(frame)
        records += len(frame.records)
        size += frame.size
    return batch


class Outbox:
    """Belongs to one event loop. `start` before the first `put`; the log must have been started before.

    `linger_s` is the least time between two batches while records keep coming: a lone record goes at once.
    """

    def __init__(
        self,
        event_log: EventLog,
        directory: Path,
        *,
        limit_bytes: int,
        fsync_interval_s: float,
        memory_bytes: int = MEMORY_BYTES,
        segment_bytes: int = SEGMENT_BYTES,
        linger_s: float = LINGER_S,
    ) -> None:
        self.incarnation = new_id("out", _now_ms())
        self.delivery = Delivery(event_log)
        self._log = event_log
        self._directory = directory
        self._limit_bytes = limit_bytes
        self._fsync_interval_s = fsync_interval_s
        self._memory_bytes = memory_bytes
        self._linger_s = linger_s
        self._registry = directory / ".registry"
        """Under this lock directories come and go: nobody finds one before it is locked, or half removed."""
        self._own = directory / self.incarnation
        self._lock = FileLock(self._own / LOCK)
        self._writer = SpoolWriter(self._own, segment_bytes)
        self._leftovers: list[Leftover] = []
        self._seq = 0
        self._in_hand: list[Frame] = []
        """Taken for delivery, not acknowledged yet; kept here so that a fault cannot lose them."""
        self._memory: deque[Frame] = deque()
        self._memory_used = 0
        self._unread: Place | None = None
        """From here on frames are on disk only: memory was full. None: all that is pending is in memory."""
        self._unread_records = self._unread_bytes = 0
        self._pending_records = 0
        self._pending_bytes = 0
        self._oldest_at_ms: int | None = None
        """Of the leftover that is replayed."""
        self._work = asyncio.Event()
        self._closing = asyncio.Event()
        self._flushed: list[asyncio.Future[None]] = []
        self._tasks: list[asyncio.Task[None]] = []

    # life cycle

    async def start(self) -> None:
        """Take over what dead incarnations left, open the own spool, and begin to forward.

        Raises ConfigurationError when the directory cannot be used.
        """
        try:
            self._leftovers = await asyncio.to_thread(self._open)
        except OSError as error:
            raise ConfigurationError(
                f"FINOPS_DATA_DIR is wrong: the spool in {self._directory} cannot be used ({error.strerror})."
            ) from error
        for leftover in self._leftovers:
            self._pending_records += leftover.records
            self._pending_bytes += leftover.size
            log.info("spool_adopted", producer=leftover.producer, records=leftover.records)
            if leftover.damaged:
                log.error("spool_damaged", producer=leftover.producer, segments=sorted(leftover.damaged))
        self._tasks = [
            asyncio.create_task(self._supervise(self._forward), name="outbox forwarder"),
            asyncio.create_task(self._supervise(self._replay_all), name="outbox replay"),
            asyncio.create_task(self._supervise(self._sync), name="outbox fsync"),
        ]

    def _open(self) -> list[Leftover]:
        self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        with holding(self._registry):
            leftovers = adopt(self._directory)
            self._own.mkdir(mode=0o700)
            self._lock.acquire()
            self._writer.open()
        return leftovers

    async def close(self) -> None:
        """Forward what is possible in a few seconds, then let go. What is left stays on disk for the next start."""
        await self.flush(CLOSE_FLUSH_S)
        self._closing.set()
        forwarder, replay, _ = self._tasks
        forwarder.cancel()
        replay.cancel()
        await asyncio.wait(self._tasks)
        self._tasks = []
        await asyncio.to_thread(self._release)

    def _release(self) -> None:
        for leftover in self._leftovers:
            leftover.lock.release()
        self._writer.close()
        with holding(self._registry):
            if not self._pending_own:
                shutil.rmtree(self._own)
            self._lock.release()

    @property
    def _pending_own(self) -> bool:
        return bool(self._in_hand or self._memory) or self._unread is not None

    # putting

    def put(self, *items: tuple[str, str, AnyEvent], is_end: bool = False) -> tuple[Position, ...]:
        """Write (topic, key, event) items as one atomic frame; returns where each will stand. Never waits.

        `is_end`: of something whose beginning was put before. The last part of the spool is kept for these, so that
        what is running when it gets full ends as exactly as it began.

        Raises SpoolFull when the limit is reached or the disk is full, RecordTooLarge when one item is over its
        topic's limit; in both cases nothing was written.
        """
        at_ms = _now_ms()
        seq = self._seq
        spooled: list[SpooledRecord] = []
        for topic, key, event in items:
            value = encode(event)
            if len(value) + len(key) + HEADERS_BYTES + RECORD_OVERHEAD > self._log.max_record_bytes(topic):
                raise RecordTooLarge(f"An event of {len(value)} bytes is over the limit of {topic}.")
            seq += 1
            partition = self._partition_of(topic, key, at_ms)
            spooled.append(SpooledRecord(topic, partition, key, seq, event_type(event), value))
        records = tuple(spooled)
        data = frames.encode(at_ms, records)
        room = self._limit_bytes if is_end else self._limit_bytes - self._limit_bytes // END_SHARE
        if self._pending_bytes + len(data) > room:
            raise SpoolFull(
                f"The spool holds {self._pending_bytes} bytes that the event log has not taken yet."
            )
        before = self._writer.end
        end = self._writer.append(data)
        self._seq = seq
        self._remember(Frame(at_ms, records, end, len(data)), before)
        return tuple([Position(record.partition, record.seq) for record in records])

    def _partition_of(self, topic: str, key: str, at_ms: int) -> int:
        partitions = self._log.partitions(topic)
        if topic in SPREAD:
            return partition_at(self.incarnation, at_ms, partitions)
        return partition_for(key, partitions)

    def _remember(self, frame: Frame, before: Place) -> None:
        self._pending_records += len(frame.records)
        self._pending_bytes += frame.size
        if self._unread is None and self._memory_used + frame.size <= self._memory_bytes:
            self._memory.append(frame)
            self._memory_used += frame.size
        else:
            self._unread = self._unread or before
            self._unread_records += len(frame.records)
            self._unread_bytes += frame.size
        if not self._work.is_set():
            self._work.set()

    @property
    def pending_records(self) -> int:
        """Records, leftovers included, that the log has not acknowledged."""
        return self._pending_records

    @property
    def pending_bytes(self) -> int:
        return self._pending_bytes

    def oldest_pending_age_s(self, now_s: float) -> float:
        """Age of the record that waits longest, 0 if none does. `now_s` is Unix time in seconds."""
        if self._oldest_at_ms is not None:
            oldest_ms = self._oldest_at_ms
        elif self._in_hand:
            oldest_ms = self._in_hand[0].at_ms
        elif self._memory:
            oldest_ms = self._memory[0].at_ms
        else:
            return 0.0
        return max(0.0, now_s - oldest_ms / 1000)

    async def flush(self, timeout_s: float) -> bool:
        """Wait until everything put so far, and leftovers, are in the log. False: not within `timeout_s`."""
        if self._pending_records == 0:
            return True
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._flushed.append(waiter)
        done, _ = await asyncio.wait((waiter,), timeout=timeout_s)
        if not done:
            self._flushed.remove(waiter)
        return bool(done)

    # forwarding

    async def _forward(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            await self._work.wait()
            began = loop.time()
            if not self._in_hand:
                self._in_hand = await self._next_batch()
            batch = self._in_hand
            if batch:
                records = _to_new_records(self.incarnation, batch)
                await self.delivery.deliver(records)
                self._writer.acknowledge(batch[-1].end)
                self._in_hand = []
                self._forget(len(records), sum(frame.size for frame in batch))
            if not self._pending_own:
                self._work.clear()
            rest_s = began + self._linger_s - loop.time()
            if rest_s > 0 and sum(len(frame.records) for frame in batch) < BATCH_RECORDS:
                await asyncio.sleep(rest_s)

    async def _next_batch(self) -> list[Frame]:
        """Frames from memory, or from disk when memory is used up; empty when nothing is pending."""
        if not self._memory and self._unread is not None:
            await self._reload(self._unread)
        batch = _cut(self._memory)
        self._memory_used -= sum(frame.size for frame in batch)
        return batch

    async def _reload(self, place: Place) -> None:
        """Read the next frames that memory had no room for; `put` goes on behind `until` meanwhile."""
        until = self._writer.end
        found, following = await asyncio.to_thread(read_frames, self._own, place, until)
        self._memory.extend(found)
        size = sum(frame.size for frame in found)
        self._memory_used += size
        self._unread_bytes -= size
        self._unread_records -= sum(len(frame.records) for frame in found)
        following = following or until
        self._unread = None if following == self._writer.end else following
        if self._unread is None and self._unread_records:  # the disk, or somebody, took what we had written
            log.error("spool_records_lost", producer=self.incarnation, records=self._unread_records)
            self._forget(self._unread_records, self._unread_bytes)
            self._unread_records = self._unread_bytes = 0

    def _forget(self, records: int, size: int) -> None:
        self._pending_records -= records
        self._pending_bytes -= size
        if self._pending_records == 0:
            for waiter in self._flushed:
                waiter.set_result(None)
            self._flushed.clear()

    async def _replay_all(self) -> None:
        while self._leftovers:
            leftover = self._leftovers[0]
            await self._replay(leftover)
            try:
                await _to_the_end(self._remove, leftover)
            except OSError as error:  # all of it is in the log, and nobody adopts it while this process lives
                log.error("spool_not_removed", producer=leftover.producer, error=error.strerror)
            self._leftovers.pop(0)
            log.info("spool_replayed", producer=leftover.producer, records=leftover.records)

    async def _replay(self, leftover: Leftover) -> None:
        while True:
            found, following = await asyncio.to_thread(read_frames, leftover.directory, leftover.place)
            waiting = deque(found)
            while waiting:
                batch = _cut(waiting)
                self._oldest_at_ms = batch[0].at_ms
                records = [self._placed(record) for record in _to_new_records(leftover.producer, batch)]
                await self.delivery.deliver(records)
                leftover.place = batch[-1].end
                await _to_the_end(leftover.acknowledge, leftover.place)
                self._forget(len(records), sum(frame.size for frame in batch))
            if following is None:
                break
            leftover.place = following
        self._oldest_at_ms = None

    def _placed(self, record: NewRecord) -> NewRecord:
        """The record in its partition of this log, which may be another one than that it was meant for."""
        partitions = self._log.partitions(record.topic)
        partition = (
            record.partition % partitions if record.topic in SPREAD else partition_for(record.key, partitions)
        )
        return msgspec.structs.replace(record, partition=partition)

    def _remove(self, leftover: Leftover) -> None:
        with holding(self._registry):
            leftover.remove()

    # supervision

    async def _sync(self) -> None:
        while not self._closing.is_set():
            if self._writer.dirty:
                await asyncio.to_thread(self._writer.sync)
            try:
                await asyncio.wait_for(self._closing.wait(), self._fsync_interval_s)
            except TimeoutError:
                continue

    async def _supervise(self, job: Callable[[], Awaitable[None]]) -> None:
        while not self._closing.is_set():
            try:
                await job()
            except (FinOpsError, OSError) as error:
                log.error("outbox_restarts", error=str(error), kind=type(error).__name__)
            except Exception:  # the task's supervisor: logged, counted, tried again, nothing is dropped
                log.exception("outbox_restarts")
            else:
                return
            self.delivery.failed_attempts += 1
            await asyncio.sleep(RESTART_S)


async def _to_the_end(work: Callable[[Argument], None], argument: Argument) -> None:
    """Run `work` in a thread; a cancellation waits for it, so that nothing goes on behind `close`."""
    running = asyncio.ensure_future(asyncio.to_thread(work, argument))
    try:
        await asyncio.shield(running)
    except asyncio.CancelledError:
        await asyncio.wait((running,))
        raise


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
