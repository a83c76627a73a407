"""Dead gateways, records that cannot be read, an owner that writes after its time, a log that goes away."""

import time
from collections.abc import Sequence

import msgspec
import pytest

from services.budget.consumer import TooMuchPoison
from shared.errors import LogUnavailable
from shared.eventlog.port import EventLog, NewRecord, Record
from shared.events import Bucket, CounterPublished, PartitionProgress, UsageRecorded, decode, encode
from shared.governance.spend_view import Spend
from shared.topics import DEAD_LETTERS, SPEND, USAGE, partition_for
from tests.support.budget_member import BudgetMember, budget_member
from tests.support.crashing_log import CrashingLog
from tests.support.eventually import eventually
from tests.support.usage import BASE_MS, KEY_ID, UsageProducer, ended, started

DEADLINE_MS = BASE_MS + 1_000


async def everything(log: EventLog, topic: str) -> list[Record]:
    ends = await log.end_offsets(topic)
    return [
        record
        for partition, end in ends.items()
        async for batch in log.read(topic, partition, 0, end)
        for record in batch
    ]


async def abandonments(log: EventLog) -> list[UsageRecorded]:
    events = [decode(record.value or b"") for record in await everything(log, USAGE)]
    return [event for event in events if isinstance(event, UsageRecorded) and event.outcome == "abandoned"]


async def becomes(member: BudgetMember, expected: Spend) -> None:
    await eventually(lambda: member.total("bud_test") == expected)


async def test_a_request_whose_gateway_died_is_settled_at_what_it_reserved(log: EventLog) -> None:
    await UsageProducer(log).send(started("r1", deadline_ms=DEADLINE_MS))

    async with budget_member(log, now_ms=lambda: DEADLINE_MS + 1) as member:
        await becomes(member, Spend(1_000, 0, 1, 0, 0))

    written = await abandonments(log)
    assert [(end.request_id, end.cost_nanos, end.cost_basis) for end in written] == [
        ("r1", 1_000, "reserved")
    ]
    assert {record.key for record in await everything(log, USAGE)} == {KEY_ID}


async def test_a_request_is_left_alone_until_its_deadline(log: EventLog) -> None:
    await UsageProducer(log).send(started("r1", deadline_ms=DEADLINE_MS))

    async with budget_member(log, now_ms=lambda: DEADLINE_MS - 1) as member:
        await becomes(member, Spend(0, 1_000, 0, 0, 0))
        rounds = member.metrics.published
        before = rounds._value.get()
        await eventually(lambda: rounds._value.get() > before + 4)

    assert await abandonments(log) == []


async def test_a_true_end_after_the_abandonment_corrects_it_also_under_a_new_owner(log: EventLog) -> None:
    producer = UsageProducer(log)
    start = started("r1", deadline_ms=DEADLINE_MS)
    await producer.send(start)
    async with budget_member(log, now_ms=lambda: DEADLINE_MS + 1) as first:
        await becomes(first, Spend(1_000, 0, 1, 0, 0))

    async with budget_member(log, now_ms=lambda: DEADLINE_MS + 1) as second:
        await becomes(second, Spend(1_000, 0, 1, 0, 0))
        await producer.send(ended(start, cost_nanos=250, after_ms=5_000))
        await becomes(second, Spend(250, 0, 1, 15, 0))


async def test_nothing_is_abandoned_whose_end_waits_in_the_backlog(log: EventLog) -> None:
    producer = UsageProducer(log)
    starts = [started(f"r{number}", deadline_ms=DEADLINE_MS) for number in range(400)]
    await producer.send(*starts)
    await producer.send(*(ended(start, cost_nanos=1) for start in starts))

    async with budget_member(log, now_ms=lambda: DEADLINE_MS + 1) as member:
        await becomes(member, Spend(400, 0, 400, 6_000, 0))

    assert await abandonments(log) == []


async def test_poison_goes_to_the_dead_letters_and_the_rest_is_folded(log: EventLog) -> None:
    producer = UsageProducer(log)
    start = started("r1")
    place = partition_for(KEY_ID, log.partitions(USAGE))
    await producer.send(start)
    await log.append(
        [
            NewRecord(USAGE, place, KEY_ID, b"{not json"),
            NewRecord(USAGE, place, KEY_ID, b'{"type":"request.unheard-of"}'),
            NewRecord(USAGE, place, KEY_ID, encode(ended(start)), {"seq": "seven", "producer": "p"}),
        ]
    )
    await producer.send(ended(start, cost_nanos=700))

    async with budget_member(log) as member:
        await becomes(member, Spend(700, 0, 1, 15, 0))

    letters = [msgspec.json.decode(record.value or b"") for record in await everything(log, DEAD_LETTERS)]
    assert [(letter["topic"], letter["partition"], letter["offset"]) for letter in letters] == [
        (USAGE, place, 1),
        (USAGE, place, 2),
        (USAGE, place, 3),
    ]
    assert all(letter["reason"] and letter["value"] for letter in letters)


