"""Whole answers through a whole gateway: what the client gets, what the provider got, what stands on the log."""

from pathlib import Path
from typing import Any

import aiohttp
import msgspec
import pytest

from services.gateway.calling import MAX_TOLD
from shared.events import Bucket, RequestStarted, UsageRecorded
from shared.governance.model import Credential
from shared.governance.money import usd_from_nanos
from tests.support.eventually import eventually
from tests.support.gateway import (
    DEMO,
    MOCK_PRICE,
    RunningGateway,
    budget,
    mock_cost,
    mock_provider,
    running_gateway,
    virtual_key,
)
from tests.support.targets import form
from tests.support.upstream import running_upstream

MODEL = "mock/gpt-4o-mini"


async def error_of(response: Any) -> dict[str, Any]:
    """The error object of an answer, which must be JSON in OpenAI's shape."""
    assert response.content_type == "application/json"
    error: dict[str, Any] = (await response.json())["error"]
    assert set(error) == {"message", "type", "param", "code"}
    assert error["message"]
    return error


async def test_a_priced_request_is_recorded_exactly_once_with_its_cost(tmp_path: Path) -> None:
    secret, key = virtual_key(budgets=(budget(10**9),))
    async with (
        running_upstream() as upstream,
        running_gateway(tmp_path, mock_provider(upstream.url), MOCK_PRICE, key) as gateway,
    ):
        response = await gateway.chat(MODEL, "mock(prompt=25; completion=14)", secret, user="ada")

        cost = mock_cost(25, 14)
        answer = await response.json()
        assert response.status == 200
        assert answer["usage"]["cost"] == cost / 1e9
        assert response.headers["x-finops-cost"] == usd_from_nanos(cost)
        assert response.headers["x-finops-provider"] == "mock"
        assert response.headers["x-finops-model"] == "gpt-4o-mini"

        (logged,) = await gateway.logged()
        (started,) = await gateway.usage(RequestStarted)
        (used,) = await gateway.usage(UsageRecorded)
        assert response.headers["x-request-id"] == logged.request_id == started.request_id == used.request_id
        assert (used.cost_nanos, used.cost_basis, used.outcome) == (cost, "priced", "success")
        assert (used.tokens.prompt, used.tokens.completion) == (25, 14)
        assert used.reserved_nanos == started.reserved_nanos > 0
        assert used.charges == started.charges
        assert {charge.budget_id for charge in used.charges} == {"bud_1", key.id}
        assert started.deadline_ms == started.at_ms + 960_000
        assert (logged.cost_nanos, logged.end_user, logged.virtual_key_name) == (cost, "ada", "team-a")
        assert logged.finish_reason == "stop"
        assert [attempt.credential for attempt in logged.attempts] == ["main"]
        assert msgspec.json.decode(logged.request)["user"] == "ada"
        assert msgspec.json.decode(logged.response)["usage"]["prompt_tokens"] == 25


async def test_nothing_of_the_caller_reaches_the_provider_but_the_body(tmp_path: Path) -> None:
    secret, key = virtual_key()
    async with (
        running_upstream() as upstream,
        running_gateway(tmp_path, mock_provider(upstream.url), key) as gateway,
    ):
        headers = {
            "authorization": f"Bearer {secret}",
            "x-openwebui-user-email": "ada@example.org",
            "x-openwebui-chat-id": "chat-1",
            "cookie": "session=1",
            "x-custom": "1",
        }
        body = {"model": MODEL, "messages": [{"role": "user", "content": "hi"}], "top_k": 3}
        async with gateway.http.post("/v1/chat/completions", json=body, headers=headers) as response:
            assert response.status == 200

        (seen,) = upstream.app.requests
        assert seen["body"]["model"] == "gpt-4o-mini"
        assert secret not in str(seen)
        assert not {"x-openwebui-user-email", "x-openwebui-chat-id", "cookie", "x-custom"} & set(
            seen["headers"]
        )
        (logged,) = await gateway.logged()
        assert (logged.end_user, logged.chat_id) == ("", "")  # this key's callers are not trusted


