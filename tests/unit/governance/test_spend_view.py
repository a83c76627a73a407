"""The view's rules one by one; their sum is in test_exactness."""

from shared.events import Bucket, Charge, CounterPublished, PartitionProgress, ProducerMark
from shared.governance.model import Budget
from shared.governance.spend_view import Spend, SpendView
from shared.governance.windows import charge_for

T = 1_764_547_200_000
HOUR = 3_600_000
BUDGET = Budget(id="bud", limit_nanos=1000, window="1h")
ROLLING = Budget(id="bud", limit_nanos=1000, window="1h", alignment="rolling")
NOW = charge_for(BUDGET, T)


def counter(
    settled: int,
    *,
    reserved: int = 0,
    through: int = 10,
    epoch: int = 1,
    partition: int = 0,
    bucket: Charge = NOW,
) -> CounterPublished:
    return CounterPublished(
        budget_id="bud",
        partition=partition,
        epoch=epoch,
        through_offset=through,
        buckets=(Bucket(bucket.bucket_ms, bucket.until_ms, settled, reserved, 1, 7, 0),),
    )


def progress(
    *, through: int = 10, epoch: int = 1, partition: int = 0, at_ms: int = T, own_seq: int | None = None
) -> PartitionProgress:
    return PartitionProgress(
        partition=partition,
        epoch=epoch,
        through_offset=through,
        at_ms=at_ms,
        event_time_ms=at_ms,
        producers={} if own_seq is None else {"me": ProducerMark(own_seq, T)},
    )


def settled(view: SpendView) -> int:
    return view.totals(BUDGET, T).settled_nanos


def test_counters_take_effect_with_the_progress_that_covers_them() -> None:
    view = SpendView("me")

    view.apply(counter(5))
    before = settled(view)
    view.apply(progress(through=10))

    assert (before, settled(view)) == (0, 5)


def test_no_progress_takes_effect_that_a_counter_is_ahead_of() -> None:
    view = SpendView("me")
    view.settle(0, 0, (NOW,), 2, 0)

    view.apply(counter(5, through=12))
    view.apply(progress(through=11, epoch=2, own_seq=0))
    before = settled(view)
    view.apply(progress(through=12, epoch=2, own_seq=0))

    assert (before, settled(view)) == (2, 5)


def test_a_counter_replaces_the_one_before() -> None:
    view = SpendView("me")
    for amount, offset in ((5, 10), (9, 20)):
        view.apply(counter(amount, through=offset))
        view.apply(progress(through=offset))

    assert view.totals(BUDGET, T) == Spend(9, 0, 1, 7, 0)


def test_partitions_are_added_up() -> None:
    view = SpendView("me")
    for partition in (0, 3):
        view.apply(counter(5, partition=partition))
        view.apply(progress(partition=partition))

    assert settled(view) == 10


def test_what_is_folded_less_far_is_ignored_whoever_writes_it() -> None:
    view = SpendView("me")
    view.apply(counter(9, epoch=2, through=20))
    view.apply(progress(epoch=2, through=20))

    for epoch in (1, 3):
        view.apply(counter(5, epoch=epoch, through=19))
        view.apply(progress(epoch=epoch, through=19, at_ms=T + 60_000))

    assert settled(view) == 9
    assert view.age_ms(T + 60_000) == 60_000


def test_an_heir_that_begins_further_back_than_its_predecessor_ended_takes_nothing_away() -> None:
    view = SpendView("me")
    view.settle(0, 7, (NOW,), 4, 0)
    view.apply(counter(9, epoch=1, through=20))
    view.apply(progress(epoch=1, through=20, own_seq=7))

    view.apply(counter(5, epoch=2, through=17))
    view.apply(progress(epoch=2, through=17, own_seq=6))
    behind = settled(view)
    view.apply(counter(11, epoch=2, through=21))
    view.apply(progress(epoch=2, through=21, own_seq=7))

    assert (behind, settled(view)) == (9, 11)


def test_own_records_count_until_the_progress_covers_them() -> None:
    view = SpendView("me")
    view.reserve(0, 0, (NOW,), 100)
    reserved = view.totals(BUDGET, T)
    view.settle(0, 1, (NOW,), 40, 100, tokens=7)
    ended = view.totals(BUDGET, T)

    view.apply(counter(0, reserved=100, through=10))
    view.apply(progress(through=10, own_seq=0))
    half_covered = view.totals(BUDGET, T)
    view.apply(counter(40, through=11))
    view.apply(progress(through=11, own_seq=1))

    assert reserved == Spend(reserved_nanos=100)
    assert ended == Spend(40, 0, 1, 7, 0)
    assert (half_covered.settled_nanos, half_covered.reserved_nanos) == (40, 0)
    assert view.totals(BUDGET, T) == Spend(40, 0, 1, 7, 0)
    assert view.uncovered_records == 0


def test_marks_of_one_partition_say_nothing_about_another() -> None:
    view = SpendView("me")
    view.settle(1, 0, (NOW,), 40, 0)

    view.apply(progress(partition=0, own_seq=5))

    assert settled(view) == 40


def test_spend_of_another_window_does_not_count() -> None:
    view = SpendView("me")
    view.apply(counter(5, bucket=charge_for(BUDGET, T - 1)))
    view.apply(progress())

    assert settled(view) == 0
    assert view.totals(BUDGET, T - 1).settled_nanos == 5


def test_a_rolling_window_loses_its_oldest_bucket_as_time_goes_on() -> None:
    view = SpendView("me")
    for minute in range(3):
        charge = charge_for(ROLLING, T + minute * 60_000)
        view.settle(0, minute, (charge,), 10**minute, 0)

    in_time = view.totals(ROLLING, T + HOUR + 59_999).settled_nanos
    one_gone = view.totals(ROLLING, T + HOUR + 60_000).settled_nanos
    buckets = view.buckets(ROLLING, T + HOUR + 60_000)

    assert (in_time, one_gone) == (111, 110)
    assert [(at, spend.settled_nanos) for at, spend in buckets] == [(T + 60_000, 10), (T + 120_000, 100)]


def test_lifetime_spend_of_a_key_is_known_by_its_id() -> None:
    view = SpendView("me")
    view.settle(0, 0, (Charge("key-a", 0, 0),), 40, 0, unpriced=True)

    assert view.lifetime("key-a") == Spend(40, 0, 1, 0, 1)
    assert view.lifetime("key-b") == Spend()


def test_age_is_that_of_the_oldest_partition_and_endless_while_one_is_missing() -> None:
    view = SpendView("me", partitions=2)
    view.apply(progress(partition=0, at_ms=T))
    incomplete = view.age_ms(T + 5)

    view.apply(progress(partition=1, at_ms=T - 100))
    view.reserve(0, 0, (NOW,), 1)

    assert incomplete == T + 5
    assert view.age_ms(T + 5) == 105
    assert view.age_ms(T - 500) == 0


def test_beyond_its_capacity_it_still_counts_own_records_and_lets_go_of_them_together() -> None:
    view = SpendView("me", max_uncovered=2)
    for seq in range(5):
        view.settle(0, seq, (NOW,), 10**seq, 0)
    all_own = settled(view)

    view.apply(counter(111, through=10))
    view.apply(progress(through=10, own_seq=2))
    partly = settled(view)
    view.settle(0, 5, (NOW,), 500_000, 0)
    view.apply(counter(11_111, through=11))
    view.apply(progress(through=11, own_seq=4))

    assert all_own == 11_111
    assert partly == 111 + 11_100
    assert settled(view) == 11_111 + 500_000
