"""Models with their prices, as the admin API shows them."""

import msgspec

from services.budget.governance_feed import GovernanceFeed
from services.budget.metrics import BudgetMetrics
from services.budget.models import Models, _publicly_priced
from shared.events import GovernanceChanged
from shared.governance.model import Provider
from shared.governance.money import usd_from_nanos
from shared.governance.windows import DAY_MS
from shared.pricing.genai import Schedule, schedule_for


def a_model_whose_price_changes() -> tuple[str, Schedule]:
    for model in _publicly_priced("gemini"):
        schedule = schedule_for("gemini", model)
        if len({entry.price.base.output for entry in schedule[-2:]}) == 2:
            return model, schedule
    raise AssertionError("no model's price ever changes")


def test_claude_is_a_model_of_vertex_and_not_of_gemini() -> None:
    at_vertex, at_gemini = set(_publicly_priced("vertex")), set(_publicly_priced("gemini"))

    assert at_vertex - at_gemini == {model for model in at_vertex if "claude" in model} != set()


def test_the_price_shown_is_that_of_the_day_not_one_that_is_announced() -> None:
    model, (*_, before, after) = a_model_whose_price_changes()
    assert after.from_ms is not None
    times = iter([after.from_ms - DAY_MS, after.from_ms])
    feed = GovernanceFeed(BudgetMetrics())
    provider = Provider(name="gemini", type="gemini", base_url="https://e.test", models=(model,))
    feed.state.apply(
        GovernanceChanged(
            change_id="c",
            entity="provider",
            entity_id="gemini",
            version=1,
            at_ms=0,
            actor="config",
            action="apply",
            value=msgspec.Raw(msgspec.json.encode(provider)),
        )
    )
    models = Models(feed, lambda: next(times))

    shown = [one.output_per_million for _ in range(2) for one in models.list()]

    assert shown == [usd_from_nanos(entry.price.base.output) for entry in (before, after)]
