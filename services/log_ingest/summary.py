"""One request as the list shows it, and as the API answers it."""

from collections.abc import Mapping
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import msgspec

from services.log_ingest.filters import Cursor
from shared.governance.money import usd_from_nanos


class LogSummary(msgspec.Struct, frozen=True, kw_only=True):
    """An item of `GET /api/logs`. `cost` is US dollars as a decimal string, null when nobody knows the price."""

    request_id: str
    started_at: str
    endpoint: str
    provider: str
    model: str
    virtual_key_id: str
    virtual_key_name: str
    end_user: str
    status: str
    http_status: int
    cost: str | None
    cost_basis: str
    prompt_tokens: int
    completion_tokens: int
    latency_ms: int
    ttft_ms: int | None
    stream: bool
    error_code: str


class LogLine(LogSummary, frozen=True, kw_only=True):
    """A row of the logs page: what the API lists, and what a person wants to see beside it."""

    task: str

    @property
    def cursor(self) -> Cursor:
        return Cursor(milliseconds(datetime.fromisoformat(self.started_at)), self.request_id)

    @property
    def summary(self) -> LogSummary:
        return LogSummary(**{name: getattr(self, name) for name in LogSummary.__struct_fields__})


def line_of(row: Mapping[str, Any]) -> LogLine:
    """From a row that has at least the columns of the list."""
    values = {name: row[name] for name in LogLine.__struct_fields__}
    values["started_at"] = rfc3339(row["started_at"])
    values["cost"] = dollars(row["cost"])
    return LogLine(**values)


def dollars(cost: Decimal | None) -> str | None:
    return None if cost is None else usd_from_nanos(int(cost.scaleb(9)))


def rfc3339(at: datetime) -> str:
    """A naive UTC time of the store as RFC 3339 with milliseconds."""
    return at.replace(tzinfo=None).isoformat(timespec="milliseconds") + "Z"


def milliseconds(at: datetime) -> int:
    """Unix milliseconds of an aware time, exactly (never through a float)."""
    since = at.astimezone(UTC) - datetime(1970, 1, 1, tzinfo=UTC)
    return (since.days * 86_400 + since.seconds) * 1000 + since.microseconds // 1000
