from datetime import UTC, datetime
from typing import cast, get_args

import hypothesis.strategies as st
import pytest
from hypothesis import given

from shared.events import Charge
from shared.governance.model import Alignment, Budget, VirtualKey, Window
from shared.governance.windows import (
    LENGTH_MS,
    RING,
    active_since,
    calendar_window,
    charge_for,
    charges_for,
    leaves_at_ms,
    resets_at_ms,
)

ALL_WINDOWS: tuple[Window, ...] = get_args(Window)
TIMED: tuple[Window, ...] = tuple(window for window in ALL_WINDOWS if window != "lifetime")
ALIGNMENTS: tuple[Alignment, ...] = get_args(Alignment)

instants = st.integers(0, 4_102_444_800_000)  # until 2100
budgets = st.builds(
    lambda window, alignment: Budget(id="b", limit_nanos=1, window=window, alignment=alignment),
    st.sampled_from(TIMED),
    st.sampled_from(ALIGNMENTS),
)


def at(text: str) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp() * 1000)


def budget(window: str, alignment: str = "calendar") -> Budget:
    return Budget(id="b", limit_nanos=1, window=cast(Window, window), alignment=cast(Alignment, alignment))


@pytest.mark.parametrize(
    ("window", "instant", "start", "end"),
    [
        ("1h", "2026-11-23T04:59:59.999", "2026-11-23T04:00", "2026-11-23T05:00"),
        ("1h", "2026-11-23T05:00", "2026-11-23T05:00", "2026-11-23T06:00"),
        ("1d", "2026-12-31T23:59:59.999", "2026-12-31", "2027-01-01"),
        ("1w", "2026-11-23T00:00", "2026-11-23", "2026-11-30"),  # a Monday
        ("1w", "2026-11-29T23:59:59.999", "2026-11-23", "2026-11-30"),
        ("1w", "2027-01-01T12:00", "2026-12-28", "2027-01-04"),
        ("1M", "2028-02-29T12:00", "2028-02-01", "2028-03-01"),
        ("1M", "2026-02-28T23:59:59.999", "2026-02-01", "2026-03-01"),
        ("1M", "2026-12-31T23:59:59.999", "2026-12-01", "2027-01-01"),
        ("1Y", "2028-12-31T23:59:59.999", "2028-01-01", "2029-01-01"),
        ("1Y", "2100-03-01T00:00", "2100-01-01", "2101-01-01"),
    ],
)
def test_calendar_windows_follow_utc(window: str, instant: str, start: str, end: str) -> None:
    assert calendar_window(cast(Window, window), at(instant)) == (at(start), at(end))
    assert charge_for(budget(window), at(instant)).bucket_ms == at(start)
    assert resets_at_ms(budget(window), at(instant)) == at(end)


@given(st.sampled_from(TIMED), instants)
def test_calendar_windows_tile_time(window: Window, now_ms: int) -> None:
    start, end = calendar_window(window, now_ms)

    assert start <= now_ms < end
    assert calendar_window(window, start) == calendar_window(window, end - 1) == (start, end)
    assert calendar_window(window, end)[0] == end


@given(st.sampled_from(TIMED), instants)
def test_rolling_buckets_tile_time(window: Window, now_ms: int) -> None:
    width = LENGTH_MS[window] // RING
    start = charge_for(budget(window, "rolling"), now_ms).bucket_ms

    assert start <= now_ms < start + width
    assert charge_for(budget(window, "rolling"), start + width).bucket_ms == start + width
    assert width * RING == LENGTH_MS[window]


@given(budgets, instants)
def test_a_request_counts_from_its_beginning(of: Budget, now_ms: int) -> None:
    assert charge_for(of, now_ms).bucket_ms >= active_since(of, now_ms)


@given(budgets, instants, st.integers(0, 3 * 366 * 86_400_000))
def test_a_bucket_counts_exactly_until_it_leaves(of: Budget, began_ms: int, later_ms: int) -> None:
    bucket_ms = charge_for(of, began_ms).bucket_ms
    leaves_ms = leaves_at_ms(of, bucket_ms)
    assert leaves_ms is not None

    now_ms = began_ms + later_ms

    assert (bucket_ms >= active_since(of, now_ms)) == (now_ms < leaves_ms)
    assert bucket_ms >= active_since(of, leaves_ms - 1)
    assert bucket_ms < active_since(of, leaves_ms)


@given(st.sampled_from(TIMED), instants, instants)
def test_a_rolling_window_forgets_nothing_younger_than_itself(
    window: Window, began_ms: int, now_ms: int
) -> None:
    of = budget(window, "rolling")
    length = LENGTH_MS[window]
    counts = charge_for(of, began_ms).bucket_ms >= active_since(of, now_ms)

    if 0 <= now_ms - began_ms <= length:
        assert counts
    if now_ms - began_ms >= length + length // RING:
        assert not counts


@given(budgets, instants)
def test_a_bucket_is_kept_longer_than_it_counts(of: Budget, began_ms: int) -> None:
    charge = charge_for(of, began_ms)
    leaves_ms = leaves_at_ms(of, charge.bucket_ms)

    assert leaves_ms is not None
    assert charge.until_ms > leaves_ms


@given(budgets, instants, instants)
def test_time_never_brings_a_bucket_back(of: Budget, one_ms: int, other_ms: int) -> None:
    earlier, later = sorted((one_ms, other_ms))

    assert active_since(of, earlier) <= active_since(of, later)


def test_a_lifetime_budget_has_one_bucket_for_ever() -> None:
    of = budget("lifetime")

    assert charge_for(of, at("2026-11-23")) == Charge("b", 0, 0)
    assert active_since(of, at("2099-01-01")) == 0
    assert resets_at_ms(of, at("2026-11-23")) is None
    assert leaves_at_ms(of, 0) is None


def test_a_rolling_budget_never_resets_at_once() -> None:
    assert resets_at_ms(budget("1d", "rolling"), at("2026-11-23")) is None


def test_a_key_is_charged_for_its_budgets_and_for_its_lifetime() -> None:
    key = VirtualKey(
        id="key", name="k", key_sha256="", prefix="", budgets=(budget("1M"), budget("1d", "rolling"))
    )

    charges = charges_for(key, at("2026-11-23T04:00"))

    assert [charge.budget_id for charge in charges] == ["b", "b", "key"]
    assert charges[0].bucket_ms == at("2026-11-01")
    assert charges[-1] == Charge("key", 0, 0)
