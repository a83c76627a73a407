"""Service tiers cost a share of the usual price."""

from fractions import Fraction

import pytest

from shared.pricing.book import PriceBook
from shared.pricing.model import ModelPrice, rates
from shared.pricing.tiers import at_tier, share_of

PUBLIC = PriceBook().price("openai", "openai", "gpt-5")
OWN = ModelPrice(source="override", base=rates(input_nanos=1))


@pytest.mark.parametrize(
    ("kind", "model", "tier", "share"),
    [
        ("openai", "gpt-5", "flex", "1/2"),
        ("azure", "gpt-5", "flex", "1/2"),
        ("openai", "gpt-5", "priority", "2"),
        ("openai", "gpt-5.5", "priority", "5/2"),
        ("openai", "gpt-5-mini-2025-08-07", "priority", "9/5"),
        ("openai", "gpt-4o-mini", "priority", "5/3"),
        ("openai", "gpt-4.1-nano", "priority", "2"),
        ("openai", "gpt-5", "", "1"),
        ("openai", "gpt-5", "scale", "1"),
        ("groq", "llama", "flex", "1"),
    ],
)
def test_a_tier_is_a_share_of_the_usual_price(kind: str, model: str, tier: str, share: str) -> None:
    assert share_of(kind, model, tier) == Fraction(share)


def test_a_cost_at_a_tier_is_rounded_half_up() -> None:
    assert PUBLIC is not None
    assert at_tier(1001, PUBLIC, "openai", "gpt-5", "flex") == 501
    assert at_tier(1000, PUBLIC, "openai", "gpt-5", "priority") == 2000
    assert at_tier(100, PUBLIC, "openai", "gpt-4o-mini", "priority") == 167
    assert at_tier(1001, PUBLIC, "openai", "gpt-5", "") == 1001


def test_the_operators_price_holds_for_every_tier() -> None:
    assert at_tier(1001, OWN, "openai", "gpt-5", "flex") == 1001
