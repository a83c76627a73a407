"""What only the Kafka log has: brokers that go away, topics made by others, gaps made by compaction."""

import asyncio
import os
import time
import uuid
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from dataclasses import replace
from pathlib import Path

import pytest
from aiokafka.admin import AIOKafkaAdminClient, NewTopic, RecordsToDelete
from aiokafka.structs import TopicPartition as KafkaPartition

from shared.errors import ConfigurationError, LogUnavailable, RecordTooLarge
from shared.eventlog import kafka_group, kafka_reader
from shared.eventlog.kafka import KafkaEventLog
from shared.eventlog.kafka_connection import KafkaConnection
from shared.eventlog.kafka_group import KafkaConsumer
from shared.eventlog.outbox import Outbox
from shared.topics import DAY_MS, REQUESTS, SPEND, USAGE, TopicSpec, topic_specs
from tests.support.eventlog import Recorder, collect, new_record, numbered, numbers, poll_until
from tests.support.eventually import eventually
from tests.support.kafka import KafkaBroker, KafkaNotAvailable
from tests.support.outbox_events import logged, started

pytestmark = pytest.mark.kafka
PARTITIONS = 3


def specs() -> dict[str, TopicSpec]:
    return topic_specs(PARTITIONS, usage_retention_ms=90 * DAY_MS, requests_retention_ms=7 * DAY_MS)


@pytest.fixture
def prefix() -> str:
    return f"k{uuid.uuid4().hex[:8]}."


@pytest.fixture
async def admin(kafka_bootstrap: str) -> AsyncIterator[AIOKafkaAdminClient]:
    client = AIOKafkaAdminClient(bootstrap_servers=kafka_bootstrap)
    await client.start()
    try:
        yield client
    finally:
        await client.close()


@pytest.fixture
def own_broker() -> Iterator[KafkaBroker]:
    """A broker that the test may kill."""
    try:
        broker = KafkaBroker()
        broker.start()
    except KafkaNotAvailable as error:
        pytest.skip(f"no Kafka of our own: {error}")
    try:
        yield broker
    finally:
        broker.close()


def log_on(
    bootstrap: str,
    prefix: str = "",
    *,
    start_timeout_s: float = 30.0,
    append_timeout_s: float = 30.0,
    request_timeout_s: float = 15.0,
) -> KafkaEventLog:
    return KafkaEventLog(
        KafkaConnection((bootstrap,), request_timeout_s=request_timeout_s),
        specs(),
        topic_prefix=prefix,
        start_timeout_s=start_timeout_s,
        append_timeout_s=append_timeout_s,
    )


async def test_a_killed_broker_loses_nothing_and_the_outbox_goes_on(
    own_broker: KafkaBroker, tmp_path: Path
) -> None:
    log = log_on(own_broker.bootstrap, append_timeout_s=2.0)
    await log.start()
    outbox = Outbox(log, tmp_path, limit_bytes=1 << 26, fsync_interval_s=0.1)
    await outbox.start()
    async with log.consumer("g", [USAGE, REQUESTS], Recorder()) as consumer:
        for number in range(100):
            outbox.put(started(number), logged(number))
        records = await poll_until(consumer, 50)
        await asyncio.to_thread(own_broker.kill)
        for number in range(100, 200):
            outbox.put(started(number), logged(number))
        await eventually(lambda: outbox.delivery.last_error, 40)
        assert outbox.pending_records >= 200
        await asyncio.to_thread(own_broker.start)
        assert await outbox.flush(40)
        async with asyncio.timeout(40):
            while len(_identities(records)) < 400:
                records.extend(await consumer.poll(0.5, 500))
    await outbox.close()
    await log.close()

    assert _identities(records) == {str(seq) for seq in range(1, 401)}
    for lane in {(record.topic, record.partition) for record in records}:
        seen = [int(record.headers["seq"]) for record in records if (record.topic, record.partition) == lane]
        rising: list[int] = []
        for seq in seen:
            if not rising or seq > rising[-1]:
                rising.append(seq)
        assert rising == sorted(set(seen))


def _identities(records) -> set[str]:  # type: ignore[no-untyped-def]
    return {record.headers["seq"] for record in records}


