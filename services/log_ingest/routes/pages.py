"""`/logs`: the logs for people. Whole pages, and the pieces of them that htmx asks for."""

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlencode

import msgspec
from fastapi import APIRouter, Request
from pydantic import ValidationError
from starlette.responses import HTMLResponse, Response

from services.log_ingest.errors import STORE_AWAY, TOO_EXPENSIVE, first_fault, refusal_text
from services.log_ingest.filters import PERIODS, Cursor, LogFilters
from services.log_ingest.health import Health
from services.log_ingest.queries import Choices, LogPage, LogQueries
from services.log_ingest.routes.api import detail_of
from services.log_ingest.store.port import QueryTooExpensive, StoreRefused
from services.log_ingest.summary import LogLine
from services.log_ingest.transcript import read_conversation
from shared.errors import StoreUnavailable
from shared.events import Attempt
from shared.web.pages import PAGE_HEADERS, Pages, is_htmx, to_login
from shared.web.session import AdminAccess

TEMPLATES: Final = Path(__file__).parent.parent / "templates"
PAGE_SIZE: Final = 50
MOST_REFRESHED: Final = 200
"""A refresh of the first page shows up to this many rows; when more came in, the page is loaded anew."""
_STATUSES: Final = ("success", "error", "cancelled", "abandoned")
_LISTS: Final = frozenset({"provider", "model", "virtual_key", "status", "endpoint"})
_UTC_FIELDS: Final = frozenset({"from", "to"})
_MORE_FIELDS: Final = frozenset(
    {
        "from",
        "to",
        "min_cost",
        "max_cost",
        "min_latency_ms",
        "max_latency_ms",
        "end_user",
        "stream",
        "task",
        "endpoint",
    }
)
_NO_CHOICES: Final = Choices([], [], [], [], [])
_STORE_FAULTS: Final = (StoreUnavailable, StoreRefused, QueryTooExpensive)
_attempts = msgspec.json.Decoder(tuple[Attempt, ...])


class LogPages:
    """The handlers. Every one sends whoever is not logged in to the login page."""

    def __init__(self, queries: LogQueries, access: AdminAccess, pages: Pages, health: Health) -> None:
        self._queries = queries
        self._health = health
        self._access = access
        self._pages = pages

    async def logs(self, request: Request) -> Response:
        """The whole page, with the newest requests."""
        if not self._access.allows(request):
            return to_login(request)
        given = _given(request)
        problem, is_away, page, choices = "", False, LogPage([], None), _NO_CHOICES
        try:
            if not is_htmx(request):  # which takes the results only
                choices = await self._queries.choices()
            page = await self._queries.page(_filters(given), PAGE_SIZE)
        except (ValidationError, *_STORE_FAULTS) as error:
            problem, is_away = _problem(error), isinstance(error, StoreUnavailable)
        return self._pages.render(
            request,
            "logs.html",
            given=given,
            choices=choices,
            periods=list(PERIODS),
            statuses=_STATUSES,
            more_open=bool(_MORE_FIELDS & given.keys()),
            problem=problem,
            is_away=is_away,
            fault=self._health.fault,
            base_url=str(request.base_url),
            **_rows_context(given, page.items, page.next_cursor),
        )

    async def rows(self, request: Request) -> Response:
        """The next older rows (`cursor`), or the newest ones down to `since`: 204 when they still are `seen`."""
        if not self._access.allows(request):
            return to_login(request)
        given = _given(request)
        cursor, since, seen = (str(given.pop(name, "")) for name in ("cursor", "since", "seen"))
        try:
            if cursor:
                return await self._older(request, given, cursor)
            return await self._refreshed(request, given, since, seen)
        except (ValueError, *_STORE_FAULTS) as error:
            status = 400 if isinstance(error, ValueError | QueryTooExpensive) else 503
            return HTMLResponse("", status, dict(PAGE_HEADERS))

    async def detail(self, request: Request, request_id: str) -> Response:
        """One request: a panel for htmx, else a page of its own."""
        if not self._access.allows(request):
            return to_login(request)
        problem, row = "", None
        try:
            row = await self._queries.one(request_id)
        except _STORE_FAULTS as error:
            problem = _problem(error)
        template = "log_panel.html" if is_htmx(request) else "log_page.html"
        if row is None:
            # htmx swaps in only what succeeded; the panel itself says what is the matter.
            status = 200 if is_htmx(request) else (503 if problem else 404)
            return self._pages.render(
                request, template, status_code=status, request_id=request_id, problem=problem, log=None
            )
        return self._pages.render(
            request,
            template,
            request_id=request_id,
            problem="",
            log=detail_of(row),
            row=row,
            talk=read_conversation(row["request"], row["response"], row["response_kind"]),
            attempts=_attempts.decode(row["attempts"] or "[]"),
        )

    async def _older(self, request: Request, given: Mapping[str, Any], cursor: str) -> Response:
        page = await self._queries.page(_filters(given), PAGE_SIZE, Cursor.parse(cursor))
        return self._pages.render(
            request, "logs_older.html", **_rows_context(given, page.items, page.next_cursor)
        )

    async def _refreshed(self, request: Request, given: Mapping[str, Any], since: str, seen: str) -> Response:
        if since:
            items = await self._queries.since(_filters(given), MOST_REFRESHED + 1, Cursor.parse(since))
        else:
            items = (await self._queries.page(_filters(given), PAGE_SIZE)).items
        outgrown = len(items) > MOST_REFRESHED if since else len(items) == PAGE_SIZE
        if outgrown or (not seen and items):
            return Response(status_code=204, headers={"hx-refresh": "true", **PAGE_HEADERS})
        context = _rows_context(given, items, None, boundary=since)
        if context["seen"] == seen:
            return Response(status_code=204, headers=dict(PAGE_HEADERS))
        return self._pages.render(request, "logs_fresh.html", **context)


