"""What the key commands send, and what they show."""

import json
from collections.abc import Mapping
from typing import Any

import pytest
from typer.testing import CliRunner

from services.budget.schemas import BudgetView, LifetimeSpend, VirtualKeyView
from services.cli import app
from services.cli.key_text import budgets_text, key_rows
from services.cli.keys import REMOVALS, budget_body, changes, removals
from shared.errors import ConfigurationError


@pytest.mark.parametrize(
    ("typed", "limit", "window", "alignment"),
    [
        ("5.00/1M", "5.00", "1M", "calendar"),
        ("1/1d/rolling", "1.00", "1d", "rolling"),
        ("0.000000001/lifetime", "0.000000001", "lifetime", "calendar"),
    ],
)
def test_a_budget_is_sent_as_the_api_takes_it(typed: str, limit: str, window: str, alignment: str) -> None:
    assert budget_body(typed) == {"limit": limit, "window": window, "alignment": alignment}


@pytest.mark.parametrize("typed", ["5", "5/2M", "abc/1M", "-1/1M", "5/1M/sideways", "0.0000000001/1M", ""])
def test_a_wrong_budget_is_one_sentence_about_the_option(typed: str) -> None:
    with pytest.raises(ConfigurationError, match="--budget is wrong: "):
        budget_body(typed)


def test_only_what_was_typed_is_sent() -> None:
    nothing = changes(name=None, budgets=None, models=None, metadata=None, always_send_usage=None)
    everything = changes(
        name="a", budgets=["1/1d"], models=["openai/*"], metadata=["owner=ada=b"], always_send_usage=False
    )

    assert nothing == {}
    assert everything == {
        "name": "a",
        "budgets": [{"limit": "1.00", "window": "1d", "alignment": "calendar"}],
        "allowed_models": ["openai/*"],
        "metadata": {"owner": "ada=b"},
        "always_send_usage": False,
    }
    json.dumps(everything)


def test_taking_away_is_not_the_same_as_no_change() -> None:
    everything = removals(budgets=True, fallbacks=True, expires_at=True, metadata=True, user_jwt_secret=True)

    assert removals(budgets=False, fallbacks=False, expires_at=False, metadata=False) == {}
    assert everything == {
        "budgets": [],
        "fallbacks": [],
        "expires_at": None,
        "metadata": {},
        "user_jwt_secret": None,
    }
    assert everything.keys() == REMOVALS.keys()


@pytest.mark.parametrize(
    ("typed", "sentence"),
    [
        (["--budget", "1/1d", "--no-budgets"], "--budget and --no-budgets cannot be given together."),
        (["--fallback", "a/b", "--no-fallbacks"], "--fallback and --no-fallbacks cannot be given together."),
        (
            ["--expires-at", "2027-01-01T00:00:00Z", "--no-expiry"],
            "--expires-at and --no-expiry cannot be given together.",
        ),
        (["--metadata", "a=b", "--no-metadata"], "--metadata and --no-metadata cannot be given together."),
        ([], "Nothing to change: give at least one option."),
    ],
)
def test_an_update_that_contradicts_itself_or_changes_nothing_is_one_sentence(
    typed: list[str], sentence: str
) -> None:
    done = CliRunner().invoke(app, ["keys", "update", "team-a", *typed])

    assert (done.exit_code, done.stderr) == (2, f"finops: {sentence}\n")


@pytest.mark.parametrize("typed", ["owner", "=ada", ""])
def test_metadata_without_a_name_or_a_value_is_refused(typed: str) -> None:
    with pytest.raises(ConfigurationError, match="NAME=VALUE"):
        changes(budgets=None, models=None, metadata=[typed])


def test_a_key_shows_what_is_spent_of_each_budget() -> None:
    budgets = [{"settled": "1.25", "limit": "5.00", "window": "1M"}]

    assert budgets_text({"budgets": budgets}) == "1.25 / 5.00 per 1M"
    assert budgets_text({"budgets": []}) == "no budget"


def view(**changes: Any) -> dict[str, Any]:
    """A key as the admin API shows it, every field unlike its default."""
    budget = BudgetView(
        id="bud_1",
        limit="5.00",
        window="1d",
        alignment="rolling",
        settled="1.25",
        reserved="0.01",
        resets_at=None,
    )
    spend = LifetimeSpend(settled="7.50", reserved="0.02", requests=9, tokens=90, unpriced=4)
    values: dict[str, Any] = {
        "id": "vk_1",
        "name": "team-a",
        "prefix": "sk-fo-abcd",
        "status": "expired",
        "budgets": [budget],
        "allowed_models": ["openai/*", "demo/*"],
        "fallbacks": ["fast", "demo/echo"],
        "expires_at": 1_798_761_600_000,
        "team_id": "team_1",
        "cost_in_usage": False,
        "always_send_usage": True,
        "trust_user_headers": True,
        "has_user_jwt_secret": True,
        "on_unavailable": "deny",
        "metadata": {"owner": "ada"},
        "spend": spend,
        "created_at": 1_767_225_600_000,
        "managed_by": "config",
        "version": 3,
    }
    return VirtualKeyView(**values | changes).model_dump()


def shown(key: Mapping[str, Any]) -> dict[str, str]:
    return dict(key_rows(dict(key)))


def test_a_key_is_shown_whole() -> None:
    assert shown(view()) == {
        "id": "vk_1",
        "name": "team-a",
        "key": "sk-fo-abcd…",
        "status": "expired",
        "models": "openai/*, demo/*",
        "fallbacks": "fast, demo/echo",
        "expires": "2027-01-01T00:00:00Z",
        "team": "team_1",
        "budget 1d rolling": "1.25 spent + 0.01 reserved of 5.00",
        "spent in all": "7.50 in 9 requests, 4 of them unpriced",
        "cost in usage": "no",
        "always send usage": "yes",
        "trust user headers": "yes",
        "user jwt secret": "set",
        "on unavailable": "deny",
        "metadata": '{"owner": "ada"}',
        "managed by": "finops.yaml",
        "created": "2026-01-01T00:00:00Z",
    }


def test_what_a_key_does_not_have_is_said_in_a_word() -> None:
    spend = LifetimeSpend(settled="0.00", reserved="0.00", requests=1, tokens=0, unpriced=0)
    key = shown(
        view(
            budgets=[],
            fallbacks=[],
            expires_at=None,
            team_id=None,
            metadata={},
            has_user_jwt_secret=False,
            spend=spend,
            managed_by="api",
        )
    )

    assert (key["fallbacks"], key["expires"], key["team"], key["metadata"]) == (
        "none", "never", "none", "none",
    )  # fmt: skip
    assert key["user jwt secret"] == "none"
    assert (key["spent in all"], key["managed by"]) == ("0.00 in 1 request", "api")
