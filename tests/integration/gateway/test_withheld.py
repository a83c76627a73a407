"""A server that repeats the request in its errors: neither client, log nor attempts get to know the credential."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import msgspec
import pytest
from starlette.types import Message, Receive, Scope, Send

from services.gateway.withheld import MARK
from shared.governance.model import Credential
from tests.support.gateway import RunningGateway, mock_provider, running_gateway, served

SECRET = "sk-upstream-secret"
MODELS = (
    "400", "402", "403", "404", "422", "429", "500", "page-503", "error-200", "event", "first-event", "cut",
    "plain",
)  # fmt: skip
STREAMED = frozenset({"event", "first-event", "plain"})


async def repeating(scope: Scope, receive: Receive, send: Send) -> None:
    """The model says how it fails."""
    body = b""
    more = True
    while more:
        message: Message = await receive()
        body += message.get("body", b"")
        more = message.get("more_body", False)
    how = msgspec.json.decode(body)["model"]
    heads = "; ".join(f"{name.decode()}: {value.decode()}" for name, value in scope["headers"])
    failure = msgspec.json.encode({"error": {"message": f"bad: {heads}", "type": heads, "code": heads}})
    chunk = b'data: {"choices":[{"index":0,"delta":{"content":"hi"},"finish_reason":null}]}\n\n'
    kind, status, answer = b"application/json", 200, failure
    match how:
        case "event":
            kind, answer = b"text/event-stream", chunk + b"data: " + failure + b"\n\n"
        case "first-event":
            kind, answer = b"text/event-stream", b"data: " + failure + b"\n\n"
        case "page-503":
            kind, status, answer = b"text/plain", 503, heads.encode()
        case "error-200" | "plain" | "cut":
            pass
        case _:
            status = int(how)
    headers = [(b"content-type", kind)]
    if how == "cut":
        headers.append((b"content-length", b"%d" % (len(answer) + 1)))
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": answer, "more_body": how == "cut"})


@asynccontextmanager
async def gateway_before_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[RunningGateway]:
    monkeypatch.setenv("REPEATED_SECRET", SECRET)
    credentials = (Credential(name="main", env="REPEATED_SECRET"),)
    async with served(repeating) as url:
        provider = mock_provider(url, models=MODELS, credentials=credentials)
        async with running_gateway(tmp_path, provider) as gateway:
            yield gateway


@pytest.mark.parametrize(
    ("path", "how"),
    [("chat/completions", how) for how in MODELS]
    + [(path, how) for path in ("messages", "responses") for how in ("400", "error-200", "event")],
)
async def test_nobody_is_told_the_credential(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, path: str, how: str
) -> None:
    async with gateway_before_it(tmp_path, monkeypatch) as gateway:
        said = [{"role": "user", "content": "hi"}]
        fields = {"input": "hi"} if path == "responses" else {"messages": said, "max_tokens": 5}
        request = {"model": f"mock/{how}", "stream": how in STREAMED, **fields}
        async with gateway.http.post(f"/v1/{path}", json=request) as response:
            text = await response.text()

        (logged,) = await gateway.logged()
        assert SECRET not in text
        assert SECRET not in msgspec.json.encode(logged).decode()
        assert logged.outcome == "error"
        assert all(attempt.error_code for attempt in logged.attempts)
        if how in ("400", "404", "422", "429", "500", "page-503", "event"):
            assert MARK in text
        assert MARK in bytes(logged.response).decode()
