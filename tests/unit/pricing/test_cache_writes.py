"""Writes to a prompt cache cost more when they are kept for an hour."""

from shared.events import Tokens
from shared.pricing.book import PriceBook
from shared.pricing.cost import cost_nanos
from shared.pricing.model import ModelPrice, rates


def test_an_hour_has_its_own_rate() -> None:
    base = rates(input_nanos=1_000_000, cache_write=1_250_000, cache_write_1h=2_000_000)
    price = ModelPrice(source="override", base=base)
    tokens = Tokens(prompt=100, cache_write=40, cache_write_1h=20)
    assert cost_nanos(price, tokens) == 60 + 25 + 40


def test_without_a_rate_of_its_own_an_hour_costs_what_a_write_costs() -> None:
    price = ModelPrice(source="override", base=rates(input_nanos=1_000_000, cache_write=1_250_000))
    tokens = Tokens(prompt=40, cache_write=40, cache_write_1h=40)
    assert cost_nanos(price, tokens) == 50


def test_claude_has_public_prices() -> None:
    price = PriceBook().price("anthropic", "anthropic", "claude-sonnet-4-5")
    assert price is not None
    assert price.base.cache_write * 4 == price.base.input * 5
    assert price.base.cache_write_1h == price.base.input * 2
    assert price.base.cached_read * 10 == price.base.input
