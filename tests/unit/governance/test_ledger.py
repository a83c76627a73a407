"""The ledger's rules one by one; their sum is in test_exactness."""

import pytest

from shared.events import Bucket as B
from shared.events import (
    Charge,
    CounterPublished,
    PartitionProgress,
    ProducerMark,
    RequestAbandoned,
    RequestStarted,
    Tokens,
    UsageRecorded,
)
from shared.governance.ledger import (
    ABANDONED_KEEP_MS,
    PRODUCER_KEEP_MS,
    PRODUCERS_KEPT,
    RETRY_INTERVAL_MS,
    PartitionLedger,
)
from shared.governance.windows import DAY_MS, HOUR_MS

T = 1_764_547_200_000
FOREVER = Charge("bud", 0, 0)


def started(
    request_id: str = "r1", *, at_ms: int = T, reserve: int = 100, charge: Charge = FOREVER
) -> RequestStarted:
    return RequestStarted(
        request_id=request_id,
        at_ms=at_ms,
        deadline_ms=at_ms + 1000,
        gateway_id="gw",
        virtual_key_id="key",
        endpoint="chat.completions",
        provider="demo",
        model="demo/echo",
        reserved_nanos=reserve,
        charges=(charge,),
    )


def ended(
    request_id: str = "r1",
    *,
    at_ms: int = T,
    cost: int = 40,
    charge: Charge = FOREVER,
    outcome: str = "success",
    basis: str = "priced",
) -> UsageRecorded:
    return UsageRecorded(
        request_id=request_id,
        started_at_ms=at_ms,
        at_ms=at_ms,
        gateway_id="gw",
        virtual_key_id="key",
        endpoint="chat.completions",
        provider="demo",
        model="demo/echo",
        outcome=outcome,  # type: ignore[arg-type]  # a literal in every call
        http_status=200,
        tokens=Tokens(prompt=3, completion=4),
        cost_nanos=cost,
        cost_basis=basis,  # type: ignore[arg-type]  # a literal in every call
        charges=(charge,),
    )


def only_bucket(ledger: PartitionLedger, budget_id: str = "bud") -> B:
    (bucket,) = ledger.counter(budget_id).buckets
    return bucket


def test_a_start_reserves_and_its_end_settles_and_releases() -> None:
    ledger = PartitionLedger(3)

    ledger.apply(0, "gw-1", 0, started())
    reserved = only_bucket(ledger)
    ledger.apply(5, "gw-1", 1, ended())

    assert reserved == B(0, 0, reserved_nanos=100)
    assert only_bucket(ledger) == B(0, 0, settled_nanos=40, requests=1, tokens=7)
    assert ledger.counter("bud").through_offset == 5
    assert (ledger.counter("bud").partition, ledger.open_requests) == (3, 0)


def test_an_unpriced_end_is_counted_as_such() -> None:
    ledger = PartitionLedger(0)

    ledger.apply(0, "gw-1", 0, started())
    ledger.apply(1, "gw-1", 1, ended(cost=0, basis="unpriced"))

    assert only_bucket(ledger).unpriced == 1


def test_an_end_without_a_start_is_settled_and_releases_nothing() -> None:
    ledger = PartitionLedger(0)
    ledger.apply(0, "gw-1", 0, started("other"))

    ledger.apply(1, "gw-2", 0, ended("unknown"))

    assert only_bucket(ledger) == B(0, 0, settled_nanos=40, reserved_nanos=100, requests=1, tokens=7)


def test_an_offset_at_or_below_the_last_folded_is_skipped() -> None:
    ledger = PartitionLedger(0)
    ledger.apply(7, "gw-1", 0, started())

    ledger.apply(7, "gw-2", 0, started("r2"))
    ledger.apply(3, "gw-2", 1, started("r3"))

    assert ledger.through_offset == 7
    assert only_bucket(ledger).reserved_nanos == 100


def test_a_replay_moves_the_offset_and_nothing_else() -> None:
    ledger = PartitionLedger(0)
    ledger.apply(0, "gw-1", 4, ended("r1"))

    ledger.apply(1, "gw-1", 4, ended("r1"))
    ledger.apply(2, "gw-1", 3, ended("r0"))

    assert only_bucket(ledger).requests == 1
    assert ledger.progress(T).through_offset == 2


