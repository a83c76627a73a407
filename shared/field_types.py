"""Field types that `finops.yaml` and the admin API have in common, so that both accept exactly the same values.

Each takes what a person writes and yields what the domain holds: money becomes integer nano-dollars, times become
Unix milliseconds. The messages complete the sentence "`field` ...".
"""

import json
import re
from datetime import UTC, datetime
from typing import Annotated, Any, Final, Protocol, TypeVar, cast
from urllib.parse import SplitResult, urlsplit

from pydantic import AfterValidator, BeforeValidator, PlainSerializer, StringConstraints, WithJsonSchema

from shared.governance.model import Alignment, Window
from shared.governance.money import MAX_USD, is_above_maximum, nanos_from_usd

MAX_METADATA_BYTES: Final = 8_192
MAX_METADATA_DEPTH: Final = 16
LATEST_MS: Final = 253_402_300_799_999
"""The last millisecond of the year 9999: no later one can be shown."""
_PATTERN: Final = re.compile(r"[^\s,]{1,200}")
_VARIABLE: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_MODEL: Final = re.compile(r"[^\s/]+/\S{1,200}")
ENV_PREFIX: Final = "env."


def _nanos(value: object) -> int:
    if isinstance(value, float):
        raise ValueError(f'must be in quotes, such as "{value:.2f}": a float cannot hold money exactly')
    if isinstance(value, bool) or not isinstance(value, str | int):
        raise ValueError('must be an amount in US dollars as a decimal string, such as "5.00"')
    text = str(value).strip()
    if is_above_maximum(text):
        raise ValueError(f"must be at most {MAX_USD} US dollars")
    try:
        return nanos_from_usd(text)
    except ValueError as error:
        raise ValueError(
            f'must be an amount in US dollars with at most 9 decimals, such as "5.00", not {value!r}'
        ) from error


def _positive(nanos: int) -> int:
    if nanos <= 0:
        raise ValueError("must be above 0")
    return nanos


def _instant_ms(value: object) -> int:
    if isinstance(value, str):
        try:
            value = datetime.fromisoformat(value)
        except ValueError as error:
            raise ValueError("must be an RFC 3339 time, such as 2026-12-31T00:00:00Z") from error
    if not isinstance(value, datetime):
        raise ValueError("must be an RFC 3339 time, such as 2026-12-31T00:00:00Z")
    if value.tzinfo is None:
        raise ValueError("must name its time zone, such as 2026-12-31T00:00:00Z")
    at_ms = round(value.timestamp() * 1000)
    if not 0 <= at_ms <= LATEST_MS:
        raise ValueError("must be a time between 1970 and 9999 in UTC")
    return at_ms


def _pattern(value: str) -> str:
    if not (_PATTERN.fullmatch(value) and value.isprintable()):
        raise ValueError(
            "must be a pattern over provider/model without spaces or commas, such as openai/* or *, at most 200 characters"
        )
    return value


def _model_name(value: str) -> str:
    if "*" in value:
        raise ValueError(f"must be one model, such as openai/gpt-4o-mini; {value} is a pattern")
    if not _MODEL.fullmatch(value):
        raise ValueError("must be provider/model, such as openai/gpt-4o-mini, without spaces")
    return value


def callable_address(value: str) -> str:
    """`value` without slashes at its end. Raises ValueError when nothing can be called there: a scheme other than
    http and https, no host, a port that is none, or a query, behind which no path can be put."""
    if not value.startswith(("http://", "https://")) or any(char.isspace() for char in value):
        raise ValueError("must be an http:// or https:// address")
    if "?" in value or "#" in value:
        raise ValueError("must be an address without ? and #: the paths of requests are put behind it")
    try:
        parts = urlsplit(value)
        host = parts.hostname or ""
    except ValueError:
        host = ""
    if not _is_host(host):
        raise ValueError("must be an address with a host, such as http://localhost:11434/v1")
    if not _is_port(parts):
        raise ValueError("must be an address with a port from 1 to 65535, or without one")
    return value.rstrip("/")


def _is_host(host: str) -> bool:
    try:
        return bool(host.encode("idna"))
    except UnicodeError:
        return False


def _is_port(parts: SplitResult) -> bool:
    try:
        return parts.port != 0 and not parts.netloc.endswith(":")
    except ValueError:
        return False


def _printable(value: str) -> str:
    if not value.isprintable():
        raise ValueError("must not hold control characters")
    return value


