"""Money as integer nano-dollars (USD x 10^-9) and as decimal strings at the edges. Never a float."""

import re
from decimal import Decimal
from typing import Final

NANOS_PER_USD: Final = 1_000_000_000
MAX_NANOS: Final = 2**63 - 1
"""Amounts are int64 wherever they are stored: about 9.2 billion dollars."""
MAX_USD: Final = 1_000_000_000
"""The most that a limit or a price may be."""

_PLAIN_DECIMAL = re.compile(r"\d{1,12}(\.\d{1,30})?|\.\d{1,30}", re.ASCII)


_WHOLE_DOLLARS = re.compile(r"0*(\d+)(?:\.(\d*))?", re.ASCII)


def is_above_maximum(text: str) -> bool:
    """Whether the text is an amount, and one of more than MAX_USD; however long it is."""
    amount = _WHOLE_DOLLARS.fullmatch(text.strip())
    if amount is None:
        return False
    whole, decimals = amount[1], amount[2] or ""
    if len(whole) != len(str(MAX_USD)):
        return len(whole) > len(str(MAX_USD))
    return int(whole) > MAX_USD or (int(whole) == MAX_USD and decimals.strip("0") != "")


def nanos_from_usd(text: str | Decimal) -> int:
    """The exact amount in nano-dollars.

    Raises ValueError, with a sentence for people, on anything that is not a plain amount of zero or more
    dollars, is finer than a nano-dollar, or does not fit in 64 bits.
    """
    if isinstance(text, Decimal):
        amount = text
    elif _PLAIN_DECIMAL.fullmatch(text.strip()):
        amount = Decimal(text.strip())
    else:
        raise ValueError(f"{text!r} is not an amount in dollars like 5.00")
    if not amount.is_finite() or amount < 0:
        raise ValueError(f"{text!s} is not an amount of zero or more dollars")
    if amount > MAX_NANOS // NANOS_PER_USD:
        raise ValueError(f"{text!s} dollars is more than can be counted")
    numerator, denominator = amount.as_integer_ratio()
    nanos, rest = divmod(numerator * NANOS_PER_USD, denominator)
    if rest:
        raise ValueError(f"{text!s} is finer than a nano-dollar: at most 9 decimals")
    return nanos


def usd_from_nanos(nanos: int) -> str:
    """The exact amount as a decimal string: at least 2 decimals, no zeros after the last digit beyond these."""
    whole, fraction = divmod(abs(nanos), NANOS_PER_USD)
    decimals = f"{fraction:09d}".rstrip("0").ljust(2, "0")
    return f"{'-' if nanos < 0 else ''}{whole}.{decimals}"


def dollars_for_people(nanos: int) -> str:
    """`$5.00`: rounded to cents, or below a dollar to as many decimals as show six digits. For messages only."""
    places = 2 if nanos % 10_000_000 == 0 or nanos >= NANOS_PER_USD else 6
    step: int = 10 ** (9 - places)
    return "$" + usd_from_nanos((nanos + step // 2) // step * step)
