"""How values are shown to people on the logs pages."""

import json
from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Any, Final

_SIGNIFICANT: Final = 3


def money(usd: str | None) -> str:
    """Dollars with as many digits as tell something: `$12.40`, `$0.0312`, `$0.0000048`; `unpriced` without a price."""
    if usd is None:
        return "unpriced"
    amount = Decimal(usd)
    if amount == 0 or amount >= 1:
        return f"${amount:,.2f}"
    whole, _, decimals = f"{amount:.{_SIGNIFICANT - 1 - amount.adjusted()}f}".partition(".")
    return f"${whole}.{decimals.rstrip('0').ljust(2, '0')}"


def duration(ms: int | None) -> str:
    """`840 ms`, `3.2 s`, `2 min 5 s`; a dash where nothing was measured."""
    if ms is None:
        return "–"
    if ms < 1000:
        return f"{ms} ms"
    if ms < 60_000:
        return f"{ms / 1000:.1f} s"
    return f"{ms // 60_000} min {ms % 60_000 // 1000} s"


def count(number: int) -> str:
    return f"{number:,}"


def size(number: int) -> str:
    """Bytes for people."""
    amount = float(number)
    for unit in ("B", "KiB", "MiB"):
        if amount < 1024 or unit == "MiB":
            return f"{amount:.0f} {unit}" if unit == "B" else f"{amount:.1f} {unit}"
        amount /= 1024
    raise AssertionError("unreachable")


def pretty(text: str) -> str:
    """JSON text with indentation; a JSON string (an SSE transcript, a cut body) as the text it is."""
    try:
        value = json.loads(text)
        return value if isinstance(value, str) else json.dumps(value, indent=2, ensure_ascii=False)
    except (ValueError, RecursionError):
        return text


def clock(rfc3339: str) -> str:
    """`2026-11-23 04:20:24`, shown until the page's script puts it in the reader's time zone."""
    return rfc3339[:19].replace("T", " ")


def status_tone(status: str) -> str:
    """The colour class of a status."""
    return {"success": "good", "error": "bad", "cancelled": "warn", "abandoned": "warn"}.get(status, "")


FILTERS: Final[Mapping[str, Callable[..., Any]]] = {
    "money": money,
    "duration": duration,
    "count": count,
    "size": size,
    "pretty": pretty,
    "clock": clock,
    "status_tone": status_tone,
}
