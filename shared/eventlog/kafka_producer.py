"""Appending to Kafka: whole batches per partition, in call order, at most one in flight per partition.

aiokafka's idempotent producer retries inside a session without duplicates. Two things it does not do: give up in
time while the brokers are away, and recover after a refused batch (its sequence numbers then have a hole, and the
broker refuses all that follows in that partition). So any failed or late batch retires the whole producer; the
next append gets a new one. What a retired one still delivers is a copy of what the caller appends again: readers
tell it by its identity headers.
"""

import asyncio
import logging
import time
from collections.abc import Mapping, Sequence
from typing import Any

from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError

from shared.errors import ConfigurationError, Fenced, FinOpsError, LogUnavailable, RecordTooLarge
from shared.eventlog.kafka_connection import KafkaConnection, started
from shared.eventlog.kafka_errors import translated
from shared.eventlog.port import NewRecord, TopicPartition
from shared.eventlog.record_size import record_bytes
from shared.topics import TopicSpec

BATCH_BYTES = 1_000_000
"""Below the default limit of a broker; a larger single record travels in a batch of its own."""
COMPRESSION = "lz4"

logger = logging.getLogger(__name__)


class _Session:
    """One aiokafka producer and how many appends still wait for it."""

    def __init__(self, producer: AIOKafkaProducer) -> None:
        self.producer = producer
        self.users = 0
        self.retired = False

    async def stop(self) -> None:
        """Leave, dropping what is not delivered: aiokafka's `stop` alone waits for the brokers without limit."""
        sender = self.producer._sender
        if sender.sender_task is not None:
            sender.sender_task.cancel()
            await asyncio.wait((sender.sender_task,))
        await self.producer.stop()


