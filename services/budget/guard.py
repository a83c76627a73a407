"""AdminGuard: what comes before any route. Nobody but an administrator has a body of the API read, and none is large.

The framework reads and parses a body before it asks its dependencies who sent it. In front of it, a stranger cannot
fill the memory of this process, which with `finops up` is the gateway's too.
"""

from typing import Final

from starlette.exceptions import HTTPException
from starlette.requests import HTTPConnection
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from services.budget.errors import ApiError, answer, body_too_large
from shared.web.session import AdminAccess

API: Final = "/api/"
OPEN_PATHS: Final = frozenset({"/api/openapi.json"})
MAX_BODY_BYTES: Final = 1_048_576


class AdminGuard:
    """ASGI middleware."""

    def __init__(self, app: ASGIApp, access: AdminAccess) -> None:
        self._app = app
        self._access = access

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        connection = HTTPConnection(scope)
        if _is_closed(str(scope["path"])) and not self._access.allows(connection):
            await answer(_not_an_administrator())(scope, receive, send)
            return
        declared = connection.headers.get("content-length", "")
        if declared.isdigit() and int(declared) > MAX_BODY_BYTES:
            await answer(body_too_large())(scope, receive, send)
            return
        await self._app(scope, _limited(receive), send)


def _is_closed(path: str) -> bool:
    return path.startswith(API) and path not in OPEN_PATHS


def _limited(receive: Receive) -> Receive:
    """A body whose length was not declared ends with an error as soon as it is too long."""
    size = 0

    async def limited() -> Message:
        nonlocal size
        message = await receive()
        size += len(message.get("body", b""))
        if size > MAX_BODY_BYTES:
            raise HTTPException(413)
        return message

    return limited


def _not_an_administrator() -> ApiError:
    return ApiError(
        401,
        "invalid_admin_token",
        "Send `Authorization: Bearer <admin token>`, or log in at /login. Virtual keys do not open this API.",
        headers={"www-authenticate": "Bearer"},
    )
