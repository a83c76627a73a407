"""Reading back what an earlier owner published."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.budget.recovery import SpendSnapshot, runs
from shared.eventlog.port import Record
from shared.events import AnyEvent, CounterPublished, PartitionProgress, RequestAbandoned, encode
from shared.topics import SPEND


def record(event: AnyEvent | bytes | None, key: str = "k") -> Record:
    value = event if isinstance(event, bytes) or event is None else encode(event)
    return Record(SPEND, 3, 0, key, value, {}, 0)


def counter(epoch: int, through: int, budget: str = "b") -> CounterPublished:
    return CounterPublished(budget_id=budget, partition=3, epoch=epoch, through_offset=through)


def progress(epoch: int, through: int) -> PartitionProgress:
    return PartitionProgress(partition=3, epoch=epoch, through_offset=through, at_ms=0, event_time_ms=0)


@pytest.mark.parametrize(("further", "less"), [(1, 2), (2, 1)])
def test_what_is_folded_furthest_wins_whoever_wrote_last(further: int, less: int) -> None:
    snapshot = SpendSnapshot()
    for event in (
        counter(1, 5),
        counter(further, 9),
        progress(further, 9),
        counter(less, 7),
        progress(less, 7),
    ):
        snapshot.add(record(event))

    assert snapshot.counters["b"] == counter(further, 9)
    assert snapshot.progress == progress(further, 9)


def test_a_newest_state_that_is_not_the_last_record_must_be_written_again() -> None:
    snapshot = SpendSnapshot()
    snapshot.add(record(counter(2, 9)))
    snapshot.add(record(counter(1, 7)))
    assert snapshot.overwritten == {"b"}

    snapshot.add(record(counter(2, 10)))
    assert snapshot.overwritten == set()


def test_a_tombstone_forgets_an_abandonment() -> None:
    snapshot = SpendSnapshot()
    for name in ("r1", "r2"):
        snapshot.add(record(RequestAbandoned(request_id=name, cost_nanos=1, at_ms=0, through_offset=0)))
    snapshot.add(record(None, "abandoned/r1"))

    assert set(snapshot.abandoned) == {"r2"}


def test_an_unreadable_record_is_left_out() -> None:
    snapshot = SpendSnapshot()
    snapshot.add(record(counter(1, 5)))
    snapshot.add(record(b"{not json"))

    assert snapshot.counters == {"b": counter(1, 5)}


@given(st.lists(st.integers(0, 500), unique=True).map(sorted), st.integers(1, 50))
def test_runs_cover_every_offset_and_never_a_longer_gap(offsets: list[int], max_gap: int) -> None:
    found = list(runs(offsets, max_gap))

    covered = [offset for first, last in found for offset in offsets if first <= offset <= last]
    assert covered == offsets
    assert all(later[0] - earlier[1] > max_gap for earlier, later in zip(found, found[1:], strict=False))
    assert all(first in offsets and last in offsets for first, last in found)
