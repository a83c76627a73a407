from datetime import UTC, datetime
from typing import Any

import hypothesis.strategies as st
import pytest
from hypothesis import given

from shared.governance.admission import Admitted, Refused, decide, matches, model_allowed
from shared.governance.model import Budget, VirtualKey
from shared.governance.money import nanos_from_usd
from shared.governance.spend_view import SpendView
from shared.governance.windows import charges_for

NOW = int(datetime(2026, 11, 23, 4, 30, tzinfo=UTC).timestamp() * 1000)
USD = 1_000_000_000


def key(*budgets: Budget, **more: Any) -> VirtualKey:
    return VirtualKey(id="key-1", name="team-a", key_sha256="", prefix="", budgets=budgets, **more)


def budget(
    limit: str = "5.00", window: Any = "1M", alignment: Any = "calendar", name: str = "bud-1"
) -> Budget:
    return Budget(id=name, limit_nanos=nanos_from_usd(limit), window=window, alignment=alignment)


def spent(of: VirtualKey, settled: str = "0", reserved: str = "0", at_ms: int = NOW) -> SpendView:
    view = SpendView("me")
    view.settle(0, 0, charges_for(of, at_ms), nanos_from_usd(settled), 0)
    view.reserve(0, 1, charges_for(of, at_ms), nanos_from_usd(reserved))
    return view


def refused(view: SpendView, of: VirtualKey, reserve: str = "0.01", at_ms: int = NOW, **more: Any) -> Refused:
    decision = decide(view, of, nanos_from_usd(reserve), at_ms, **more)
    assert isinstance(decision, Refused)
    return decision


def test_a_key_without_budgets_is_always_admitted_and_charged_to_its_lifetime() -> None:
    of = key()

    decision = decide(spent(of, "1000"), of, 10**12, NOW)

    assert decision == Admitted(charges_for(of, NOW))


def test_there_is_room_up_to_the_limit_exactly() -> None:
    of = key(budget())
    view = spent(of, "3.00", "1.00")

    assert decide(view, of, USD, NOW) == Admitted(charges_for(of, NOW))
    assert refused(view, of, "1.000000001").code == "budget_reserved"


def test_a_used_up_budget_says_so_and_when_it_resets() -> None:
    of = key(budget())

    decision = refused(spent(of, "5.00"), of)

    assert decision == Refused(
        code="budget_exceeded",
        message=(
            "The budget of key 'team-a' is used up: $5.00 of $5.00 this month. It resets on 1 December 2026 00:00 UTC."
        ),
        status=402,
        retry_after_s=7 * 86_400 + 19 * 3600 + 30 * 60,
        budget_id="bud-1",
    )


def test_a_used_up_budget_refuses_even_what_costs_nothing() -> None:
    of = key(budget())

    assert refused(spent(of, "5.00"), of, "0").code == "budget_exceeded"


def test_a_budget_of_nothing_allows_nothing() -> None:
    of = key(budget("0"))

    assert refused(SpendView("me"), of, "0").code == "budget_exceeded"


def test_a_request_too_large_for_the_rest_says_what_is_left() -> None:
    of = key(budget(window="1d"))

    decision = refused(spent(of, "4.90"), of, "0.25")

    assert (decision.code, decision.status) == ("budget_exceeded", 402)
    assert decision.message == (
        "The budget of key 'team-a' has $0.10 of $5.00 left today, but this request may cost up to $0.25. "
        "It resets on 24 November 2026 00:00 UTC."
    )


def test_a_request_larger_than_the_whole_budget_need_not_be_tried_again() -> None:
    of = key(budget())

    decision = refused(SpendView("me"), of, "5.01")

    assert (decision.status, decision.retry_after_s) == (402, None)
    assert "max_tokens" in decision.message


def test_a_rest_that_others_hold_is_busy_not_spent() -> None:
    of = key(budget())

    decision = refused(spent(of, "1.00", "3.99"), of, "0.02")

    assert (decision.code, decision.status, decision.retry_after_s) == ("budget_reserved", 429, 1)
    assert "try again" in decision.message


