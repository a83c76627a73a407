"""Which budgets of a changed key keep their id, and with it their spend."""

from collections.abc import Callable
from itertools import count

import pytest

from services.budget.errors import ApiError
from services.budget.schemas import BudgetInput, BudgetPatch, PatchVirtualKey
from services.budget.virtual_keys import match_budgets
from shared.governance.model import Budget

MONTH = Budget(id="bud_month", limit_nanos=5_000_000_000, window="1M")
DAY = Budget(id="bud_day", limit_nanos=1_000_000_000, window="1d")


def numbered() -> Callable[[], str]:
    numbers = count(1)
    return lambda: f"new_{next(numbers)}"


def wanted(limit: str, window: str, **more: str) -> BudgetPatch:
    return BudgetPatch.model_validate({"limit": limit, "window": window, **more})


def test_a_changed_limit_keeps_the_id() -> None:
    matched = match_budgets((MONTH, DAY), [wanted("7.50", "1M"), wanted("1", "1d", id="bud_day")], numbered())

    assert matched == (
        Budget(id="bud_month", limit_nanos=7_500_000_000, window="1M"),
        DAY,
    )


def test_a_changed_window_begins_from_nothing_under_a_new_id() -> None:
    matched = match_budgets((MONTH,), [wanted("5", "1w", id="bud_month")], numbered())

    assert [budget.id for budget in matched] == ["new_1"]


def test_a_changed_alignment_begins_from_nothing_under_a_new_id() -> None:
    matched = match_budgets((MONTH,), [wanted("5", "1M", alignment="rolling", id="bud_month")], numbered())

    assert [budget.id for budget in matched] == ["new_1"]


def test_ids_stay_unique_when_windows_are_swapped() -> None:
    matched = match_budgets(
        (MONTH, DAY),
        [wanted("5", "1d", id="bud_month"), wanted("1", "1M", id="bud_day")],
        numbered(),
    )

    assert [budget.id for budget in matched] == ["bud_day", "bud_month"]


def test_a_left_out_budget_is_gone_and_a_new_one_is_new() -> None:
    matched = match_budgets((MONTH, DAY), [wanted("2", "1h")], numbered())

    assert [(budget.id, budget.window) for budget in matched] == [("new_1", "1h")]


def test_an_unknown_id_is_refused_with_its_place() -> None:
    with pytest.raises(ApiError) as raised:
        match_budgets((MONTH,), [wanted("5", "1M"), wanted("5", "1d", id="bud_x")], numbered())

    assert (raised.value.status, raised.value.param) == (400, "budgets[1].id")


def test_a_new_key_s_budgets_are_all_new() -> None:
    given = BudgetInput.model_validate({"limit": "0.000000001", "window": "lifetime"})

    assert match_budgets((), [given], numbered()) == (Budget(id="new_1", limit_nanos=1, window="lifetime"),)


def test_a_patch_knows_what_was_given_from_what_was_left_out() -> None:
    patch = PatchVirtualKey.model_validate({"expires_at": None, "metadata": {}})

    assert patch.model_fields_set == {"expires_at", "metadata"}
