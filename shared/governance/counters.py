"""CounterSet: the spend counters of one usage partition, the part of the ledger that is published record by record."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

from shared.events import Bucket, Charge, CounterPublished

NOTHING_FOLDED: Final = -1


@dataclass(frozen=True, slots=True)
class Change:
    """What one usage record does to each bucket that it is charged to."""

    settled: int = 0
    reserved: int = 0
    requests: int = 0
    tokens: int = 0
    unpriced: int = 0


@dataclass(slots=True)
class _Counter:
    skip_through: int = NOTHING_FOLDED
    """Restored state already holds the records up to here."""
    buckets: dict[int, Bucket] = field(default_factory=dict)


class CounterSet:
    """Counters by budget id. A bucket is dead, and neither changed nor published, once event time reaches its `until_ms`."""

    def __init__(self) -> None:
        self._counters: dict[str, _Counter] = {}
        self._changed: set[str] = set()

    def ids(self) -> Iterable[str]:
        return self._counters.keys()

    def post(self, offset: int, event_time_ms: int, charges: Iterable[Charge], change: Change) -> None:
        """Put the change of the record at `offset` into its buckets, but for counters that hold it already."""
        for charge in charges:
            if _is_dead(charge.until_ms, event_time_ms):
                continue
            counter = self._counters.get(charge.budget_id)
            if counter is None:
                counter = self._counters[charge.budget_id] = _Counter()
            elif offset <= counter.skip_through:
                continue
            bucket = counter.buckets.get(charge.bucket_ms)
            if bucket is None:
                bucket = counter.buckets[charge.bucket_ms] = Bucket(charge.bucket_ms, charge.until_ms)
            bucket.settled_nanos += change.settled
            bucket.reserved_nanos = max(0, bucket.reserved_nanos + change.reserved)
            bucket.requests += change.requests
            bucket.tokens += change.tokens
            bucket.unpriced += change.unpriced
            self._changed.add(charge.budget_id)

    def take_changed(self) -> list[str]:
        """Ids changed since the last call."""
        changed = list(self._changed)
        self._changed.clear()
        return changed

    def touch(self, budget_id: str) -> None:
        """Let the next `take_changed` return this counter, if it exists."""
        if budget_id in self._counters:
            self._changed.add(budget_id)

    def through(self, budget_id: str, through_offset: int) -> int:
        """The offset up to which this counter holds everything, given the fold's own. KeyError if unknown."""
        return max(through_offset, self._counters[budget_id].skip_through)

    def is_behind(self, record: CounterPublished) -> bool:
        """Whether this counter was restored from a record with more in it than this one."""
        counter = self._counters.get(record.budget_id)
        return counter is not None and record.through_offset < counter.skip_through

    def buckets(self, budget_id: str, event_time_ms: int) -> tuple[Bucket, ...]:
        """Copies of the live buckets, by time; forgets the dead ones. KeyError if unknown."""
        buckets = self._counters[budget_id].buckets
        for bucket_ms in [ms for ms, bucket in buckets.items() if _is_dead(bucket.until_ms, event_time_ms)]:
            del buckets[bucket_ms]
        return tuple(_copy(buckets[ms]) for ms in sorted(buckets))

    def restore(self, records: Iterable[CounterPublished]) -> None:
        """Take the newest record of each counter."""
        latest: dict[str, CounterPublished] = {}
        for record in records:
            seen = latest.get(record.budget_id)
            if seen is None or is_newer(record, seen):
                latest[record.budget_id] = record
        for budget_id, record in latest.items():
            buckets = {bucket.bucket_ms: _copy(bucket) for bucket in record.buckets}
            self._counters[budget_id] = _Counter(record.through_offset, buckets)


def is_newer(record: CounterPublished, than: CounterPublished) -> bool:
    """Whether `record` replaces `than`: by how much is folded into it, then by the owner's epoch.

    The state is a function of what is folded, whoever folded it. So an owner that began again from further back is
    behind the last word of the one before it, until it has folded as much.
    """
    return (record.through_offset, record.epoch) > (than.through_offset, than.epoch)


def _is_dead(until_ms: int, event_time_ms: int) -> bool:
    return 0 < until_ms <= event_time_ms


def _copy(bucket: Bucket) -> Bucket:
    return Bucket(
        bucket.bucket_ms,
        bucket.until_ms,
        bucket.settled_nanos,
        bucket.reserved_nanos,
        bucket.requests,
        bucket.tokens,
        bucket.unpriced,
    )
