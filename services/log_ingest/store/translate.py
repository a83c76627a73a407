"""The one place where a ClickHouse exception becomes one of ours."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import aiohttp
from clickhouse_connect.driver.exceptions import ClickHouseError, DataError, Error, OperationalError

from services.log_ingest.store.port import QueryTooExpensive, StoreDataError, StoreRefused
from shared.errors import StoreUnavailable

_TRY_LATER: Final = {
    3: "unexpected end of file",
    159: "timeout",
    164: "read-only server",
    198: "DNS error",
    201: "quota exceeded",
    202: "too many simultaneous queries",
    203: "no free connection",
    209: "socket timeout",
    210: "network error",
    218: "table is dropped",
    225: "no keeper",
    236: "aborted",
    241: "memory limit",
    242: "table is read-only",
    243: "not enough disk space",
    252: "too many parts",
    279: "all connection tries failed",
    285: "too few live replicas",
    286: "unsatisfied quorum",
    319: "unknown status of insert",
    394: "query was cancelled",
    415: "all replicas lost",
    425: "system error",
    439: "cannot schedule task",
    516: "authentication failed",
    999: "keeper exception",
}
"""Codes of faults of the server, not of the data. A wrong password is among them: mending it needs no restart."""

_OF_THE_DATA: Final = {
    6: "cannot parse text",
    26: "cannot parse a quoted string",
    27: "cannot parse input",
    38: "cannot parse a date",
    41: "cannot parse a time",
    53: "type mismatch",
    69: "argument out of bounds",
    70: "cannot convert a type",
    72: "cannot parse a number",
    117: "incorrect data",
    131: "too large a string",
    321: "value out of range",
    349: "null in a column without nulls",
    407: "decimal overflow",
    469: "violated constraint",
}
"""Codes that a row can cause. Any other tells of the table, of rights or of the engine: no row is to blame for it."""

_TOO_EXPENSIVE: Final = frozenset({158, 159, 160, 241, 307, 396})


@contextmanager
def translated(*, limited: bool = False) -> Iterator[None]:
    """Translate what clickhouse-connect, its transport and its encoders raise.

    `limited`: the call carried QueryLimits, so running out of time or memory is the query's fault.
    """
    try:
        yield
    except Error as error:
        raise _translate(error, limited) from error
    except (ClickHouseError, aiohttp.ClientError, TimeoutError, OSError) as error:
        raise StoreUnavailable(f"The log store cannot be reached: {_brief(error)}") from error
    except (ValueError, TypeError, AttributeError, OverflowError) as error:
        # Raised by the client's encoder for a value that does not fit its column.
        raise StoreDataError(f"A value does not fit its column: {_brief(error)}") from error


def _translate(error: Error, limited: bool) -> Exception:
    if limited and error.code in _TOO_EXPENSIVE:
        return QueryTooExpensive(f"The query was stopped at its limit: {_brief(error)}")
    if error.code in _TRY_LATER or (error.code is None and isinstance(error, OperationalError)):
        return StoreUnavailable(f"The log store cannot do this now: {_brief(error)}")
    if error.code in _OF_THE_DATA or (error.code is None and isinstance(error, DataError)):
        return StoreDataError(_brief(error), error.code)
    return StoreRefused(_brief(error), error.code)


def _brief(error: BaseException) -> str:
    text = str(error) or type(error).__name__
    return " ".join(text.split())[:500]