async def test_however_many_parameters_are_left_out_the_header_that_names_them_is_short(
    tmp_path: Path,
) -> None:
    nobody = mock_provider("http://127.0.0.1:1/v1", name="claude", type="anthropic", models=("m",))
    async with running_gateway(tmp_path, nobody) as gateway:
        unknown: dict[str, Any] = {f"{'x' * 200}{number}": 1 for number in range(500)}
        response = await gateway.chat("claude/m", "hi", "", **unknown)

        assert response.status == 502
        assert len(response.headers["x-finops-dropped-params"]) < 4000
        (logged,) = await gateway.logged()
        assert len(logged.attempts[0].dropped) == MAX_TOLD


async def test_parameters_that_a_provider_would_refuse_are_dropped_and_named(tmp_path: Path) -> None:
    async with (
        running_upstream() as upstream,
        running_gateway(tmp_path, mock_provider(upstream.url, type="groq")) as gateway,
    ):
        response = await gateway.chat(MODEL, "hi", store=True, temperature=0.5)

        assert response.headers["x-finops-dropped-params"] == "store"
        sent = upstream.app.requests[0]["body"]
        assert "store" not in sent
        assert sent["temperature"] == 0.5
        (logged,) = await gateway.logged()
        assert logged.attempts[0].dropped == ("store",)


@pytest.mark.parametrize(
    ("orders", "status", "code"),
    [
        ("status=401", 502, "provider_auth_failed"),
        ("status=403", 502, "provider_auth_failed"),
        ("status=429; retry_after=7", 429, "provider_rate_limited"),
        ("status=500", 502, "provider_error"),
        ("status=503; fault=html", 502, "provider_error"),
        ("status=422", 422, "provider_bad_request"),
        ("fault=error-200", 502, "provider_error"),
    ],
)
async def test_a_providers_failure_is_an_error_that_costs_nothing(
    tmp_path: Path, orders: str, status: int, code: str
) -> None:
    async with (
        running_upstream() as upstream,
        running_gateway(tmp_path, mock_provider(upstream.url), MOCK_PRICE) as gateway,
    ):
        response = await gateway.chat(MODEL, f"mock({orders})")

        error = await error_of(response)
        assert response.status == status
        assert "<html" not in error["message"]
        if "retry_after" in orders:
            assert response.headers["retry-after"] == "7"
        (logged,) = await gateway.logged()
        (used,) = await gateway.usage(UsageRecorded)
        assert (logged.outcome, logged.http_status, logged.error_code) == ("error", status, code)
        assert (used.cost_nanos, used.cost_basis) == (0, "none")
        assert used.reserved_nanos > 0


async def test_an_unreachable_provider_is_502_and_a_slow_one_504(tmp_path: Path) -> None:
    async with running_upstream() as upstream:
        nobody = mock_provider("http://127.0.0.1:1/v1", name="nobody")
        environ = {"FINOPS_FIRST_BYTE_TIMEOUT": "0.2"}
        async with running_gateway(tmp_path, mock_provider(upstream.url), nobody, environ=environ) as gateway:
            unreachable = await gateway.chat("nobody/gpt-4o-mini", "hi")
            slow = await gateway.chat(MODEL, "mock(fault=stall-headers)")

            assert (unreachable.status, (await error_of(unreachable))["code"]) == (
                502,
                "provider_unreachable",
            )
            assert (slow.status, (await error_of(slow))["code"]) == (504, "provider_timeout")
            first, second = await gateway.logged(2)
            assert len(first.attempts) == 2  # a refused connection is tried once more
            assert len(second.attempts) == 1  # waiting twice would help nobody


