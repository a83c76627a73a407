"""The first step: a record of the event log becomes a row, nothing, or poison. Pure."""

import re
from typing import Final

import msgspec

from services.log_ingest.rows import LogRow, row_of_abandoned, row_of_logged
from shared.errors import Poison
from shared.eventlog.port import HEADER_TYPE, Record
from shared.events import AnyEvent, RequestLogged, RequestStarted, UsageRecorded, decode

_STARTED_TYPE: Final = str(RequestStarted.__struct_config__.tag)
_LATEST_MS: Final = 10_413_791_999_999
"""The last millisecond that DateTime64 holds: 2299-12-31."""
_ESCAPES: Final = re.compile(
    rb"(?P<sound>\\\\|\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2})|\\u[dD][89a-fA-F][0-9a-fA-F]{2}"
)
"""Escaped backslashes and surrogate pairs, which are sound, and lone surrogates, which stand for no character."""


def decode_record(record: Record) -> LogRow | None:
    """The row that a record stands for; None when it is none of this service's business.

    Raises Poison for what is no event, or one that no table can hold.
    """
    if record.value is None or record.headers.get(HEADER_TYPE) == _STARTED_TYPE:
        return None
    try:
        event = _decoded(record.value)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise _poison(record, f"not an event: {error}") from error
    if isinstance(event, RequestLogged):
        _check_time(record, event.started_at_ms, event.ended_at_ms)
        return row_of_logged(event, record)
    if isinstance(event, UsageRecorded) and event.outcome == "abandoned":
        _check_time(record, event.started_at_ms, event.at_ms)
        return row_of_abandoned(event, record)
    return None


def _decoded(value: bytes) -> AnyEvent:
    """A client may have sent half a surrogate pair, which JSON can write and UTF-8 cannot: that loses no request."""
    try:
        return decode(value)
    except msgspec.DecodeError:
        repaired = _ESCAPES.sub(lambda found: found["sound"] or rb"\ufffd", value)
        if repaired == value:
            raise
        return decode(repaired)


def _check_time(record: Record, *times_ms: int) -> None:
    for time_ms in times_ms:
        if not 0 <= time_ms <= _LATEST_MS:
            raise _poison(record, f"time {time_ms} is outside 1970 to 2299")


def _poison(record: Record, reason: str) -> Poison:
    return Poison(record.topic, record.partition, record.offset, reason[:500])
