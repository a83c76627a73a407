"""AdminGuard: what comes before any route. Nobody but an administrator has a body of the API read.

The framework reads and parses a body before it asks its dependencies who sent it.
"""

from typing import Final

from starlette.requests import HTTPConnection
from starlette.types import ASGIApp, Receive, Scope, Send

from services.budget.errors import ApiError, answer
from shared.web.paths import API
from shared.web.session import AdminAccess

OPEN_PATHS: Final = frozenset({"/api/openapi.json"})


class AdminGuard:
    """ASGI middleware."""

    def __init__(self, app: ASGIApp, access: AdminAccess) -> None:
        self._app = app
        self._access = access

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if (
            scope["type"] == "http"
            and _is_closed(scope["path"])
            and not self._access.allows(HTTPConnection(scope))
        ):
            await answer(_not_an_administrator())(scope, receive, send)
        else:
            await self._app(scope, receive, send)


def _is_closed(path: str) -> bool:
    return path.startswith(API) and path not in OPEN_PATHS


def _not_an_administrator() -> ApiError:
    return ApiError(
        401,
        "invalid_admin_token",
        "Send `Authorization: Bearer <admin token>`, or log in at /login. Virtual keys do not open this API.",
        headers={"www-authenticate": "Bearer"},
    )
