"""OwnedPartition: one usage partition folded here, and the records that tell its state to the spend topic."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from shared.eventlog.port import HEADER_TYPE, HEADER_VERSION, NewRecord
from shared.events import (
    EVENT_VERSION,
    AnyEvent,
    CounterPublished,
    PartitionProgress,
    RequestStarted,
    UsageRecorded,
    encode,
    event_type,
)
from shared.governance.ledger import PartitionLedger
from shared.topics import SPEND

COUNTER_KEY: Final = "counter/"
ABANDONED_KEY: Final = "abandoned/"
PROGRESS_KEY: Final = "progress"


@dataclass(slots=True)
class OwnedPartition:
    """The ledger with what its owner must remember about publishing it. Times in seconds are monotonic."""

    ledger: PartitionLedger
    spend_end: int
    """Where the partition of the spend topic ended at take-over: whatever stands after it was written since."""
    next_offset: int
    """The next input offset to read: one past the last record folded or put aside."""
    complete_at_ms: int = 0
    """Unix time at which the log was last seen to hold nothing that is not folded here."""
    published_offset: int = 0
    """As `next_offset`, but only what is inside the published state: this may be committed."""
    published_at: float = 0.0
    is_dirty: bool = True
    oldest_unpublished_ms: int = 0
    """Event time of the oldest record folded since the last publication; 0: none."""
    _batch: Sequence[NewRecord] = ()
    _batch_offset: int = 0
    _furthest_seen: int = field(default=0)

    def __post_init__(self) -> None:
        self._furthest_seen = self.ledger.through_offset

    @property
    def partition(self) -> int:
        return self.ledger.partition

    @property
    def clock_ms(self) -> int:
        """The time that this fold stands for: while records wait to be folded, no later than the newest of those
        that are. So nobody takes a state for fresh, or a request for unended, whose news is in the backlog."""
        return max(self.complete_at_ms, self.ledger.event_time_ms)

    def fold(
        self, offset: int, producer: str, seq: int, event: RequestStarted | UsageRecorded, now_ms: int
    ) -> None:
        """Fold one input record."""
        self.ledger.apply(offset, producer, seq, event, now_ms=now_ms)
        self.next_offset = offset + 1
        self.is_dirty = True
        if self.oldest_unpublished_ms == 0 or event.at_ms < self.oldest_unpublished_ms:
            self.oldest_unpublished_ms = event.at_ms

    def put_aside(self, offset: int) -> None:
        """Pass over a record that cannot be folded."""
        self.ledger.skip(offset)
        self.next_offset = offset + 1
        self.is_dirty = True

    def batch(self, at_ms: int) -> Sequence[NewRecord]:
        """What changed since the last batch, its progress last. The same batch again until `acknowledge`.

        If an append of it fails half-way, appending all of it again is harmless: every record is a whole state,
        its readers keep the newest, and they apply counters only when a progress that covers them arrives.
        """
        if not self._batch:
            self._batch = self._make_batch(at_ms)
            self._batch_offset = self.next_offset
            self.is_dirty = False
        return self._batch

    def acknowledge(self, at: float) -> None:
        """The batch is durable."""
        self._batch = ()
        self.published_offset = self._batch_offset
        self.published_at = at
        self.oldest_unpublished_ms = 0

    def observe(self, offset: int, event: CounterPublished | PartitionProgress) -> bool:
        """A record of this partition of the spend topic was read back. True: it makes a state go backwards, so two
        owners wrote at once; what it overwrote is published again, lest compaction keep the old one.
        """
        if offset < self.spend_end:
            return False
        # A counter of a torn batch was restored from further on than all else, so it is judged by itself.
        is_behind = isinstance(event, CounterPublished) and self.ledger.is_behind(event)
        is_older = event.through_offset < self._furthest_seen
        self._furthest_seen = max(self._furthest_seen, event.through_offset)
        if not (is_older or is_behind):
            return False
        if isinstance(event, CounterPublished):
            self.ledger.republish(event.budget_id)
        self.is_dirty = True
        return True

    def _make_batch(self, at_ms: int) -> list[NewRecord]:
        ledger = self.ledger
        records = [
            self._record(COUNTER_KEY + budget_id, ledger.counter(budget_id), at_ms)
            for budget_id in ledger.take_changed()
        ]
        new, gone = ledger.take_abandoned()
        records += [self._record(ABANDONED_KEY + one.request_id, one, at_ms) for one in new]
        records += [self._record(ABANDONED_KEY + request_id, None, at_ms) for request_id in gone]
        records.append(self._record(PROGRESS_KEY, ledger.progress(self.clock_ms), at_ms))
        return records

    def _record(self, key: str, event: AnyEvent | None, at_ms: int) -> NewRecord:
        if event is None:
            return NewRecord(SPEND, self.partition, key, None, timestamp_ms=at_ms)
        headers = {HEADER_TYPE: event_type(event), HEADER_VERSION: str(EVENT_VERSION)}
        return NewRecord(SPEND, self.partition, key, encode(event), headers, at_ms)