async def test_an_append_without_brokers_fails_in_time_and_works_again_after(own_broker: KafkaBroker) -> None:
    log = log_on(own_broker.bootstrap, append_timeout_s=1.0)
    await log.start()
    try:

        async def appended(number: int) -> bool:
            try:
                await log.append(numbered([number]))
            except LogUnavailable:
                return False
            return True

        await eventually(lambda: appended(1))
        await asyncio.to_thread(own_broker.kill)
        began = time.monotonic()
        with pytest.raises(LogUnavailable, match=r"finops\.usage"):
            await log.append(numbered([2]))
        assert time.monotonic() - began < 10
        await asyncio.to_thread(own_broker.start)
        await eventually(lambda: appended(2), 60)
        end = (await log.end_offsets(USAGE))[0]
        found = numbers(await collect(log.read(USAGE, 0, 0, end)))
        assert found[0] == 1
        assert set(found) == {1, 2}
    finally:
        await log.close()


async def test_nobody_at_the_address_is_said_within_the_start_timeout() -> None:
    began = time.monotonic()
    with pytest.raises(LogUnavailable, match=r"127\.0\.0\.1:1 does not answer.*FINOPS_EVENT_LOG_URL"):
        await log_on("127.0.0.1:1", start_timeout_s=1.0).start()
    assert time.monotonic() - began < 10


async def test_reading_starts_at_what_is_left_and_reaches_an_end_that_is_a_gap(
    kafka_bootstrap: str, prefix: str, admin: AIOKafkaAdminClient
) -> None:
    log = log_on(kafka_bootstrap, prefix)
    await log.start()
    try:
        await log.append(numbered(range(10)))
        await _cut(admin, prefix + USAGE, 6)
        assert numbers(await collect(log.read(USAGE, 0, 0, 10))) == [6, 7, 8, 9]
        await _cut(admin, prefix + USAGE, 10)
        assert await collect(log.read(USAGE, 0, 0, 10)) == []
        async with log.consumer("g", [USAGE], Recorder()) as consumer:
            await log.append(numbered([10]))
            assert numbers(await poll_until(consumer, 1)) == [10]
        caught_up = asyncio.Event()

        async def mark() -> None:
            caught_up.set()

        async def follow() -> None:
            async for _ in log.follow(USAGE, {0: 2}, caught_up=mark):
                pass

        task = asyncio.create_task(follow())
        await asyncio.wait_for(caught_up.wait(), 30)
        task.cancel()
        await asyncio.wait((task,))
    finally:
        await log.close()


async def test_a_compacted_topic_keeps_last_values_and_its_end_is_reached_over_the_gaps(
    kafka_bootstrap: str, prefix: str, admin: AIOKafkaAdminClient
) -> None:
    quick = {"cleanup.policy": "compact", "segment.ms": "100", "min.cleanable.dirty.ratio": "0.001"}
    limits = {"retention.ms": "-1", "max.message.bytes": str(8 * 1_048_576), "max.compaction.lag.ms": "200"}
    await admin.create_topics([NewTopic(prefix + SPEND, PARTITIONS, 1, topic_configs={**quick, **limits})])
    log = log_on(kafka_bootstrap, prefix)
    await log.start()
    try:
        for number in range(20):
            await log.append([new_record(b"%d" % number, topic=SPEND, key=f"k{number % 2}")])

        async def compacted() -> bool:
            # Only what is not in the newest segment is compacted: each try begins another one.
            await log.append([new_record(b"last", topic=SPEND, key="k2")])
            end = (await log.end_offsets(SPEND))[0]
            return len(await collect(log.read(SPEND, 0, 0, end))) < 20

        await eventually(compacted, 40)
        end = (await log.end_offsets(SPEND))[0]
        found = {record.key: record.value for record in await collect(log.read(SPEND, 0, 0, end))}
        assert found == {"k0": b"18", "k1": b"19", "k2": b"last"}
    finally:
        await log.close()


