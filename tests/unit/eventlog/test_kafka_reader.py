"""A Kafka client that hangs is noticed by whoever reads through it; one that has nothing to give is left alone."""

import asyncio
from collections.abc import Mapping, Sequence

import pytest
from aiokafka import TopicPartition
from aiokafka.structs import ConsumerRecord

from shared.errors import LogUnavailable
from shared.eventlog import kafka_reader
from shared.eventlog.kafka_connection import KafkaConnection
from shared.eventlog.kafka_reader import KafkaReader
from shared.eventlog.port import Record
from shared.topics import USAGE
from tests.support.eventually import eventually

PART = TopicPartition(USAGE, 0)


class FakeClient:
    """What KafkaReader uses of AIOKafkaConsumer, on one partition; `gives` of its records come, then nothing more."""

    def __init__(self, records: int, gives: int) -> None:
        self.records = records
        self.gives = gives
        self.at = 0
        self.polls = 0
        self.probes = 0
        self.stopped = False

    async def end_offsets(self, partitions: Sequence[TopicPartition]) -> dict[TopicPartition, int]:
        self.probes += 1
        return {PART: self.records}

    async def position(self, partition: TopicPartition) -> int:
        return self.at

    def assign(self, partitions: Sequence[TopicPartition]) -> None:
        assert list(partitions) == [PART]

    def seek(self, partition: TopicPartition, offset: int) -> None:
        self.at = offset

    async def seek_to_beginning(self, *partitions: TopicPartition) -> None:
        self.at = 0

    async def getmany(
        self, *partitions: TopicPartition, timeout_ms: int
    ) -> Mapping[TopicPartition, list[ConsumerRecord]]:
        self.polls += 1
        await asyncio.sleep(0)
        if self.at >= min(self.records, self.gives):
            return {}
        offset, self.at = self.at, self.at + 1
        return {PART: [ConsumerRecord(USAGE, 0, offset, 1, 0, b"k", b"v", None, 1, 1, ())]}

    async def stop(self) -> None:
        self.stopped = True


class Reader(KafkaReader):
    def __init__(self, client: FakeClient) -> None:
        super().__init__(KafkaConnection(("nowhere:1",)), "", 1.0)
        self.client = client

    async def _take(self) -> FakeClient:
        return self.client


async def test_reading_what_does_not_come_ends_with_an_error() -> None:
    client = FakeClient(records=5, gives=2)
    found: list[Record] = []

    with pytest.raises(LogUnavailable, match=r"nothing of finops\.usage:0 from 2 on"):
        async for batch in Reader(client).read(USAGE, 0, 0, 5):
            found.extend(batch)

    assert [record.offset for record in found] == [0, 1]
    assert client.polls == 2 + kafka_reader.STALL_MS / kafka_reader.POLL_MS
    assert client.stopped


async def test_following_what_does_not_come_ends_with_an_error() -> None:
    client = FakeClient(records=5, gives=2)
    found: list[Record] = []

    with pytest.raises(LogUnavailable, match=r"nothing of finops\.usage:0, but there is more"):
        async for batch in Reader(client).follow(USAGE, {}, [0], None):
            found.extend(batch)

    assert [record.offset for record in found] == [0, 1]
    assert client.stopped


async def test_following_a_client_that_hangs_later_on_ends_at_the_second_probe() -> None:
    client = FakeClient(records=2, gives=2)

    with pytest.raises(LogUnavailable, match="but there is more"):
        async for _ in Reader(client).follow(USAGE, {}, [0], None):
            client.records = 3  # comes after the last one that is given

    assert client.probes == 2


async def test_following_a_quiet_topic_goes_on() -> None:
    client = FakeClient(records=2, gives=99)
    found: list[Record] = []

    async def follow() -> None:
        async for batch in Reader(client).follow(USAGE, {}, [0], None):
            found.extend(batch)

    task = asyncio.create_task(follow())
    await eventually(lambda: client.probes >= 4)
    client.records = 3
    await eventually(lambda: len(found) == 3)
    task.cancel()
    await asyncio.wait((task,))

    assert task.cancelled()