class KafkaAppender:
    """The writing half of the Kafka log. `prefix` goes before each topic name."""

    def __init__(
        self,
        connection: KafkaConnection,
        topics: Mapping[str, TopicSpec],
        prefix: str,
        *,
        start_timeout_s: float,
        append_timeout_s: float,
    ) -> None:
        self._connection = connection
        self._topics = topics
        self._prefix = prefix
        self._start_timeout_s = start_timeout_s
        self._append_timeout_s = append_timeout_s
        self._session: _Session | None = None
        self._starting = asyncio.Lock()
        self._closing: set[asyncio.Task[None]] = set()
        self._tails: dict[TopicPartition, asyncio.Future[None]] = {}

    async def start(self) -> None:
        self._session = _Session(await self._new_producer(self._start_timeout_s, ConfigurationError))

    async def close(self) -> None:
        """Leave. What is on its way gets its answer, what still waits for a broker is given up."""
        session, self._session = self._session, None
        if session is not None:
            session.retired = True
            await self._stop(session)
        if self._closing:
            await asyncio.wait(self._closing)

    async def append(self, records: Sequence[NewRecord]) -> Sequence[int]:
        groups: dict[TopicPartition, list[int]] = {}
        for index, record in enumerate(records):
            self._check(record)
            groups.setdefault((record.topic, record.partition), []).append(index)
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        before = [self._tails[lane] for lane in groups if lane in self._tails]
        self._tails.update(dict.fromkeys(groups, done))
        try:
            for earlier in before:
                if not earlier.done():
                    await asyncio.wait((earlier,))
            return await self._append(records, groups)
        finally:
            done.set_result(None)

    def _check(self, record: NewRecord) -> None:
        spec = self._topics[record.topic]
        if not 0 <= record.partition < spec.partitions:
            raise ValueError(f"{record.topic} has no partition {record.partition}")
        size = record_bytes(record)
        if size > spec.max_record_bytes:
            raise RecordTooLarge(
                f"A record of {size} bytes is over the limit of {record.topic}: {spec.max_record_bytes} bytes."
            )

    async def _append(
        self, records: Sequence[NewRecord], groups: Mapping[TopicPartition, list[int]]
    ) -> Sequence[int]:
        session = await self._current()
        session.users += 1
        offsets = [-1] * len(records)
        left = dict(groups)
        deadline = asyncio.get_running_loop().time() + self._append_timeout_s
        try:
            async with asyncio.timeout_at(deadline):
                while left:
                    left = await self._round(session, records, left, offsets)
        except (KafkaError, TimeoutError, AssertionError, OSError) as error:
            self._retire(session)
            raise self._failure(error, groups) from error
        finally:
            session.users -= 1
            self._stop_if_unused(session)
        return offsets

    async def _round(
        self,
        session: _Session,
        records: Sequence[NewRecord],
        left: Mapping[TopicPartition, list[int]],
        offsets: list[int],
    ) -> dict[TopicPartition, list[int]]:
        """Send one batch to each partition and wait for all. Returns what did not fit."""
        producer = session.producer
        sent: list[tuple[list[int], Any]] = []
        rest: dict[TopicPartition, list[int]] = {}
        for (topic, partition), indexes in left.items():
            batch = producer.create_batch()
            taken = _fill(batch, records, indexes)
            batch.close()
            if taken < len(indexes):
                rest[topic, partition] = indexes[taken:]
            future = await producer.send_batch(batch, self._prefix + topic, partition=partition)
            sent.append((indexes[:taken], future))
        failure: BaseException | None = None
        for indexes, future in sent:
            try:
                base = (await future).offset
            except KafkaError as error:  # the others are still awaited: their records may well be durable
                failure = failure or error
                continue
            if base < 0:
                # Acknowledged as a duplicate without an offset: written, but where is not known any more.
                failure = failure or KafkaError("the offset of a repeated batch is unknown")
                continue
            for position, index in enumerate(indexes):
                offsets[index] = base + position
        if failure is not None:
            raise failure
        return rest

    def _failure(self, error: Exception, groups: Mapping[TopicPartition, list[int]]) -> FinOpsError:
        topics = ", ".join(sorted({topic for topic, _ in groups}))
        failure = translated(error, f"appending to {topics}")
        if isinstance(failure, Fenced):  # this producer: a new session repairs it, the records are still good
            return LogUnavailable(str(failure))
        return failure

    # sessions

    async def _current(self) -> _Session:
        if self._session is not None:
            return self._session
        async with self._starting:
            if self._session is None:
                self._session = _Session(await self._new_producer(self._append_timeout_s))
            return self._session

    async def _new_producer(
        self, timeout_s: float, refusal: type[FinOpsError] = LogUnavailable
    ) -> AIOKafkaProducer:
        async def start(producer: AIOKafkaProducer) -> None:
            await producer.start()
            for topic in self._topics:
                await producer.partitions_for(self._prefix + topic)

        return await started(
            lambda: AIOKafkaProducer(
                **self._connection.client_arguments(),
                acks="all",
                enable_idempotence=True,
                compression_type=COMPRESSION,
                max_batch_size=BATCH_BYTES,
                max_request_size=max(spec.max_record_bytes for spec in self._topics.values()),
            ),
            start,
            lambda producer: _Session(producer).stop(),
            self._connection,
            timeout_s,
            refusal,
        )

    def _retire(self, session: _Session) -> None:
        session.retired = True
        if self._session is session:
            self._session = None

    def _stop_if_unused(self, session: _Session) -> None:
        if session.retired and session.users == 0:
            task = asyncio.create_task(self._stop(session), name="stop of a retired Kafka producer")
            self._closing.add(task)
            task.add_done_callback(self._closing.discard)

    async def _stop(self, session: _Session) -> None:
        try:
            await session.stop()
        except KafkaError as error:
            logger.warning("A Kafka producer did not stop cleanly: %s", error)


def _fill(batch: Any, records: Sequence[NewRecord], indexes: Sequence[int]) -> int:
    """Put as many records into the batch as fit, the first one always. Returns their number."""
    now_ms = time.time_ns() // 1_000_000
    for count, index in enumerate(indexes):
        record = records[index]
        appended = batch.append(
            timestamp=record.timestamp_ms or now_ms,
            key=record.key.encode(),
            value=record.value,
            headers=[(name, value.encode()) for name, value in record.headers.items()],
        )
        if appended is None:
            return count
    return len(indexes)