async def test_a_failure_is_tried_again_with_another_credential(tmp_path: Path) -> None:
    two = (Credential(name="one", env="PATH"), Credential(name="two", env="PATH"))
    async with (
        running_upstream() as upstream,
        running_gateway(tmp_path, mock_provider(upstream.url, credentials=two)) as gateway,
    ):
        response = await gateway.chat(MODEL, "mock(marker=m; status=429; fail_first=1)")

        assert response.status == 200
        (logged,) = await gateway.logged()
        assert [attempt.http_status for attempt in logged.attempts] == [429, 200]
        assert {attempt.credential for attempt in logged.attempts} == {"one", "two"}
        assert (logged.outcome, logged.error_code) == ("success", "")


async def test_refused_requests_are_logged_and_never_started(tmp_path: Path) -> None:
    secret, key = virtual_key(allowed_models=("mock/*",))
    async with (
        running_upstream() as upstream,
        running_gateway(tmp_path, mock_provider(upstream.url), DEMO, key) as gateway,
    ):
        unknown = await gateway.chat("mock/nothing", "hi", secret)
        forbidden = await gateway.chat("demo/echo", "hi", secret)
        headers = {"authorization": f"Bearer {secret}"}
        async with gateway.http.post("/v1/chat/completions", data=b"{oops", headers=headers) as malformed:
            assert (await error_of(malformed))["code"] == "invalid_request"
        async with gateway.http.post("/v1/embeddings", json={"input": "x"}, headers=headers) as nameless:
            assert (await error_of(nameless))["code"] == "model_required"

        assert (unknown.status, (await error_of(unknown))["code"]) == (404, "model_not_found")
        assert (forbidden.status, (await error_of(forbidden))["code"]) == (403, "model_not_allowed")
        logged = await gateway.logged(4)
        assert [event.error_code for event in logged] == [
            "model_not_found",
            "model_not_allowed",
            "invalid_request",
            "model_required",
        ]
        assert {(event.outcome, event.cost_basis) for event in logged} == {("error", "none")}
        assert logged[2].request == msgspec.Raw(b'"{oops"')
        assert await gateway.usage(RequestStarted) == []
        assert await gateway.usage(UsageRecorded) == []
        assert upstream.app.requests == []


async def test_a_spent_budget_is_402_with_a_sentence_for_people(tmp_path: Path) -> None:
    secret, key = virtual_key(budgets=(budget(1_000_000),))
    async with (
        running_upstream() as upstream,
        running_gateway(tmp_path, mock_provider(upstream.url), MOCK_PRICE, key) as gateway,
    ):
        await gateway.govern()
        first = await gateway.chat(MODEL, "mock(prompt=400; completion=300)", secret, max_tokens=400)
        assert first.status == 200

        # its own spend counts at once, before the budget service has said anything
        refused = await gateway.chat(MODEL, "mock(prompt=1; completion=1)", secret, max_tokens=400)

        error = await error_of(refused)
        assert (refused.status, error["code"], error["type"]) == (
            402,
            "budget_exceeded",
            "insufficient_quota",
        )
        assert "team-a" in error["message"]
        _, logged = await gateway.logged(2)
        assert (logged.error_code, logged.http_status, logged.cost_basis) == ("budget_exceeded", 402, "none")
        assert len(await gateway.usage(RequestStarted)) == 1
        assert len(upstream.app.requests) == 1


async def test_spend_of_other_gateways_counts_as_soon_as_it_is_published(tmp_path: Path) -> None:
    limit = budget(1_000_000_000, window="lifetime")
    secret, key = virtual_key(budgets=(limit,))
    async with (
        running_upstream() as upstream,
        running_gateway(tmp_path, mock_provider(upstream.url), MOCK_PRICE, key) as gateway,
    ):
        assert (await gateway.chat(MODEL, "hi", secret)).status == 200
        spent = Bucket(0, 0, settled_nanos=limit.limit_nanos)

        await gateway.publish_spend(key, limit.id, spent, at_ms=1)

        async def refused() -> bool:
            return (await gateway.chat(MODEL, "hi", secret)).status == 402

        assert await eventually(refused)