def test_spent_beats_busy_whichever_budget_comes_first() -> None:
    for budgets in (
        (budget("5", name="busy"), budget("1", "lifetime", name="spent")),
        (budget("1", "lifetime", name="spent"), budget("5", name="busy")),
    ):
        of = key(*budgets)

        decision = refused(spent(of, "1.00", "4.00"), of)

        assert (decision.code, decision.budget_id) == ("budget_exceeded", "spent")


def test_a_lifetime_budget_never_resets() -> None:
    of = key(budget(window="lifetime"))

    decision = refused(spent(of, "6"), of)

    assert decision.message == (
        "The budget of key 'team-a' is used up: $6.00 of $5.00 in total. It does not reset."
    )
    assert decision.retry_after_s is None


def test_a_rolling_budget_says_when_enough_has_left_the_window() -> None:
    of = key(budget(alignment="rolling", window="1h"))
    view = spent(of, "1.00")
    view.settle(0, 2, charges_for(of, NOW + 60_000), 4 * USD, 0)

    later = NOW + 120_000
    decision = refused(view, of, "0.50", later)
    bigger = refused(view, of, "2.00", later)

    assert "There is room again from 23 November 2026 05:31 UTC." in decision.message
    assert decision.retry_after_s == (60 + 1 - 2) * 60
    assert bigger.retry_after_s == decision.retry_after_s


def test_a_rolling_rest_too_small_waits_for_enough_room() -> None:
    of = key(budget(alignment="rolling", window="1h"))
    view = spent(of, "1.00")
    view.settle(0, 2, charges_for(of, NOW + 60_000), 3 * USD, 0)

    assert refused(view, of, "4.00", NOW + 60_000).retry_after_s == 61 * 60


def test_stale_counters_refuse_only_keys_that_ask_for_it() -> None:
    careful, careless = key(budget(), on_unavailable="deny"), key(budget())
    view = SpendView("me")

    decision = refused(view, careful, stale_after_ms=60_000)

    assert (decision.code, decision.status) == ("spend_unverifiable", 503)
    assert isinstance(decide(view, careless, 1, NOW, stale_after_ms=60_000), Admitted)
    assert isinstance(decide(view, careful, 1, NOW), Admitted)


@given(st.integers(0, 20), st.integers(0, 20), st.integers(0, 20), st.integers(0, 20))
def test_admission_never_lets_the_worst_case_pass_the_limit(
    limit: int, settled: int, reserved: int, reserve: int
) -> None:
    of = key(Budget(id="bud-1", limit_nanos=limit, window="1M"))
    view = SpendView("me")
    view.settle(0, 0, charges_for(of, NOW), settled, 0)
    view.reserve(0, 1, charges_for(of, NOW), reserved)

    decision = decide(view, of, reserve, NOW)

    fits = settled < limit and settled + reserved + reserve <= limit
    assert isinstance(decision, Admitted) == fits
    if isinstance(decision, Refused):
        assert (decision.status == 429) == (settled < limit and settled + reserve <= limit)


@pytest.mark.parametrize(
    ("patterns", "model", "allowed"),
    [
        (("*",), "openai/gpt-4o", True),
        ((), "openai/gpt-4o", False),
        (("openai/*",), "openai/gpt-4o", True),
        (("openai/*",), "openrouter/openai/gpt-4o", False),
        (("*/gpt-4o",), "openrouter/openai/gpt-4o", True),
        (("openai/gpt-4o",), "openai/gpt-4o-mini", False),
        (("openai/gpt-4.1",), "openai/gpt-4x1", False),
        (("a/b", "demo/*"), "demo/echo", True),
        (("a*b*c",), "aXXbYYc", True),
        (("a*b*c",), "aXXbYY", False),
        (("**/echo",), "demo/echo", True),
    ],
)
def test_models_are_allowed_by_pattern(patterns: tuple[str, ...], model: str, allowed: bool) -> None:
    assert model_allowed(key(allowed_models=patterns), model) == allowed
    assert matches(list(patterns), model) == allowed