def test_a_producer_is_forgotten_after_its_keep_time_once_there_are_many_others() -> None:
    ledger = PartitionLedger(0)
    ledger.apply(0, "gw-old", 4, ended("r1"))
    late = T + PRODUCER_KEEP_MS + 1
    for number in range(PRODUCERS_KEPT - 1):
        ledger.apply(number + 1, f"gw-{number}", 0, ended(f"r-{number}", at_ms=late))
    still_known = ledger.progress(T).producers

    ledger.apply(100, "gw-new", 0, ended("r3", at_ms=late))

    assert still_known["gw-old"] == ProducerMark(4, T)
    assert set(ledger.progress(T).producers) == (still_known.keys() | {"gw-new"}) - {"gw-old"}


def test_many_producers_are_all_recognised_within_their_keep_time() -> None:
    ledger = PartitionLedger(0)
    for number in range(3 * PRODUCERS_KEPT):
        ledger.apply(number, f"gw-{number}", 7, ended(f"r-{number}", at_ms=T + number))

    ledger.apply(500, "gw-0", 7, ended("r-0", at_ms=T + PRODUCER_KEEP_MS))

    assert only_bucket(ledger).requests == 3 * PRODUCERS_KEPT


def test_a_replay_is_recognised_after_a_long_silence() -> None:
    ledger = PartitionLedger(0)
    ledger.apply(0, "gw-1", 0, ended("r1"))
    ledger.apply(1, "gw-2", 0, ended("r2", at_ms=T + 3 * PRODUCER_KEEP_MS))

    ledger.apply(2, "gw-1", 0, ended("r1"))

    assert only_bucket(ledger).requests == 2


def test_a_producer_is_recognised_however_wrong_its_clock_is() -> None:
    ledger = PartitionLedger(0)
    ledger.apply(0, "gw-1", 0, ended("r1"), now_ms=T)

    ledger.apply(1, "gw-2", 4, ended("r2", at_ms=0), now_ms=T)
    ledger.apply(2, "gw-2", 4, ended("r2", at_ms=0), now_ms=T)
    ledger.apply(3, "gw-3", 0, ended("r3", at_ms=T + 10 * PRODUCER_KEEP_MS), now_ms=T)

    assert only_bucket(ledger).requests == 3
    assert ledger.progress(T).producers == {
        name: ProducerMark(seq, T) for name, seq in (("gw-1", 0), ("gw-2", 4), ("gw-3", 0))
    }


def test_a_clock_that_runs_ahead_ends_no_window_for_others() -> None:
    ledger = PartitionLedger(0)
    this_hour = Charge("bud", T, T + 3 * HOUR_MS)
    ledger.apply(0, "gw-1", 0, ended("r1", charge=this_hour), now_ms=T)

    ledger.apply(1, "gw-2", 0, ended("r2", at_ms=T + 365 * DAY_MS), now_ms=T)
    ledger.apply(2, "gw-1", 1, ended("r3", charge=this_hour), now_ms=T)

    assert [(b.bucket_ms, b.settled_nanos) for b in ledger.counter("bud").buckets] == [(0, 40), (T, 80)]


def test_an_owner_whose_own_clock_was_ahead_leaves_no_future_to_its_heir() -> None:
    ledger = PartitionLedger(0)

    ledger.restore([], [], progress(epoch=1, through_offset=9, event_time_ms=T + 365 * DAY_MS), now_ms=T)

    assert ledger.event_time_ms == T


def test_a_request_from_a_clock_that_runs_ahead_is_due_in_its_own_time_from_here() -> None:
    ledger = PartitionLedger(0)
    ledger.apply(0, "gw-1", 0, started(at_ms=T + 365 * DAY_MS), now_ms=T)

    assert ledger.due(T + 999) == []
    assert len(ledger.due(T + 1000)) == 1