async def test_stale_counters_refuse_only_keys_that_deny(tmp_path: Path) -> None:
    strict_secret, strict = virtual_key("strict", budgets=(budget(10**9, id="a"),), on_unavailable="deny")
    easy_secret, easy = virtual_key("easy", budgets=(budget(10**9, id="b"),))
    async with running_gateway(tmp_path, DEMO, strict, easy) as gateway:  # no budget service ever spoke
        refused = await gateway.chat("demo/echo", "hi", strict_secret)
        served = await gateway.chat("demo/echo", "hi", easy_secret)

        assert (refused.status, (await error_of(refused))["code"]) == (503, "spend_unverifiable")
        assert served.status == 200
        metrics = await (await gateway.http.get("/metrics")).text()
        assert "finops_gateway_unverified_requests_total 1.0" in metrics


async def test_a_changed_key_is_in_force_within_moments(tmp_path: Path) -> None:
    secret, key = virtual_key()
    async with running_gateway(tmp_path, DEMO, key) as gateway:
        assert (await gateway.chat("demo/echo", "hi", secret)).status == 200

        await gateway.govern(msgspec.structs.replace(key, status="revoked"))

        async def refused() -> bool:
            return (await gateway.chat("demo/echo", "hi", secret)).status == 401

        assert await eventually(refused)


async def test_too_large_a_body_is_413_and_logged(tmp_path: Path) -> None:
    async with running_gateway(tmp_path, DEMO, environ={"FINOPS_BODY_LIMIT": "2048"}) as gateway:
        declared = await gateway.chat("demo/echo", "x" * 4096)

        async def pieces() -> Any:
            for _ in range(8):
                yield b"x" * 512

        async with gateway.http.post("/v1/chat/completions", data=pieces()) as chunked:
            assert (chunked.status, (await error_of(chunked))["code"]) == (413, "body_too_large")

        assert (declared.status, (await error_of(declared))["code"]) == (413, "body_too_large")
        assert [event.http_status for event in await gateway.logged(2)] == [413, 413]


@pytest.mark.parametrize(
    ("path", "fields", "param"),
    [
        ("chat/completions", {"max_tokens": "many"}, "max_tokens"),
        ("chat/completions", {"max_tokens": 1.5}, "max_tokens"),
        ("chat/completions", {"n": -1}, "n"),
        ("chat/completions", {"stream": True, "stream_options": 5}, "stream_options"),
        ("chat/completions", {"stream": True, "stream_options": {"include_usage": "yes"}}, "stream_options"),
        ("images/generations", {"prompt": "a cat", "n": "two"}, "n"),
        ("audio/speech", {"input": 5}, "input"),
    ],
)
@pytest.mark.parametrize("kind", ["openai", "mistral"])
async def test_a_field_of_a_wrong_type_is_the_clients_mistake_and_named(
    tmp_path: Path, path: str, fields: dict[str, Any], param: str, kind: str
) -> None:
    async with (
        running_upstream() as upstream,
        running_gateway(tmp_path, mock_provider(upstream.url, type=kind), MOCK_PRICE) as gateway,
    ):
        body = {"model": MODEL, "messages": [{"role": "user", "content": "hi"}], **fields}
        async with gateway.http.post(f"/v1/{path}", json=body) as response:
            error = await error_of(response)

        (logged,) = await gateway.logged()
        if kind == "mistral" and path == "images/generations":
            assert error["code"] == "operation_not_supported"
        else:
            assert (response.status, error["code"], error["param"]) == (400, "invalid_request", param)
        assert (logged.outcome, logged.cost_basis) == ("error", "none")
        assert upstream.app.requests == []


async def test_a_number_that_some_servers_take_passes_as_it_is(tmp_path: Path) -> None:
    async with (
        running_upstream() as upstream,
        running_gateway(tmp_path, mock_provider(upstream.url), MOCK_PRICE) as gateway,
    ):
        assert (await gateway.chat(MODEL, "hi", max_tokens="50")).status == 200

        assert upstream.app.requests[0]["body"]["max_tokens"] == "50"


