"""The mock server as a bare ASGI application: cheap, so that it does not disturb what is measured."""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

import msgspec

from tests.support.upstream.answers import answer_document, stream_pieces
from tests.support.upstream.directives import Directives, read_directives

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]


class Served(msgspec.Struct, kw_only=True):
    """One request as the mock saw it.

    `finished`: it gave the whole answer. `failed`: it answered with an error. `cut`: it broke off by itself.
    `left`: the client went away first. Token counts are what the whole answer stands for; `usage_sent` tells
    whether the client was told.
    """

    marker: str
    request_id: str
    endpoint: str
    model: str
    stream: bool
    status: int
    prompt_tokens: int = 0
    completion_tokens: int = 0
    images: int = 0
    usage_sent: bool = False
    chunks_sent: int = 0
    outcome: str = "finished"


class Asked(msgspec.Struct):
    """The fields of a request that the mock acts on."""

    model: str = ""
    stream: bool = False
    stream_options: dict[str, Any] | None = None
    stream_format: str = ""
    n: int | None = None
    user: str = ""
    input: Any = None

    @property
    def include_usage(self) -> bool:
        return bool(self.stream_options and self.stream_options.get("include_usage"))


_asked = msgspec.json.Decoder(Asked)


class MockUpstream:
    """The application. `served` grows in the order in which requests end; `requests` keeps the last 1,000 bodies."""

    def __init__(
        self, models: tuple[str, ...] = ("gpt-4o-mini", "text-embedding-3-small", "dall-e-3")
    ) -> None:
        self.models = models
        self.served: list[Served] = []
        self.requests: list[dict[str, Any]] = []
        self.open_requests = 0
        self._seen: Counter[str] = Counter()

    def reset(self) -> None:
        self.served.clear()
        self.requests.clear()
        self._seen.clear()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            raise ValueError(f"not an HTTP request: {scope['type']}")
        path, method = scope["path"].rstrip("/"), scope["method"]
        if method == "GET" and path.endswith("/models"):
            data = [{"id": model, "object": "model", "owned_by": "mock"} for model in self.models]
            await _send_json(send, 200, {"object": "list", "data": data})
        elif path == "/__served":
            await _send_json(send, 200, self.served)
        elif path == "/__requests":
            await _send_json(send, 200, self.requests)
        elif path == "/__reset":
            self.reset()
            await _send_json(send, 200, {})
        elif method == "POST":
            self.open_requests += 1
            try:
                await self._serve(path.removeprefix("/v1"), scope, receive, send)
            finally:
                self.open_requests -= 1
        else:
            await _send_json(send, 404, {"error": {"message": f"No {method} {path} here.", "type": "mock"}})

    async def _serve(self, path: str, scope: Scope, receive: Receive, send: Send) -> None:
        body = await _read_body(receive)
        if body is None:
            return
        headers = {name.decode(): value.decode("latin-1") for name, value in scope["headers"]}
        asked = _asked.decode(body) if body[:1] == b"{" else Asked(model=_form_model(body))
        head = body if len(body) < 65_536 else body[:32_768] + body[-32_768:]
        orders = read_directives(head, headers.get("x-mock", "").encode(), marker=asked.user)
        self._remember(path, headers, body)
        served = Served(
            marker=orders.marker,
            request_id=headers.get("x-request-id", ""),
            endpoint=path.strip("/").replace("/", "."),
            model=asked.model,
            stream=asked.stream,
            status=200,
        )
        outcome = await self._obey(orders, asked, served, receive, send)
        served.outcome = outcome
        self.served.append(served)

    def _remember(self, path: str, headers: dict[str, str], body: bytes) -> None:
        shown: Any = body[:2000].decode("latin-1")
        if body[:1] == b"{" and len(body) < 1_000_000:
            shown = msgspec.json.decode(body)
        self.requests.append({"path": path, "headers": headers, "body": shown, "bytes": len(body)})
        del self.requests[:-1000]

    async def _obey(
        self, orders: Directives, asked: Asked, served: Served, receive: Receive, send: Send
    ) -> str:
        if orders.delay_ms and await _left_within(receive, orders.delay_ms / 1000):
            return "left"
        if orders.has("stall-headers"):
            await _left_within(receive, None)
            return "left"
        self._seen[orders.marker] += 1
        failing = not orders.fail_first or self._seen[orders.marker] <= orders.fail_first
        if not failing:
            orders.faults = frozenset()
        if orders.status != 200 and failing:
            served.status = orders.status
            await _send_failure(send, orders)
            return "failed"
        if orders.has("error-200"):
            await _send_json(send, 200, {"error": {"message": "mock error in a 200", "code": "mock_200"}})
            return "failed"
        if (asked.stream or asked.stream_format == "sse") and not orders.has("json-on-stream"):
            return await _stream(orders, asked, served, receive, send)
        return await _answer(orders, asked, served, send)


