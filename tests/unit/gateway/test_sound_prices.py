"""A request with sound in it costs what sound costs, or it is not priced."""

import pytest

from services.gateway.exchange import Cost
from services.gateway.providers.usage import Usage
from shared.events import Tokens
from shared.pricing.book import PriceBook
from tests.support.desk import Desk, governed

SPOKEN = Tokens(prompt=10, completion=20, completion_audio=10)


@pytest.mark.parametrize("estimated", [False, True])
def test_what_nobody_knows_the_price_of_is_not_priced_as_text(estimated: bool) -> None:
    exchange = Desk().exchange(governed(limit=10**15)[0])
    exchange.price = PriceBook().price("azure", "azure", "gpt-4o-audio-preview")
    text = Tokens(prompt=10, completion=20)

    assert exchange.cost_of(Usage(SPOKEN, estimated=estimated)) == Cost(0, "unpriced")
    assert exchange.cost_of(Usage(text)) == Cost(225_000, "priced")
    assert exchange.cost_of(Usage(SPOKEN, cost_nanos=7)) == Cost(7, "provider")


def test_what_is_on_a_list_is_priced() -> None:
    exchange = Desk().exchange(governed(limit=10**15)[0])
    exchange.price = PriceBook().price("openai", "openai", "gpt-4o-audio-preview")

    assert exchange.cost_of(Usage(SPOKEN)) == Cost(25_000 + 100_000 + 800_000, "priced")
