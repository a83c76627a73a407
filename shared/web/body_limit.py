"""BodyLimit: what people and their tools send to a service's pages and API is small, so nothing large is read.

A form or a JSON document is read whole before it is understood. Without a limit a stranger could fill the memory of
a process by the login page alone.
"""

from typing import Final

from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

MAX_BODY_BYTES: Final = 1_048_576


class BodyLimit:
    """ASGI middleware. Who reads on beyond 1 MiB, or begins a body that declares more, gets HTTPException(413): the
    app answers it in its own shape."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            declared = Headers(scope=scope).get("content-length", "")
            receive = _limited(receive, int(declared) if declared.isdecimal() else 0)
        await self._app(scope, receive, send)


def _limited(receive: Receive, declared: int) -> Receive:
    size = 0

    async def limited() -> Message:
        nonlocal size
        message: Message = {} if declared > MAX_BODY_BYTES else await receive()
        size += len(message.get("body", b""))
        if max(size, declared) > MAX_BODY_BYTES:
            raise HTTPException(413, "The body is larger than is accepted here.")
        return message

    return limited
