"""Streams through a whole gateway: events as they come, usage once, errors inside, and clients that leave."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from shared.events import RequestStarted, UsageRecorded
from tests.support.eventually import eventually
from tests.support.gateway import (
    MOCK_PRICE,
    RunningGateway,
    mock_cost,
    mock_provider,
    running_gateway,
    virtual_key,
)
from tests.support.upstream import RunningUpstream, running_upstream

MODEL = "mock/gpt-4o-mini"


@asynccontextmanager
async def both(
    tmp_path: Path, *entities: Any, **environ: str
) -> AsyncIterator[tuple[RunningUpstream, RunningGateway]]:
    """The mock, and a gateway in front of it."""
    async with running_upstream() as upstream:
        governed = (mock_provider(upstream.url), MOCK_PRICE, *entities)
        async with running_gateway(tmp_path, *governed, environ=environ) as gateway:
            yield upstream, gateway


def body_of(orders: str, **fields: Any) -> dict[str, Any]:
    messages = [{"role": "user", "content": f"mock({orders})"}]
    return {"model": MODEL, "messages": messages, "stream": True, **fields}


def data_of(text: str) -> list[Any]:
    """The data of all events; `[DONE]` as that text."""
    lines = [line[6:] for line in text.splitlines() if line.startswith("data: ")]
    return [line if line == "[DONE]" else json.loads(line) for line in lines]


def used(events: list[Any]) -> list[Any]:
    return [event["usage"] for event in events if event != "[DONE]" and event.get("usage")]


async def test_events_come_one_by_one_with_the_right_headers(tmp_path: Path) -> None:
    async with both(tmp_path) as (_, gateway):
        request = body_of("completion=5; chunk_ms=30", stream_options={"include_usage": True})
        async with gateway.http.post("/v1/chat/completions", json=request) as response:
            arrivals = []
            text = b""
            async for chunk in response.content.iter_any():
                arrivals.append(asyncio.get_running_loop().time())
                text += chunk

            assert response.status == 200
            assert response.headers["content-type"].startswith("text/event-stream")
            assert response.headers["cache-control"] == "no-cache"
            assert response.headers["x-accel-buffering"] == "no"
            assert response.headers["x-finops-provider"] == "mock"
            assert "content-encoding" not in response.headers
        events = data_of(text.decode())
        assert events[-1] == "[DONE]"
        assert len(arrivals) >= 5
        assert arrivals[-1] - arrivals[0] > 0.1  # not held back until the end


@pytest.mark.parametrize("fault", ["", "usage-everywhere", "usage-on-last", "crlf"])
async def test_usage_comes_exactly_once_with_its_cost(tmp_path: Path, fault: str) -> None:
    async with both(tmp_path) as (_, gateway):
        orders = f"prompt=25; completion=14; fault={fault}"
        request = body_of(orders, stream_options={"include_usage": True})
        async with gateway.http.post("/v1/chat/completions", json=request) as response:
            events = data_of(await response.text())

        (usage,) = used(events)
        assert usage["total_tokens"] == 39
        assert usage["cost"] == mock_cost(25, 14) / 1e9
        (logged,) = await gateway.logged()
        assert (logged.cost_nanos, logged.cost_basis, logged.stream) == (mock_cost(25, 14), "priced", True)
        assert logged.response_kind == "sse"
        assert logged.finish_reason == "stop"
        assert logged.ttft_ms is not None and logged.ttft_ms <= logged.latency_ms


async def test_usage_is_metered_but_not_sent_to_a_client_that_did_not_ask(tmp_path: Path) -> None:
    always_secret, always = virtual_key("always", always_send_usage=True)
    secret, key = virtual_key("plain", cost_in_usage=False)
    async with both(tmp_path, always, key) as (upstream, gateway):
        silent = await gateway.chat(MODEL, "mock(prompt=25; completion=14)", secret, stream=True)
        told = await gateway.chat(MODEL, "mock(prompt=25; completion=14)", always_secret, stream=True)
        asking = {"stream": True, "stream_options": {"include_usage": True}}
        priceless = await gateway.chat(MODEL, "mock(prompt=25; completion=14)", secret, **asking)

        assert used(data_of(await silent.text())) == []
        assert used(data_of(await told.text()))[0]["cost"] == mock_cost(25, 14) / 1e9
        assert "cost" not in used(data_of(await priceless.text()))[0]
        assert all(seen["body"]["stream_options"]["include_usage"] for seen in upstream.app.requests)
        assert {event.cost_nanos for event in await gateway.logged(3)} == {mock_cost(25, 14)}


async def test_a_failure_before_the_first_event_is_a_real_http_error(tmp_path: Path) -> None:
    async with both(tmp_path) as (_, gateway):
        for orders, status in (("fault=error-first", 502), ("status=429; retry_after=3", 429)):
            response = await gateway.chat(MODEL, f"mock({orders})", stream=True)

            assert response.status == status
            assert response.content_type == "application/json"
            assert (await response.json())["error"]["message"]
        logged = await gateway.logged(2)
        assert [(event.outcome, event.cost_basis) for event in logged] == [("error", "none")] * 2


@pytest.mark.parametrize(
    ("fault", "code"),
    [
        ("cut", "provider_unreachable"),
        ("error-event", "provider_error"),
        ("end-early", "provider_error"),
        ("stall-stream", "provider_timeout"),
    ],
)
async def test_a_failure_in_the_middle_is_an_error_event_and_what_came_is_billed(
    tmp_path: Path, fault: str, code: str
) -> None:
    async with both(tmp_path, FINOPS_BETWEEN_CHUNKS_TIMEOUT="1") as (_, gateway):
        response = await gateway.chat(MODEL, f"mock(completion=12; fault={fault})", stream=True)

        events = data_of(await response.text())
        assert response.status == 200
        assert events[-1] == "[DONE]"
        assert events[-2]["error"]["message"]
        assert "choices" not in events[-2]
        (logged,) = await gateway.logged()
        (record,) = await gateway.usage(UsageRecorded)
        assert (logged.outcome, logged.cost_basis) == ("error", "estimated")
        told = events[-2]["error"]
        assert (told["code"], told["message"]) == (code, logged.error_message)
        assert (logged.error_code, logged.attempts[-1].error_code, record.error_code) == (code, code, code)
        assert (logged.http_status, record.http_status) == (200, 200)
        assert record.cost_nanos > 0
        assert record.tokens.completion > 0


async def test_a_waiting_client_gets_heartbeats_and_a_late_failure_as_an_event(tmp_path: Path) -> None:
    async with both(tmp_path, FINOPS_HEARTBEAT_INTERVAL="0.05") as (_, gateway):
        slow = await gateway.chat(MODEL, "mock(delay_ms=500; completion=2)", stream=True)
        late = await gateway.chat(MODEL, "mock(delay_ms=500; status=500)", stream=True)

        text = await slow.text()
        assert text.startswith(": heartbeat\n\n")
        assert text.count(": heartbeat\n\n") >= 2
        assert data_of(text)[-1] == "[DONE]"
        assert late.status == 200
        assert late.content_type == "text/event-stream"
        error, done = data_of(await late.text())
        assert (error["error"]["code"], done) == ("provider_error", "[DONE]")
        first, second = await gateway.logged(2)
        assert first.outcome == "success"
        assert (second.outcome, second.error_code, second.cost_basis) == ("error", "provider_error", "none")
        assert second.http_status == 200


@pytest.mark.parametrize("path", ["messages", "responses"])
@pytest.mark.parametrize(
    ("fault", "code"), [("cut", "provider_unreachable"), ("stall-stream", "provider_timeout")]
)
async def test_a_failure_in_the_middle_of_another_format_is_on_record_as_it_was_told(
    tmp_path: Path, fault: str, code: str, path: str
) -> None:
    async with both(tmp_path, FINOPS_BETWEEN_CHUNKS_TIMEOUT="1") as (_, gateway):
        orders = f"mock(completion=12; fault={fault})"
        fields = {"input": orders} if path == "responses" else body_of(orders[5:-1], max_tokens=50)
        request = {"model": MODEL, "stream": True, **fields}
        async with gateway.http.post(f"/v1/{path}", json=request) as response:
            events = data_of(await response.text())

        (logged,) = await gateway.logged()
        error = events[-1]["error"] if path == "messages" else events[-1]
        assert error["message"] == logged.error_message
        assert (logged.error_code, logged.attempts[-1].error_code) == (code, code)
        if path == "responses":
            assert error["code"] == code


async def test_a_whole_answer_to_a_streamed_request_is_streamed(tmp_path: Path) -> None:
    async with both(tmp_path) as (_, gateway):
        request = body_of("fault=json-on-stream; prompt=25; completion=14", n=2)
        request["stream_options"] = {"include_usage": True}
        async with gateway.http.post("/v1/chat/completions", json=request) as response:
            assert response.status == 200
            events = data_of(await response.text())

        chunk, usage, done = events
        assert (chunk["object"], done) == ("chat.completion.chunk", "[DONE]")
        assert [choice["finish_reason"] for choice in chunk["choices"]] == ["stop", "stop"]
        assert chunk["choices"][1]["delta"]["content"].startswith("word")
        assert usage["usage"]["completion_tokens"] == 28
        assert usage["usage"]["cost"] == mock_cost(25, 28) / 1e9
        (logged,) = await gateway.logged()
        assert (logged.outcome, logged.cost_nanos, logged.cost_basis) == (
            "success", mock_cost(25, 28), "priced",
        )  # fmt: skip


async def test_a_client_that_leaves_stops_the_provider_and_pays_for_what_came(tmp_path: Path) -> None:
    async with both(tmp_path) as (upstream, gateway):
        request = body_of("completion=400; chunk_ms=10")
        async with aiohttp.ClientSession(gateway.url) as http:
            response = await http.post("/v1/chat/completions", json=request)
            for _ in range(8):
                await response.content.readline()
            response.close()

        (logged,) = await gateway.logged()
        (served,) = await eventually(lambda: upstream.app.served)
        assert served.outcome == "left"
        assert served.chunks_sent < 100
        assert (logged.outcome, logged.http_status) == ("cancelled", 499)
        assert logged.cost_basis == "estimated"
        (started,) = await gateway.usage(RequestStarted)
        (record,) = await gateway.usage(UsageRecorded)
        assert 0 < record.cost_nanos == mock_cost(record.tokens.prompt, record.tokens.completion)
        assert record.tokens.completion < 100
        assert record.reserved_nanos == started.reserved_nanos


@pytest.mark.parametrize("stream", [True, False])
async def test_a_client_that_leaves_before_the_headers_stops_the_provider_at_once(
    tmp_path: Path, stream: bool
) -> None:
    async with both(tmp_path) as (upstream, gateway):
        request = body_of("fault=stall-headers") | {"stream": stream}
        async with aiohttp.ClientSession(gateway.url) as http:
            waiting = asyncio.create_task(http.post("/v1/chat/completions", json=request))
            await eventually(lambda: upstream.app.open_requests == 1)
            waiting.cancel()
            await asyncio.wait((waiting,))

        await eventually(lambda: upstream.app.open_requests == 0)
        (logged,) = await gateway.logged()
        assert (logged.outcome, logged.http_status, logged.error_code) == (
            "cancelled", 499, "client_disconnected",
        )  # fmt: skip
        assert logged.attempts[0].error_code == "cancelled"
        (record,) = await gateway.usage(UsageRecorded)
        assert record.cost_basis == "estimated"
        assert record.tokens.completion == 0


async def test_a_client_that_leaves_while_sending_its_body_is_logged_and_costs_nothing(
    tmp_path: Path,
) -> None:
    async with both(tmp_path) as (upstream, gateway):
        host, port = gateway.url.removeprefix("http://").split(":")
        _, writer = await asyncio.open_connection(host, int(port))
        writer.write(b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\ncontent-length: 100\r\n\r\n{")
        await writer.drain()
        writer.close()

        (logged,) = await gateway.logged()
        assert (logged.outcome, logged.cost_basis) == ("cancelled", "none")
        assert await gateway.usage(RequestStarted) == []
        assert upstream.app.requests == []


async def test_a_stopping_server_still_settles_what_it_cut_off(tmp_path: Path) -> None:
    # the client stays until the gateway is gone
    async with running_upstream() as upstream, aiohttp.ClientSession() as http:
        async with running_gateway(tmp_path, mock_provider(upstream.url), MOCK_PRICE) as gateway:
            url = f"{gateway.url}/v1/chat/completions"
            response = await http.post(url, json=body_of("completion=900; chunk_ms=20"))
            await response.content.readline()
        response.close()

        # the harness gave it one second; a second gateway reads what the first has left behind
        async with running_gateway(tmp_path) as gateway:
            (logged,) = await gateway.logged()
            (record,) = await gateway.usage(UsageRecorded)

    assert (logged.outcome, logged.error_code) == ("error", "shutting_down")
    assert record.cost_basis == "estimated"
    assert record.cost_nanos > 0


async def test_many_streams_at_once_each_end_in_one_record(tmp_path: Path) -> None:
    async with both(tmp_path) as (_, gateway):
        tasks = [
            gateway.chat(MODEL, f"mock(marker=m{n}; prompt=10; completion={n % 7 + 1})", stream=n % 2 == 0)
            for n in range(40)
        ]
        answers = await asyncio.gather(*tasks)

        assert {answer.status for answer in answers} == {200}
        logged = await gateway.logged(40)
        records = await gateway.usage(UsageRecorded)
        assert len({record.request_id for record in records}) == len(records) == 40
        truth = sum(mock_cost(10, n % 7 + 1) for n in range(40))
        assert sum(record.cost_nanos for record in records) == truth
        assert sum(event.cost_nanos for event in logged) == truth
