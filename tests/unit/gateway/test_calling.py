"""What follows a failed call: another credential, a pause, another model, or the failure itself."""

from collections.abc import Sequence
from dataclasses import replace

import hypothesis.strategies as st
import msgspec
import pytest
from hypothesis import given

from services.gateway.calling import BACK_OFF_S, MAX_ATTEMPTS
from services.gateway.circuits import CREDENTIAL, PROVIDER, QUOTA
from services.gateway.errors import ClientError
from services.gateway.providers.body import ParsedBody
from services.gateway.providers.openai import OpenAIAdapter
from services.gateway.providers.operations import Operation
from services.gateway.providers.port import Prepared, Target
from services.gateway.upstream.port import (
    UpstreamBroken,
    UpstreamConnectFailed,
    UpstreamFault,
    UpstreamTimedOut,
    UpstreamTooLarge,
)
from shared.governance.model import Credential, Provider, Timeouts
from tests.support.routing import BODY, KEY, Told, ToldResponse, World, provider

TWO = (provider("p", "one"), provider("q", "two"))


@pytest.mark.parametrize("status", [401, 402, 403, 429])
async def test_a_credential_that_is_refused_or_limited_is_followed_by_another_at_once(status: int) -> None:
    world = World(provider("p", "one", "two"))
    world.providers.tell("p/one", status)
    world.providers.tell("p/two", status, 200)
    exchange = world.exchange()

    with pytest.raises(ClientError):
        await world.ask("p/m", exchange=exchange)

    assert sorted(world.providers.calls) == ["p/one", "p/two"]
    assert world.clock.slept == []
    assert [attempt.http_status for attempt in exchange.attempts] == [status, status]
    assert {attempt.credential for attempt in exchange.attempts} == {"one", "two"}


@pytest.mark.parametrize(("status", "policy"), [(401, CREDENTIAL), (429, QUOTA)])
async def test_it_rests_then_one_call_tries_it_and_success_brings_it_back(
    status: int, policy: object
) -> None:
    first = Credential(name="one", env="one", weight=1e12)  # drawn whenever it is there
    world = World(
        Provider(
            name="p",
            type="openai",
            base_url="http://p",
            credentials=(first, Credential(name="two", env="two")),
        )
    )
    world.providers.tell("p/one", status, 200)

    for _ in range(3):
        await world.ask("p/m")
    assert world.providers.calls == ["p/one", "p/two", "p/two", "p/two"]

    world.clock.now += CREDENTIAL.rest_s if status == 401 else QUOTA.rest_s
    for _ in range(2):
        await world.ask("p/m")
    assert world.providers.calls[4:] == ["p/one", "p/one"]
    assert world.circuits.all_closed


async def test_retry_after_is_how_long_a_credential_rests() -> None:
    world = World(provider("p", "one"), provider("q", "two"))
    world.providers.tell("p/one", (429, 20.0), 200)

    await world.ask("p/m", "q/m")
    world.clock.now += 19.9
    await world.ask("p/m", "q/m")
    assert world.providers.calls == ["p/one", "q/two", "q/two"]

    with pytest.raises(ClientError) as caught:
        await world.ask("p/m")  # nobody else, but the provider asked for a pause
    assert (caught.value.status, caught.value.code) == (429, "provider_rate_limited")
    assert caught.value.retry_after_s == pytest.approx(0.1)

    world.clock.now += 0.1
    assert (await world.ask("p/m")).route.name == "p/m"


async def test_a_short_pause_is_waited_for_when_there_is_nobody_else() -> None:
    world = World(provider("p", "one"))
    world.providers.tell("p/one", (429, 1.5), 200)

    await world.ask("p/m")

    assert world.providers.calls == ["p/one"] * 2
    assert world.clock.slept == [1.5 + BACK_OFF_S]


@pytest.mark.parametrize(
    "failure", [500, 503, UpstreamConnectFailed("x"), UpstreamBroken("x", answered=False)]
)
async def test_a_provider_that_fails_is_asked_once_more_after_a_pause_then_the_next_model(
    failure: Told,
) -> None:
    world = World(*TWO)
    world.providers.tell("p/one", failure)

    opened = await world.ask("p/m", "q/m")

    assert world.providers.calls == ["p/one", "p/one", "q/two"]
    assert world.clock.slept == [BACK_OFF_S]
    assert opened.route.name == "q/m"