async def _answer(orders: Directives, asked: Asked, served: Served, send: Send) -> str:
    content_type, body = answer_document(served.endpoint, asked.model, orders, asked.n or 1, asked.input)
    headers = [(b"content-type", content_type), (b"content-length", b"%d" % len(body))]
    if orders.has("cut"):
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": body[: len(body) // 2], "more_body": True})
        return "cut"
    served.prompt_tokens = orders.prompt
    if served.endpoint in ("chat.completions", "completions", "responses"):
        served.completion_tokens = orders.completion * (asked.n or 1)
    if served.endpoint.startswith("images"):
        served.images = asked.n or 1
    served.usage_sent = b'"usage"' in body
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})
    return "finished"


async def _stream(orders: Directives, asked: Asked, served: Served, receive: Receive, send: Send) -> str:
    served.prompt_tokens = orders.prompt
    served.completion_tokens = orders.completion
    pieces, ending = stream_pieces(served.endpoint, asked.model, orders, include_usage=asked.include_usage)
    gone = asyncio.create_task(_wait_for_leaving(receive))
    try:
        headers = [(b"content-type", b"text/event-stream")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        for piece in pieces:
            if orders.chunk_ms:
                await asyncio.wait([gone], timeout=orders.chunk_ms / 1000)
            if gone.done():
                return "left"
            await send({"type": "http.response.body", "body": piece, "more_body": True})
            served.chunks_sent += 1
        if ending == "stall":
            await gone
            return "left"
        if ending == "cut":
            return "cut"
        served.usage_sent = any(b'"usage":{' in piece for piece in pieces)
        await send({"type": "http.response.body", "body": b""})
        return "failed" if ending == "error" else "finished"
    finally:
        gone.cancel()


async def _send_failure(send: Send, orders: Directives) -> None:
    extra = [(b"retry-after", orders.retry_after.encode())] if orders.retry_after else []
    if orders.has("html"):
        page = b"<html><body><h1>Bad Gateway</h1></body></html>"
        headers = [(b"content-type", b"text/html"), (b"content-length", b"%d" % len(page)), *extra]
        await send({"type": "http.response.start", "status": orders.status, "headers": headers})
        await send({"type": "http.response.body", "body": page})
        return
    error = {
        "message": f"mock failure {orders.status}",
        "type": "mock_error",
        "param": None,
        "code": "mock_failure",
    }
    await _send_json(send, orders.status, {"error": error}, extra)


async def _send_json(
    send: Send, status: int, document: Any, extra: list[tuple[bytes, bytes]] | None = None
) -> None:
    body = msgspec.json.encode(document)
    headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body)), *(extra or [])]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


async def _read_body(receive: Receive) -> bytes | None:
    """None when the client left in the middle."""
    pieces = []
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            return None
        pieces.append(message.get("body", b""))
        if not message.get("more_body"):
            return b"".join(pieces)


async def _wait_for_leaving(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


async def _left_within(receive: Receive, timeout_s: float | None) -> bool:
    """Whether the client went away before the time was over."""
    try:
        await asyncio.wait_for(_wait_for_leaving(receive), timeout_s)
    except TimeoutError:
        return False
    return True


def _form_model(form: bytes) -> str:
    _, _, rest = form.partition(b'name="model"')
    _, _, value = rest.partition(b"\r\n\r\n")
    return value.partition(b"\r\n")[0].decode()
