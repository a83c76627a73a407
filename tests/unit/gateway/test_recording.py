"""Records of exchanges: start and end once each, and what happens when they cannot be kept."""

from collections.abc import Sequence
from typing import Any

import msgspec
import pytest

from services.gateway.errors import ClientError
from services.gateway.exchange import Cost
from services.gateway.providers.body import parse_json
from services.gateway.providers.operations import Operation
from services.gateway.providers.usage import Usage
from shared.events import Attempt, RequestLogged, RequestStarted, Tokens, UsageRecorded
from shared.governance.reservation import MIN_SAMPLES
from shared.pricing.book import PriceBook
from shared.pricing.model import ModelPrice, rates
from tests.support.desk import NOW, Desk, governed
from tests.support.gateway import DEMO, mock_cost


@pytest.mark.parametrize(
    ("codes", "basis"),
    [
        ((), "none"),
        (("provider_error",), "none"),
        (("cancelled",), "estimated"),
        (("provider_error", "cancelled"), "estimated"),
        (("",), "estimated"),
    ],
)
def test_who_leaves_pays_for_the_request_only_if_a_provider_was_reading_it(
    codes: Sequence[str], basis: str
) -> None:
    desk = Desk()
    exchange = desk.exchange(governed()[0])
    desk.admit(exchange)
    exchange.attempts = [Attempt(provider="mock", model="m", error_code=code) for code in codes]

    exchange.bill_partial()

    assert exchange.cost.basis == basis
    assert bool(exchange.cost.nanos) is (basis == "estimated")


def test_what_is_known_to_be_used_is_not_guessed_when_the_answer_is_cut_short() -> None:
    desk = Desk()
    exchange = desk.exchange(governed()[0])
    desk.admit(exchange)
    exchange.attempts = [Attempt(provider="mock", model="m")]
    exchange.bill(Usage(Tokens(prompt=10, completion=5)))

    exchange.bill_partial()

    assert exchange.cost == Cost(mock_cost(10, 5), "priced")


def test_money_is_held_from_admission_and_settled_at_the_end() -> None:
    desk = Desk()
    key, cap = governed()
    exchange = desk.exchange(key)

    desk.admit(exchange)

    (started,) = desk.outbox.kept
    assert isinstance(started, RequestStarted)
    held = desk.view.totals(cap, NOW)
    assert (held.reserved_nanos, held.settled_nanos) == (started.reserved_nanos, 0)
    assert started.reserved_nanos >= mock_cost(0, 100)

    exchange.bill(Usage(Tokens(prompt=10, completion=5)))
    desk.recorder.end(exchange)
    desk.recorder.end(exchange)  # a second call changes nothing

    _, usage, logged = desk.outbox.kept
    assert isinstance(usage, UsageRecorded)
    assert isinstance(logged, RequestLogged)
    assert usage.cost_nanos == logged.cost_nanos == mock_cost(10, 5)
    assert usage.latency_ms == 1500
    spent = desk.view.totals(cap, NOW)
    assert (spent.reserved_nanos, spent.settled_nanos, spent.tokens) == (0, mock_cost(10, 5), 15)


def test_running_requests_that_hold_the_rest_make_others_wait() -> None:
    desk = Desk()
    key, _ = governed(limit=250_000)
    desk.admit(desk.exchange(key))

    with pytest.raises(ClientError) as caught:
        desk.admit(desk.exchange(key))

    assert (caught.value.status, caught.value.code, caught.value.retry_after_s) == (429, "budget_reserved", 1)
    assert len(desk.outbox.kept) == 1


def test_a_request_that_cannot_fit_is_refused_before_it_starts() -> None:
    desk = Desk()
    key, _ = governed(limit=100)

    with pytest.raises(ClientError) as caught:
        desk.admit(desk.exchange(key))

    assert (caught.value.status, caught.value.code) == (402, "budget_exceeded")
    assert desk.outbox.kept == []