@pytest.mark.parametrize(
    ("failure", "calls"),
    [
        (UpstreamTimedOut("first_byte", 1.0), ["p/one", "q/two"]),  # waiting twice would help nobody
        (404, ["p/one", "q/two"]),
        (400, ["p/one"]),
        (422, ["p/one"]),
        (UpstreamTooLarge(1), ["p/one"]),
    ],
)
async def test_what_another_call_cannot_mend_is_not_called_again(failure: Told, calls: list[str]) -> None:
    world = World(*TWO)
    world.providers.tell("p/one", failure)
    exchange = world.exchange()

    if len(calls) > 1:
        await world.ask("p/m", "q/m", exchange=exchange)
    else:
        with pytest.raises(ClientError):
            await world.ask("p/m", "q/m", exchange=exchange)

    assert world.providers.calls == calls
    assert len(exchange.attempts) == len(calls)


async def test_fallbacks_are_tried_in_their_order_and_each_attempt_is_recorded() -> None:
    world = World(provider("a", "x"), provider("b", "y"), provider("c", "z"))
    world.providers.tell("a/x", 401)
    world.providers.tell("b/y", 403)
    exchange = world.exchange()

    await world.ask("a/m", "b/n", "c/o", exchange=exchange)

    assert [(a.provider, a.model, a.credential, a.http_status, a.error_code) for a in exchange.attempts] == [
        ("a", "m", "x", 401, "provider_auth_failed"),
        ("b", "n", "y", 403, "provider_auth_failed"),
        ("c", "o", "z", 200, ""),
    ]
    assert exchange.route is not None and exchange.route.name == "c/o"
    assert (b"x-finops-provider", b"c") in exchange.client_headers
    assert (b"x-finops-model", b"o") in exchange.client_headers
    assert len(exchange.client_headers) == 2


async def test_a_provider_that_keeps_failing_is_passed_over_until_one_call_finds_it_well() -> None:
    world = World(*TWO)
    world.providers.tell("p/one", 500)
    while world.circuits.open_count(world.clock.now) == 0:
        await world.ask("p/m", "q/m")
    world.providers.calls.clear()

    await world.ask("p/m", "q/m")
    assert world.providers.calls == ["q/two"]

    world.clock.now += PROVIDER.rest_s
    await world.ask("p/m", "q/m")  # still failing: one try, then a longer rest
    assert world.providers.calls == ["q/two", "p/one", "q/two"]
    world.clock.now += PROVIDER.rest_s
    await world.ask("p/m", "q/m")
    assert world.providers.calls[3:] == ["q/two"]

    world.clock.now += PROVIDER.rest_s
    world.providers.tell("p/one", 200)
    await world.ask("p/m", "q/m")
    assert world.providers.calls[4:] == ["p/one"]
    assert world.circuits.all_closed


async def test_a_provider_without_alternative_is_asked_even_if_it_rests() -> None:
    world = World(provider("p", "one"))
    world.providers.tell("p/one", 500)
    for _ in range(10):
        with pytest.raises(ClientError) as caught:
            await world.ask("p/m")
        assert caught.value.code == "provider_error"
    world.providers.tell("p/one", 200)

    await world.ask("p/m")

    assert world.providers.calls[-1] == "p/one"


async def test_many_failures_at_once_do_not_double_the_load() -> None:
    world = World(provider("p", "one"), provider("q", "two"))
    world.providers.tell("p/one", *[500, 400] * 1000)  # never enough in a row to open the circuit
    for _ in range(200):
        with pytest.raises(ClientError):
            await world.ask("p/m")

    retries = len(world.providers.calls) - 200
    assert 10 <= retries <= 10 + 200 * 0.1 + world.clock.now * 0.5


async def test_all_attempts_together_have_the_time_of_one_request() -> None:
    world = World(
        provider("p", "one"), provider("q", "two", timeouts=Timeouts(total=60.0)), request_timeout_s=100.0
    )
    exchange = world.exchange()
    trip = await world.begin(exchange, "p/m", "q/m")
    world.clock.now += 70.0
    world.providers.tell("p/one", UpstreamTimedOut("first_byte", 70.0))

    await world.caller.open(exchange, trip)

    assert [request.timeouts.total for request in world.providers.requests] == [900.0, pytest.approx(30.0)]