async def test_a_form_is_recorded_whatever_stands_in_its_fields(tmp_path: Path) -> None:
    async with running_gateway(tmp_path, DEMO) as gateway:
        body, kind = form(
            [("model", None, b"demo/transcription"), ("note", None, b"caf\xe9"), ("file", "a", b"x")]
        )
        headers = {"content-type": kind}
        async with gateway.http.post("/v1/audio/transcriptions", data=body, headers=headers) as response:
            assert response.status == 200

        (logged,) = await gateway.logged()
        (record,) = await gateway.usage(UsageRecorded)
        assert (logged.outcome, record.outcome) == ("success", "success")


@pytest.mark.proves(provider="demo", operation="chat")
@pytest.mark.proves(provider="demo", operation="completions")
@pytest.mark.proves(provider="demo", operation="embeddings")
@pytest.mark.proves(provider="demo", operation="images.generations")
@pytest.mark.proves(provider="demo", operation="images.edits")
@pytest.mark.proves(provider="demo", operation="audio.speech")
@pytest.mark.proves(provider="demo", operation="audio.transcriptions")
@pytest.mark.proves(provider="demo", operation="moderations")
async def test_every_operation_is_served_priced_and_logged(tmp_path: Path) -> None:
    async with running_gateway(tmp_path, DEMO) as gateway:
        await _every_operation(gateway)

        logged = await gateway.logged(8)
        assert {event.endpoint for event in logged} == {
            "chat.completions", "completions", "embeddings", "images.generations", "images.edits",
            "audio.speech", "audio.transcriptions", "moderations",
        }  # fmt: skip
        assert {event.outcome for event in logged} == {"success"}
        assert all(event.cost_basis in ("priced", "estimated") for event in logged)
        by_endpoint = {event.endpoint: event for event in logged}
        assert by_endpoint["images.generations"].cost_nanos == 10_000_000
        assert by_endpoint["images.edits"].cost_nanos == 10_000_000
        picture = msgspec.json.decode(by_endpoint["images.edits"].request)["image"]
        assert picture == {"file": "a.png", "bytes": 8}
        assert by_endpoint["audio.speech"].response_kind == "binary"


async def _every_operation(gateway: RunningGateway) -> None:
    chat = {"model": "demo/echo", "messages": [{"role": "user", "content": "hi"}]}
    for path, body in (
        ("chat/completions", chat),
        ("completions", {"model": "demo/echo", "prompt": "hi"}),
        ("embeddings", {"model": "demo/embedding", "input": ["a", "b"]}),
        ("images/generations", {"model": "demo/image", "prompt": "a cat", "n": 1, "size": "512x512"}),
        ("audio/speech", {"model": "demo/speech", "input": "hello", "voice": "alloy"}),
        ("moderations", {"model": "demo/moderation", "input": "hello"}),
    ):
        async with gateway.http.post(f"/v1/{path}", json=body) as response:
            assert response.status == 200, await response.text()
    forms: tuple[tuple[str, dict[str, str | bytes]], ...] = (
        ("images/edits", {"model": "demo/image", "prompt": "more cat", "image": b"\x89PNG1234"}),
        ("audio/transcriptions", {"model": "demo/transcription", "file": b"RIFF1234"}),
    )
    for path, fields in forms:
        form = form_of(fields)
        async with gateway.http.post(f"/v1/{path}", data=form) as response:
            assert response.status == 200, await response.text()


def form_of(fields: dict[str, str | bytes]) -> aiohttp.FormData:
    form = aiohttp.FormData()
    for name, value in fields.items():
        if isinstance(value, bytes):
            form.add_field(name, value, filename="a.png", content_type="application/octet-stream")
        else:
            form.add_field(name, value)
    return form
