"""/login, /logout and /static: mounted alike by every service that has pages."""

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import BaseRoute, Mount, Route

from shared.web.pages import PAGE_HEADERS, STATIC, CachedStatic, Pages
from shared.web.session import AdminAccess


def web_routes(access: AdminAccess, pages: Pages, *, home: str = "/") -> list[BaseRoute]:
    """The routes every service with pages has. `home` is where a login leads that did not come from a page."""

    async def login(request: Request) -> Response:
        target = _own_path(request.query_params.get("next", ""), home)
        if request.method == "POST":
            return await _log_in(request, target)
        if access.allows(request):
            return RedirectResponse(target, 303, PAGE_HEADERS)
        return pages.render(request, "login.html", wrong=False)

    async def _log_in(request: Request, target: str) -> Response:
        async with request.form(max_fields=4, max_files=0) as form:
            token = form.get("token")
        if not isinstance(token, str) or not access.token_is_right(token.strip()):
            return pages.render(request, "login.html", wrong=True, status_code=401)
        response = RedirectResponse(target, 303, PAGE_HEADERS)
        access.open_session(request, response)
        return response

    async def logout(request: Request) -> Response:
        response = RedirectResponse("/login", 303, PAGE_HEADERS)
        access.close_session(request, response)
        return response

    return [
        Route("/login", login, methods=["GET", "POST"], name="login"),
        Route("/logout", logout, methods=["POST"], name="logout"),
        Mount("/static", CachedStatic(directory=STATIC), name="static"),
    ]


def _own_path(path: str, otherwise: str) -> str:
    """Only a path of this site may follow a login: `//host` and `/\\host` lead elsewhere."""
    plain = path.startswith("/") and not path.startswith(("//", "/\\")) and path.isprintable()
    return path if plain else otherwise
