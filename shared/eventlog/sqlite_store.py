"""The tables of the SQLite event log and the statements on records. Plain functions on a connection.

A record's rowid is `partition id << 40 | offset`: one B-tree, each partition a consecutive range, no second index.
`next_offset` is a column of its own, so that an offset is never used twice, even when all records were deleted.
The value stands last in its row: statements that do not ask for it never read its overflow pages.
"""

import sqlite3
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import msgspec

from shared.errors import ConfigurationError
from shared.eventlog.port import Record, TopicPartition
from shared.topics import TopicSpec

OFFSET_BITS = 40
OFFSET_MASK = (1 << OFFSET_BITS) - 1
SCHEMA_VERSION = 1

SCHEMA = """
CREATE TABLE IF NOT EXISTS partitions (
    id INTEGER PRIMARY KEY, topic TEXT NOT NULL, number INTEGER NOT NULL, next_offset INTEGER NOT NULL DEFAULT 0,
    UNIQUE (topic, number)
);
CREATE TABLE IF NOT EXISTS records (
    id INTEGER PRIMARY KEY, timestamp_ms INTEGER NOT NULL, key TEXT NOT NULL, headers BLOB, value BLOB
);
CREATE TABLE IF NOT EXISTS groups (name TEXT PRIMARY KEY, generation INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS members (
    group_name TEXT NOT NULL, member TEXT NOT NULL, topics TEXT NOT NULL, instance TEXT NOT NULL,
    expires_ms INTEGER NOT NULL, PRIMARY KEY (group_name, member)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS owners (
    group_name TEXT NOT NULL, partition_id INTEGER NOT NULL, member TEXT NOT NULL,
    PRIMARY KEY (group_name, partition_id)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS commits (
    group_name TEXT NOT NULL, partition_id INTEGER NOT NULL, next_offset INTEGER NOT NULL,
    PRIMARY KEY (group_name, partition_id)
) WITHOUT ROWID;
"""

_headers_decoder = msgspec.json.Decoder(dict[str, str])
_headers_encoder = msgspec.json.Encoder()

NewRow = tuple[int, int, str, bytes | None, bytes | None]
"""(partition id, timestamp_ms, key, headers, value)"""


@dataclass(frozen=True, slots=True)
class Catalogue:
    """The partitions by id and by name. Fixed once the log has started."""

    ids: Mapping[TopicPartition, int]
    names: Mapping[int, TopicPartition]


@dataclass(frozen=True, slots=True)
class Span:
    """Offsets start <= offset < end of one partition."""

    partition_id: int
    start: int
    end: int


def prepare(connection: sqlite3.Connection, specs: Sequence[TopicSpec]) -> Catalogue:
    """Make missing tables and topics. Raises ConfigurationError when a topic stands with another partition count."""
    version = connection.execute("PRAGMA user_version").fetchone()[0]
    if version not in (0, SCHEMA_VERSION):
        raise ConfigurationError(
            f"The event log file has format {version}, this version of finops knows format {SCHEMA_VERSION}: "
            "use the finops version that wrote it."
        )
    for spec in specs:
        _check_count(connection, version, spec)
    if version == 0:
        for statement in SCHEMA.split(";"):
            connection.execute(statement)
        connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
    for spec in specs:
        connection.executemany(
            "INSERT OR IGNORE INTO partitions (topic, number) VALUES (?, ?)",
            [(spec.name, number) for number in range(spec.partitions)],
        )
    rows = connection.execute("SELECT id, topic, number FROM partitions").fetchall()
    names = {row[0]: (row[1], row[2]) for row in rows}
    return Catalogue(ids={name: number for number, name in names.items()}, names=names)


def _check_count(connection: sqlite3.Connection, version: int, spec: TopicSpec) -> None:
    if version == 0:
        return
    found = connection.execute("SELECT count(*) FROM partitions WHERE topic = ?", (spec.name,)).fetchone()[0]
    if found and found != spec.partitions:
        raise ConfigurationError(
            f"FINOPS_PARTITIONS asks for {spec.partitions} partitions of {spec.name}, but this event log was made "
            f"with {found}: the count is fixed for the life of a log, so set it back to {found} or start a new log."
        )


def encode_headers(headers: Mapping[str, str]) -> bytes | None:
    return _headers_encoder.encode(headers) if headers else None


def append(connection: sqlite3.Connection, rows: Sequence[NewRow]) -> tuple[list[int], dict[int, int]]:
    """Insert `rows` in order. Returns their offsets and, per partition id touched, the new next offset."""
    ends: dict[int, int] = {}
    offsets: list[int] = []
    values: list[tuple[int, int, str, bytes | None, bytes | None]] = []
    for partition_id, timestamp_ms, key, headers, value in rows:
        offset = ends.get(partition_id)
        if offset is None:
            offset = connection.execute(
                "SELECT next_offset FROM partitions WHERE id = ?", (partition_id,)
            ).fetchone()[0]
        ends[partition_id] = offset + 1
        offsets.append(offset)
        values.append(((partition_id << OFFSET_BITS) | offset, timestamp_ms, key, headers, value))
    connection.executemany("INSERT INTO records VALUES (?, ?, ?, ?, ?)", values)
    connection.executemany(
        "UPDATE partitions SET next_offset = ? WHERE id = ?", [(end, number) for number, end in ends.items()]
    )
    return offsets, ends


def ends(connection: sqlite3.Connection) -> dict[int, int]:
    """The next offset of every partition id."""
    return dict(connection.execute("SELECT id, next_offset FROM partitions").fetchall())


def read(
    connection: sqlite3.Connection, catalogue: Catalogue, span: Span, max_records: int, max_bytes: int
) -> list[Record]:
    """The first records of `span`: at most `max_records`, and no further one after `max_bytes` of values."""
    topic, number = catalogue.names[span.partition_id]
    base = span.partition_id << OFFSET_BITS
    cursor = connection.execute(
        "SELECT id, timestamp_ms, key, headers, value FROM records WHERE id >= ? AND id < ? ORDER BY id LIMIT ?",
        (base | span.start, base | span.end, max_records),
    )
    found: list[Record] = []
    size = 0
    try:
        for row_id, timestamp_ms, key, headers, value in cursor:
            decoded = _headers_decoder.decode(headers) if headers else {}
            found.append(Record(topic, number, row_id & OFFSET_MASK, key, value, decoded, timestamp_ms))
            size += len(value) if value is not None else 0
            if size >= max_bytes:
                break
    finally:
        cursor.close()  # an open statement would hold a read transaction and hide later commits
    return found


def read_many(
    connection: sqlite3.Connection,
    catalogue: Catalogue,
    spans: Sequence[tuple[TopicPartition, Span]],
    max_records: int,
    max_bytes: int,
) -> list[tuple[TopicPartition, list[Record], int]]:
    """Read spans in turn until a limit is reached. Per span begun: its records and the position after them."""
    found: list[tuple[TopicPartition, list[Record], int]] = []
    for partition, span in spans:
        records = read(connection, catalogue, span, max_records, max_bytes)
        max_records -= len(records)
        max_bytes -= sum(len(record.value) for record in records if record.value is not None)
        limited = max_records <= 0 or max_bytes <= 0
        # Everything up to the end of the span was looked at: gaps at its end are passed, too.
        found.append((partition, records, records[-1].offset + 1 if limited else span.end))
        if limited:
            break
    return found


def committed(connection: sqlite3.Connection, group: str, partition_id: int) -> int | None:
    row = connection.execute(
        "SELECT next_offset FROM commits WHERE group_name = ? AND partition_id = ?", (group, partition_id)
    ).fetchone()
    return None if row is None else int(row[0])