def _metadata(value: dict[str, Any]) -> dict[str, Any]:
    """As JSON keeps it: YAML has keys that are no texts. Raises ValueError for what cannot be kept and shown again."""
    if not _is_flat(value, MAX_METADATA_DEPTH):
        raise ValueError(f"must not be nested deeper than {MAX_METADATA_DEPTH} levels")
    try:
        kept = json.dumps(value, allow_nan=False, ensure_ascii=False)
        size = len(kept.encode())
    except (TypeError, ValueError) as error:
        raise ValueError(
            "must hold only what JSON can: texts in Unicode, numbers, lists and objects"
        ) from error
    if size > MAX_METADATA_BYTES:
        raise ValueError(f"must be at most {MAX_METADATA_BYTES} bytes as JSON")
    return cast(dict[str, Any], json.loads(kept))


def _is_flat(value: object, levels: int) -> bool:
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return levels > 0 and all(_is_flat(one, levels - 1) for one in inner)


class Windowed(Protocol):
    """Anything with the window of a budget."""

    @property
    def window(self) -> Window: ...

    @property
    def alignment(self) -> Alignment: ...


W = TypeVar("W", bound=Windowed)


def distinct_windows(budgets: list[W]) -> list[W]:
    """`budgets` as they are. Raises ValueError when two have the same window and alignment (one of them is useless)
    or when one cannot exist (rolling and lifetime)."""
    seen: set[tuple[str, str]] = set()
    for budget in budgets:
        kind = (budget.window, budget.alignment)
        if kind == ("lifetime", "rolling"):
            raise ValueError("must not hold a rolling lifetime budget: it never resets")
        if kind in seen:
            raise ValueError(f"must not hold two budgets with the window {kind[0]} ({kind[1]})")
        seen.add(kind)
    return budgets


def env_reference(value: str) -> str | None:
    """The variable's name in `env.NAME`, else None. Raises ValueError when what follows `env.` is no name."""
    if not value.startswith(ENV_PREFIX):
        return None
    name = value.removeprefix(ENV_PREFIX)
    if not _VARIABLE.fullmatch(name):
        raise ValueError("must name an environment variable after `env.`, such as env.OPENAI_API_KEY")
    return name


def rfc3339(at_ms: int) -> str:
    """Unix milliseconds as RFC 3339 in UTC; milliseconds only where there are some."""
    at = datetime.fromtimestamp(at_ms / 1000, UTC)
    return at.isoformat(timespec="milliseconds" if at_ms % 1000 else "seconds").replace("+00:00", "Z")


_USD_SCHEMA = {"type": "string", "pattern": r"^\d+(\.\d{1,9})?$", "examples": ["5.00"]}
_TIME_SCHEMA = {"type": "string", "format": "date-time", "examples": ["2026-12-31T00:00:00Z"]}

Usd = Annotated[int, BeforeValidator(_nanos), WithJsonSchema(_USD_SCHEMA)]
"""US dollars as a decimal string (or a whole number), at most 9 decimals -> nano-dollars >= 0."""

PositiveUsd = Annotated[Usd, AfterValidator(_positive)]

Instant = Annotated[int, BeforeValidator(_instant_ms), WithJsonSchema(_TIME_SCHEMA)]
"""An RFC 3339 time with a zone -> Unix milliseconds."""

InstantText = Annotated[int, PlainSerializer(rfc3339, return_type=str), WithJsonSchema(_TIME_SCHEMA)]
"""Unix milliseconds, shown as RFC 3339 in UTC."""

Name = Annotated[
    str,
    StringConstraints(strip_whitespace=True, min_length=1, max_length=100),
    AfterValidator(_printable),
]

ModelPattern = Annotated[str, AfterValidator(_pattern)]

RouteName = Annotated[str, StringConstraints(pattern=r"^[^\s/,*\x00-\x1f\x7f]{1,100}$")]
"""A name for models that no `provider/model` can be."""

ModelName = Annotated[str, AfterValidator(_model_name)]
"""`provider/model`: one, no pattern."""

BaseUrl = Annotated[str, AfterValidator(callable_address)]
"""Where a provider is called; without slashes at its end."""

Fallback = Annotated[str, StringConstraints(pattern=r"^[^\s,*]{1,300}$")]
"""`provider/model` or the name of a route."""

Metadata = Annotated[dict[str, Any], AfterValidator(_metadata)]
