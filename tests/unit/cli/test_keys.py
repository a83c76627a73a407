"""What the key commands send, and what they show."""

import json

import pytest

from services.cli.keys import budget_body, budgets_text, changes
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


def test_no_budgets_means_an_empty_list_not_no_change() -> None:
    assert changes(budgets=[], models=None, metadata=None) == {"budgets": []}


@pytest.mark.parametrize("typed", ["owner", "=ada", ""])
def test_metadata_without_a_name_or_a_value_is_refused(typed: str) -> None:
    with pytest.raises(ConfigurationError, match="NAME=VALUE"):
        changes(budgets=None, models=None, metadata=[typed])


def test_a_key_shows_what_is_spent_of_each_budget() -> None:
    budgets = [{"settled": "1.25", "limit": "5.00", "window": "1M"}]

    assert budgets_text({"budgets": budgets}) == "1.25 / 5.00 per 1M"
    assert budgets_text({"budgets": []}) == "no budget"