def page_routes(queries: LogQueries, access: AdminAccess, pages: Pages, health: Health) -> APIRouter:
    """The page, its pieces, and the detail view."""
    router = APIRouter(include_in_schema=False)
    handlers = LogPages(queries, access, pages, health)
    router.add_api_route("/logs", handlers.logs)
    router.add_api_route("/logs/rows", handlers.rows)
    router.add_api_route("/logs/{request_id}", handlers.detail)
    return router


def _given(request: Request) -> dict[str, Any]:
    """The filled-in parameters of a form: a form sends its empty fields too."""
    given: dict[str, Any] = {}
    for name, value in request.query_params.multi_items():
        if not value.strip():
            continue
        if name in _LISTS:
            given.setdefault(name, []).append(value)
        else:
            given[name] = value.strip()
    return given


def _filters(given: Mapping[str, Any]) -> LogFilters:
    """Raises ValidationError. A time without a zone, as a browser's time field gives it, is UTC as its label says."""
    values = {
        name: f"{value}Z" if name in _UTC_FIELDS and len(value) in {16, 19} and value[10:11] == "T" else value
        for name, value in given.items()
    }
    return LogFilters.model_validate(values)


def _rows_context(
    given: Mapping[str, Any], items: list[LogLine], next_cursor: str | None, boundary: str | None = None
) -> dict[str, Any]:
    if boundary is None:
        boundary = str(items[-1].cursor) if items and next_cursor else ""
    return {
        "items": items,
        "query": urlencode(sorted(given.items()), doseq=True),
        "next_cursor": next_cursor,
        "boundary": boundary,
        # Empty for no rows: the first request ever replaces the empty state, so the page is loaded anew then.
        "seen": hashlib.sha256(msgspec.json.encode(items)).hexdigest()[:20] if items else "",
        "filtered": bool(given),
    }


def _problem(error: Exception) -> str:
    if isinstance(error, ValidationError):
        return first_fault(list(error.errors()))[1]
    if isinstance(error, StoreRefused):
        return refusal_text(error)
    return TOO_EXPENSIVE if isinstance(error, QueryTooExpensive) else STORE_AWAY
