"""Models with their prices, as the admin API shows them."""

import msgspec
import pytest

from services.budget.governance_feed import GovernanceFeed
from services.budget.metrics import BudgetMetrics
from services.budget.model_prices import shown_prices
from services.budget.models import Models, _publicly_priced
from shared.events import GovernanceChanged
from shared.governance.model import Credential, PriceOverride, Provider
from shared.governance.money import usd_from_nanos
from shared.governance.windows import DAY_MS
from shared.pricing.book import price_of_override
from shared.pricing.genai import Schedule, schedule_for

NOW_MS = 1_790_000_000_000
PRICES = shown_prices(None, "chat").keys()


def govern(feed: GovernanceFeed, provider: Provider) -> None:
    feed.state.apply(
        GovernanceChanged(
            change_id="c",
            entity="provider",
            entity_id=provider.name,
            version=1,
            at_ms=0,
            actor="config",
            action="apply",
            value=msgspec.Raw(msgspec.json.encode(provider)),
        )
    )


def a_model_whose_price_changes() -> tuple[str, Schedule]:
    for model in _publicly_priced("gemini"):
        schedule = schedule_for("gemini", model)
        if len({entry.price.base.output for entry in schedule[-2:]}) == 2:
            return model, schedule
    raise AssertionError("no model's price ever changes")


def prices_of(provider: Provider, name: str) -> dict[str, str]:
    """What a model is shown to charge for."""
    feed = GovernanceFeed(BudgetMetrics())
    govern(feed, provider)
    (model,) = [one for one in Models(feed, lambda: NOW_MS).list() if one.model == name]
    return {
        field: value for field, value in model.model_dump().items() if field in PRICES and value is not None
    }


@pytest.mark.parametrize(
    ("kind", "model", "shown"),
    [
        ("openai", "tts-1", {"per_million_characters": "15.00"}),
        ("openai", "whisper-1", {"per_audio_hour": "0.36"}),
        ("openai", "dall-e-3", {"per_image": "0.12"}),
        ("openai", "text-embedding-3-small", {"input_per_million": "0.02"}),
        (
            "openai",
            "gpt-4o-mini",
            {
                "input_per_million": "0.15",
                "output_per_million": "0.60",
                "cached_input_per_million": "0.075",
                "per_search": "0.01",
            },
        ),
        ("cohere", "rerank-v3.5", {"per_request": "0.002"}),
        ("demo", "moderation", {"input_per_million": "0.00", "output_per_million": "0.00"}),
        ("demo", "speech", {"per_million_characters": "15.00"}),
        ("openai", "nobody-knows", {}),
    ],
)
def test_a_model_shows_what_it_charges_for_and_nothing_else(
    kind: str, model: str, shown: dict[str, str]
) -> None:
    provider = Provider(name="p", type=kind, base_url="https://e.test", models=(model,))

    assert prices_of(provider, model) == shown


def test_audio_and_images_have_prices_of_their_own_where_they_differ() -> None:
    models = ("gpt-audio", "gpt-image-1")
    provider = Provider(name="p", type="openai", base_url="https://e.test", models=models)

    heard, drawn = (prices_of(provider, model) for model in models)

    assert {"input_audio_per_million", "output_audio_per_million"} <= heard.keys()
    assert "input_image_per_million" in drawn
    assert "0.00" not in {*heard.values(), *drawn.values()}


def test_text_that_an_override_gives_for_nothing_is_free() -> None:
    price = price_of_override(PriceOverride(model="p/m", input_per_million_nanos=150_000_000))

    shown = {field: value for field, value in shown_prices(price, "chat").items() if value is not None}

    assert shown == {"input_per_million": "0.15", "output_per_million": "0.00"}


def test_models_on_a_vendors_own_list_and_aliases_are_listed() -> None:
    feed = GovernanceFeed(BudgetMetrics())
    credential = Credential(name="main", aliases={"mine": "deployment-7"})
    govern(feed, Provider(name="o", type="openai", base_url="https://e.test", credentials=(credential,)))

    names = [one.model for one in Models(feed, lambda: NOW_MS).list()]

    assert {"dall-e-3", "tts-1", "gpt-4o-mini", "mine"} <= set(names)
    assert len(names) == len(set(names))


def test_claude_is_a_model_of_vertex_and_not_of_gemini() -> None:
    at_vertex, at_gemini = set(_publicly_priced("vertex")), set(_publicly_priced("gemini"))

    assert at_vertex - at_gemini == {model for model in at_vertex if "claude" in model} != set()


def test_the_price_shown_is_that_of_the_day_not_one_that_is_announced() -> None:
    model, (*_, before, after) = a_model_whose_price_changes()
    assert after.from_ms is not None
    times = iter([after.from_ms - DAY_MS, after.from_ms])
    feed = GovernanceFeed(BudgetMetrics())
    govern(feed, Provider(name="gemini", type="gemini", base_url="https://e.test", models=(model,)))
    models = Models(feed, lambda: next(times))

    shown = [one.output_per_million for _ in range(2) for one in models.list()]

    assert shown == [usd_from_nanos(entry.price.base.output) for entry in (before, after)]
