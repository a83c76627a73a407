"""EventLog on Apache Kafka, through aiokafka. Durable as the brokers are: acks=all, an idempotent producer."""

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import replace

from shared.eventlog.kafka_connection import KafkaConnection
from shared.eventlog.kafka_group import KafkaConsumer
from shared.eventlog.kafka_producer import KafkaAppender
from shared.eventlog.kafka_reader import KafkaReader
from shared.eventlog.kafka_topics import ensure_topics
from shared.eventlog.port import Consumer, NewRecord, RebalanceListener, Record
from shared.topics import TopicSpec


class KafkaEventLog:
    """See `port.EventLog`. `topic_prefix` goes before topic and group names on the brokers; callers never see it."""

    def __init__(
        self,
        connection: KafkaConnection,
        topics: Mapping[str, TopicSpec],
        *,
        replication_factor: int = 1,
        topic_prefix: str = "",
        start_timeout_s: float = 30.0,
        append_timeout_s: float = 30.0,
    ) -> None:
        self._connection = connection
        self._topics = dict(topics)
        self._replication_factor = replication_factor
        self._prefix = topic_prefix
        self._start_timeout_s = start_timeout_s
        self._appender = KafkaAppender(
            connection,
            self._topics,
            topic_prefix,
            start_timeout_s=start_timeout_s,
            append_timeout_s=append_timeout_s,
        )
        self._reader = KafkaReader(connection, topic_prefix, start_timeout_s)

    async def start(self) -> None:
        named = {
            self._prefix + name: replace(spec, name=self._prefix + name)
            for name, spec in self._topics.items()
        }
        await ensure_topics(self._connection, named, self._replication_factor, self._start_timeout_s)
        await self._appender.start()

    async def close(self) -> None:
        await self._appender.close()
        await self._reader.close()

    def partitions(self, topic: str) -> int:
        return self._topics[topic].partitions

    def max_record_bytes(self, topic: str) -> int:
        return self._topics[topic].max_record_bytes

    async def append(self, records: Sequence[NewRecord]) -> Sequence[int]:
        return await self._appender.append(records) if records else []

    async def end_offsets(self, topic: str) -> Mapping[int, int]:
        return await self._reader.end_offsets(topic, range(self._topics[topic].partitions))

    def read(self, topic: str, partition: int, start: int, end: int) -> AsyncIterator[Sequence[Record]]:
        return self._reader.read(topic, partition, start, end)

    def follow(
        self, topic: str, start: Mapping[int, int], *, caught_up: Callable[[], Awaitable[None]] | None = None
    ) -> AsyncIterator[Sequence[Record]]:
        return self._reader.follow(topic, start, range(self._topics[topic].partitions), caught_up)

    def consumer(
        self, group: str, topics: Sequence[str], listener: RebalanceListener, *, member: str = ""
    ) -> Consumer:
        return KafkaConsumer(
            self._connection,
            self._reader,
            self._prefix,
            group,
            topics,
            listener,
            member,
            self._start_timeout_s,
        )