async def test_time_that_a_request_took_to_arrive_is_not_the_providers() -> None:
    world = World(provider("p", "one"), request_timeout_s=100.0)
    slow = world.exchange()
    world.clock.now += 30.0

    await world.ask("p/m", exchange=slow)

    assert world.providers.requests[0].timeouts.total == pytest.approx(70.0)


async def test_no_time_left_is_no_attempt_left() -> None:
    world = World(*TWO, request_timeout_s=50.0)
    world.providers.tell("p/one", 500)
    exchange = world.exchange()
    trip = await world.begin(exchange, "p/m", "q/m")
    world.clock.now += 50.0

    with pytest.raises(ClientError):
        await world.caller.open(exchange, trip)

    assert world.providers.calls == ["p/one"]


async def test_an_answer_that_fails_after_its_headers_goes_on_elsewhere_and_is_recorded_as_failed() -> None:
    world = World(*TWO)
    exchange = world.exchange()
    trip = await world.begin(exchange, "p/m", "q/m")
    await world.caller.open(exchange, trip)
    world.clock.now += 2.0

    opened = await world.caller.reopen(exchange, trip, UpstreamTimedOut("between_chunks", 2.0))

    assert opened.route.name == "q/m"
    assert [(a.http_status, a.error_code) for a in exchange.attempts] == [
        (200, "provider_timeout"),
        (200, ""),
    ]
    assert exchange.attempts[0].duration_ms == 2000


async def test_the_alias_of_the_credential_is_what_the_provider_is_asked_for() -> None:
    here = Credential(name="one", env="one", aliases={"gpt": "deployment-7"})
    world = World(
        Provider(
            name="p",
            type="openai",
            base_url="http://p",
            credentials=(Credential(name="two", env="two"), here),
        )
    )
    exchange = world.exchange()

    for _ in range(20):
        await world.ask("p/gpt", exchange=exchange)

    assert set(world.providers.calls) == {"p/one"}  # who has a name for it is preferred
    assert exchange.route is not None and exchange.route.model == "gpt"  # its price is the model's
    assert b"deployment-7" in (world.providers.requests[0].body or b"")  # type: ignore[operator]  # bytes here


class AlwaysStreaming(OpenAIAdapter):
    """Answers event by event, asked or not."""

    def build(self, operation: Operation, target: Target, body: ParsedBody) -> Prepared:
        return msgspec.structs.replace(super().build(operation, target, body), streams=True)


async def test_a_candidate_that_would_answer_in_another_way_is_passed_over() -> None:
    world = World(provider("p", "one"), provider("q", "two"), provider("r", "three"))
    world.providers.tell("p/one", 401)
    first, second, third = world.candidates.of(KEY, "p/m", ("q/m", "r/m"))
    exchange = world.exchange()
    trip = await world.caller.begin(
        exchange, (first, replace(second, adapter=AlwaysStreaming()), third), BODY
    )

    assert (await world.caller.open(exchange, trip)).route.name == "r/m"


class Counting(OpenAIAdapter):
    """Counts tokens, by whatever it is asked."""

    def build(self, operation: Operation, target: Target, body: ParsedBody) -> Prepared:
        return super().build(Operation.CHAT, target, body)


@pytest.mark.parametrize("failure", [401, 403, (429, 60.0), 500, UpstreamBroken("x", answered=True)])
async def test_a_count_that_fails_keeps_nobody_from_what_was_to_be_counted(failure: Told) -> None:
    world = World(provider("p", "one"))
    world.providers.tell("p/one", failure)
    (route,) = world.candidates.of(KEY, "p/m", ())

    for _ in range(PROVIDER.threshold):
        exchange = world.exchange()
        exchange.operation = Operation.COUNT_TOKENS
        trip = await world.caller.begin(exchange, [replace(route, adapter=Counting())], BODY)
        with pytest.raises(ClientError):
            await world.caller.open(exchange, trip)

    assert world.circuits.all_closed
    world.providers.tell("p/one", 200)
    assert (await world.ask("p/m")).route.name == "p/m"


