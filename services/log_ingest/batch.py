"""The second step: rows gather until a flush is worth an insert. Pure: no clock, no I/O."""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from services.log_ingest.rows import LogRow
from services.log_ingest.store.port import Columns
from shared.errors import Poison
from shared.eventlog.port import Record, TopicPartition

MIB = 1_048_576


@dataclass(frozen=True, slots=True)
class BatchLimits:
    """A flush is due when any of these is reached."""

    rows: int = 10_000
    bytes: int = 32 * MIB
    age_s: float = 0.5


@dataclass(frozen=True, slots=True)
class BadRecord:
    """A record for the dead letters, with the reason."""

    record: Record
    reason: str


@dataclass(frozen=True, slots=True)
class Flush:
    """What one flush writes, and the offsets that may be committed when all of it is written."""

    rows: Sequence[LogRow] = ()
    records: Mapping[tuple[str, int, int], Record] = field(default_factory=dict)
    """The record behind each row, by (topic, partition, offset): a refused row goes to the dead letters whole."""
    bad: Sequence[BadRecord] = ()
    offsets: Mapping[TopicPartition, int] = field(default_factory=dict)


class Batch:
    """Gathers what `decode` made. `now` is any monotonic clock in seconds."""

    def __init__(self, limits: BatchLimits) -> None:
        self._limits = limits
        self._rows: list[LogRow] = []
        self._records: dict[tuple[str, int, int], Record] = {}
        self._bad: list[BadRecord] = []
        self._offsets: dict[TopicPartition, int] = {}
        self._bytes = 0
        self._since: float | None = None

    def add(self, record: Record, row: LogRow | None, now: float) -> None:
        """A record that was handled; `row` None means that only its offset matters."""
        self._note(record, now)
        if row is not None:
            self._rows.append(row)
            self._records[record.topic, record.partition, record.offset] = record
            self._bytes += row.approximate_bytes

    def add_poison(self, record: Record, poison: Poison, now: float) -> None:
        self._note(record, now)
        self._bad.append(BadRecord(record, poison.reason))
        self._bytes += len(record.value or b"")

    def full(self) -> bool:
        return len(self._rows) >= self._limits.rows or self._bytes >= self._limits.bytes

    def due(self, now: float) -> bool:
        return self.full() or (self._since is not None and now - self._since >= self._limits.age_s)

    def due_in_s(self, now: float) -> float:
        """Seconds until the batch is due by age; the whole age when it is empty."""
        return self._limits.age_s if self._since is None else max(0.0, self._since + self._limits.age_s - now)

    def empty(self) -> bool:
        return self._since is None

    def forget(self, partitions: frozenset[TopicPartition]) -> None:
        """Drop what came from partitions that another member reads from now on."""
        self._rows = [row for row in self._rows if row.source not in partitions]
        self._records = {
            place: record for place, record in self._records.items() if place[:2] not in partitions
        }
        self._bad = [bad for bad in self._bad if (bad.record.topic, bad.record.partition) not in partitions]
        self._offsets = {part: offset for part, offset in self._offsets.items() if part not in partitions}
        self._bytes = sum(row.approximate_bytes for row in self._rows)
        if not self._offsets:
            self._since = None

    def cut(self) -> Flush:
        """Everything gathered so far, and start anew."""
        flush = Flush(self._rows, self._records, self._bad, self._offsets)
        self._rows, self._records, self._bad, self._offsets = [], {}, [], {}
        self._bytes, self._since = 0, None
        return flush

    def _note(self, record: Record, now: float) -> None:
        self._offsets[record.topic, record.partition] = record.offset + 1
        if self._since is None:
            self._since = now


def columns_of(rows: Sequence[LogRow]) -> Columns:
    """The rows turned on their side, for a column-oriented insert."""
    return dict(zip(LogRow._fields, zip(*rows, strict=True), strict=True))


def insert_token(rows: Iterable[LogRow]) -> str:
    """The identity of exactly these rows, for the store's deduplication.

    Made of source positions and request ids: the store silently drops other rows under a known token, so positions
    alone would lose rows when an event log is made anew and counts from zero again.
    """
    digest = hashlib.sha256()
    for row in rows:
        digest.update(
            f"{row.source_topic}:{row.source_partition}:{row.source_offset}:{row.request_id}\n".encode()
        )
    return digest.hexdigest()
