"""`/api/logs`: the logs for programs."""

from collections.abc import Awaitable, Callable, Collection
from typing import Annotated, Any, Final, get_origin

import msgspec
from fastapi import APIRouter, Depends, Query, Request
from starlette.responses import Response

from services.log_ingest.errors import ApiError, not_logged_in
from services.log_ingest.filters import Cursor, LogQuery
from services.log_ingest.queries import LogQueries
from services.log_ingest.summary import LogLine, line_of, rfc3339
from services.log_ingest.transcript import read_conversation
from shared.web.paths import wrong_parameter
from shared.web.session import AdminAccess

_NULL = msgspec.Raw(b"null")


class LogDetail(LogLine, frozen=True, kw_only=True):
    """`GET /api/logs/{request_id}`. Bodies that have expired, or were never kept, are null."""

    ended_at: str
    gateway_id: str
    requested_model: str
    chat_id: str
    client: str
    error_message: str
    finish_reason: str
    tokens: dict[str, int]
    price_version: str
    service_tier: str
    image_quality: str
    image_size: str
    attempts: msgspec.Raw
    request: msgspec.Raw
    request_bytes: int
    response: msgspec.Raw
    response_kind: str
    response_bytes: int
    message: Any
    """The answer of a stream put together as if it had not been streamed; null otherwise."""
    prompt_text: str
    answer_text: str


_TOKEN_COLUMNS = {
    "prompt": "prompt_tokens",
    "completion": "completion_tokens",
    "cached_read": "cached_read_tokens",
    "cache_write": "cache_write_tokens",
    "cache_write_1h": "cache_write_1h_tokens",
    "reasoning": "reasoning_tokens",
    "prompt_audio": "prompt_audio_tokens",
    "prompt_image": "prompt_image_tokens",
    "completion_audio": "completion_audio_tokens",
    "completion_image": "completion_image_tokens",
    "images": "images",
    "characters": "characters",
    "audio_ms": "audio_ms",
    "searches": "searches",
    "search_units": "search_units",
}


_FILTERS: Final = {field.alias or name: field for name, field in LogQuery.model_fields.items()}
_LISTS: Final = frozenset(name for name, field in _FILTERS.items() if get_origin(field.annotation) is list)
"""What may be given several times."""


def api_routes(queries: LogQueries, access: AdminAccess) -> APIRouter:
    """All under /api/logs; each needs an administrator."""
    router = APIRouter(prefix="/api/logs", tags=["logs"], dependencies=[Depends(_only_admins(access))])
    without_filters = [Depends(_only_known_parameters(()))]
    with_filters = [Depends(_only_known_parameters(_FILTERS, _LISTS))]

    @router.get("", summary="List requests, newest first", dependencies=with_filters)
    async def list_logs(query: Annotated[LogQuery, Query()]) -> Response:
        after = Cursor.parse(query.cursor) if query.cursor else None
        page = await queries.page(query, query.limit, after)
        return json_response(
            {"items": [line.summary for line in page.items], "next_cursor": page.next_cursor}
        )

    @router.get("/filters", summary="What there is to filter by", dependencies=without_filters)
    async def list_choices() -> Response:
        choices = await queries.choices()
        return json_response(
            {
                "providers": choices.providers,
                "models": choices.models,
                "virtual_keys": [{"id": key_id, "name": name} for key_id, name in choices.virtual_keys],
                "endpoints": choices.endpoints,
                "tasks": choices.tasks,
            }
        )

    @router.get("/{request_id}", summary="One request with its bodies", dependencies=without_filters)
    async def get_log(request_id: str) -> Response:
        row = await queries.one(request_id)
        if row is None:
            raise ApiError(404, f"There is no request {request_id!r} in the logs.", code="request_not_found")
        return json_response(detail_of(row))

    return router


def detail_of(row: dict[str, Any]) -> LogDetail:
    """The whole of a stored request."""
    talk = read_conversation("", row["response"], row["response_kind"])
    own = set(LogDetail.__struct_fields__) - set(LogLine.__struct_fields__)
    values = {name: row[name] for name in own & row.keys()}
    values |= {
        "ended_at": rfc3339(row["ended_at"]),
        "tokens": {name: row[column] for name, column in _TOKEN_COLUMNS.items()},
        "attempts": _raw(row["attempts"]),
        "request": _raw(row["request"]),
        "response": _raw(row["response"]),
        "message": talk.message,
    }
    return LogDetail(**msgspec.structs.asdict(line_of(row)), **values)


def json_response(value: Any) -> Response:
    return Response(
        msgspec.json.encode(value), media_type="application/json", headers={"cache-control": "no-store"}
    )


def _raw(text: str) -> msgspec.Raw:
    return msgspec.Raw(text.encode()) if text else _NULL


def _only_known_parameters(
    known: Collection[str], lists: Collection[str] = ()
) -> Callable[[Request], Awaitable[None]]:
    async def check(request: Request) -> None:
        found = wrong_parameter(request.query_params.multi_items(), known, lists)
        if found is not None:
            name, problem = found
            if known and name not in known:
                problem = "is not a filter of this list"
            raise ApiError(400, f"{name} {problem}.", param=name, code="invalid_parameter")

    return check


def _only_admins(access: AdminAccess) -> Callable[[Request], Awaitable[None]]:
    async def check(request: Request) -> None:
        if not access.allows(request):
            raise not_logged_in()

    return check
