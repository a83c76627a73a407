"""One HTTP request as the gateway sees it, and the two ways to answer it whole: bytes, or an error."""

from collections.abc import Callable, Mapping, Sequence
from math import ceil
from typing import Final

from starlette.types import Receive, Scope, Send

from services.gateway.apart import apart
from services.gateway.errors import ClientError, error_body
from services.gateway.providers.errors import BadRequest
from services.gateway.providers.stretches import LARGE_BYTES

JSON: Final = b"application/json"
Header = tuple[bytes, bytes]


class ClientGone(Exception):
    """The client closed its connection."""


_ENDS_CONNECTION: Final = frozenset({"body_too_large", "request_timeout", "shutting_down"})
"""The rest of the body is not worth reading, or nobody will read what comes after it."""
MAX_TOLD_CHARS: Final = 64
"""Of a header of the client's, in a sentence about it."""
PASSED_HEADERS: Final = (b"anthropic-beta", b"anthropic-version")


class Incoming:
    """`received_ms` is Unix time, `began` the loop's clock (monotonic seconds); both of the request's arrival."""

    __slots__ = (
        "answered", "began", "error_body", "headers", "method", "path", "query", "receive", "received_ms", "request_id", "send",
    )  # fmt: skip

    def __init__(
        self, scope: Scope, receive: Receive, send: Send, *, request_id: str, received_ms: int, began: float
    ) -> None:
        self.path: str = scope["path"]
        self.method: str = scope["method"]
        self.query: bytes = scope["query_string"]
        self.headers: Mapping[bytes, bytes] = dict(scope["headers"])
        self.receive = receive
        self.send = send
        self.request_id = request_id
        self.received_ms = received_ms
        self.began = began
        self.answered = False
        """The status line of an answer has gone out."""
        self.error_body: Callable[[ClientError], bytes] = error_body
        """How this caller is told errors: in the format of what it called."""

    @property
    def passed_headers(self) -> Mapping[str, str]:
        """What of the headers providers of the client's own format may see."""
        return {
            name.decode(): value.decode("latin-1")
            for name in PASSED_HEADERS
            if (value := self.headers.get(name)) is not None
        }

    @property
    def content_type(self) -> str:
        return self.headers.get(b"content-type", b"").decode("latin-1")

    def unreadable(self, error: BadRequest, *, wants_json: bool) -> ClientError:
        """Why the body cannot be read: its headers may tell better than the parser, which failed with `error`."""
        encoding = self.headers.get(b"content-encoding", b"").decode("latin-1").strip()
        if encoding and encoding.lower() != "identity":
            return ClientError(
                "unsupported_encoding",
                f"The body is encoded with '{encoding[:MAX_TOLD_CHARS]}'. "
                "Send it as it is, without Content-Encoding.",
            )
        kind = self.content_type.partition(";")[0].strip().lower()
        if wants_json and kind.startswith("multipart/"):
            return ClientError(
                "invalid_request",
                f"This endpoint takes JSON (Content-Type: application/json), not {kind[:MAX_TOLD_CHARS]}.",
            )
        return ClientError("invalid_request", error.message)

    async def read_body(self, limit_bytes: int) -> bytes:
        """The whole body. Raises ClientError `body_too_large`, or ClientGone."""
        declared = self.headers.get(b"content-length", b"")
        if declared.isdigit() and int(declared) > limit_bytes:
            raise _too_large(limit_bytes)
        message = await self.receive()
        if message["type"] == "http.request" and not message.get("more_body", False):
            body: bytes = message.get("body", b"")
            if len(body) > limit_bytes:
                raise _too_large(limit_bytes)
            return body
        pieces: list[bytes] = []
        size = 0
        while True:
            if message["type"] == "http.disconnect":
                raise ClientGone
            piece: bytes = message.get("body", b"")
            size += len(piece)
            if size > limit_bytes:
                raise _too_large(limit_bytes)
            pieces.append(piece)
            if not message.get("more_body", False):
                return b"".join(pieces) if size <= LARGE_BYTES else await apart(b"".join, pieces)
            message = await self.receive()

    async def answer(
        self, status: int, body: bytes, *, content_type: bytes = JSON, headers: Sequence[Header] = ()
    ) -> None:
        """Send a whole answer."""
        start = [
            (b"content-type", content_type),
            (b"content-length", b"%d" % len(body)),
            (b"x-request-id", self.request_id.encode()),
            *headers,
        ]
        self.answered = True
        await self.send({"type": "http.response.start", "status": status, "headers": start})
        await self.send({"type": "http.response.body", "body": body})

    async def refuse(self, error: ClientError, headers: Sequence[Header] = ()) -> None:
        """Answer with an error."""
        extra = list(headers)
        if error.retry_after_s is not None:
            extra.append((b"retry-after", b"%d" % max(1, ceil(error.retry_after_s))))
        if error.status == 401:
            extra.append((b"www-authenticate", b"Bearer"))
        if error.code in _ENDS_CONNECTION:
            extra.append((b"connection", b"close"))
        await self.answer(error.status, self.error_body(error), headers=extra)


def _too_large(limit_bytes: int) -> ClientError:
    return ClientError(
        "body_too_large", f"The request is larger than this gateway accepts ({limit_bytes // 1024} KiB)."
    )
