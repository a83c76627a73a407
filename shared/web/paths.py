"""What the APIs of all services have in common about paths, methods and parameters."""

from collections import Counter
from collections.abc import Collection, Sequence
from typing import Final

from starlette.routing import BaseRoute, Match, Mount
from starlette.types import ASGIApp, Receive, Scope, Send

API: Final = "/api/"
METHODS: Final = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE")
MAX_LIMIT: Final = 500
"""Items of one page of a list."""


class OneTrailingSlash:
    """ASGI middleware: a path of the API with one slash at its end is the path without. It goes outside of whatever
    decides by the path."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            path = scope["path"]
            if path.startswith(API) and path != API and path.endswith("/") and not path.endswith("//"):
                raw = scope.get("raw_path")
                scope = {**scope, "path": path[:-1]}
                if raw is not None:
                    scope["raw_path"] = raw.removesuffix(b"/")
        await self._app(scope, receive, send)


def allowed_methods(routes: Sequence[BaseRoute], scope: Scope) -> str:
    """The value of `Allow` for a path that has routes, but none for the method that was asked for."""
    asked = {**scope, "root_path": scope.get("app_root_path", scope.get("root_path", ""))}
    return ", ".join(
        method
        for method in METHODS
        if any(_takes(route, {**asked, "method": method}, method) for route in routes)
    )


def _takes(route: BaseRoute, scope: Scope, method: str) -> bool:
    match, _ = route.matches(scope)
    # what is mounted are the files of the pages
    return match is Match.FULL and (not isinstance(route, Mount) or method in {"GET", "HEAD"})


def wrong_parameter(
    given: Sequence[tuple[str, str]], known: Collection[str], lists: Collection[str] = ()
) -> tuple[str, str] | None:
    """The first parameter of a query that cannot be taken, and why; None when there is none. `lists`: those that may
    be given several times."""
    times = Counter(name for name, _ in given)
    for name in times:
        if name not in known:
            return name, "is not a known parameter"
        if times[name] > 1 and name not in lists:
            return name, "can be given only once"
    return None
