"""Which requests are asked for: the parameters of the logs API and of the logs page, and their SQL."""

import base64
import binascii
import re
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Annotated, Any, Final, Literal, Self

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, field_validator, model_validator

from services.log_ingest.search import MAX_WORDS, search_conditions, signs_of, words_of
from shared.events import Outcome
from shared.web.paths import MAX_LIMIT

Period = Literal["1h", "6h", "24h", "7d", "30d"]
PERIODS: Final[dict[Period, timedelta]] = {
    "1h": timedelta(hours=1),
    "6h": timedelta(hours=6),
    "24h": timedelta(hours=24),
    "7d": timedelta(days=7),
    "30d": timedelta(days=30),
}
_LOST_PLUS: Final = re.compile(r" (\d\d:\d\d)$")

Names = Annotated[list[str], Field(max_length=100)]
Amount = Annotated[Decimal, Field(ge=0, max_digits=18, decimal_places=9)]
Milliseconds = Annotated[int, Field(ge=0, lt=2**63)]


class LogFilters(BaseModel):
    """All must hold; a filter given several times means any of its values."""

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)

    provider: Names = []
    model: Names = Field([], description="`provider/model`, or the model alone, at any provider.")
    virtual_key: Names = Field([], description="Id or name of a virtual key.")
    status: list[Outcome] = []
    endpoint: Names = []
    end_user: str | None = None
    stream: bool | None = None
    task: str | None = Field(None, description="Background task of a chat client (title, tags, ...).")
    chat_id: str | None = None
    error_code: str | None = None
    period: Period | None = Field(None, description="The last hours or days; wins over `from` and `to`.")
    from_: AwareDatetime | None = Field(None, alias="from", description="RFC 3339, inclusive.")
    to: AwareDatetime | None = Field(None, description="RFC 3339, exclusive.")
    min_cost: Amount | None = Field(None, description="US dollars.")
    max_cost: Amount | None = Field(None, description="US dollars.")
    min_latency_ms: Milliseconds | None = None
    max_latency_ms: Milliseconds | None = None
    search: str | None = Field(
        None,
        max_length=500,
        description="Words that must all occur in the conversation, as whole words, in any case. A search without any "
        "letter or digit finds its signs wherever they stand; that reads the conversations, so narrow the time.",
    )

    @field_validator("from_", "to", mode="before")
    @classmethod
    def _repair_plus(cls, value: object) -> object:
        """A `+` that was not percent-encoded in the URL arrives as a space."""
        return _LOST_PLUS.sub(r"+\1", value) if isinstance(value, str) else value

    @field_validator("search")
    @classmethod
    def _is_short(cls, value: str | None) -> str | None:
        if len(words_of(value or "") or signs_of(value or "")) > MAX_WORDS:
            raise ValueError(f"must have at most {MAX_WORDS} words")
        return value

    @model_validator(mode="after")
    def _ranges_are_not_empty(self) -> Self:
        for name, low, high in (
            ("cost", self.min_cost, self.max_cost),
            ("latency_ms", self.min_latency_ms, self.max_latency_ms),
        ):
            if low is not None and high is not None and low > high:
                raise ValueError(f"min_{name} must not be above max_{name}")
        if self.period is None and self.from_ and self.to and self.from_ >= self.to:
            raise ValueError("from must be before to")
        return self

    def since(self, now: datetime) -> datetime | None:
        """Inclusive."""
        return now - PERIODS[self.period] if self.period else self.from_

    @property
    def until(self) -> datetime | None:
        """Exclusive."""
        return None if self.period else self.to


class LogQuery(LogFilters):
    """Filters and the place in the list."""

    limit: int = Field(50, ge=1, le=MAX_LIMIT)
    cursor: str | None = Field(None, description="`next_cursor` of the page before.")

    @field_validator("cursor")
    @classmethod
    def _is_ours(cls, value: str | None) -> str | None:
        if value:
            Cursor.parse(value)
        return value or None


class Cursor:
    """A place in the list: the time and id of a row. Opaque to clients."""

    __slots__ = ("request_id", "started_at_ms")

    def __init__(self, started_at_ms: int, request_id: str) -> None:
        self.started_at_ms = started_at_ms
        self.request_id = request_id

    def __str__(self) -> str:
        plain = f"{self.started_at_ms}:{self.request_id}".encode()
        return base64.urlsafe_b64encode(plain).decode().rstrip("=")

    @classmethod
    def parse(cls, text: str) -> "Cursor":
        """Raises ValueError on anything that is no cursor."""
        try:
            plain = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)).decode()
            time, colon, request_id = plain.partition(":")
            if not colon or not request_id or not 0 <= int(time) < 2**53:
                raise ValueError("no such place")
            return cls(int(time), request_id)
        except (binascii.Error, ValueError, UnicodeError) as error:
            raise ValueError("is not a cursor of this list") from error


def conditions(filters: LogFilters, now: datetime) -> tuple[list[str], dict[str, Any]]:
    """SQL conditions over `request_logs`, and their parameters. No text of a user is ever part of the SQL."""
    where: list[str] = []
    bound: dict[str, Any] = {}

    def require(sql: str, **parameters: Any) -> None:
        where.append(sql)
        bound.update(parameters)

    if (since := filters.since(now)) is not None:
        require("started_at >= fromUnixTimestamp64Milli({since:Int64}, 'UTC')", since=_ms(since))
    if filters.until is not None:
        require("started_at < fromUnixTimestamp64Milli({until:Int64}, 'UTC')", until=_ms(filters.until))
    if filters.model:
        require(
            "(model IN {model:Array(String)} OR concat(provider, '/', model) IN {model:Array(String)})",
            model=filters.model,
        )
    for column in ("provider", "status", "endpoint"):
        if values := getattr(filters, column):
            require(f"{column} IN {{{column}:Array(String)}}", **{column: values})
    if filters.virtual_key:
        require(
            "(virtual_key_id IN {virtual_key:Array(String)} OR virtual_key_name IN {virtual_key:Array(String)})",
            virtual_key=filters.virtual_key,
        )
    for column in ("end_user", "task", "chat_id", "error_code"):
        if (value := getattr(filters, column)) is not None:
            require(f"{column} = {{{column}:String}}", **{column: value})
    if filters.stream is not None:
        require("stream = {stream:Bool}", stream=filters.stream)
    for name, sign in (("min", ">="), ("max", "<=")):
        if (cost := getattr(filters, f"{name}_cost")) is not None:
            require(f"cost {sign} toDecimal64({{{name}_cost:String}}, 9)", **{f"{name}_cost": f"{cost:f}"})
        if (latency := getattr(filters, f"{name}_latency_ms")) is not None:
            require(f"latency_ms {sign} {{{name}_latency_ms:UInt64}}", **{f"{name}_latency_ms": latency})
    searched, words = search_conditions(filters.search or "")
    return where + searched, bound | words


def _ms(at: datetime) -> int:
    return int(at.astimezone(UTC).timestamp() * 1000)
