"""Rendering of pages: Jinja2 with autoescape, the shared layout, and headers that keep a page to itself."""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from jinja2 import Environment, FileSystemLoader, StrictUndefined, select_autoescape
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response
from starlette.staticfiles import StaticFiles
from starlette.types import Scope

HERE: Final = Path(__file__).parent
STATIC: Final = HERE / "static"
CONTENT_SECURITY_POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "font-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
PAGE_HEADERS: Final[Mapping[str, str]] = {
    "content-security-policy": CONTENT_SECURITY_POLICY,
    "x-content-type-options": "nosniff",
    "referrer-policy": "same-origin",
    "cache-control": "no-store",
}
_ONE_YEAR: Final = "public, max-age=31536000, immutable"


@dataclass(frozen=True, slots=True)
class NavItem:
    label: str
    path: str


NAVIGATION: Final = (NavItem("Overview", "/"), NavItem("Logs", "/logs"))


class Pages:
    """Renders the templates in `template_dirs`, which may extend `layout.html`."""

    def __init__(
        self,
        *template_dirs: Path,
        filters: Mapping[str, Callable[..., Any]] | None = None,
        navigation: Sequence[NavItem] = NAVIGATION,
    ) -> None:
        self._environment = Environment(
            loader=FileSystemLoader([*template_dirs, HERE / "templates"]),
            autoescape=select_autoescape(default=True, default_for_string=True),
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        self._environment.filters.update(filters or {})
        self._environment.globals.update(navigation=tuple(navigation), static=static_url)

    def render(
        self, request: Request, template: str, /, *, status_code: int = 200, **context: Any
    ) -> HTMLResponse:
        """`here` (the path) is known to every template. A name that the context lacks is an error, not a blank."""
        text = self._environment.get_template(template).render(here=request.url.path, **context)
        return HTMLResponse(text, status_code, dict(PAGE_HEADERS))


class CachedStatic(StaticFiles):
    """Static files that a browser keeps: their URLs change with their content (`static_url`)."""

    def file_response(self, *args: Any, **kwargs: Any) -> Response:
        response = super().file_response(*args, **kwargs)
        response.headers["cache-control"] = _ONE_YEAR
        response.headers["x-content-type-options"] = "nosniff"
        return response

    async def get_response(self, path: str, scope: Scope) -> Response:
        response = await super().get_response(path, scope)
        if response.status_code >= 400:
            response.headers["cache-control"] = "no-store"
        return response


def static_url(name: str) -> str:
    """The URL of a static file, with a mark of its content."""
    digest = _DIGESTS.get(name)
    if digest is None:
        raise KeyError(f"there is no static file {name!r}")
    return f"/static/{name}?v={digest}"


_DIGESTS: Final[Mapping[str, str]] = {
    file.name: hashlib.sha256(file.read_bytes()).hexdigest()[:12]
    for file in STATIC.iterdir()
    if file.is_file()
}


def is_htmx(request: Request) -> bool:
    """Whether htmx asks for a piece of a page (rather than a person for a whole one)."""
    return request.headers.get("hx-request") == "true" and "hx-history-restore-request" not in request.headers


def to_login(request: Request) -> Response:
    """Send whoever is not logged in to the login page, and back here afterwards."""
    if is_htmx(request):
        return Response(status_code=401, headers={"hx-redirect": "/login", **PAGE_HEADERS})
    place = request.url.path + (f"?{request.url.query}" if request.url.query else "")
    target = request.url_for("login").include_query_params(next=place)
    return RedirectResponse(f"{target.path}?{target.query}", 303, PAGE_HEADERS)
