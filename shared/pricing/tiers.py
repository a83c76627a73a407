"""What OpenAI's service tiers cost, at its own address and at Azure: shares of the usual price, which are not in the public data."""

from collections.abc import Mapping
from fractions import Fraction
from typing import Final

from shared.pricing.model import ModelPrice

FLEX: Final = "flex"
PRIORITY: Final = "priority"
_WITH_TIERS: Final = frozenset({"openai", "azure"})
_HALF: Final = Fraction(1, 2)
_DOUBLE: Final = Fraction(2)
_OTHER_PRIORITY: Final[Mapping[str, Fraction]] = {
    "gpt-5.5": Fraction(5, 2),
    "gpt-5-mini": Fraction(9, 5),
    "gpt-4.1": Fraction(7, 4),
    "gpt-4.1-nano": _DOUBLE,
    "gpt-4o": Fraction(17, 10),
    "gpt-4o-mini": Fraction(5, 3),
    "o3": Fraction(7, 4),
    "o4-mini": Fraction(20, 11),
}
"""Of the models whose priority is not twice the price; the longest beginning of a name counts."""


def share_of(provider_type: str, model: str, tier: str) -> Fraction:
    """By what the usual price is to be multiplied; 1 for a tier that costs the same, or of which nobody has said."""
    if provider_type not in _WITH_TIERS:
        return Fraction(1)
    if tier == FLEX:
        return _HALF
    if tier != PRIORITY:
        return Fraction(1)
    found = [start for start in _OTHER_PRIORITY if model.startswith(start)]
    return _OTHER_PRIORITY[max(found, key=len)] if found else _DOUBLE


def at_tier(nanos: int, price: ModelPrice, provider_type: str, model: str, tier: str) -> int:
    """This cost at a tier, rounded half up. What the operator says that a model costs holds for every tier."""
    if not tier or price.source == "override":
        return nanos
    share = share_of(provider_type, model, tier)
    return (2 * nanos * share.numerator + share.denominator) // (2 * share.denominator)