async def test_counts_that_succeed_say_nothing_of_a_provider_that_fails() -> None:
    """They may be estimates, which ask nobody."""
    world = World(provider("p", "one"))
    (route,) = world.candidates.of(KEY, "p/m", ())

    for _ in range(PROVIDER.threshold):
        world.providers.tell("p/one", 500)
        with pytest.raises(ClientError):
            await world.ask("p/m")
        world.providers.tell("p/one", 200)
        exchange = world.exchange()
        exchange.operation = Operation.COUNT_TOKENS
        trip = await world.caller.begin(exchange, [replace(route, adapter=Counting())], BODY)
        await world.caller.open(exchange, trip)
        world.caller.served(exchange, trip)

    assert world.circuits.open_count(world.clock.now) == 1


FAULTS: Sequence[Told] = (
    200, 400, 401, 402, 403, 404, 408, 429, 500, 503, (429, 0.5), (503, 10.0), (429, 1000.0),
    UpstreamConnectFailed("x"), UpstreamBroken("x", answered=True), UpstreamTimedOut("first_byte", 1.0),
    UpstreamTooLarge(1), 3.0,
)  # fmt: skip
ANSWERS = st.lists(st.sampled_from(FAULTS), min_size=1, max_size=6)


@given(
    st.fixed_dictionaries(dict.fromkeys(("p/a", "p/b", "q/c", "q/d", "r/e"), ANSWERS)),
    st.integers(1, 12),
    st.floats(0, 30),
)
async def test_whatever_providers_do_a_request_ends_and_its_record_is_true(
    told: dict[str, list[Told]], requests: int, pause_s: float
) -> None:
    world = World(provider("p", "a", "b"), provider("q", "c", "d"), provider("r", "e"))
    for call, answers in told.items():
        world.providers.tell(call, *answers)

    for _ in range(requests):
        world.providers.calls.clear()
        exchange = world.exchange()
        try:
            opened = await world.ask("p/m", "q/m", "r/m", exchange=exchange)
            assert opened.response.status == 200
            assert exchange.attempts[-1].http_status == 200
            assert exchange.attempts[-1].error_code == ""
        except ClientError as error:
            assert error.status >= 400
            assert all(attempt.error_code for attempt in exchange.attempts)
        assert world.providers.calls == [f"{a.provider}/{a.credential}" for a in exchange.attempts]
        assert len(exchange.attempts) <= MAX_ATTEMPTS
        order = [attempt.provider for attempt in exchange.attempts]
        assert order == sorted(order)  # never back to a candidate that was given up
        if exchange.attempts:
            assert exchange.route is not None
            assert exchange.route.provider.name == exchange.attempts[-1].provider
        world.clock.now += pause_s


@pytest.mark.parametrize(
    "fault", [UpstreamTooLarge(10), UpstreamBroken("lost", answered=True)], ids=lambda fault: fault.code
)
async def test_an_error_counts_as_what_its_status_says_though_its_text_is_lost(fault: UpstreamFault) -> None:
    world = World(*TWO)
    world.providers.tell("p/one", ToldResponse(429, {"retry-after": "60"}, fault))

    opened = await world.ask("p/m", "q/m")

    assert opened.route.provider.name == "q"
    assert world.providers.calls == ["p/one", "q/two"]


async def test_a_redirection_is_a_failure_and_is_not_followed() -> None:
    world = World(provider("p", "one"))
    world.providers.tell("p/one", ToldResponse(307, {"location": "https://elsewhere/v1"}))

    with pytest.raises(ClientError) as caught:
        await world.ask("p/m")

    assert (caught.value.code, caught.value.status) == ("provider_error", 502)
    assert set(world.providers.calls) == {"p/one"}


async def test_what_a_provider_says_of_our_credential_is_for_the_record_only() -> None:
    world = World(provider("p", "one"))
    world.providers.tell("p/one", 401)
    exchange = world.exchange()

    with pytest.raises(ClientError) as caught:
        await world.ask("p/m", exchange=exchange)

    assert "as told" not in caught.value.message
    assert exchange.attempts[0].error_message == "as told"
