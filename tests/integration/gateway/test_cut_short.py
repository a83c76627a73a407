"""Requests that end otherwise than their client or provider meant: the server stops, time is up, a fault of ours."""

import asyncio
import json
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from services.gateway.providers.relay import OpenAIRelay
from shared.events import RequestStarted, UsageRecorded
from tests.support.eventually import eventually
from tests.support.gateway import MOCK_PRICE, RunningGateway, mock_cost, mock_provider, running_gateway
from tests.support.upstream import RunningUpstream, running_upstream

MODEL = "mock/gpt-4o-mini"
MANY_EVENTS = "completion=200000"
"""More than the buffers of a connection hold."""


@asynccontextmanager
async def both(tmp_path: Path, **environ: str) -> AsyncIterator[tuple[RunningUpstream, RunningGateway]]:
    async with (
        running_upstream() as upstream,
        running_gateway(tmp_path, mock_provider(upstream.url), MOCK_PRICE, environ=environ) as gateway,
    ):
        yield upstream, gateway


def body_of(orders: str, **fields: Any) -> dict[str, Any]:
    return {"model": MODEL, "messages": [{"role": "user", "content": f"mock({orders})"}], **fields}


def data_of(text: str) -> list[Any]:
    lines = [line[6:] for line in text.splitlines() if line.startswith("data: ")]
    return [line if line == "[DONE]" else json.loads(line) for line in lines]


async def posted(
    gateway: RunningGateway, body: bytes, *, length: int
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """A connection on which a request has begun, whose answer nobody reads yet."""
    host, port = gateway.url.removeprefix("http://").split(":")
    connection = socket.create_connection((host, int(port)))
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    reader, writer = await asyncio.open_connection(sock=connection, limit=1024)
    head = f"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\ncontent-length: {length}\r\n\r\n"
    writer.write(head.encode() + body)
    await writer.drain()
    return reader, writer


async def test_a_stopping_server_tells_who_waits_for_a_whole_answer(tmp_path: Path) -> None:
    async with running_upstream() as upstream, aiohttp.ClientSession() as http:
        async with running_gateway(tmp_path, mock_provider(upstream.url), MOCK_PRICE) as gateway:
            url = f"{gateway.url}/v1/chat/completions"
            waiting = asyncio.create_task(http.post(url, json=body_of("fault=stall-headers")))
            await eventually(lambda: upstream.app.open_requests == 1)

        response = await waiting
        assert (response.status, response.content_type) == (503, "application/json")
        assert (await response.json())["error"]["code"] == "shutting_down"


async def test_a_stopping_server_tells_who_is_in_the_middle_of_a_stream(tmp_path: Path) -> None:
    async with running_upstream() as upstream, aiohttp.ClientSession() as http:
        async with running_gateway(tmp_path, mock_provider(upstream.url), MOCK_PRICE) as gateway:
            url = f"{gateway.url}/v1/chat/completions"
            response = await http.post(url, json=body_of("completion=900; chunk_ms=20", stream=True))
            await response.content.readline()

        events = data_of(await response.text())
        assert events[-2]["error"]["code"] == "shutting_down"
        assert events[-1] == "[DONE]"


async def test_a_fault_of_ours_in_the_middle_of_a_stream_is_told_and_billed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    feed = OpenAIRelay.feed

    def faulty(relay: OpenAIRelay, chunk: bytes) -> bytes:
        if relay.started:
            raise RuntimeError("a fault of ours")
        return feed(relay, chunk)

    monkeypatch.setattr(OpenAIRelay, "feed", faulty)
    async with both(tmp_path) as (upstream, gateway):
        response = await gateway.chat(MODEL, "mock(completion=50; chunk_ms=5)", stream=True)

        first, error, done = data_of(await response.text())
        assert first["choices"]
        assert (error["error"]["code"], done) == ("internal_error", "[DONE]")
        assert "fault of ours" not in error["error"]["message"]
        (logged,) = await gateway.logged()
        assert (logged.outcome, logged.error_code, logged.cost_basis) == (
            "error", "internal_error", "estimated",
        )  # fmt: skip
        await eventually(lambda: upstream.app.open_requests == 0)


async def test_a_body_that_does_not_come_is_not_waited_for_beyond_the_time_of_a_request(
    tmp_path: Path,
) -> None:
    async with both(tmp_path, FINOPS_REQUEST_TIMEOUT="0.2") as (upstream, gateway):
        reader, writer = await posted(gateway, b"{", length=100)

        answer = await asyncio.wait_for(reader.read(), 10)  # to its end: the connection is closed

        writer.close()
        head, _, body = answer.partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 408 ")
        assert json.loads(body)["error"]["code"] == "request_timeout"
        (logged,) = await gateway.logged()
        assert (logged.outcome, logged.error_code, logged.cost_basis) == ("error", "request_timeout", "none")
        assert await gateway.usage(RequestStarted) == []
        assert upstream.app.requests == []


async def test_a_client_that_stops_reading_is_not_waited_for_beyond_the_time_of_a_request(
    tmp_path: Path,
) -> None:
    async with both(tmp_path, FINOPS_REQUEST_TIMEOUT="2", FINOPS_HEARTBEAT_INTERVAL="0.1") as (
        upstream,
        gateway,
    ):
        body = json.dumps(body_of(MANY_EVENTS, stream=True)).encode()
        _, writer = await posted(gateway, body, length=len(body))

        (logged,) = await gateway.logged()

        assert (logged.outcome, logged.error_code, logged.cost_basis) == (
            "error", "request_timeout", "estimated",
        )  # fmt: skip
        (record,) = await gateway.usage(UsageRecorded)
        assert 0 < record.tokens.completion < 200_000
        await eventually(lambda: upstream.app.open_requests == 0)
        await eventually(lambda: in_flight(gateway))
        writer.close()


async def test_what_came_of_a_whole_answer_that_breaks_off_is_billed(tmp_path: Path) -> None:
    async with both(tmp_path) as (upstream, gateway):
        response = await gateway.chat(MODEL, "mock(completion=400; fault=cut)")

        error = (await response.json())["error"]
        assert (response.status, error["code"]) == (502, "provider_unreachable")
        (logged,) = await gateway.logged()
        assert (logged.outcome, logged.cost_basis) == ("error", "estimated")
        assert json.loads(bytes(logged.response)).startswith('{"id":"mock-')
        (record,) = await gateway.usage(UsageRecorded)
        assert record.tokens.prompt > 0
        assert 100 < record.tokens.completion < 400
        assert record.cost_nanos == mock_cost(record.tokens.prompt, record.tokens.completion)


async def test_a_whole_answer_takes_the_place_of_one_that_broke_off(tmp_path: Path) -> None:
    async with both(tmp_path) as (upstream, gateway):
        response = await gateway.chat(MODEL, "mock(prompt=7; completion=400; fault=cut; fail_first=1)")

        assert response.status == 200
        (logged,) = await gateway.logged()
        assert [attempt.error_code for attempt in logged.attempts] == ["provider_unreachable", ""]
        assert (logged.cost_nanos, logged.cost_basis) == (mock_cost(7, 400), "priced")
        assert [served.outcome for served in upstream.app.served] == ["cut", "finished"]


async def in_flight(gateway: RunningGateway) -> bool:
    return "finops_gateway_in_flight 0.0" in await (await gateway.http.get("/metrics")).text()
