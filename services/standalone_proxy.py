"""One port for several services: a router by path, and a streaming proxy to the service behind a Unix socket."""

import asyncio
from collections.abc import Iterable
from http import HTTPStatus
from types import TracebackType
from typing import Final, Self

import aiohttp
from starlette.requests import ClientDisconnect
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.types import ASGIApp, Receive, Scope, Send
from yarl import URL

from shared.telemetry import get_logger
from shared.web.body_limit import MAX_BODY_BYTES

LOGS_PREFIXES: Final = ("/logs", "/api/logs", "/api/analytics", "/api/sql")
GATEWAY_PREFIXES: Final = ("/v1", "/healthz", "/readyz")
METRICS_PATH: Final = "/metrics"
CONNECT_TIMEOUT_S: Final = 2.0
HOP_BY_HOP: Final = frozenset(
    (
        b"connection",
        b"keep-alive",
        b"proxy-authenticate",
        b"proxy-authorization",
        b"te",
        b"trailer",
        b"transfer-encoding",
        b"upgrade",
    )
)
OWN_HEADERS: Final = HOP_BY_HOP | {b"date"}
"""Headers of an answer that the server in front writes itself."""
_STARTING_PAGE: Final = """<!doctype html><html lang="en"><meta charset="utf-8"><meta http-equiv="refresh" content="2">
<title>Logs are starting</title><body style="font:16px/1.5 system-ui;max-width:36rem;margin:20vh auto;padding:0 1rem">
<h1 style="font-size:1.25rem">The logs view is starting</h1>
<p>Requests are being served and recorded; nothing is lost. This page reloads by itself.</p></body></html>"""


_log = get_logger("standalone.proxy")


class PathRouter:
    """Sends each request to the gateway, the logs service, the budget service or `metrics`, which is for all of them,
    by the first parts of its path."""

    def __init__(self, *, gateway: ASGIApp, logs: ASGIApp, budget: ASGIApp, metrics: ASGIApp) -> None:
        self._gateway = gateway
        self._logs = logs
        self._budget = budget
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self.pick(scope["path"])(scope, receive, send)

    def pick(self, path: str) -> ASGIApp:
        """The service that owns `path`. Doubled leading slashes count as one."""
        if path.startswith("//"):
            path = "/" + path.lstrip("/")
        if path.startswith("/v1/"):  # the hot path first
            return self._gateway
        if is_below(path, LOGS_PREFIXES):
            return self._logs
        if path.rstrip("/") == METRICS_PATH:
            return self._metrics
        return self._gateway if is_below(path, GATEWAY_PREFIXES) else self._budget


def is_below(path: str, prefixes: Iterable[str]) -> bool:
    """Whether `path` is one of `prefixes` or lies below one of them."""
    return any(path == prefix or path.startswith(prefix + "/") for prefix in prefixes)


class UnixSocketProxy:
    """An ASGI app that passes requests to the HTTP server behind a Unix socket and streams its answers back.

    While that server is away it answers 503 at once: a page that reloads itself, or a JSON error. A client that
    leaves ends the proxied request too.
    """

    def __init__(self, path: str) -> None:
        self._path = path
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        self._session = aiohttp.ClientSession(
            connector=aiohttp.UnixConnector(path=self._path, limit=0),
            timeout=aiohttp.ClientTimeout(total=None, connect=CONNECT_TIMEOUT_S),
            auto_decompress=False,
            cookie_jar=aiohttp.DummyCookieJar(),
            skip_auto_headers=("User-Agent", "Accept", "Accept-Encoding", "Content-Type"),
        )
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._session is not None:
            await self._session.close()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            body = await _read_body(receive)
        except ClientDisconnect:
            return  # nobody is left to be answered
        if body is None:
            await _error(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "The body is larger than is accepted here.")(
                scope, receive, send
            )
            return
        relay = asyncio.ensure_future(self._relay(scope, body, receive, send))
        gone = asyncio.ensure_future(_disconnected(receive))
        try:
            await asyncio.wait((relay, gone), return_when=asyncio.FIRST_COMPLETED)
            if relay.done():
                await relay
        finally:
            for task in (relay, gone):
                task.cancel()
            await asyncio.gather(relay, gone, return_exceptions=True)

    async def _relay(self, scope: Scope, body: bytes, receive: Receive, send: Send) -> None:
        if self._session is None:
            raise RuntimeError("the proxy is used outside its context")
        try:
            answer = await self._session.request(
                scope["method"],
                _url(scope),
                headers=_headers(scope),
                data=body or None,
                allow_redirects=False,
            )
        except (aiohttp.ClientConnectionError, TimeoutError):
            await _starting(scope)(scope, receive, send)
            return
        async with answer:
            headers = [(name.lower(), value) for name, value in answer.raw_headers]
            await send(
                {
                    "type": "http.response.start",
                    "status": answer.status,
                    "headers": [pair for pair in headers if pair[0] not in OWN_HEADERS],
                }
            )
            try:
                async for chunk in answer.content.iter_any():
                    await send({"type": "http.response.body", "body": chunk, "more_body": True})
            except (
                aiohttp.ClientError
            ) as error:  # it died in the middle: the client must see a broken answer, not a short one
                _log.warning("answer_broken_off", path=scope["path"], error=str(error))
                return
            await send({"type": "http.response.body", "body": b""})


async def _read_body(receive: Receive) -> bytes | None:
    """The whole request body; None when it is over the limit. Raises ClientDisconnect."""
    body = bytearray()
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientDisconnect
        body += message.get("body", b"")
        if len(body) > MAX_BODY_BYTES:
            return None
        if not message.get("more_body", False):
            return bytes(body)


async def _disconnected(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


def _url(scope: Scope) -> URL:
    query = scope.get("query_string", b"").decode("latin-1")
    path = scope.get("raw_path", scope["path"].encode()).decode("latin-1")
    return URL(f"http://localhost{path}{'?' + query if query else ''}", encoded=True)


def _headers(scope: Scope) -> list[tuple[str, str]]:
    return [
        (name.decode("latin-1"), value.decode("latin-1"))
        for name, value in scope["headers"]
        if name not in HOP_BY_HOP and name != b"content-length"
    ]


def _starting(scope: Scope) -> Response:
    if b"text/html" in dict(scope["headers"]).get(b"accept", b""):
        return HTMLResponse(_STARTING_PAGE, HTTPStatus.SERVICE_UNAVAILABLE, headers={"retry-after": "2"})
    return _error(
        HTTPStatus.SERVICE_UNAVAILABLE, "The logs service is starting; try again in a moment.", retry=True
    )


def _error(status: HTTPStatus, message: str, *, retry: bool = False) -> JSONResponse:
    code = "log_store_unavailable" if retry else "body_too_large"
    body = {"error": {"message": message, "type": "api_error", "param": None, "code": code}}
    return JSONResponse(body, status, headers={"retry-after": "2"} if retry else {})
