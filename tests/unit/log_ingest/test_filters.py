"""The parameters of a list: what is accepted, and that a user's text never becomes SQL."""

from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from services.log_ingest.errors import first_fault
from services.log_ingest.filters import Cursor, LogFilters, LogQuery, conditions
from services.log_ingest.search import words_of

NOW = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("given_filters", "param"),
    [
        ({"status": ["ok"]}, "status"),
        ({"from": "yesterday"}, "from"),
        ({"to": "2026-11-23T10:00:00"}, "to"),
        ({"period": "2h"}, "period"),
        ({"min_cost": "1e-12"}, "min_cost"),
        ({"min_cost": "-1"}, "min_cost"),
        ({"min_cost": "NaN"}, "min_cost"),
        ({"max_latency_ms": "fast"}, "max_latency_ms"),
        ({"limit": 501}, "limit"),
        ({"limit": 0}, "limit"),
        ({"cursor": "not-one"}, "cursor"),
        ({"search": " ".join("!" * n for n in range(1, 34))}, "search"),
        ({"search": " ".join(f"w{n}" for n in range(33))}, "search"),
        ({"colour": "red"}, "colour"),
    ],
)
def test_a_wrong_filter_is_named(given_filters: dict[str, Any], param: str) -> None:
    with pytest.raises(ValidationError) as caught:
        LogQuery.model_validate(given_filters)

    name, message = first_fault(list(caught.value.errors()))
    assert name == param
    assert param in message


@pytest.mark.parametrize(
    "given_filters",
    [
        {"min_cost": "2", "max_cost": "1"},
        {"min_latency_ms": 5, "max_latency_ms": 1},
        {"from": "2026-11-23T10:00:00Z", "to": "2026-11-23T10:00:00Z"},
    ],
)
def test_an_empty_range_is_refused(given_filters: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        LogFilters.model_validate(given_filters)


def test_a_plus_lost_in_the_url_is_understood() -> None:
    filters = LogFilters.model_validate({"from": "2026-11-23T10:00:00 01:00"})

    assert filters.from_ == datetime(2026, 11, 23, 9, 0, tzinfo=UTC)


def test_a_period_wins_over_times() -> None:
    where, bound = conditions(LogFilters.model_validate({"period": "1h", "to": "2020-01-01T00:00:00Z"}), NOW)

    assert bound == {"since": int(NOW.timestamp() * 1000) - 3_600_000}
    assert len(where) == 1


def test_words_are_found_in_any_case_once_each() -> None:
    assert words_of("Hello, WORLD hello grüße-an foo_bar") == ["hello", "world", "grüße", "an", "foo", "bar"]


@given(st.text(min_size=1, max_size=30))
def test_no_value_of_a_user_is_part_of_the_sql(value: str) -> None:
    names = {
        "provider": ["x"],
        "model": ["x"],
        "virtual_key": ["x"],
        "end_user": "x",
        "chat_id": "x",
        "task": "x",
    }
    plain, _ = conditions(LogFilters.model_validate(names), NOW)
    given_values = {name: [value] if isinstance(old, list) else value for name, old in names.items()}

    where, bound = conditions(LogFilters.model_validate(given_values), NOW)

    assert where == plain
    assert bound["end_user"] == value


@given(st.text(min_size=1, max_size=20).filter(lambda text: len(words_of(text)) == 1))
def test_no_word_of_a_search_is_part_of_the_sql(search: str) -> None:
    as_token, _ = conditions(LogFilters(search="word"), NOW)
    as_text, _ = conditions(LogFilters(search="世界"), NOW)

    where, bound = conditions(LogFilters(search=search), NOW)

    (word,) = words_of(search)
    assert (where, bound) == (as_token, {"word0": [word]}) or (
        (where, bound["text0"]) == (as_text, f"%{word}%") and all(piece in word for piece in bound["word0"])
    )


@given(st.text(alphabet="?!%_'\\{}😀🎉→", min_size=1, max_size=20))
def test_no_sign_of_a_search_is_part_of_the_sql(search: str) -> None:
    as_sign, _ = conditions(LogFilters(search="!"), NOW)

    assert conditions(LogFilters(search=search), NOW) == (as_sign, {"signs0": search})


def test_a_search_for_nothing_is_no_search() -> None:
    for nothing in ("", " \t"):
        assert conditions(LogFilters(search=nothing), NOW) == ([], {})


def test_an_empty_cursor_is_none() -> None:
    assert LogQuery.model_validate({"cursor": ""}).cursor is None


@given(st.integers(0, 2**53 - 1), st.text(min_size=1, max_size=40))
def test_a_cursor_comes_back_as_it_went(time_ms: int, request_id: str) -> None:
    place = Cursor.parse(str(Cursor(time_ms, request_id)))

    assert (place.started_at_ms, place.request_id) == (time_ms, request_id)


@given(st.text(max_size=30))
def test_any_other_text_is_no_cursor_or_one_that_names_a_place(text: str) -> None:
    try:
        place = Cursor.parse(text)
    except ValueError:
        return
    assert place.request_id
