"""What append, read, follow and end_offsets promise, on every adapter."""

import asyncio
import os

import pytest

from shared.errors import RecordTooLarge
from shared.eventlog.port import EventLog, Record
from shared.topics import DEAD_LETTERS, GOVERNANCE, REQUESTS, SPEND, USAGE
from tests.contract.eventlog.conftest import PARTITIONS, StartLog
from tests.support.eventlog import collect, new_record, numbered, numbers, values
from tests.support.eventually import eventually


async def test_a_record_comes_back_as_it_was_written(log: EventLog) -> None:
    written = new_record(
        b'{"a":1}',
        key="vk_\u00fc",
        partition=2,
        headers={"producer": "out_1", "note": "\u20ac"},
        timestamp_ms=1_700_000_000_123,
    )

    offsets = await log.append([written])
    read = await collect(log.read(USAGE, 2, 0, 1))

    assert list(offsets) == [0]
    assert read == [
        Record(
            USAGE, 2, 0, "vk_\u00fc", b'{"a":1}', {"producer": "out_1", "note": "\u20ac"}, 1_700_000_000_123
        )
    ]


async def test_offsets_come_back_in_the_order_of_the_records_and_rise_per_partition(log: EventLog) -> None:
    mixed = [new_record(b"%d" % n, partition=n % 3) for n in range(9)]

    first = await log.append(mixed)
    second = await log.append(mixed[:3])

    assert list(first) == [0, 0, 0, 1, 1, 1, 2, 2, 2]
    assert list(second) == [3, 3, 3]
    assert await log.end_offsets(USAGE) == {0: 4, 1: 4, 2: 4, 3: 0}


async def test_concurrent_appends_to_one_partition_keep_the_order_of_the_calls(log: EventLog) -> None:
    calls = [log.append(numbered(range(n * 5, n * 5 + 5))) for n in range(40)]

    offsets = await asyncio.gather(*[asyncio.ensure_future(call) for call in calls])

    assert [offset for batch in offsets for offset in batch] == list(range(200))
    assert numbers(await collect(log.read(USAGE, 0, 0, 200))) == list(range(200))


async def test_a_range_is_read_without_its_end_and_never_waits_for_more(log: EventLog) -> None:
    await log.append(numbered(range(10)))

    assert numbers(await collect(log.read(USAGE, 0, 3, 6))) == [3, 4, 5]
    assert numbers(await collect(log.read(USAGE, 0, 8, 1_000))) == [8, 9]
    assert await collect(log.read(USAGE, 0, 10, 10)) == []
    assert await collect(log.read(USAGE, 1, 0, 5)) == []


async def test_megabyte_records_pass_and_larger_ones_are_refused_whole(log: EventLog) -> None:
    big = os.urandom(3_500_000)
    await log.append([new_record(big, topic=REQUESTS), new_record(b"small", topic=REQUESTS)])
    await log.append([new_record(os.urandom(1_040_000), topic=USAGE)])

    with pytest.raises(RecordTooLarge, match=r"finops\.usage"):
        await log.append([new_record(b"before"), new_record(os.urandom(1_048_576))])

    assert values(await collect(log.read(REQUESTS, 0, 0, 2))) == [big, b"small"]
    assert (await log.end_offsets(USAGE))[0] == 1
    assert log.max_record_bytes(REQUESTS) > log.max_record_bytes(USAGE)


async def test_many_megabytes_in_one_call_are_split_and_stay_in_order(log: EventLog) -> None:
    filler = os.urandom(300_000)

    offsets = await log.append([new_record(b"%03d" % n + filler, topic=DEAD_LETTERS) for n in range(20)])
    read = await collect(log.read(DEAD_LETTERS, 0, 0, 20))

    assert list(offsets) == list(range(20))
    assert [(record.value or b"")[:3] for record in read] == [b"%03d" % n for n in range(20)]


async def test_values_that_are_no_events_are_delivered_untouched(log: EventLog) -> None:
    poison = [b"", b"\x00\xff\xfe", b"not json", b'{"type":', os.urandom(1_000)]

    await log.append([new_record(value) for value in poison])

    assert values(await collect(log.read(USAGE, 0, 0, len(poison)))) == poison


async def test_a_tombstone_comes_back_as_none(log: EventLog) -> None:
    await log.append(
        [new_record(b"1", topic=SPEND, key="counter/a"), new_record(None, topic=SPEND, key="counter/a")]
    )

    assert values(await collect(log.read(SPEND, 0, 0, 2))) == [b"1", None]


async def test_following_an_empty_topic_is_caught_up_at_once(log: EventLog) -> None:
    caught_up = asyncio.Event()

    async def follow() -> None:
        async for _ in log.follow(SPEND, {}, caught_up=_set(caught_up)):
            raise AssertionError("there is nothing to follow")

    task = asyncio.create_task(follow())
    try:
        await asyncio.wait_for(caught_up.wait(), 30)
    finally:
        task.cancel()
        await asyncio.wait((task,))


async def test_following_is_caught_up_after_what_was_there_was_handled_then_goes_on(
    start_log: StartLog,
) -> None:
    log, other = await start_log(), await start_log()
    for partition in range(PARTITIONS):
        await log.append(numbered(range(500), partition=partition))
    seen: list[Record] = []
    seen_at_catch_up: list[int] = []

    async def caught_up() -> None:
        seen_at_catch_up.append(len(seen))

    async def follow() -> None:
        async for batch in log.follow(USAGE, {1: 490}, caught_up=caught_up):
            seen.extend(batch)

    task = asyncio.create_task(follow())
    try:
        await eventually(lambda: seen_at_catch_up)
        assert seen_at_catch_up == [1_510]
        await other.append(numbered([7_000], partition=3))
        await eventually(lambda: len(seen) == 1_511)
    finally:
        task.cancel()
        await asyncio.wait((task,))

    assert numbers(record for record in seen if record.partition == 1) == list(range(490, 500))
    assert numbers(record for record in seen if record.partition == 3) == [*range(500), 7_000]
    assert seen_at_catch_up == [1_510]


async def test_what_one_process_appends_another_reads(start_log: StartLog) -> None:
    writer, reader = await start_log(), await start_log()

    await writer.append(numbered(range(3)))

    assert await reader.end_offsets(USAGE) == {0: 3, 1: 0, 2: 0, 3: 0}
    assert numbers(await collect(reader.read(USAGE, 0, 0, 3))) == [0, 1, 2]
    assert reader.partitions(USAGE) == PARTITIONS
    assert reader.partitions(GOVERNANCE) == 1


async def test_records_outlive_the_log_handle(start_log: StartLog) -> None:
    first = await start_log()
    await first.append(numbered(range(3)))
    await first.close()

    second = await start_log()
    offsets = await second.append(numbered([3]))

    assert list(offsets) == [3]
    assert numbers(await collect(second.read(USAGE, 0, 0, 4))) == [0, 1, 2, 3]


def _set(event: asyncio.Event):  # type: ignore[no-untyped-def]  # a tiny adapter
    async def set_event() -> None:
        event.set()

    return set_event
