"""A fake of Azure OpenAI: OpenAI's format behind the addresses of deployments, with Azure's own refusals."""

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs

import msgspec

from tests.support.gateway import served
from tests.support.providers.openai_wire import FakeOpenAI
from tests.support.providers.quirks import QUIRKS
from tests.support.providers.script import Document, Turn
from tests.support.upstream.app import Receive, Scope, Send

_RESPONSES = "/openai/v1/responses"
_DEPLOYMENT = re.compile(r"/openai/deployments/([^/]+)(/.+)")
VERDICT = (
    b'data: {"choices":[],"created":0,"id":"","model":"","object":"","prompt_filter_results":'
    b'[{"prompt_index":0,"content_filter_results":{"hate":{"filtered":false,"severity":"safe"}}}]}\n\n'
)


@dataclass
class Asked:
    """One call as the service saw it."""

    path: str
    version: str
    headers: dict[str, str]
    body: bytes

    @property
    def document(self) -> Any:
        return msgspec.json.decode(self.body)


@dataclass
class FakeAzure:
    """`deployments` exist; `key` and `token` are the ones that open them."""

    deployments: tuple[str, ...] = ("prod-chat", "vectors", "pictures", "sound")
    key: str = "azure-key"
    token: str = "entra-token"
    asked: list[Asked] = field(default_factory=list)
    models: FakeOpenAI = field(default_factory=lambda: FakeOpenAI(QUIRKS["azure"]))
    """What the deployments are of."""

    @property
    def left(self) -> asyncio.Event:
        return self.models.left

    def play(self, turn: Turn) -> None:
        self.models.play(turn)

    def received(self) -> list[Document]:
        return self.models.received()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        query = parse_qs(scope["query_string"].decode())
        headers = {name.decode(): value.decode("latin-1") for name, value in scope["headers"]}
        body = await _read(receive)
        self.asked.append(Asked(scope["path"], query.get("api-version", [""])[0], headers, body))
        match = _DEPLOYMENT.fullmatch(scope["path"])
        if headers.get("api-key") != self.key and headers.get("authorization") != f"Bearer {self.token}":
            await _refuse(
                send, 401, "401", "Access denied due to invalid subscription key or wrong API endpoint."
            )
        elif scope["path"] == _RESPONSES and query.get("api-version") == ["preview"]:
            await self._ask("/responses", scope, _again(body, receive), send)
        elif match is None or not query.get("api-version"):
            await _refuse(send, 404, "404", "Resource not found")
        elif match[1] not in self.deployments:
            message = "The API deployment for this resource does not exist."
            await _refuse(send, 404, "DeploymentNotFound", message)
        else:
            await self._ask(match[2], scope, _again(body, receive), _judging(send))

    async def _ask(self, path: str, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a call that was let in on to the models."""
        inside = [head for head in scope["headers"] if head[0] != b"authorization"]
        inside.append((b"authorization", f"Bearer {self.models.key}".encode()))
        await self.models({**scope, "path": f"/v1{path}", "headers": inside}, receive, send)


@asynccontextmanager
async def running_azure() -> AsyncIterator[tuple[FakeAzure, str]]:
    """The fake on a free port, and the address of its resource."""
    fake = FakeAzure()
    async with served(fake) as url:
        yield fake, url


def _judging(send: Send) -> Send:
    """A stream begins with the verdict on the prompt."""
    streaming = False

    async def forward(message: Any) -> None:
        nonlocal streaming
        if message["type"] == "http.response.start":
            streaming = (b"content-type", b"text/event-stream") in message["headers"]
        elif streaming:
            message = {**message, "body": VERDICT + message["body"]}
            streaming = False
        await send(message)

    return forward


async def _read(receive: Receive) -> bytes:
    pieces = []
    while True:
        message = await receive()
        pieces.append(message.get("body", b""))
        if not message.get("more_body"):
            return b"".join(pieces)


def _again(body: bytes, receive: Receive) -> Receive:
    """The body once more, then whatever happens to the connection."""
    given = False

    async def replay() -> Any:
        nonlocal given
        if given:
            return await receive()
        given = True
        return {"type": "http.request", "body": body}

    return replay


async def _refuse(send: Send, status: int, code: str, message: str) -> None:
    body = msgspec.json.encode({"error": {"code": code, "message": message}})
    headers = [(b"content-type", b"application/json"), (b"retry-after", b"3")]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