async def test_polling_and_following_say_that_the_brokers_are_away_and_goes_on_when_they_are_back(
    own_broker: KafkaBroker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kafka_group, "PROBE_AFTER_S", 0.5)
    monkeypatch.setattr(kafka_group, "PROBE_TIMEOUT_S", 1.0)
    monkeypatch.setattr(kafka_reader, "PROBE_AFTER_MS", 1_000)
    log = log_on(own_broker.bootstrap, append_timeout_s=30.0, request_timeout_s=1.0)
    caught_up = asyncio.Event()

    async def mark() -> None:
        caught_up.set()

    await log.start()
    try:
        async with log.consumer("g", [USAGE], Recorder()) as consumer:
            await log.append(numbered([1]))
            assert numbers(await poll_until(consumer, 1)) == [1]
            following = asyncio.create_task(collect(log.follow(USAGE, {}, caught_up=mark)))
            await asyncio.wait_for(caught_up.wait(), 30)
            leaving = AsyncExitStack()
            await poll_until(await leaving.enter_async_context(log.consumer("h", [USAGE], Recorder())), 1)
            await asyncio.to_thread(own_broker.kill)
            with pytest.raises(LogUnavailable, match="lag of g"):
                async with asyncio.timeout(40):
                    while True:
                        await consumer.poll(0.1, 10)
            with pytest.raises(LogUnavailable, match="following"):
                await following
            await leaving.aclose()  # nobody cancelled anything: neither here nor above
            await asyncio.to_thread(own_broker.start)
            await log.append(numbered([2]))
            found: list[int] = []
            async with asyncio.timeout(30):
                while 2 not in found:
                    try:
                        found.extend(numbers(await consumer.poll(0.5, 10)))
                    except LogUnavailable:
                        continue
    finally:
        await log.close()


async def test_a_client_that_gets_none_of_what_is_there_is_given_up_for_a_new_one(
    kafka_bootstrap: str, prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kafka_group, "PROBE_AFTER_S", 0.3)
    monkeypatch.setattr(kafka_group, "STUCK_AFTER_S", 1.0)
    log = log_on(kafka_bootstrap, prefix)
    await log.start()
    consumer = KafkaConsumer(
        KafkaConnection((kafka_bootstrap,)), log._reader, prefix, "g", [USAGE], Recorder(), "", 10
    )
    try:
        async with consumer:
            await log.append(numbered([1]))
            assert numbers(await poll_until(consumer, 1)) == [1]
            await consumer.commit({(USAGE, 0): 1})
            assert consumer._client is not None
            hung = consumer._client
            hung.pause(*hung.assignment())  # behind the back of its owner: what a hanging fetcher looks like
            await log.append(numbered([2]))
            with pytest.raises(LogUnavailable, match="got none of 1 records"):
                async with asyncio.timeout(40):
                    while True:
                        assert await consumer.poll(0.02, 10) == []
            assert numbers(await poll_until(consumer, 1)) == [2]
    finally:
        await log.close()


async def test_a_quiet_topic_is_not_taken_for_a_hanging_client(
    kafka_bootstrap: str, prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kafka_group, "PROBE_AFTER_S", 0.05)
    monkeypatch.setattr(kafka_group, "STUCK_AFTER_S", 0.2)
    log = log_on(kafka_bootstrap, prefix)
    await log.start()
    consumer = KafkaConsumer(
        KafkaConnection((kafka_bootstrap,)), log._reader, prefix, "g", [USAGE], Recorder(), "", 10
    )
    try:
        async with consumer:
            await log.append(numbered([1]))
            assert numbers(await poll_until(consumer, 1)) == [1]
            client = consumer._client
            for _ in range(20):
                assert await consumer.poll(0.05, 10) == []
            await log.append(numbered([2]))
            assert numbers(await poll_until(consumer, 1)) == [2]
            assert consumer._client is client
    finally:
        await log.close()


async def _cut(admin: AIOKafkaAdminClient, topic: str, before: int) -> None:
    await admin.delete_records({KafkaPartition(topic, 0): RecordsToDelete(before_offset=before)})