def test_what_several_answers_used_is_learned_of_each() -> None:
    desk = Desk()
    key, _ = governed(limit=10**15)
    for _ in range(MIN_SAMPLES + 1):
        exchange = desk.exchange(key)
        exchange.body = parse_json(b'{"model":"m","messages":[],"n":4}')
        desk.admit(exchange)
        exchange.bill(Usage(Tokens(prompt=10, completion=400)))
        desk.recorder.end(exchange)

    last = desk.outbox.kept[-3]

    assert isinstance(last, RequestStarted)
    assert mock_cost(0, 400) <= last.reserved_nanos < mock_cost(0, 500)


def test_a_large_ranking_holds_as_many_units_as_it_will_be_billed_for() -> None:
    desk = Desk()
    exchange = desk.exchange(governed(limit=10**15)[0])
    exchange.operation = Operation.RERANK
    exchange.body = parse_json(msgspec.json.encode({"model": "m", "query": "q", "documents": ["d"] * 250}))
    exchange.price = ModelPrice(source="override", base=rates(), per_request_nanos=2_000_000)

    desk.admit(exchange)

    (started,) = desk.outbox.kept
    assert isinstance(started, RequestStarted)
    assert started.reserved_nanos == 3 * 2_000_000


def test_a_count_is_free_whatever_a_request_of_its_model_costs() -> None:
    desk = Desk()
    exchange = desk.exchange(governed()[0])
    exchange.operation = Operation.COUNT_TOKENS
    exchange.price = ModelPrice(source="override", base=rates(), per_request_nanos=2_000_000)

    desk.admit(exchange)
    exchange.bill(Usage(Tokens()))
    desk.recorder.end(exchange)

    started, used, _ = desk.outbox.kept
    assert isinstance(started, RequestStarted) and isinstance(used, UsageRecorded)
    assert (started.reserved_nanos, used.cost_nanos, used.cost_basis) == (0, 0, "none")


def test_an_unpriced_model_is_admitted_and_marked_so() -> None:
    desk = Desk()
    key, cap = governed()
    exchange = desk.exchange(key)
    exchange.price = None

    desk.admit(exchange)
    exchange.bill(Usage(Tokens(prompt=10, completion=5)))
    desk.recorder.end(exchange)

    assert exchange.shown_cost(Usage(Tokens(prompt=10))) is None
    usage = desk.outbox.kept[1]
    assert isinstance(usage, UsageRecorded)
    assert (usage.cost_nanos, usage.cost_basis) == (0, "unpriced")
    assert desk.view.totals(cap, NOW).unpriced == 1


def test_a_providers_own_cost_wins_over_the_price_book() -> None:
    exchange = Desk().exchange(governed()[0])

    exchange.bill(Usage(Tokens(prompt=10), cost_nanos=77))

    assert (exchange.cost.nanos, exchange.cost.basis) == (77, "provider")


@pytest.mark.parametrize(
    ("asked", "reserved", "served", "cost"),
    [
        ("", 100, "default", 5),
        ("priority", 200, "priority", 10),
        ("priority", 200, "default", 5),  # the provider had no room in it
        ("flex", 100, "flex", 3),  # it may serve it as standard all the same
    ],
)
def test_a_service_tier_is_reserved_if_dearer_and_billed_as_served(
    asked: str, reserved: int, served: str, cost: int
) -> None:
    def price(nanos: int, **more: Any) -> ModelPrice:
        return ModelPrice(source="genai-prices", base=rates(output_nanos=nanos), **more)

    desk = Desk()
    exchange = desk.exchange(governed()[0])
    body = {"model": "m", "messages": [], "max_tokens": 100, "service_tier": asked}
    exchange.body = parse_json(msgspec.json.encode(body))
    exchange.price = price(1_000_000, service_tiers={"priority": price(2_000_000), "flex": price(500_000)})

    desk.admit(exchange)
    exchange.bill(Usage(Tokens(completion=5), service_tier=served))
    desk.recorder.end(exchange)

    started, usage, logged = desk.outbox.kept
    assert isinstance(started, RequestStarted) and isinstance(usage, UsageRecorded)
    assert isinstance(logged, RequestLogged)
    assert (started.reserved_nanos, usage.cost_nanos, usage.service_tier) == (reserved, cost, served)
    assert logged.service_tier == served


