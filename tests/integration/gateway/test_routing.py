"""Several credentials, several providers: what the client gets, who is called, what is billed and logged."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from shared.events import RequestStarted, UsageRecorded
from shared.governance.model import Credential, PriceOverride, Provider, Route, RouteTarget, VirtualKey
from tests.support.eventually import eventually
from tests.support.gateway import (
    RunningGateway,
    budget,
    mock_provider,
    running_gateway,
    virtual_key,
)
from tests.support.upstream import MockUpstream, running_upstream

MODEL = "gpt-4o-mini"
# Nano-dollars per token: the backup costs ten times as much.
CHEAP, DEAR = 1_000, 10_000
PRICES = tuple(
    PriceOverride(
        model=f"{name}/{MODEL}",
        input_per_million_nanos=nanos * 1_000_000,
        output_per_million_nanos=nanos * 1_000_000,
    )
    for name, nanos in (("main", CHEAP), ("backup", DEAR))
)
TWO_KEYS = (Credential(name="one", env="PATH", weight=1e9), Credential(name="two", env="HOME"))
ROUTE = Route(name="fast", targets=(RouteTarget(model=f"main/{MODEL}"),), fallbacks=(f"backup/{MODEL}",))


ERROR_EVENT = b'data: {"error":{"message":"an error as the first event","type":"server_error"}}\n\n'


class FailingInTurn(MockUpstream):
    """The mock, but first it answers with what `failures` says: a status, or a stream of these bytes."""

    def __init__(self) -> None:
        super().__init__()
        self.failures: list[int | bytes] = []
        self.retry_after = ""
        self.calls = 0

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["method"] == "POST":
            self.calls += 1
            if self.failures:
                await self._fail(self.failures.pop(0), send)
                return
        await super().__call__(scope, receive, send)

    async def _fail(self, failure: int | bytes, send: Any) -> None:
        stream = isinstance(failure, bytes)
        body = failure if isinstance(failure, bytes) else b'{"error":{"message":"in turn"}}'
        headers = [(b"content-type", b"text/event-stream" if stream else b"application/json")]
        if self.retry_after:
            headers.append((b"retry-after", self.retry_after.encode()))
        await send({"type": "http.response.start", "status": 200 if stream else failure, "headers": headers})
        await send({"type": "http.response.body", "body": body})


@asynccontextmanager
async def two_upstreams(
    tmp_path: Path, *entities: VirtualKey | Provider | Route
) -> AsyncIterator[tuple[FailingInTurn, FailingInTurn, RunningGateway]]:
    main, backup = FailingInTurn(), FailingInTurn()
    async with running_upstream(main) as first, running_upstream(backup) as second:
        providers = (
            mock_provider(first.url, name="main", credentials=TWO_KEYS),
            mock_provider(second.url, name="backup"),
        )
        async with running_gateway(tmp_path, *providers, *PRICES, *entities) as gateway:
            yield main, backup, gateway


async def test_the_target_that_serves_is_the_one_that_is_billed_and_named(tmp_path: Path) -> None:
    secret, key = virtual_key(budgets=(budget(10**9),))
    async with two_upstreams(tmp_path, key) as (main, backup, gateway):
        main.failures = [500, 500]

        response = await gateway.chat(
            f"main/{MODEL}",
            "mock(prompt=25; completion=14)",
            secret,
            fallbacks=[f"backup/{MODEL}"],
            max_tokens=14,
        )

        assert response.status == 200
        assert response.headers["x-finops-provider"] == "backup"
        assert (await response.json())["usage"]["cost"] == 39 * DEAR / 1e9
        assert "fallbacks" not in backup.requests[0]["body"]
        (logged,) = await gateway.logged()
        assert [(a.provider, a.http_status, a.error_code) for a in logged.attempts] == [
            ("main", 500, "provider_error"),
            ("main", 500, "provider_error"),
            ("backup", 200, ""),
        ]
        assert all(a.model == MODEL and a.credential for a in logged.attempts)
        assert logged.attempts[2].started_ms >= logged.attempts[0].started_ms + logged.attempts[0].duration_ms
        assert b"fallbacks" in bytes(logged.request)  # the log has what the client sent
        (started,) = await gateway.usage(RequestStarted)
        (used,) = await gateway.usage(UsageRecorded)
        assert (started.provider, used.provider, logged.provider) == ("main", "backup", "backup")
        assert used.cost_nanos == logged.cost_nanos == 39 * DEAR
        assert started.reserved_nanos >= 14 * DEAR  # the dearest that it might come to
        assert used.reserved_nanos == started.reserved_nanos
        assert used.charges == started.charges


async def test_a_stream_whose_first_event_is_an_error_goes_on_elsewhere_unseen(tmp_path: Path) -> None:
    async with two_upstreams(tmp_path) as (main, _, gateway):
        main.failures = [ERROR_EVENT, b""]

        response = await gateway.chat(
            f"main/{MODEL}",
            "mock(prompt=5; completion=3)",
            stream=True,
            stream_options={"include_usage": True},
            fallbacks=[f"backup/{MODEL}"],
        )

        text = await response.text()
        assert response.status == 200
        assert response.headers["x-finops-provider"] == "backup"
        assert "error" not in text
        assert text.count("[DONE]") == 1
        (logged,) = await gateway.logged()
        assert [(a.provider, a.http_status, a.error_code) for a in logged.attempts] == [
            ("main", 200, "provider_error"),
            ("main", 200, "provider_error"),
            ("backup", 200, ""),
        ]
        assert (logged.outcome, logged.cost_nanos, logged.tokens.prompt) == ("success", 8 * DEAR, 5)
        assert b"first event" not in bytes(logged.response)


async def test_an_error_as_first_event_of_the_last_stream_is_a_real_http_error(tmp_path: Path) -> None:
    async with two_upstreams(tmp_path) as (main, backup, gateway):
        main.failures, backup.failures = [401, 401], [ERROR_EVENT, ERROR_EVENT]

        response = await gateway.chat(f"main/{MODEL}", "hi", stream=True, fallbacks=[f"backup/{MODEL}"])

        assert response.status == 502
        assert "first event" in (await response.json())["error"]["message"]
        (logged,) = await gateway.logged()
        assert [a.provider for a in logged.attempts] == ["main", "main", "backup", "backup"]
        assert (logged.cost_basis, logged.provider) == ("none", "backup")
        assert b"first event" in bytes(logged.response)


async def test_a_stream_is_served_by_the_next_when_the_first_ends_before_it_began(tmp_path: Path) -> None:
    async with two_upstreams(tmp_path) as (main, backup, gateway):
        main.failures = [503, 503]

        response = await gateway.chat(
            f"main/{MODEL}",
            "mock(prompt=5; completion=3)",
            stream=True,
            stream_options={"include_usage": True},
            fallbacks=[f"backup/{MODEL}"],
        )

        text = await response.text()
        assert response.status == 200
        assert response.headers["x-finops-provider"] == "backup"
        assert text.count("[DONE]") == 1 and text.count('"usage":{') == 1
        (logged,) = await gateway.logged()
        assert (logged.cost_nanos, logged.provider) == (8 * DEAR, "backup")
        assert [a.http_status for a in logged.attempts] == [503, 503, 200]


async def test_a_stream_that_has_begun_is_never_tried_again(tmp_path: Path) -> None:
    async with two_upstreams(tmp_path) as (main, backup, gateway):
        response = await gateway.chat(
            f"main/{MODEL}", "mock(completion=12; fault=cut)", stream=True, fallbacks=[f"backup/{MODEL}"]
        )

        assert response.status == 200
        (logged,) = await gateway.logged()
        assert (main.calls, backup.calls) == (1, 0)
        assert logged.outcome == "error"
        assert logged.attempts[0].error_code == "provider_unreachable"


async def test_a_limited_credential_rests_as_long_as_it_was_told_and_is_then_tried_again(
    tmp_path: Path,
) -> None:
    async with two_upstreams(tmp_path) as (main, _, gateway):
        main.failures, main.retry_after = [429], "2"

        await gateway.chat(f"main/{MODEL}", "hi")
        await gateway.chat(f"main/{MODEL}", "hi")

        first, second = await gateway.logged(2)
        assert [a.credential for a in first.attempts] == ["one", "two"]
        assert [a.credential for a in second.attempts] == ["two"]
        sent = 2

        async def recovered() -> bool:
            nonlocal sent
            await gateway.chat(f"main/{MODEL}", "hi")
            sent += 1
            return (await gateway.logged(sent))[-1].attempts[0].credential == "one"

        assert await eventually(recovered)
        assert not main.failures


async def test_a_route_is_listed_serves_under_its_name_and_falls_back(tmp_path: Path) -> None:
    secret, key = virtual_key(allowed_models=("fast",))
    async with two_upstreams(tmp_path, key, ROUTE) as (main, _, gateway):
        main.failures = [401, 401]
        headers = {"authorization": f"Bearer {secret}"}
        async with gateway.http.get("/v1/models", headers=headers) as listed:
            models = (await listed.json())["data"]

        response = await gateway.chat("fast", "hi", secret)
        forbidden = await gateway.chat(f"main/{MODEL}", "hi", secret)

        assert [model["id"] for model in models] == ["fast"]
        assert response.status == 200
        assert response.headers["x-finops-provider"] == "backup"
        assert forbidden.status == 403
        logged = await gateway.logged(2)
        assert (logged[0].requested_model, logged[0].provider, logged[0].model) == ("fast", "backup", MODEL)
        assert [(a.provider, a.credential) for a in logged[0].attempts] == [
            ("main", "one"),
            ("main", "two"),
            ("backup", "main"),
        ]


async def test_a_route_follows_governance_at_once(tmp_path: Path) -> None:
    async with two_upstreams(tmp_path, ROUTE) as (_, backup, gateway):
        assert (await gateway.chat("fast", "hi")).headers["x-finops-provider"] == "main"

        await gateway.govern(Route(name="fast", targets=(RouteTarget(model=f"backup/{MODEL}"),)))

        async def moved() -> bool:
            return (await gateway.chat("fast", "hi")).headers["x-finops-provider"] == "backup"

        assert await eventually(moved)


async def test_the_key_has_fallbacks_of_its_own(tmp_path: Path) -> None:
    secret, key = virtual_key(fallbacks=(f"backup/{MODEL}",))
    async with two_upstreams(tmp_path, key) as (main, _, gateway):
        main.failures = [402, 402]

        response = await gateway.chat(f"main/{MODEL}", "hi", secret)

        assert response.headers["x-finops-provider"] == "backup"


async def test_a_whole_answer_that_is_an_error_inside_a_200_is_tried_elsewhere(tmp_path: Path) -> None:
    async with two_upstreams(tmp_path) as (main, backup, gateway):
        response = await gateway.chat(f"main/{MODEL}", "mock(fault=error-200)", fallbacks=[f"backup/{MODEL}"])

        assert response.status == 502
        (logged,) = await gateway.logged()
        assert [a.provider for a in logged.attempts] == ["main", "main", "backup", "backup"]
        assert {a.error_code for a in logged.attempts} == {"provider_error"}
        (used,) = await gateway.usage(UsageRecorded)
        assert (used.cost_nanos, used.cost_basis, used.provider) == (0, "none", "backup")


async def test_a_budget_must_cover_the_dearest_candidate(tmp_path: Path) -> None:
    secret, key = virtual_key(budgets=(budget(200 * CHEAP),))
    async with two_upstreams(tmp_path, key) as (main, _, gateway):
        alone = await gateway.chat(f"main/{MODEL}", "mock(completion=3)", secret, max_tokens=30)
        refused = await gateway.chat(
            f"main/{MODEL}", "mock(completion=3)", secret, max_tokens=30, fallbacks=[f"backup/{MODEL}"]
        )

        assert alone.status == 200
        assert (refused.status, main.calls) == (402, 1)


async def test_fallbacks_that_are_wrong_are_refused_before_anything_is_sent(tmp_path: Path) -> None:
    async with two_upstreams(tmp_path) as (main, _, gateway):
        unknown = await gateway.chat(f"main/{MODEL}", "hi", fallbacks=["main/nothing"])
        malformed = await gateway.chat(f"main/{MODEL}", "hi", fallbacks="main/nothing")

        assert (unknown.status, malformed.status) == (404, 400)
        for response in (unknown, malformed):
            assert (await response.json())["error"]["param"] == "fallbacks"
        assert main.calls == 0
