"""Reading Kafka outside any group. The end of a range is reached when the POSITION is: the last record before it may
be missing (compaction, transaction markers)."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence

from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition

from shared.errors import LogUnavailable
from shared.eventlog.kafka_connection import KafkaConnection, started, stopped
from shared.eventlog.kafka_errors import translating
from shared.eventlog.port import Record

FETCH_BYTES = 1_048_576
POLL_MS = 200
FOLLOW_POLL_MS = 1_000
PROBE_AFTER_MS = 15_000
"""So long without a record, following asks the broker whether there are any: aiokafka itself waits in silence for
brokers that are away, and its fetcher may hang."""
STALL_MS = 30_000
"""So long without any of the records that are there, reading gives up."""
POSITION_TIMEOUT_S = 30.0
IDLE_READERS = 2


class KafkaReader:
    """Hands out consumers without a group and keeps a few idle ones: opening one costs some round trips."""

    def __init__(self, connection: KafkaConnection, prefix: str, timeout_s: float) -> None:
        self._connection = connection
        self._prefix = prefix
        self._timeout_s = timeout_s
        self._idle: list[AIOKafkaConsumer] = []
        self._closed = False

    async def close(self) -> None:
        self._closed = True
        while self._idle:
            await stopped(self._idle.pop())

    async def end_offsets(self, topic: str, partitions: Sequence[int]) -> dict[int, int]:
        wanted = [TopicPartition(self._prefix + topic, partition) for partition in partitions]
        consumer = await self._take()
        healthy = False
        try:
            with translating(f"asking for the end of {topic}"):
                ends = await consumer.end_offsets(wanted)
            healthy = True
        finally:
            await self._give_back(consumer, healthy)
        return {partition.partition: offset for partition, offset in ends.items()}

    async def read(self, topic: str, partition: int, start: int, end: int) -> AsyncIterator[Sequence[Record]]:
        source = TopicPartition(self._prefix + topic, partition)
        consumer = await self._take()
        healthy = False
        try:
            with translating(f"reading {topic}:{partition}"):
                end = min(end, (await consumer.end_offsets([source]))[source])
                consumer.assign([source])
                consumer.seek(source, start)
            position, silent_ms = start, 0
            while position < end:
                with translating(f"reading {topic}:{partition}"):
                    fetched = await consumer.getmany(source, timeout_ms=POLL_MS)
                    before, position = position, await self._position(consumer, source)
                silent_ms = 0 if position > before else silent_ms + POLL_MS
                if silent_ms >= STALL_MS:
                    raise LogUnavailable(f"Kafka gives nothing of {topic}:{partition} from {position} on.")
                batch = [
                    self.record(found) for found in fetched.get(source, ()) if start <= found.offset < end
                ]
                if batch:
                    yield batch
            healthy = True
        finally:
            await self._give_back(consumer, healthy)

    async def follow(
        self,
        topic: str,
        start: Mapping[int, int],
        partitions: Sequence[int],
        caught_up: Callable[[], Awaitable[None]] | None,
    ) -> AsyncIterator[Sequence[Record]]:
        sources = [TopicPartition(self._prefix + topic, partition) for partition in partitions]
        consumer = await self._take()
        healthy = False
        try:
            with translating(f"following {topic}"):
                behind = await consumer.end_offsets(sources)
                consumer.assign(sources)
                await self._seek(consumer, sources, start)
            goal, silent_ms = behind, 0
            while True:
                if caught_up is not None:
                    with translating(f"following {topic}"):
                        behind = {
                            source: end
                            for source, end in behind.items()
                            if await self._position(consumer, source) < end
                        }
                    if not behind:
                        await caught_up()
                        caught_up = None
                with translating(f"following {topic}"):
                    timeout_ms = POLL_MS if caught_up is not None else FOLLOW_POLL_MS
                    fetched = await consumer.getmany(timeout_ms=timeout_ms)
                    silent_ms = 0 if fetched else silent_ms + timeout_ms
                    if silent_ms >= PROBE_AFTER_MS:
                        goal, silent_ms = await self._probe(consumer, topic, goal), 0
                for found in fetched.values():
                    yield [self.record(record) for record in found]
        finally:
            await self._give_back(consumer, healthy)

    async def _probe(
        self, consumer: AIOKafkaConsumer, topic: str, goal: Mapping[TopicPartition, int]
    ) -> Mapping[TopicPartition, int]:
        """Raises when no broker answers, and LogUnavailable when `goal`, the ends at the last probe, is not reached
        although nothing came since. Returns the ends now."""
        for source, end in goal.items():
            if await self._position(consumer, source) < end:
                raise LogUnavailable(f"Kafka gives nothing of {topic}:{source.partition}, but there is more.")
        ends: Mapping[TopicPartition, int] = await consumer.end_offsets(list(goal))
        return ends

    async def _seek(
        self, consumer: AIOKafkaConsumer, sources: Sequence[TopicPartition], start: Mapping[int, int]
    ) -> None:
        beginnings = [source for source in sources if source.partition not in start]
        for source in sources:
            if source.partition in start:
                consumer.seek(source, start[source.partition])
        if beginnings:
            async with asyncio.timeout(POSITION_TIMEOUT_S):
                await consumer.seek_to_beginning(*beginnings)

    async def _position(self, consumer: AIOKafkaConsumer, source: TopicPartition) -> int:
        async with asyncio.timeout(POSITION_TIMEOUT_S):
            return int(await consumer.position(source))

    async def _take(self) -> AIOKafkaConsumer:
        if self._idle:
            return self._idle.pop()
        return await started(
            lambda: AIOKafkaConsumer(
                **self._connection.client_arguments(),
                group_id=None,
                enable_auto_commit=False,
                auto_offset_reset="earliest",
                max_partition_fetch_bytes=FETCH_BYTES,
            ),
            lambda consumer: consumer.start(),
            stopped,
            self._connection,
            self._timeout_s,
        )

    async def _give_back(self, consumer: AIOKafkaConsumer, healthy: bool) -> None:
        if healthy and not self._closed and len(self._idle) < IDLE_READERS:
            # An idle one must not go on fetching; `unsubscribe` would crash aiokafka's fetcher.
            consumer.pause(*consumer.assignment())
            self._idle.append(consumer)
        else:
            await stopped(consumer)

    def record(self, found: ConsumerRecord) -> Record:
        return Record(
            found.topic.removeprefix(self._prefix),
            found.partition,
            found.offset,
            found.key.decode(errors="replace") if found.key is not None else "",
            found.value,
            {name: value.decode(errors="replace") for name, value in found.headers},
            found.timestamp,
        )