def test_a_full_spool_refuses_keys_that_deny() -> None:
    desk = Desk()
    key, cap = governed(on_unavailable="deny")
    exchange = desk.exchange(key)
    desk.outbox.full = True

    with pytest.raises(ClientError) as caught:
        desk.admit(exchange)

    assert (caught.value.status, caught.value.code) == (503, "events_unavailable")
    assert desk.view.totals(cap, NOW).reserved_nanos == 0
    assert exchange.reservation is None  # never started: its end will be a log entry alone


def test_a_full_spool_lets_others_pass_loudly_and_their_cost_is_kept_when_there_is_room_again() -> None:
    desk = Desk()
    key, cap = governed()
    exchange = desk.exchange(key)
    desk.outbox.full = True
    desk.admit(exchange)
    assert desk.dropped() == 1

    desk.outbox.full = False
    exchange.bill(Usage(Tokens(prompt=10, completion=5)))
    desk.recorder.end(exchange)

    usage = desk.outbox.kept[0]
    assert isinstance(usage, UsageRecorded)
    assert (usage.cost_nanos, usage.reserved_nanos) == (
        mock_cost(10, 5),
        0,
    )  # nothing was held, nothing is released
    assert desk.view.totals(cap, NOW) == (mock_cost(10, 5), 0, 1, 15, 0)


def test_what_began_before_the_spool_was_full_ends_exactly_and_what_did_not_takes_none_of_its_room() -> None:
    desk = Desk()
    key, cap = governed()
    before, after = desk.exchange(key), desk.exchange(key)
    desk.admit(before)
    desk.outbox.full = True
    desk.admit(after)
    assert desk.dropped() == 1

    for exchange in (before, after):
        exchange.bill(Usage(Tokens(prompt=10, completion=5)))
        desk.recorder.end(exchange)

    ended = [event.request_id for event in desk.outbox.kept if isinstance(event, UsageRecorded)]
    assert ended == [before.incoming.request_id]
    assert desk.dropped() == 2
    assert desk.view.totals(cap, NOW).settled_nanos == mock_cost(10, 5)


def test_an_end_that_cannot_be_kept_leaves_the_money_held() -> None:
    desk = Desk()
    key, cap = governed()
    exchange = desk.exchange(key)
    desk.admit(exchange)
    held = desk.view.totals(cap, NOW).reserved_nanos
    desk.outbox.crammed = True

    exchange.bill(Usage(Tokens(prompt=10, completion=5)))
    desk.recorder.end(exchange)

    assert desk.dropped() == 1
    assert desk.view.totals(cap, NOW).reserved_nanos == held > 0


def test_bodies_too_large_for_the_log_are_left_out_not_the_record() -> None:
    desk = Desk()
    desk.outbox.largest_body = 10
    exchange = desk.exchange(governed()[0])
    desk.admit(exchange)

    exchange.bill(Usage(Tokens(prompt=10, completion=5)))
    desk.recorder.end(exchange)

    logged = desk.outbox.kept[2]
    assert isinstance(logged, RequestLogged)
    assert msgspec.json.decode(logged.request) is None
    assert logged.request_bytes == len(exchange.raw_body)


def test_bodies_are_not_kept_where_that_is_switched_off() -> None:
    desk = Desk(FINOPS_LOG_BODIES="false")
    exchange = desk.exchange(governed()[0])
    exchange.keep_response(b'{"a":1}', "json")

    desk.recorder.end(exchange)

    (logged,) = desk.outbox.kept
    assert isinstance(logged, RequestLogged)
    assert (bytes(logged.request), bytes(logged.response)) == (b"null", b"null")
    assert logged.response_bytes == 7
    assert desk.recorder.transcript_limit == 0


def test_the_demo_has_a_price() -> None:
    assert PriceBook().price(DEMO.name, DEMO.type, "echo") is not None
