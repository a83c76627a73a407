"""Driving an ASGI app or endpoint without a server."""

from dataclasses import dataclass, field
from typing import Any

import msgspec
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from services.gateway.incoming import Incoming

Headers = dict[str, str]


@dataclass
class Sent:
    """What an app sent. `headers` keeps doubles; `header` joins them."""

    status: int = 0
    headers: list[tuple[str, str]] = field(default_factory=list)
    body: bytes = b""

    def header(self, name: str) -> str | None:
        found = [value for key, value in self.headers if key == name]
        return ", ".join(found) if found else None

    @property
    def json(self) -> Any:
        return msgspec.json.decode(self.body)

    @property
    def code(self) -> str:
        """Of an error in OpenAI's shape."""
        return str(self.json["error"]["code"])

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            assert not self.status, "an answer began twice"
            self.status = message["status"]
            self.headers = [(name.decode(), value.decode()) for name, value in message["headers"]]
        else:
            assert self.status, "a body before its status"
            self.body += message.get("body", b"")


def scope_of(method: str, url: str, headers: Headers | None = None) -> Scope:
    path, _, query = url.partition("?")
    return {
        "type": "http",
        "method": method,
        "path": path,
        "query_string": query.encode(),
        "headers": [(name.lower().encode(), value.encode()) for name, value in (headers or {}).items()],
    }


def receive_of(*pieces: bytes) -> Receive:
    """The body in pieces, then a client that left."""
    messages = [
        {"type": "http.request", "body": piece, "more_body": number < len(pieces)}
        for number, piece in enumerate(pieces, 1)
    ]

    async def receive() -> Message:
        return messages.pop(0) if messages else {"type": "http.disconnect"}

    return receive


async def call(app: ASGIApp, method: str, url: str, headers: Headers | None = None, *pieces: bytes) -> Sent:
    sent = Sent()
    await app(scope_of(method, url, headers), receive_of(*(pieces or (b"",))), sent.send)
    return sent


def incoming_of(
    send: Send, method: str = "GET", url: str = "/", headers: Headers | None = None, *pieces: bytes
) -> Incoming:
    scope = scope_of(method, url, headers)
    return Incoming(
        scope,
        receive_of(*(pieces or (b"",))),
        send,
        request_id="req_1",
        received_ms=1_800_000_000_000,
        began=0.0,
    )
