"""A budget instance dies at any point; the next one goes on and every total is exact."""

import pytest

from services.budget.recovery import StateLost
from shared.eventlog.port import EventLog, NewRecord, Record
from shared.eventlog.sqlite import SqliteEventLog
from shared.events import PartitionProgress, decode, encode
from shared.governance.spend_view import Spend
from shared.topics import SPEND, USAGE, partition_for
from tests.support.budget_member import BudgetMember, budget_member
from tests.support.crashing_log import Crash, CrashingLog, CrashMoment
from tests.support.eventually import eventually
from tests.support.usage import BASE_MS, KEY_ID, UsageProducer, ended, started

REQUESTS = 40
PLACE = partition_for(KEY_ID, 2)


async def traffic(producer: UsageProducer, first: int, last: int) -> None:
    """Requests of two keys in different partitions on one budget; every fifth has no end yet."""
    for number in range(first, last):
        start = started(f"r{number}", key_id="key-a" if number % 2 else "key-d")
        sent = [*await producer.send(start)]
        if number % 5:
            sent += await producer.send(ended(start, cost_nanos=number))
        if number % 7 == 0:
            await producer.log.append(sent)  # a spool that was replayed


def truth(last: int) -> Spend:
    done = [number for number in range(last) if number % 5]
    open_requests = last - len(done)
    return Spend(sum(done), 1_000 * open_requests, len(done), 15 * len(done), 0)


async def settled_at(member: BudgetMember, expected: Spend) -> None:
    await eventually(lambda: member.total("bud_test") == expected)


def test_the_keys_of_these_tests_are_in_different_partitions() -> None:
    assert {partition_for(key, 2) for key in ("key-a", "key-d")} == {0, 1}


@pytest.mark.parametrize("moment", ["before", "torn", "after"])
@pytest.mark.parametrize("at_append", [1, 2, 3, 5])
async def test_totals_are_exact_after_a_crash_in_any_publication(
    log: EventLog, moment: CrashMoment, at_append: int
) -> None:
    await exact_after_a_crash(log, moment, at_append)


async def exact_after_a_crash(log: EventLog, moment: CrashMoment, at_append: int) -> None:
    producer = UsageProducer(log)
    crashing = CrashingLog(log, at_append=at_append, moment=moment, topic=SPEND)

    async with budget_member(crashing) as doomed:
        await traffic(producer, 0, REQUESTS // 2)
        await eventually(doomed.task.done)
        assert isinstance(doomed.task.exception(), Crash)
    await traffic(producer, REQUESTS // 2, REQUESTS)

    async with budget_member(log) as heir:
        await settled_at(heir, truth(REQUESTS))


async def test_an_end_that_comes_after_the_takeover_releases_its_reservation(log: EventLog) -> None:
    producer = UsageProducer(log)
    crashing = CrashingLog(log, at_append=4, moment="after", topic=SPEND)
    start = started("r1")

    async with budget_member(crashing) as doomed:
        await producer.send(start)
        await eventually(doomed.task.done)
    async with budget_member(log) as heir:
        await settled_at(heir, Spend(0, 1_000, 0, 0, 0))
        await producer.send(ended(start, cost_nanos=700))
        await settled_at(heir, Spend(700, 0, 1, 15, 0))


async def test_the_spend_topic_decides_where_to_go_on_not_the_committed_offset(log: EventLog) -> None:
    producer = UsageProducer(log)
    async with budget_member(log) as first:
        await traffic(producer, 0, REQUESTS)
        await settled_at(first, truth(REQUESTS))
    ends = await log.end_offsets(USAGE)
    assert sum(ends.values()) > REQUESTS

    async with budget_member(log) as second:
        await eventually(lambda: len(second.consumer.owned) == 2)
        assert {one.next_offset for one in second.consumer.owned.values()} == set(ends.values())
        assert all(one.ledger.epoch >= 2 for one in second.consumer.owned.values())
        await settled_at(second, truth(REQUESTS))


async def told_progress(log: EventLog) -> list[PartitionProgress]:
    end = (await log.end_offsets(SPEND))[PLACE]
    records: list[Record] = [r for batch in [b async for b in log.read(SPEND, PLACE, 0, end)] for r in batch]
    events = [decode(record.value or b"") for record in records if record.key == "progress"]
    return [event for event in events if isinstance(event, PartitionProgress)]


async def test_counters_are_not_called_fresh_while_a_backlog_waits(log: EventLog) -> None:
    producer = UsageProducer(log)
    starts = [started(f"r{number}") for number in range(1_500)]
    await producer.send(*starts, *(ended(start, cost_nanos=1) for start in starts))
    last = (await log.end_offsets(USAGE))[PLACE] - 1

    async with budget_member(log) as member:
        await settled_at(member, Spend(1_500, 0, 1_500, 22_500, 0))
        await eventually(lambda: member.feed.view.age_ms(BASE_MS + 1_000) == 0)

    told = await told_progress(log)
    behind = [progress for progress in told if 0 <= progress.through_offset < last]
    assert behind
    assert max(progress.at_ms for progress in behind) <= BASE_MS + 100  # the time of the last event
    assert told[-1].at_ms > BASE_MS + 100


async def test_a_usage_topic_that_was_made_anew_stops_the_service_loudly(log: EventLog) -> None:
    counted = PartitionProgress(
        partition=PLACE, epoch=3, through_offset=50, at_ms=BASE_MS, event_time_ms=BASE_MS
    )
    await log.append([NewRecord(SPEND, PLACE, "progress", encode(counted))])
    await UsageProducer(log).send(started("r1"))

    async with budget_member(log) as member:
        await eventually(member.task.done)
        with pytest.raises(StateLost, match="ends at offset 1, but .* up to 50"):
            await member.task


async def test_a_request_older_than_the_usage_topic_keeps_its_money_and_no_owner_from_starting(
    log: SqliteEventLog,
) -> None:
    producer = UsageProducer(log)
    await producer.send(started("r1"))
    async with budget_member(log) as first:
        await settled_at(first, Spend(0, 1_000, 0, 0, 0))
    assert log.upkeep is not None
    assert await log.upkeep.round() > 0

    async with budget_member(log) as second:
        start = started("r2")
        await producer.send(start, ended(start, cost_nanos=5))
        await settled_at(second, Spend(5, 1_000, 1, 15, 0))

    assert (await told_progress(log))[-1].open_offsets == ()


async def test_two_instances_share_partitions_and_hand_over_exactly(log: EventLog) -> None:
    await exact_with_two_instances(log)


async def exact_with_two_instances(log: EventLog) -> None:
    producer = UsageProducer(log)
    async with budget_member(log) as first:
        await traffic(producer, 0, 10)
        async with budget_member(log) as second:
            await eventually(lambda: len(first.consumer.owned) == len(second.consumer.owned) == 1)
            await traffic(producer, 10, 30)
            await settled_at(first, truth(30))
            await settled_at(second, truth(30))
        await traffic(producer, 30, REQUESTS)
        await settled_at(first, truth(REQUESTS))
        assert len(first.consumer.owned) == 2


@pytest.mark.kafka
@pytest.mark.parametrize(("moment", "at_append"), [("before", 3), ("torn", 2), ("after", 4)])
async def test_totals_are_exact_after_a_crash_on_kafka(
    kafka_log: EventLog, moment: CrashMoment, at_append: int
) -> None:
    await exact_after_a_crash(kafka_log, moment, at_append)


@pytest.mark.kafka
async def test_two_instances_hand_over_exactly_on_kafka(kafka_log: EventLog) -> None:
    await exact_with_two_instances(kafka_log)