def test_due_returns_each_late_request_again_only_after_the_retry_interval() -> None:
    ledger = PartitionLedger(0)
    ledger.apply(0, "gw-1", 0, started())

    assert ledger.due(T + 999) == []
    (abandonment,) = ledger.due(T + 1000)
    assert ledger.due(T + 1000 + RETRY_INTERVAL_MS - 1) == []
    assert len(ledger.due(T + 1000 + RETRY_INTERVAL_MS)) == 1
    assert (abandonment.outcome, abandonment.cost_basis) == ("abandoned", "reserved")
    assert (abandonment.cost_nanos, abandonment.reserved_nanos) == (100, 100)
    assert abandonment.gateway_id == "gw"
    assert abandonment.charges == (FOREVER,)
    assert abandonment.latency_ms == 1000


def test_nothing_is_due_once_the_end_was_folded() -> None:
    ledger = PartitionLedger(0)
    ledger.apply(0, "gw-1", 0, started())
    ledger.apply(1, "gw-1", 1, ended())

    assert ledger.due(T + 10**9) == []


def test_an_abandonment_settles_the_reservation_and_is_published_once() -> None:
    ledger = PartitionLedger(0)
    ledger.apply(0, "gw-1", 0, started())
    (abandonment,) = ledger.due(T + 1000)

    ledger.apply(1, "", 0, abandonment)
    ledger.apply(2, "", 0, abandonment)

    assert only_bucket(ledger) == B(0, 0, settled_nanos=100, requests=1)
    assert ledger.take_abandoned() == (
        [RequestAbandoned(request_id="r1", cost_nanos=100, at_ms=T + 1000, through_offset=1)],
        [],
    )
    assert ledger.take_abandoned() == ([], [])


def test_a_late_true_end_corrects_the_abandonment_and_removes_it() -> None:
    ledger = PartitionLedger(0)
    ledger.apply(0, "gw-1", 0, started())
    ledger.apply(1, "", 0, ledger.due(T + 1000)[0])
    ledger.take_abandoned()

    ledger.apply(2, "gw-1", 1, ended(cost=40))

    assert only_bucket(ledger) == B(0, 0, settled_nanos=40, requests=1, tokens=7)
    assert ledger.take_abandoned() == ([], ["r1"])


def test_an_end_that_comes_days_after_the_abandonment_corrects_it() -> None:
    ledger = PartitionLedger(0)
    ledger.apply(0, "gw-1", 0, started())
    ledger.apply(1, "", 0, ledger.due(T + 1000)[0])
    ledger.apply(2, "gw-2", 0, ended("r2", cost=1, at_ms=T + 6 * DAY_MS))
    ledger.progress(T)

    ledger.apply(3, "gw-1", 1, ended(cost=40))

    assert only_bucket(ledger) == B(0, 0, settled_nanos=41, requests=2, tokens=14)


def test_a_correction_in_the_same_batch_publishes_nothing_about_the_abandonment() -> None:
    ledger = PartitionLedger(0)
    ledger.apply(0, "gw-1", 0, started())
    ledger.apply(1, "", 0, ledger.due(T + 1000)[0])

    ledger.apply(2, "gw-1", 1, ended())

    assert ledger.take_abandoned() == ([], [])


def test_an_abandonment_is_forgotten_after_its_keep_time() -> None:
    ledger = PartitionLedger(0)
    ledger.apply(0, "gw-1", 0, started())
    abandonment = ledger.due(T + 1000)[0]
    ledger.apply(1, "", 0, abandonment)
    ledger.take_abandoned()

    ledger.apply(2, "gw-2", 0, ended("r2", at_ms=abandonment.at_ms + ABANDONED_KEEP_MS + 1))
    ledger.progress(T)

    assert ledger.take_abandoned() == ([], ["r1"])


def test_an_abandonment_that_lost_against_the_true_end_changes_nothing() -> None:
    ledger = PartitionLedger(0)
    ledger.apply(0, "gw-1", 0, started())
    late = ledger.due(T + 1000)[0]
    ledger.apply(1, "gw-1", 1, ended())

    ledger.apply(2, "", 0, late)

    assert only_bucket(ledger) == B(0, 0, settled_nanos=40, requests=1, tokens=7)