async def test_the_next_owner_does_not_meet_the_poison_again(log: EventLog) -> None:
    await log.append([NewRecord(USAGE, 0, KEY_ID, b"?")])
    async with budget_member(log) as first:
        await eventually(lambda: first.metrics.dead_letters._value.get() == 1)

    async with budget_member(log) as second:
        await eventually(lambda: len(second.consumer.owned) == 2)
        await UsageProducer(log).send(started("r1"))
        await becomes(second, Spend(0, 1_000, 0, 0, 0))

    assert len(await everything(log, DEAD_LETTERS)) == 1


async def test_nothing_but_poison_stops_the_consumer_loudly(log: EventLog) -> None:
    await log.append([NewRecord(USAGE, 0, KEY_ID, b"?") for _ in range(6)])

    async with budget_member(log, max_consecutive_poison=5) as member:
        await eventually(member.task.done)
        assert isinstance(member.task.exception(), TooMuchPoison)


async def test_a_late_word_of_an_earlier_owner_does_not_stay_the_last(log: EventLog) -> None:
    producer = UsageProducer(log)
    start = started("r1")
    await producer.send(start, ended(start, cost_nanos=700))
    place = partition_for(KEY_ID, log.partitions(USAGE))
    async with budget_member(log) as first:
        await becomes(first, Spend(700, 0, 1, 15, 0))

    async with budget_member(log) as second:
        await eventually(lambda: len(second.consumer.owned) == 2)
        zombie: list[CounterPublished | PartitionProgress] = [
            CounterPublished(
                budget_id="bud_test",
                partition=place,
                epoch=1,
                through_offset=0,
                buckets=(Bucket(0, 0, 0, 1_000),),
            ),
            PartitionProgress(
                partition=place, epoch=1, through_offset=0, at_ms=BASE_MS, event_time_ms=BASE_MS
            ),
        ]
        keys = ("counter/bud_test", "progress")
        await log.append(
            [NewRecord(SPEND, place, key, encode(event)) for key, event in zip(keys, zombie, strict=True)]
        )

        async def last_word() -> bool:
            records = [r for r in await everything(log, SPEND) if r.key == "counter/bud_test"]
            event = decode(records[-1].value or b"")
            return isinstance(event, CounterPublished) and event.epoch > 1

        await eventually(last_word)
        assert second.total("bud_test") == Spend(700, 0, 1, 15, 0)
        assert second.metrics.rewritten._value.get() >= 1


class FlakyLog(CrashingLog):
    """Writes every second publication of spend, or the first half of it, and then says it did not."""

    def __init__(self, log: EventLog) -> None:
        super().__init__(log, at_append=1_000_000, moment="before", topic=SPEND)
        self._count = 0

    async def append(self, records: Sequence[NewRecord]) -> Sequence[int]:
        if records[0].topic != SPEND:
            return await super().append(records)
        self._count += 1
        if self._count % 3 == 1:
            raise LogUnavailable("away")
        if self._count % 3 == 2:
            await super().append(records[: (len(records) + 1) // 2])
            raise LogUnavailable("written in part, then away")
        return await super().append(records)


async def test_publications_that_may_have_been_written_are_repeated_without_drift(log: EventLog) -> None:
    producer = UsageProducer(log)
    async with budget_member(FlakyLog(log)) as member:
        for number in range(12):
            start = started(f"r{number}")
            await producer.send(start, ended(start, cost_nanos=number))
        await eventually(lambda: member.total("bud_test") == Spend(66, 0, 12, 180, 0))
        assert member.metrics.publish_failures._value.get() >= 2


@pytest.mark.parametrize("requests", [20])
async def test_an_event_is_visible_as_spend_quickly(log: EventLog, requests: int) -> None:
    producer = UsageProducer(log)
    times = []
    async with budget_member(log) as member:
        await eventually(lambda: len(member.consumer.owned) == 2)
        for number in range(1, requests + 1):
            start = started(f"r{number}")
            began = time.monotonic()
            await producer.send(start, ended(start, cost_nanos=1))
            await becomes(member, Spend(number, 0, number, 15 * number, 0))
            times.append(time.monotonic() - began)

    assert sorted(times)[requests // 2] < 0.5
