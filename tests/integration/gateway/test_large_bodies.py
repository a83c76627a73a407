"""Large bodies through a whole gateway: they arrive as they were sent, and others are served meanwhile."""

import asyncio
import base64
import io
import json
import os
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from services.gateway.providers.demo.client import DemoClient
from services.gateway.providers.estimate import IMAGE_TOKENS
from services.gateway.providers.openai import OpenAIAdapter
from services.gateway.routes import inference
from shared.events import RequestStarted
from tests.support.eventually import eventually
from tests.support.gateway import (
    DEMO,
    MOCK_PRICE,
    RunningGateway,
    mock_cost,
    mock_provider,
    running_gateway,
)
from tests.support.targets import form
from tests.support.upstream import RunningUpstream, running_upstream

MODEL = "mock/gpt-4o-mini"
PICTURE = base64.b64encode(os.urandom(2_000_000)).decode()


@asynccontextmanager
async def both(tmp_path: Path) -> AsyncIterator[tuple[RunningUpstream, RunningGateway]]:
    async with running_upstream() as upstream:
        governed = (mock_provider(upstream.url), MOCK_PRICE, DEMO)
        async with running_gateway(tmp_path, *governed) as gateway:
            yield upstream, gateway


def chat_of(model: str, orders: str = "", **fields: Any) -> bytes:
    """A chat about a large picture."""
    content = [
        {"type": "text", "text": f"mock({orders})"},
        {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PICTURE}"}},
    ]
    return json.dumps({"model": model, "messages": [{"role": "user", "content": content}], **fields}).encode()


async def post(
    gateway: RunningGateway,
    body: bytes,
    path: str = "chat/completions",
    content_type: str = "application/json",
) -> tuple[int, bytes]:
    """Sent in pieces, as clients send what is large."""
    headers = {"content-type": content_type}
    async with gateway.http.post(f"/v1/{path}", data=io.BytesIO(body), headers=headers) as response:
        return response.status, await response.read()


@pytest.mark.parametrize("stream", [True, False])
async def test_a_large_picture_is_passed_on_priced_and_cut_from_the_log(tmp_path: Path, stream: bool) -> None:
    async with both(tmp_path) as (upstream, gateway):
        orders = "prompt=900; completion=3"
        status, _ = await post(gateway, chat_of(MODEL, orders, stream=stream, user="someone"))

        assert status == 200
        sent = upstream.app.requests[0]
        assert sent["bytes"] > len(PICTURE)
        assert sent["body"].startswith('{"model":"gpt-4o-mini"')
        (logged,) = await gateway.logged()
        (started,) = await gateway.usage(RequestStarted)
        assert (logged.cost_nanos, logged.end_user) == (mock_cost(900, 3), "someone")
        assert logged.request_bytes > len(PICTURE)
        shown = json.loads(bytes(logged.request))
        url = shown["messages"][0]["content"][1]["image_url"]["url"]
        assert url == f"data:image/png;base64,[cut {len(PICTURE)} bytes]"
        assert 0 < started.reserved_nanos < mock_cost(2 * IMAGE_TOKENS, 16_000)


async def test_what_is_wrong_with_a_large_body_is_told_as_ever(tmp_path: Path) -> None:
    async with both(tmp_path) as (upstream, gateway):
        for body, param in (
            (chat_of(MODEL, max_tokens="many"), "max_tokens"),
            (chat_of(MODEL, n=-1), "n"),
        ):
            status, answer = await post(gateway, body)

            assert (status, json.loads(answer)["error"]["param"]) == (400, param)
        status, answer = await post(gateway, b'{"model":"' + PICTURE.encode())
        assert (status, json.loads(answer)["error"]["code"]) == (400, "invalid_request")
        assert upstream.app.requests == []
        assert len(await gateway.logged(3)) == 3


class Held:
    """Stands before a function: the first call waits, in whatever thread it is made, until it is let go."""

    def __init__(self, function: Callable[..., Any]) -> None:
        self._function = function
        self._go = threading.Event()
        self.waiting = False

    def __call__(self, *arguments: Any) -> Any:
        self.waiting = True
        assert self._go.wait(30)
        return self._function(*arguments)

    def release(self) -> None:
        self._go.set()


@pytest.mark.parametrize(
    ("where", "name", "body"),
    [
        (inference, "_parsed", chat_of(MODEL)),
        (OpenAIAdapter, "build", chat_of(MODEL)),
        (DemoClient, "_answer", chat_of("demo/echo")),
        (inference, "_read", b'{"model":"mock/gpt-4o-mini","messages":[],"user":"mock(size=2000000)"}'),
    ],
    ids=["reading", "building", "the demo", "a large answer"],
)
async def test_others_are_served_while_a_large_body_is_worked_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, where: Any, name: str, body: bytes
) -> None:
    async with both(tmp_path) as (_, gateway):
        plain = getattr(where, name)
        held = Held(plain)

        def holding(*arguments: Any) -> Any:
            on_loop = threading.current_thread() is threading.main_thread()
            return plain(*arguments) if on_loop else held(*arguments)

        monkeypatch.setattr(where, name, holding)
        large = asyncio.create_task(post(gateway, body))
        try:
            await eventually(lambda: held.waiting)
            async with gateway.http.get("/v1/models") as response:
                assert response.status == 200
            assert (await gateway.chat("demo/echo", "hi")).status == 200
            assert not large.done()
        finally:
            held.release()

        assert (await large)[0] == 200


async def test_a_large_form_is_passed_on(tmp_path: Path) -> None:
    async with both(tmp_path) as (upstream, gateway):
        recording = os.urandom(2_000_000)
        body, kind = form([("model", None, b"mock/whisper-1"), ("file", "a.mp3", recording)])
        status, _ = await post(gateway, body, "audio/transcriptions", kind)

        assert status == 200
        assert upstream.app.requests[0]["bytes"] > len(recording)
        (logged,) = await gateway.logged()
        assert logged.tokens.audio_ms == 7_000
        assert json.loads(bytes(logged.request))["model"] == "mock/whisper-1"
