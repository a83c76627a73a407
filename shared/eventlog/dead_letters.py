"""The form of a record on the dead-letter topic: the original value, where it came from, and why it is there."""

import base64
from collections.abc import Mapping
from typing import Final

import msgspec

from shared.eventlog.port import HEADER_TYPE, HEADER_VERSION, NewRecord, Record
from shared.events import EVENT_VERSION
from shared.topics import DEAD_LETTERS

DEAD_LETTER_TYPE: Final = "dead.letter"
KEEP_BYTES: Final = 4 * 1_048_576
"""Of a value: the largest record of any topic, so that a letter holds it whole. Should one be larger, the rest is cut."""
REASON_CHARS: Final = 2_000


class DeadLetter(msgspec.Struct, frozen=True, kw_only=True, tag_field="type", tag=DEAD_LETTER_TYPE):
    """The value of a record of `finops.dead-letters`, as JSON. `value` is the original value in base64."""

    service: str
    topic: str
    partition: int
    offset: int
    """-1: it never got into its topic; its identity is in `headers`."""
    key: str
    reason: str
    at_ms: int
    headers: Mapping[str, str]
    timestamp_ms: int
    value: str
    value_bytes: int = 0
    """Length of the original value; `value` may hold less of it."""


def unhandled(record: Record, reason: str, *, service: str, at_ms: int) -> NewRecord:
    """The letter for a record that was read and cannot be handled. Its key is the record's origin, so a letter sent
    twice is recognised as one."""
    return _letter(record, record.offset, str(record.offset), reason, service, at_ms)


def undelivered(record: NewRecord, reason: str, *, service: str, position: str, at_ms: int) -> NewRecord:
    """The letter for a record that the log does not take. `position` stands for an offset in its key."""
    return _letter(record, -1, position, reason, service, at_ms)


def _letter(
    record: Record | NewRecord, offset: int, position: str, reason: str, service: str, at_ms: int
) -> NewRecord:
    value = record.value or b""
    letter = DeadLetter(
        service=service,
        topic=record.topic,
        partition=record.partition,
        offset=offset,
        key=record.key,
        reason=reason[:REASON_CHARS],
        at_ms=at_ms,
        headers=dict(record.headers),
        timestamp_ms=record.timestamp_ms,
        value=base64.b64encode(value[:KEEP_BYTES]).decode(),
        value_bytes=len(value),
    )
    return NewRecord(
        DEAD_LETTERS,
        0,
        f"{record.topic}:{record.partition}:{position}",
        msgspec.json.encode(letter),
        {HEADER_TYPE: DEAD_LETTER_TYPE, HEADER_VERSION: str(EVENT_VERSION)},
        at_ms,
    )
