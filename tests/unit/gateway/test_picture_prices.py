"""Pictures: what is held, what is billed, and whether the log says enough to price them again."""

from dataclasses import replace
from typing import Any, Final

import msgspec
import pytest

from services.gateway.exchange import Cost, Exchange
from services.gateway.providers.body import parse_json
from services.gateway.providers.operations import Operation
from services.gateway.providers.usage import Usage
from shared.events import Attempt, RequestLogged, RequestStarted, Tokens, UsageRecorded
from shared.governance.reservation import MIN_SAMPLES
from shared.pricing.book import PriceBook
from shared.pricing.cost import cost_nanos
from shared.pricing.model import Picture
from tests.support.desk import Desk, governed

DALL_E: Final = PriceBook().price("openai", "openai", "dall-e-3")


def drawing(desk: Desk, picture: Picture, **fields: Any) -> Exchange:
    """Of pictures by dall-e-3."""
    exchange = desk.exchange(governed(limit=10**15)[0])
    exchange.operation = Operation.IMAGES
    exchange.body = parse_json(msgspec.json.encode({"model": "m", "prompt": "a cat", **fields}))
    exchange.picture = picture
    exchange.price = DALL_E
    return exchange


@pytest.mark.parametrize(
    ("asked", "made", "cost", "recorded"),
    [
        (Picture("hd", "1792x1024"), Picture(), 120_000_000, ("hd", "1792x1024")),
        (Picture(), Picture(), 40_000_000, ("standard", "1024x1024")),
        (Picture("hd"), Picture("standard", "1024x1792"), 80_000_000, ("standard", "1024x1792")),
    ],
)
def test_pictures_are_held_as_asked_billed_as_made_and_recorded_so_that_both_can_be_checked(
    asked: Picture, made: Picture, cost: int, recorded: tuple[str, str]
) -> None:
    desk = Desk()
    exchange = drawing(desk, asked, n=2)
    assert exchange.price is not None

    desk.admit(exchange)
    exchange.bill(Usage(Tokens(images=2), picture=made))
    desk.recorder.end(exchange)

    started, usage, logged = desk.outbox.kept
    assert isinstance(started, RequestStarted) and isinstance(usage, UsageRecorded)
    assert isinstance(logged, RequestLogged)
    assert started.reserved_nanos == cost_nanos(exchange.price, Tokens(images=2), asked)
    assert (usage.cost_nanos, usage.cost_basis) == (2 * cost, "priced")
    for event in (usage, logged):
        picture = Picture(event.image_quality, event.image_size)
        assert (event.image_quality, event.image_size) == recorded
        assert cost_nanos(exchange.price, event.tokens, picture) == event.cost_nanos


def test_what_another_model_would_draw_is_held_at_its_dearest() -> None:
    desk = Desk()
    exchange = drawing(desk, Picture("standard", "1024x1024"))
    first = exchange.route
    assert first is not None
    other = replace(first, name="mock/dall-e-3", model="dall-e-3")
    exchange.candidates = [first, other]

    desk.admit(exchange)

    (started,) = desk.outbox.kept
    assert isinstance(started, RequestStarted)
    assert started.reserved_nanos == 120_000_000


def test_who_leaves_before_a_picture_is_there_pays_for_what_was_asked() -> None:
    desk = Desk()
    exchange = drawing(desk, Picture("hd", "1024x1024"))
    desk.admit(exchange)
    exchange.attempts = [Attempt(provider="mock", model="m")]

    exchange.bill_partial()

    assert exchange.cost == Cost(80_000_000, "estimated")


def test_a_picture_that_is_priced_by_tokens_is_unpriced_without_them() -> None:
    exchange = drawing(Desk(), Picture())
    exchange.price = PriceBook().price("openai", "openai", "gpt-image-1")

    exchange.bill(Usage(Tokens(images=1)))

    assert exchange.cost == Cost(0, "unpriced")


def test_the_tokens_of_a_picture_are_held_and_learned_like_those_of_a_text() -> None:
    desk = Desk()
    price = PriceBook().price("openai", "openai", "gpt-image-1")
    for _ in range(MIN_SAMPLES + 1):
        exchange = drawing(desk, Picture())
        exchange.price = price
        desk.admit(exchange)
        exchange.bill(Usage(Tokens(prompt=5, completion=4160, images=1)))
        desk.recorder.end(exchange)
    held = [event.reserved_nanos for event in desk.outbox.kept if isinstance(event, RequestStarted)]

    assert held[0] > 1_000 * 40_000
    assert 4_160 * 40_000 <= held[-1] < 5_100 * 40_000
