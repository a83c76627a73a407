"""CORS as a plain ASGI layer: browsers call `/v1` straight from a chat client's page.

A preflight is answered without a key. Every other answer, errors included, gets exactly one set of headers.
Nobody logs in with cookies here, so credentials are never allowed.
"""

from collections.abc import Sequence
from typing import Final

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from shared.settings import ANY

EXPOSED_HEADERS: Final = (
    "x-request-id, x-finops-cost, x-finops-provider, x-finops-model, x-finops-dropped-params, retry-after"
)
MAX_AGE_S: Final = 600
_METHODS: Final = b"GET, POST, OPTIONS"
Headers = list[tuple[bytes, bytes]]


class Cors:
    """Wraps an app. `origins` and `headers` as in the settings; `*` allows all. No origins: nothing is ever added."""

    def __init__(self, app: ASGIApp, origins: Sequence[str], headers: Sequence[str]) -> None:
        self._app = app
        self._any_origin = ANY in origins
        self._origins = frozenset(origin.rstrip("/").encode() for origin in origins)
        self._any_header = ANY in headers
        self._headers = ", ".join(headers).encode()
        self._exposed = (b"access-control-expose-headers", EXPOSED_HEADERS.encode())

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        origin = None
        for name, value in scope["headers"]:
            if name == b"origin":
                origin = value
        if scope["method"] == "OPTIONS":
            await self._preflight(scope, origin, send)
        elif origin is None:
            await self._app(scope, receive, send)
        else:
            await self._app(scope, receive, self._adding(self._answer_headers(origin), send))

    def _origin_headers(self, origin: bytes) -> Headers:
        if self._any_origin:
            return [(b"access-control-allow-origin", b"*")]
        if origin in self._origins:
            return [(b"access-control-allow-origin", origin), (b"vary", b"Origin")]
        return [(b"vary", b"Origin")] if self._origins else []

    def _allowed(self, origin: bytes) -> bool:
        return self._any_origin or origin in self._origins

    def _answer_headers(self, origin: bytes) -> Headers:
        headers = self._origin_headers(origin)
        return [*headers, self._exposed] if self._allowed(origin) else headers

    def _adding(self, extra: Headers, send: Send) -> Send:
        async def sending(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message.get("headers", ()), *extra]
            await send(message)

        return sending

    async def _preflight(self, scope: Scope, origin: bytes | None, send: Send) -> None:
        headers: Headers = [(b"allow", _METHODS)]
        if origin is not None:
            headers += self._origin_headers(origin)
            if self._allowed(origin):
                headers += self._preflight_headers(scope)
        await send({"type": "http.response.start", "status": 204, "headers": headers})
        await send({"type": "http.response.body", "body": b""})

    def _preflight_headers(self, scope: Scope) -> Headers:
        headers: Headers = [
            (b"access-control-allow-methods", _METHODS),
            (b"access-control-max-age", str(MAX_AGE_S).encode()),
        ]
        if not self._any_header:
            return [*headers, (b"access-control-allow-headers", self._headers)]
        asked = next((v for n, v in scope["headers"] if n == b"access-control-request-headers"), None)
        # The star does not cover Authorization in browsers, so what was asked for is named.
        return [*headers, (b"access-control-allow-headers", asked or b"*")]
