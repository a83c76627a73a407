from decimal import Decimal

import hypothesis.strategies as st
import pytest
from hypothesis import given

from shared.governance.money import MAX_NANOS, dollars_for_people, nanos_from_usd, usd_from_nanos
from shared.governance.notation import format_budget, parse_budget


@pytest.mark.parametrize(
    ("text", "nanos"),
    [
        ("5.00", 5_000_000_000),
        ("0", 0),
        (".5", 500_000_000),
        ("0.000000001", 1),
        (" 1.10 ", 1_100_000_000),
        ("1.0000000000000", 1_000_000_000),
        (Decimal("1E+2"), 100_000_000_000),
    ],
)
def test_amounts_are_exact(text: str | Decimal, nanos: int) -> None:
    assert nanos_from_usd(text) == nanos


@pytest.mark.parametrize(
    "text",
    [
        "-1", "+1", "", "five", "NaN", "Infinity", "1e3", "1_000", "1,000", "$5", "0.0000000001", "١",
        "9223372037", "1" * 40, Decimal("-0.1"), Decimal("NaN"), Decimal("Infinity"), Decimal("1E-10"),
    ],
)  # fmt: skip
def test_anything_else_is_refused(text: str | Decimal) -> None:
    with pytest.raises(ValueError):
        nanos_from_usd(text)


@pytest.mark.parametrize(
    ("nanos", "text"),
    [
        (5_000_000_000, "5.00"),
        (0, "0.00"),
        (123_450, "0.00012345"),
        (1, "0.000000001"),
        (1_230_000_000, "1.23"),
        (-1_500_000_000, "-1.50"),
    ],
)
def test_amounts_are_written_with_two_decimals_or_as_many_as_needed(nanos: int, text: str) -> None:
    assert usd_from_nanos(nanos) == text


@given(st.integers(0, MAX_NANOS // 10**9 * 10**9))
def test_what_is_written_is_read_back(nanos: int) -> None:
    assert nanos_from_usd(usd_from_nanos(nanos)) == nanos


@pytest.mark.parametrize(
    ("nanos", "text"),
    [
        (5_000_000_000, "$5.00"),
        (5_004_999_999, "$5.00"),
        (5_005_000_000, "$5.01"),
        (123_456_789, "$0.123457"),
        (1_500_000, "$0.0015"),
        (0, "$0.00"),
        (1, "$0.00"),
    ],
)
def test_people_see_rounded_dollars(nanos: int, text: str) -> None:
    assert dollars_for_people(nanos) == text


@pytest.mark.parametrize(
    ("text", "budget"),
    [
        ("5.00/1M", (5_000_000_000, "1M", "calendar")),
        ("0.5/1h/rolling", (500_000_000, "1h", "rolling")),
        ("$10/1Y/calendar", (10_000_000_000, "1Y", "calendar")),
        (" 1 / lifetime ", (1_000_000_000, "lifetime", "calendar")),
    ],
)
def test_budgets_are_read(text: str, budget: tuple[int, str, str]) -> None:
    assert parse_budget(text) == budget
    assert parse_budget(format_budget(*parse_budget(text))) == budget


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("5.00", "5.00/1M"),
        ("5/1M/rolling/x", "5.00/1M"),
        ("5/2M", "1h, 1d, 1w, 1M, 1Y, lifetime"),
        ("5/1M/sliding", "calendar or rolling"),
        ("5/lifetime/rolling", "never resets"),
        ("x/1M", "dollars"),
    ],
)
def test_a_wrong_budget_is_explained(text: str, hint: str) -> None:
    with pytest.raises(ValueError, match=hint.replace(".", r"\.")):
        parse_budget(text)
