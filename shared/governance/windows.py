"""Budget windows as buckets: which bucket a request is charged to, and which buckets count now.

A calendar window is one bucket: the UTC hour, day, ISO week, month or year. A rolling window is a ring of 60
buckets, each a sixtieth of the window; a bucket counts until it lies wholly outside the window, so a rolling
budget looks back between 60/60 and 61/60 of its window and never forgets too early. A lifetime budget is bucket 0.

Pure functions of Unix milliseconds.
"""

from datetime import UTC, datetime
from functools import lru_cache
from typing import Final

from shared.events import Charge
from shared.governance.model import Budget, VirtualKey, Window

SECOND_MS: Final = 1000
HOUR_MS: Final = 3_600_000
DAY_MS: Final = 86_400_000
RING: Final = 60
SLACK_WINDOWS: Final = 2
"""A calendar bucket is kept this many windows after its end: late events still find it."""
SLACK_BUCKETS: Final = 2
"""A rolling bucket is kept this many buckets after it left the window: clocks of several hosts differ."""

LENGTH_MS: Final[dict[Window, int]] = {
    "1h": HOUR_MS,
    "1d": DAY_MS,
    "1w": 7 * DAY_MS,
    "1M": 30 * DAY_MS,
    "1Y": 365 * DAY_MS,
}
_MONDAY_OFFSET_DAYS: Final = 3
"""1970-01-01 was a Thursday: three days after a Monday."""


def _day_ms(year: int, month: int) -> int:
    return int(datetime(year, month, 1, tzinfo=UTC).timestamp()) * SECOND_MS


@lru_cache(maxsize=1024)
def _month_or_year(window: Window, day: int) -> tuple[int, int]:
    at = datetime.fromtimestamp(day * DAY_MS // SECOND_MS, UTC)
    if window == "1Y":
        return _day_ms(at.year, 1), _day_ms(at.year + 1, 1)
    following = (at.year + 1, 1) if at.month == 12 else (at.year, at.month + 1)
    return _day_ms(at.year, at.month), _day_ms(*following)


def calendar_window(window: Window, at_ms: int) -> tuple[int, int]:
    """Start (inclusive) and end (exclusive) of the calendar window around `at_ms`. Not for "lifetime"."""
    if window == "1h":
        start = at_ms - at_ms % HOUR_MS
        return start, start + HOUR_MS
    day = at_ms // DAY_MS
    if window == "1d":
        return day * DAY_MS, (day + 1) * DAY_MS
    if window == "1w":
        monday = day - (day + _MONDAY_OFFSET_DAYS) % 7
        return monday * DAY_MS, (monday + 7) * DAY_MS
    return _month_or_year(window, day)


def charge_for(budget: Budget, at_ms: int) -> Charge:
    """The bucket that a request which begins at `at_ms` is charged to."""
    window = budget.window
    if window == "lifetime":
        return Charge(budget.id, 0, 0)
    length = LENGTH_MS[window]
    if budget.alignment == "calendar":
        start, end = calendar_window(window, at_ms)
        return Charge(budget.id, start, end + SLACK_WINDOWS * length)
    width = length // RING
    start = at_ms - at_ms % width
    return Charge(budget.id, start, start + width + length + SLACK_BUCKETS * width)


def active_since(budget: Budget, now_ms: int) -> int:
    """The smallest `bucket_ms` that counts at `now_ms`: a bucket counts iff its `bucket_ms` is at least this."""
    window = budget.window
    if window == "lifetime":
        return 0
    if budget.alignment == "calendar":
        return calendar_window(window, now_ms)[0]
    oldest = now_ms - LENGTH_MS[window]
    return oldest - oldest % (LENGTH_MS[window] // RING)


def resets_at_ms(budget: Budget, now_ms: int) -> int | None:
    """When the whole spend of the window is forgotten at once; None for rolling and lifetime budgets."""
    if budget.window == "lifetime" or budget.alignment == "rolling":
        return None
    return calendar_window(budget.window, now_ms)[1]


def leaves_at_ms(budget: Budget, bucket_ms: int) -> int | None:
    """The first instant at which this bucket no longer counts; None for a lifetime budget."""
    if budget.window == "lifetime":
        return None
    if budget.alignment == "calendar":
        return calendar_window(budget.window, bucket_ms)[1]
    length = LENGTH_MS[budget.window]
    return bucket_ms + length // RING + length


def charges_for(key: VirtualKey, at_ms: int) -> tuple[Charge, ...]:
    """Every counter that a request of `key` beginning at `at_ms` is charged to: its budgets, then its lifetime."""
    return (*[charge_for(budget, at_ms) for budget in key.budgets], Charge(key.id, 0, 0))
