"""Budgets as people write them: `5.00/1M` (calendar month) or `5.00/1M/rolling` (the last 30 days)."""

from typing import Final, cast, get_args

from shared.governance.model import Alignment, Window
from shared.governance.money import MAX_USD, is_above_maximum, nanos_from_usd, usd_from_nanos

WINDOWS: Final[tuple[str, ...]] = get_args(Window)
ALIGNMENTS: Final[tuple[str, ...]] = get_args(Alignment)


def parse_budget(text: str) -> tuple[int, Window, Alignment]:
    """(limit in nano-dollars, window, alignment). Raises ValueError with a sentence that says what is expected."""
    limit, *rest = [part.strip() for part in text.split("/")]
    if not 1 <= len(rest) <= 2:
        raise ValueError(f"{text!r} is not a budget like 5.00/1M or 5.00/1M/rolling")
    window = rest[0]
    alignment = rest[1] if len(rest) == 2 else "calendar"
    if window not in WINDOWS:
        raise ValueError(f"{window!r} is not a budget window: use one of {', '.join(WINDOWS)}")
    if alignment not in ALIGNMENTS:
        raise ValueError(f"{alignment!r} is not an alignment: use calendar or rolling")
    if window == "lifetime" and alignment == "rolling":
        raise ValueError("a lifetime budget cannot be rolling: it never resets")
    limit = limit.removeprefix("$")
    if is_above_maximum(limit):
        raise ValueError(f"a limit must be at most {MAX_USD} US dollars")
    return nanos_from_usd(limit), cast(Window, window), cast(Alignment, alignment)


def format_budget(limit_nanos: int, window: Window, alignment: Alignment) -> str:
    """The text that `parse_budget` reads back."""
    suffix = "/rolling" if alignment == "rolling" else ""
    return f"{usd_from_nanos(limit_nanos)}/{window}{suffix}"
