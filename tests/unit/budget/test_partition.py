"""Batches of an owned partition, and what it makes of others that write to it."""

from services.budget.partition import OwnedPartition
from shared.events import (
    Charge,
    CounterPublished,
    PartitionProgress,
    RequestStarted,
    decode,
)
from shared.governance.ledger import PartitionLedger

NOW_MS = 5_000


def started(number: int = 1, budget: str = "b") -> RequestStarted:
    return RequestStarted(
        request_id=f"r{number}",
        at_ms=1_000,
        deadline_ms=9_000,
        gateway_id="g",
        virtual_key_id="vk",
        endpoint="chat.completions",
        provider="demo",
        model="echo",
        reserved_nanos=100,
        charges=(Charge(budget, 0, 0),),
    )


def owned(epoch: int = 2) -> OwnedPartition:
    return OwnedPartition(PartitionLedger(3, epoch), spend_end=50, next_offset=0)


def counter_at(epoch: int, through: int) -> CounterPublished:
    return CounterPublished(budget_id="b", partition=3, epoch=epoch, through_offset=through)


def test_a_batch_holds_what_changed_and_ends_with_its_progress() -> None:
    one = owned()
    one.fold(0, "p", 1, started(), NOW_MS)

    records = one.batch(5_000)

    assert [record.key for record in records] == ["counter/b", "progress"]
    counter, progress = (decode(record.value or b"") for record in records)
    assert isinstance(counter, CounterPublished) and counter.buckets[0].reserved_nanos == 100
    assert isinstance(progress, PartitionProgress)
    assert (progress.through_offset, progress.open_offsets) == (0, (0,))


def test_progress_is_as_of_the_newest_event_folded_unless_the_log_holds_no_more() -> None:
    one = owned()
    one.fold(0, "p", 1, started(), NOW_MS)
    behind = decode(one.batch(NOW_MS)[-1].value or b"")
    one.acknowledge(1.0)

    one.complete_at_ms = NOW_MS
    level = decode(one.batch(NOW_MS)[-1].value or b"")

    assert isinstance(behind, PartitionProgress) and isinstance(level, PartitionProgress)
    assert (behind.at_ms, level.at_ms) == (started().at_ms, NOW_MS)


def test_the_same_batch_is_given_until_it_is_acknowledged() -> None:
    one = owned()
    one.fold(0, "p", 1, started(1, "b"), NOW_MS)
    first = one.batch(5_000)
    one.fold(1, "p", 2, started(2, "c"), NOW_MS)

    assert one.batch(6_000) is first
    assert one.published_offset == 0
    one.acknowledge(1.0)
    assert one.published_offset == 1
    assert [record.key for record in one.batch(6_000)] == ["counter/c", "progress"]


def test_a_heartbeat_carries_progress_alone() -> None:
    one = owned()
    one.batch(5_000)
    one.acknowledge(1.0)

    assert [record.key for record in one.batch(6_000)] == ["progress"]


def test_a_record_that_is_folded_less_far_is_overruled() -> None:
    one = owned(epoch=2)
    one.fold(7, "p", 1, started(), NOW_MS)
    one.batch(5_000)
    one.acknowledge(1.0)

    assert not one.observe(50, counter_at(epoch=2, through=7))
    assert one.observe(51, counter_at(epoch=1, through=6))

    assert one.is_dirty
    assert [record.key for record in one.batch(6_000)] == ["counter/b", "progress"]


def test_its_own_record_is_overruled_when_another_owner_was_further() -> None:
    one = owned(epoch=2)

    assert not one.observe(51, counter_at(epoch=1, through=10))
    assert one.observe(52, counter_at(epoch=2, through=9))


def test_own_records_and_what_was_there_at_take_over_are_no_offence() -> None:
    one = owned(epoch=2)
    one.batch(5_000)
    one.acknowledge(1.0)

    assert not one.observe(49, counter_at(epoch=1, through=7))
    assert not one.observe(50, counter_at(epoch=2, through=0))
    assert not one.observe(51, counter_at(epoch=2, through=0))
    assert not one.is_dirty