@pytest.mark.parametrize(
    ("partitions", "configs", "sentence"),
    [
        (7, {}, r"finops\.usage has 7 partitions instead of 3: .*FINOPS_PARTITIONS=7"),
        (
            3,
            {},
            r"finops\.usage has retention\.ms=604800000, but finops needs 7776000000; change it with: kafka-configs",
        ),
        (
            3,
            {"retention.ms": "-1", "cleanup.policy": "compact"},
            r"cleanup\.policy=compact, but finops needs delete",
        ),
        (
            3,
            {"retention.ms": "-1", "max.message.bytes": "1000"},
            r"max\.message\.bytes=1000, but finops needs 1114112",
        ),
        (
            3,
            {"retention.ms": "-1", "max.message.bytes": "9000000", "retention.bytes": "1000000"},
            r"retention\.bytes=1000000, but finops needs -1",
        ),
        (
            3,
            {"retention.ms": "-1", "max.message.bytes": "9000000", "min.insync.replicas": "2"},
            r"min\.insync\.replicas=2, but finops needs 1",
        ),
    ],
)
async def test_a_topic_made_otherwise_is_refused_with_what_to_change(
    kafka_bootstrap: str,
    prefix: str,
    admin: AIOKafkaAdminClient,
    partitions: int,
    configs: dict[str, str],
    sentence: str,
) -> None:
    await admin.create_topics([NewTopic(prefix + USAGE, partitions, 1, topic_configs=configs)])

    with pytest.raises(ConfigurationError, match=sentence):
        await log_on(kafka_bootstrap, prefix).start()


async def test_more_replicas_than_brokers_are_refused(kafka_bootstrap: str, prefix: str) -> None:
    log = KafkaEventLog(
        KafkaConnection((kafka_bootstrap,)), specs(), topic_prefix=prefix, replication_factor=5
    )

    with pytest.raises(ConfigurationError, match="FINOPS_REPLICATION_FACTOR is 5"):
        await log.start()


async def test_fewer_copies_than_asked_for_are_refused_before_anything_else_about_them(
    kafka_bootstrap: str, prefix: str
) -> None:
    one_copy = log_on(kafka_bootstrap, prefix)
    await one_copy.start()
    await one_copy.close()
    three = KafkaEventLog(
        KafkaConnection((kafka_bootstrap,)), specs(), topic_prefix=prefix, replication_factor=3
    )

    with pytest.raises(ConfigurationError, match="has 1 copies .* instead of 3.*FINOPS_REPLICATION_FACTOR=1"):
        await three.start()


async def test_a_topic_that_keeps_records_longer_than_was_set_is_said(
    kafka_bootstrap: str, prefix: str, caplog: pytest.LogCaptureFixture
) -> None:
    log = log_on(kafka_bootstrap, prefix)
    await log.start()
    await log.close()
    assert "keeps records" not in caplog.text
    shorter = topic_specs(PARTITIONS, usage_retention_ms=90 * DAY_MS, requests_retention_ms=DAY_MS)
    log = KafkaEventLog(KafkaConnection((kafka_bootstrap,)), shorter, topic_prefix=prefix)
    await log.start()
    await log.close()

    assert f"{prefix}{REQUESTS} keeps records for 604800000 ms, longer than the 86400000 ms" in caplog.text
    assert f"--add-config retention.ms={DAY_MS}" in caplog.text


async def test_two_services_may_make_the_topics_at_the_same_moment(kafka_bootstrap: str, prefix: str) -> None:
    logs = [log_on(kafka_bootstrap, prefix) for _ in range(3)]

    await asyncio.gather(*[log.start() for log in logs])

    assert list(await logs[0].append(numbered([1]))) == [0]
    await asyncio.gather(*[log.close() for log in logs])


async def test_a_record_over_the_brokers_limit_does_not_break_the_partition(
    kafka_bootstrap: str, prefix: str
) -> None:
    generous = {**specs(), USAGE: replace(specs()[USAGE], max_record_bytes=8 * 1_048_576)}
    log = log_on(kafka_bootstrap, prefix)
    await log.start()
    careless = KafkaEventLog(KafkaConnection((kafka_bootstrap,)), generous, topic_prefix=prefix)
    await careless._appender.start()  # without the check that would refuse the topic
    try:
        await careless.append(numbered([1]))
        with pytest.raises(RecordTooLarge, match="size"):
            await careless.append([new_record(os.urandom(3_000_000))])
        assert list(await careless.append(numbered([2, 3]))) == [1, 2]
    finally:
        await careless.close()
        await log.close()
