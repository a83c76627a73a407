"""The judge is judged: each kind of loss, doubling or wrong cent that the proof looks for is found."""

from collections.abc import Callable
from copy import deepcopy
from dataclasses import replace

import pytest

from tests.support.audit import Books, Price, Served, audit
from tests.support.evidence import Evidence, Json
from tests.support.load import Seen

PRICE = Price("0.1234567", "0.6172839")
COST = PRICE.nanos(10, 5)
COST_TEXT = f"0.{COST:09d}"
KEY = "vk_1"


def books() -> Books:
    """One whole request and nothing wrong."""
    common: Json = {"request_id": "req_1", "end_user": "m-1", "virtual_key_id": KEY}
    outcome: Json = {
        "outcome": "success",
        "http_status": 200,
        "cost_nanos": COST,
        "cost_basis": "priced",
        "tokens": {"prompt": 10, "completion": 5},
    }
    charges: Json = {"charges": [["b", 0, 0]], "reserved_nanos": 900}
    row: Json = common | {"status": "success", "cost": COST_TEXT}
    budget: Json = {"window": "lifetime", "settled": COST_TEXT, "reserved": "0.00"}
    return Books(
        seen=[Seen("m-1", "finish", 200, "req_1", complete=True)],
        served={"m-1": Served(calls=1, finished=1, prompt=10, completion=5)},
        evidence=Evidence(
            started={"req_1": common | charges},
            ended={"req_1": common | outcome | charges},
            logged={"req_1": common | outcome},
        ),
        rows=[row],
        keys={KEY: {"name": "team-a", "budgets": [budget]}},
        price=PRICE,
    )


def test_books_that_agree_have_no_problems() -> None:
    result = audit(books())

    assert result.problems == []
    assert (result.sent, result.logged, result.rows, result.abandoned) == (1, 1, 1, 0)
    assert result.settled_nanos == result.truth_nanos == COST


def _row_lost(books: Books) -> Books:
    return replace(books, rows=[])


def _row_doubled(books: Books) -> Books:
    return replace(books, rows=[*books.rows, *books.rows])


def _row_from_nowhere(books: Books) -> Books:
    return replace(books, rows=[*books.rows, books.rows[0] | {"request_id": "req_9"}])


def _row_a_nano_off(books: Books) -> Books:
    return replace(books, rows=[books.rows[0] | {"cost": f"0.{COST + 1:09d}"}])


def _never_ended(books: Books) -> Books:
    books.evidence.ended.clear()
    return books


def _not_logged(books: Books) -> Books:
    books.evidence.logged.clear()
    return books


def _ended_without_start(books: Books) -> Books:
    books.evidence.ended["req_2"] = books.evidence.ended["req_1"] | {"request_id": "req_2", "charges": []}
    return books


def _one_marker_two_requests(books: Books) -> Books:
    books.evidence.started["req_2"] = books.evidence.started["req_1"] | {"request_id": "req_2"}
    return books


def _twice_on_the_log(books: Books) -> Books:
    books.evidence.twice.append("request.started req_1")
    return books


def _served_but_never_started(books: Books) -> Books:
    return replace(books, served={**books.served, "m-2": Served(calls=1)})


def _bought_twice(books: Books) -> Books:
    return replace(books, served={"m-1": Served(calls=2, finished=2, prompt=20, completion=10)})


def _answered_but_unknown(books: Books) -> Books:
    return replace(books, seen=[*books.seen, Seen("m-2", "finish", 200, "req_2", complete=True)])


def _refused_otherwise_than_logged(books: Books) -> Books:
    return replace(books, seen=[replace(books.seen[0], status=402)])


def _settled_a_nano_too_much(books: Books) -> Books:
    books.keys[KEY]["budgets"][0]["settled"] = f"0.{COST + 1:09d}"
    return books


def _still_reserved(books: Books) -> Books:
    books.keys[KEY]["budgets"][0]["reserved"] = "0.0000009"
    return books


def _cost_a_nano_off(books: Books) -> Books:
    for events in (books.evidence.ended, books.evidence.logged):
        events["req_1"] = events["req_1"] | {"cost_nanos": COST - 1}
    return books


def _served_but_free(books: Books) -> Books:
    for events in (books.evidence.ended, books.evidence.logged):
        events["req_1"] = events["req_1"] | {"cost_nanos": 0, "cost_basis": "none", "outcome": "error"}
    return books


def _other_counters(books: Books) -> Books:
    books.evidence.ended["req_1"] = books.evidence.ended["req_1"] | {"charges": [["c", 0, 0]]}
    return books


@pytest.mark.parametrize(
    ("spoil", "named"),
    [
        (_row_lost, "has no row"),
        (_row_doubled, "has 2 rows"),
        (_row_from_nowhere, "is on no topic"),
        (_row_a_nano_off, "in its row but"),
        (_never_ended, "never ended"),
        (_not_logged, "is not in the logged requests"),
        (_ended_without_start, "ended without a start"),
        (_one_marker_two_requests, "became 2 requests"),
        (_twice_on_the_log, "twice on the log"),
        (_served_but_never_started, "never started"),
        (_bought_twice, "bought 2 times"),
        (_answered_but_unknown, "which nobody logged"),
        (_refused_otherwise_than_logged, "was refused with 402"),
        (_settled_a_nano_too_much, "settled"),
        (_still_reserved, "still reserves"),
        (_cost_a_nano_off, "true is"),
        (_served_but_free, "is free although"),
        (_other_counters, "other counters"),
    ],
)
def test_each_fault_is_named(spoil: Callable[[Books], Books], named: str) -> None:
    result = audit(spoil(deepcopy(books())))

    assert any(named in problem for problem in result.problems), result.problems


def test_the_price_is_rounded_half_up_once_on_the_total() -> None:
    assert PRICE.nanos(1, 0) == 123  # 123.4567
    assert PRICE.nanos(3, 0) == 370  # 370.3701, not 3 x 123
    assert Price("0.0005", "0").nanos(1, 0) == 1  # half a nano-dollar
