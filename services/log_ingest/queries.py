"""The questions that the API and the pages ask of the store."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from services.log_ingest.filters import Cursor, LogFilters, conditions
from services.log_ingest.store.port import LogStore, Parameters, QueryLimits, Rows
from services.log_ingest.summary import LogLine, line_of, milliseconds
from shared.errors import StoreUnavailable

LIST_COLUMNS: Final = (
    "started_at, request_id, endpoint, provider, model, virtual_key_id, virtual_key_name, end_user, status, "
    "http_status, cost, cost_basis, prompt_tokens, completion_tokens, latency_ms, ttft_ms, stream, error_code, task"
)
"""No body among them: a list never reads one."""

DETAIL_COLUMNS: Final = (
    f"{LIST_COLUMNS}, ended_at, gateway_id, requested_model, chat_id, client, error_message, finish_reason, "
    "cached_read_tokens, cache_write_tokens, cache_write_1h_tokens, reasoning_tokens, prompt_audio_tokens, "
    "prompt_image_tokens, completion_audio_tokens, completion_image_tokens, images, characters, audio_ms, searches, "
    "search_units, price_version, service_tier, image_quality, image_size, attempts, request, request_bytes, "
    "response, response_kind, response_bytes, prompt_text, answer_text"
)
_DAY_MS: Final = 86_400_000
_LOOK_BACK_DAYS: Final = (1, 7)
_NEWEST_FIRST: Final = "ORDER BY started_at DESC, request_id DESC"
_PLACE: Final = "(fromUnixTimestamp64Milli({place_ms:Int64}, 'UTC'), {place_id:String})"


@dataclass(frozen=True, slots=True)
class LogPage:
    items: list[LogLine]
    next_cursor: str | None


@dataclass(frozen=True, slots=True)
class Choices:
    """What there is to filter by, among recent requests."""

    providers: list[str]
    models: list[str]
    virtual_keys: list[tuple[str, str]]
    """(id, latest name), by name."""
    endpoints: list[str]
    tasks: list[str]


class LogQueries:
    """Every method raises StoreUnavailable, also until `is_ready` (the schema is in place), or QueryTooExpensive past the
    limits. `now` gives the time in UTC.
    """

    def __init__(
        self,
        store: LogStore,
        limits: QueryLimits | None = None,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
        is_ready: Callable[[], bool] = lambda: True,
    ) -> None:
        self._store = store
        self._limits = limits or QueryLimits()
        self._now = now
        self._is_ready = is_ready

    async def page(self, filters: LogFilters, limit: int, after: Cursor | None = None) -> LogPage:
        """`limit` requests, newest first, older than `after`.

        FINAL reads all of a range before it yields its newest row, so the last day is asked first, and more only if
        that does not fill the page: what a page costs does not grow with the table.
        """
        found: Rows = []
        for back in self._looks_back(filters, after):
            found = await self._list(filters, limit + 1, "<", after, back)
            if len(found) > limit:
                break
        items = [line_of(row) for row in found[:limit]]
        more = len(found) > limit
        return LogPage(items, str(items[-1].cursor) if more else None)

    async def since(self, filters: LogFilters, limit: int, lowest: Cursor) -> list[LogLine]:
        """Up to `limit` requests, newest first, not older than `lowest`."""
        return [line_of(row) for row in await self._list(filters, limit, ">=", lowest, lowest.started_at_ms)]

    async def one(self, request_id: str) -> dict[str, Any] | None:
        """Everything known of a request, as stored; None when there is no such request."""
        rows = await self._ask(
            f"SELECT {DETAIL_COLUMNS} FROM request_logs FINAL WHERE request_id = {{id:String}} {_NEWEST_FIRST} LIMIT 1",
            {"id": request_id},
        )
        return rows[0] if rows else None

    async def choices(self) -> Choices:
        """What the last 30 days offer to filter by."""
        rows = await self._ask(
            "SELECT arraySort(groupUniqArray(200)(provider)) AS providers, "
            "arraySort(groupUniqArray(1000)(model)) AS models, "
            "arraySort(groupUniqArray(100)(endpoint)) AS endpoints, "
            "arraySort(groupUniqArray(100)(task)) AS tasks "
            "FROM request_logs WHERE started_at >= now() - INTERVAL 30 DAY"
        )
        keys = await self._ask(
            "SELECT virtual_key_id AS id, argMax(virtual_key_name, started_at) AS name FROM request_logs "
            "WHERE started_at >= now() - INTERVAL 30 DAY GROUP BY id ORDER BY name, id LIMIT 2000"
        )
        lists = rows[0]
        return Choices(
            providers=[name for name in lists["providers"] if name],
            models=[name for name in lists["models"] if name],
            virtual_keys=[(str(key["id"]), str(key["name"])) for key in keys],
            endpoints=[name for name in lists["endpoints"] if name],
            tasks=[name for name in lists["tasks"] if name],
        )

    def _looks_back(self, filters: LogFilters, after: Cursor | None) -> list[int | None]:
        """The lower bounds in Unix milliseconds to try in turn; None is no bound but the filters' own."""
        newest = milliseconds(self._now())
        if filters.until is not None:
            newest = min(newest, milliseconds(filters.until))
        if after is not None:
            newest = min(newest, after.started_at_ms)
        since = filters.since(self._now())
        oldest = 0 if since is None else milliseconds(since)
        nearer = [newest - days * _DAY_MS for days in _LOOK_BACK_DAYS]
        return [*(bound for bound in nearer if bound > oldest), None]

    async def _list(
        self, filters: LogFilters, limit: int, sign: str, place: Cursor | None, lowest_ms: int | None
    ) -> Rows:
        where, bound = conditions(filters, self._now())
        if place is not None:
            where.append(f"(started_at, request_id) {sign} {_PLACE}")
            bound |= {"place_ms": place.started_at_ms, "place_id": place.request_id}
        if lowest_ms is not None:
            where.append("started_at >= fromUnixTimestamp64Milli({lowest:Int64}, 'UTC')")
            bound["lowest"] = lowest_ms
        condition = f"WHERE {' AND '.join(where)} " if where else ""
        return await self._ask(
            f"SELECT {LIST_COLUMNS} FROM request_logs FINAL {condition}{_NEWEST_FIRST} LIMIT {limit:d}", bound
        )

    async def _ask(self, sql: str, bound: Parameters | None = None) -> Rows:
        if not self._is_ready():
            raise StoreUnavailable("The log store is being prepared.")
        return await self._store.query(sql, bound, self._limits)