def test_a_bucket_is_dropped_when_event_time_passes_its_end_and_stays_dropped() -> None:
    ledger = PartitionLedger(0)
    old = Charge("bud", T, T + 5000)
    ledger.apply(0, "gw-1", 0, started(charge=old))

    ledger.apply(1, "gw-1", 1, ended("r2", at_ms=T + 5000, charge=Charge("bud", T + 5000, T + 9000)))
    ledger.apply(2, "gw-1", 2, ended("r1", at_ms=T + 5000, charge=old))

    assert [bucket.bucket_ms for bucket in ledger.counter("bud").buckets] == [T + 5000]


def test_changed_counters_are_returned_once() -> None:
    ledger = PartitionLedger(0)
    ledger.apply(0, "gw-1", 0, started())

    assert ledger.take_changed() == ["bud"]
    assert ledger.take_changed() == []
    ledger.republish("bud")
    ledger.republish("unknown")
    assert ledger.take_changed() == ["bud"]


def test_a_published_counter_does_not_change_afterwards() -> None:
    ledger = PartitionLedger(0)
    ledger.apply(0, "gw-1", 0, started())
    published = ledger.counter("bud")

    ledger.apply(1, "gw-1", 1, ended())

    assert published.buckets[0].reserved_nanos == 100


def test_restore_takes_what_is_folded_furthest_and_an_epoch_above_all() -> None:
    ledger = PartitionLedger(0)
    less = CounterPublished(budget_id="bud", partition=0, epoch=4, through_offset=10, buckets=(B(0, 0, 1),))
    more = CounterPublished(budget_id="bud", partition=0, epoch=3, through_offset=12, buckets=(B(0, 0, 2),))

    ledger.restore([more, less], [], progress(epoch=3, through_offset=12))

    assert ledger.epoch == 5
    assert only_bucket(ledger).settled_nanos == 2
    assert ledger.take_changed() == []


def test_a_counter_restored_ahead_of_the_progress_takes_nothing_twice() -> None:
    ledger = PartitionLedger(0)
    ahead = CounterPublished(
        budget_id="bud", partition=0, epoch=1, through_offset=11, buckets=(B(0, 0, 80, 0, 2, 14),)
    )
    ledger.restore([ahead], [], progress(epoch=1, through_offset=9))

    ledger.apply(10, "gw-1", 0, ended("r1"))
    through = ledger.counter("bud").through_offset
    ledger.apply(11, "gw-1", 1, ended("r2"))
    unchanged = ledger.take_changed()
    ledger.apply(12, "gw-1", 2, ended("r3"))

    assert (through, unchanged) == (11, [])
    assert only_bucket(ledger).settled_nanos == 120
    assert ledger.take_changed() == ["bud"]


def test_an_abandonment_beyond_the_restored_progress_is_made_again_by_the_fold() -> None:
    ledger = PartitionLedger(0)
    torn = RequestAbandoned(request_id="r1", cost_nanos=100, at_ms=T, through_offset=11)

    ledger.restore([], [torn], progress(epoch=1, through_offset=9, open_offsets=(4,)))
    ledger.reopen(4, started())
    ledger.apply(11, "", 0, ended("r1", outcome="abandoned", cost=100))

    assert [entry.request_id for entry in ledger.take_abandoned()[0]] == ["r1"]


def test_an_empty_spend_topic_restores_to_nothing() -> None:
    ledger = PartitionLedger(0)

    ledger.restore([], [], None)

    assert (ledger.epoch, ledger.through_offset) == (1, -1)
    assert ledger.progress(T) == progress(epoch=1, through_offset=-1, event_time_ms=0)


def test_an_unknown_counter_is_a_key_error() -> None:
    with pytest.raises(KeyError):
        PartitionLedger(0).counter("nothing")


def progress(
    *, epoch: int, through_offset: int, open_offsets: tuple[int, ...] = (), event_time_ms: int = T
) -> PartitionProgress:
    return PartitionProgress(
        partition=0,
        epoch=epoch,
        through_offset=through_offset,
        at_ms=T,
        event_time_ms=event_time_ms,
        open_offsets=open_offsets,
    )
