"""The EventLog port: an append-only, partitioned, durable log with consumer groups.

Adapters: `sqlite.py` (embedded) and `kafka.py`. `open.py` picks one from a URL. The same contract tests
(`tests/contract/eventlog/`) run against each. Nothing outside the adapters knows which one it talks to.
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Protocol, Self

import msgspec

HEADER_TYPE = "event-type"
HEADER_VERSION = "event-version"
HEADER_PRODUCER = "producer"
"""Incarnation of the outbox that wrote the record: new at each process start, kept when a spool is replayed."""
HEADER_SEQ = "seq"
"""Decimal sequence number within the incarnation; rises along each partition. (producer, seq) is the identity of a
record: one at or below the last seen from that producer in that partition is a replay."""


class NewRecord(msgspec.Struct, frozen=True):
    """A record to append. `value` None is a tombstone (compacted topics only)."""

    topic: str
    partition: int
    key: str
    value: bytes | None
    headers: Mapping[str, str] = {}
    timestamp_ms: int = 0


@dataclass(frozen=True, slots=True)
class Record:
    """A record as read. Offsets rise along a partition; gaps are normal (compaction, markers)."""

    topic: str
    partition: int
    offset: int
    key: str
    value: bytes | None
    headers: Mapping[str, str]
    timestamp_ms: int


TopicPartition = tuple[str, int]
Offsets = Mapping[TopicPartition, int]
"""Per partition, the NEXT offset to read: one past the last record done."""


class RebalanceListener(Protocol):
    """Told by a consumer group, from inside `poll`, about partitions won and lost.

    `revoked` is called while this member still owns them: it finishes and commits its work before another
    member may start. Both may be called with an empty set. An exception from either reaches the caller of `poll`.
    """

    async def assigned(self, partitions: frozenset[TopicPartition]) -> None: ...

    async def revoked(self, partitions: frozenset[TopicPartition]) -> None: ...


class Consumer(Protocol):
    """One member of a consumer group. Use as an async context manager; leaving it revokes, then leaves the group."""

    async def __aenter__(self) -> Self: ...

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    async def poll(self, timeout_s: float, max_records: int) -> Sequence[Record]:
        """The next records of the owned partitions, in offset order per partition; empty after `timeout_s`.

        A partition without a committed offset starts at its beginning.
        Raises LogUnavailable when the log cannot be reached; polling again is allowed.
        """

    def seek(self, partition: TopicPartition, offset: int) -> None:
        """Read `partition` from `offset` at the next poll. Allowed inside `assigned`."""

    async def committed(self, partition: TopicPartition) -> int | None:
        """The group's next offset for an owned partition, None when it never committed."""

    async def commit(self, offsets: Offsets) -> None:
        """Store the group's next offsets. Raises Fenced when a partition is no longer owned by this member."""

    def pause(self, partitions: frozenset[TopicPartition]) -> None:
        """Deliver nothing of these until `resume`; polling goes on so that membership is kept."""

    def resume(self, partitions: frozenset[TopicPartition]) -> None: ...

    async def lag(self) -> Mapping[TopicPartition, int]:
        """Records between the read position and the end, per owned partition."""


class EventLog(Protocol):
    """The log. Safe for many tasks at once. `start` makes missing topics and checks the settings of present ones."""

    async def start(self) -> None:
        """Raises LogUnavailable when it cannot be reached, ConfigurationError when its settings are wrong."""

    async def close(self) -> None: ...

    def partitions(self, topic: str) -> int:
        """The partition count of a topic. Known after `start`."""

    def max_record_bytes(self, topic: str) -> int:
        """The largest record a topic takes: key, value and headers together, in bytes. Known after `start`."""

    async def append(self, records: Sequence[NewRecord]) -> Sequence[int]:
        """Append and wait until durable. Returns the offsets, in the order of `records`.

        Records of one partition keep their order. On LogUnavailable any prefix per partition may have been
        written: call again with the same records (a reader tells replays by their identity headers).
        Raises RecordTooLarge (nothing of that partition's batch was written).
        """

    async def end_offsets(self, topic: str) -> Mapping[int, int]:
        """Per partition, the offset that the next record will get."""

    def read(self, topic: str, partition: int, start: int, end: int) -> AsyncIterator[Sequence[Record]]:
        """The records with start <= offset < end, in batches. Ends when `end` is reached, whatever gaps there are.

        An `end` beyond the partition's end at the time of the call is taken as that end: reading never waits for
        records to come. Raises LogUnavailable.
        """

    def follow(
        self, topic: str, start: Mapping[int, int], *, caught_up: Callable[[], Awaitable[None]] | None = None
    ) -> AsyncIterator[Sequence[Record]]:
        """All partitions of a topic from `start` (missing: from the beginning), for ever, outside any group.

        `caught_up` is awaited once, when everything that was there at the call has been yielded and handled
        (also when there was nothing). Raises LogUnavailable; the caller may follow again from where it stood.
        """

    def consumer(
        self, group: str, topics: Sequence[str], listener: RebalanceListener, *, member: str = ""
    ) -> Consumer:
        """A member of `group` sharing the partitions of `topics` with the other members."""
