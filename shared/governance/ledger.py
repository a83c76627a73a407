"""PartitionLedger: the fold of one usage partition into spend counters. Pure: no I/O, no clock.

Its state is a function of the log up to `through_offset`, so any owner that folds the same records holds the
same state, and three things make re-delivery harmless:

* a record at or below `through_offset` is skipped;
* a record whose (producer, seq) is not above the producer's mark is a replay: it only moves `through_offset`;
* a counter skips records at or below its own `through_offset`. After a crash in the middle of a publication a
  restored counter may be ahead of the restored progress; so readers take no progress that a counter is ahead of.

What is forgotten, and when, is told by event time: the largest time in the records so far, so that it is the same for
every owner. A clock that runs ahead must not spoil it for all, so no record counts as later than its owner's own time.

How an owner publishes a batch, in this order and in one append, so that a crash leaves a prefix of it at most:
`take_changed` + `counter`, `take_abandoned`, `progress`. It starts the next batch only after the append succeeded.
After a crash: `restore`, `reopen` for each of `open_offsets`, then `apply` from `through_offset + 1`.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from heapq import heappop, heappush
from typing import Final

from shared.events import (
    Charge,
    CounterPublished,
    PartitionProgress,
    ProducerMark,
    RequestAbandoned,
    RequestStarted,
    UsageRecorded,
)
from shared.governance.counters import NOTHING_FOLDED, Change, CounterSet

PRODUCER_KEEP_MS: Final = 7 * 86_400_000
"""A producer is recognised at least this long after its last record, in event time."""
PRODUCERS_KEPT: Final = 16
"""So many are recognised however long they are silent: event time leaps where nothing happens for long."""
ABANDONED_KEEP_MS: Final = 7 * 86_400_000
"""A late true end corrects an abandonment this long, in event time: a gateway's host may be away for days before the
rest of its spool is sent on."""
RETRY_INTERVAL_MS: Final = 10_000
ANY_TIME_MS: Final = 2**63 - 1


@dataclass(frozen=True, slots=True)
class _Open:
    offset: int
    start: RequestStarted


class PartitionLedger:
    """The counters, open requests and abandonments of one usage partition."""

    def __init__(self, partition: int, epoch: int = 1) -> None:
        self.partition = partition
        self.epoch = epoch
        self.through_offset = NOTHING_FOLDED
        """The last offset folded."""
        self.event_time_ms = 0
        """The largest event time folded."""
        self._counters = CounterSet()
        self._open: dict[str, _Open] = {}
        self._deadlines: list[tuple[int, str]] = []
        self._producers: dict[str, ProducerMark] = {}
        self._abandoned: dict[str, RequestAbandoned] = {}
        self._new_abandoned: dict[str, RequestAbandoned] = {}
        self._gone: list[str] = []

    @property
    def open_requests(self) -> int:
        return len(self._open)

    @property
    def budget_ids(self) -> Iterable[str]:
        """Every budget and key that has a counter here."""
        return self._counters.ids()

    # ---- folding

    def apply(
        self,
        offset: int,
        producer: str,
        seq: int,
        event: RequestStarted | UsageRecorded,
        *,
        now_ms: int = ANY_TIME_MS,
    ) -> None:
        """Fold one record. `producer` is empty for records that carry no identity (the owner's own abandonments)."""
        if offset <= self.through_offset:
            return
        self.through_offset = offset
        self.event_time_ms = max(self.event_time_ms, min(event.at_ms, now_ms))
        if producer and not self._is_new(producer, seq):
            return
        if isinstance(event, RequestStarted):
            self._start(offset, event, now_ms)
        elif event.outcome == "abandoned":
            self._abandon(offset, event)
        else:
            self._end(offset, event)

    def skip(self, offset: int) -> None:
        """Pass over a record that cannot be folded: it counts as done, so the next owner does not meet it again."""
        self.through_offset = max(self.through_offset, offset)

    def _is_new(self, producer: str, seq: int) -> bool:
        mark = self._producers.get(producer)
        if mark is not None and seq <= mark.seq:
            return False
        # popped first, so that the dict stays in the order of last use
        self._producers.pop(producer, None)
        self._producers[producer] = ProducerMark(seq, self.event_time_ms)
        while len(self._producers) > PRODUCERS_KEPT:
            oldest = next(iter(self._producers))
            if self.event_time_ms - self._producers[oldest].at_ms <= PRODUCER_KEEP_MS:
                break
            del self._producers[oldest]
        return True

    def _start(self, offset: int, event: RequestStarted, now_ms: int) -> None:
        if event.request_id in self._open:
            return
        self.reopen(offset, event, now_ms=now_ms)
        self._post(offset, event.charges, Change(reserved=event.reserved_nanos))

    def _abandon(self, offset: int, event: UsageRecorded) -> None:
        open_request = self._open.pop(event.request_id, None)
        if open_request is None:
            return
        start = open_request.start
        self._post(
            offset,
            start.charges,
            Change(settled=event.cost_nanos, reserved=-start.reserved_nanos, requests=1),
        )
        abandoned = RequestAbandoned(
            request_id=event.request_id,
            cost_nanos=event.cost_nanos,
            at_ms=self.event_time_ms,
            through_offset=offset,
        )
        self._abandoned[event.request_id] = abandoned
        self._new_abandoned[event.request_id] = abandoned

    def _end(self, offset: int, event: UsageRecorded) -> None:
        tokens = event.tokens.prompt + event.tokens.completion
        unpriced = int(event.cost_basis == "unpriced")
        open_request = self._open.pop(event.request_id, None)
        if open_request is not None:
            released = open_request.start.reserved_nanos
            change = Change(event.cost_nanos, -released, 1, tokens, unpriced)
            self._post(offset, open_request.start.charges, change)
            return
        abandoned = self._abandoned.get(event.request_id)
        if abandoned is not None and self._corrects(abandoned):
            correction = event.cost_nanos - abandoned.cost_nanos
            self._post(offset, event.charges, Change(correction, 0, 0, tokens, unpriced))
            self._forget_abandoned(event.request_id)
            return
        self._post(offset, event.charges, Change(event.cost_nanos, 0, 1, tokens, unpriced))

    def _corrects(self, abandoned: RequestAbandoned) -> bool:
        return self.event_time_ms - abandoned.at_ms <= ABANDONED_KEEP_MS

    def _forget_abandoned(self, request_id: str) -> None:
        del self._abandoned[request_id]
        if self._new_abandoned.pop(request_id, None) is None:
            self._gone.append(request_id)

    def _post(self, offset: int, charges: Iterable[Charge], change: Change) -> None:
        self._counters.post(offset, self.event_time_ms, charges, change)

    # ---- publishing

    def take_changed(self) -> list[str]:
        """Ids of the counters changed since the last call."""
        return self._counters.take_changed()

    def republish(self, budget_id: str) -> None:
        """Return this counter from the next `take_changed`: another writer's older record was seen after ours."""
        self._counters.touch(budget_id)

    def is_behind(self, record: CounterPublished) -> bool:
        """Whether this record says less than the one that the counter was restored from."""
        return self._counters.is_behind(record)

    def counter(self, budget_id: str) -> CounterPublished:
        """The whole state of one counter, a copy. Buckets past their `until_ms` are dropped. KeyError if unknown."""
        return CounterPublished(
            budget_id=budget_id,
            partition=self.partition,
            epoch=self.epoch,
            through_offset=self._counters.through(budget_id, self.through_offset),
            buckets=self._counters.buckets(budget_id, self.event_time_ms),
        )

    def take_abandoned(self) -> tuple[list[RequestAbandoned], list[str]]:
        """(abandonments to publish, request ids whose record gets a tombstone), since the last call.

        They stand after the counters in a batch: whoever finds a tombstone finds the counters that hold its cause.
        """
        new = list(self._new_abandoned.values())
        self._new_abandoned.clear()
        gone, self._gone = self._gone, []
        return new, gone

    def progress(self, at_ms: int) -> PartitionProgress:
        """The record that closes a batch, also when nothing changed (heartbeat). `at_ms`: the time up to which the
        owner knows that nothing is missing."""
        self._prune()
        return PartitionProgress(
            partition=self.partition,
            epoch=self.epoch,
            through_offset=self.through_offset,
            at_ms=at_ms,
            event_time_ms=self.event_time_ms,
            open_offsets=tuple(sorted(request.offset for request in self._open.values())),
            producers=dict(self._producers),
        )

    def _prune(self) -> None:
        """Forget what `_corrects` denies already: only memory, never a result, depends on when."""
        while self._abandoned:
            first = next(iter(self._abandoned))
            if self._corrects(self._abandoned[first]):
                break
            self._forget_abandoned(first)

    # ---- abandonment

    def due(self, now_ms: int) -> list[UsageRecorded]:
        """Abandonments to append to the usage topic: open requests past their deadline. The fold settles them when
        it reads them back; until then each is returned again after RETRY_INTERVAL_MS."""
        late: list[UsageRecorded] = []
        again: list[tuple[int, str]] = []
        while self._deadlines and self._deadlines[0][0] <= now_ms:
            _, request_id = heappop(self._deadlines)
            request = self._open.get(request_id)
            if request is not None:
                late.append(abandonment(request.start, now_ms))
                again.append((now_ms + RETRY_INTERVAL_MS, request_id))
        for entry in again:
            heappush(self._deadlines, entry)
        return late

    # ---- recovery

    def restore(
        self,
        counters: Iterable[CounterPublished],
        abandoned: Iterable[RequestAbandoned],
        progress: PartitionProgress | None,
        *,
        now_ms: int = ANY_TIME_MS,
    ) -> None:
        """Take over from the partition's spend records (all of them, or the last per key). Call once, on a new ledger.

        The epoch becomes one above the highest seen.
        """
        records = tuple(counters)
        self._counters.restore(records)
        if progress is not None:
            self.through_offset = progress.through_offset
            self.event_time_ms = min(progress.event_time_ms, now_ms)
            self._producers = dict(sorted(progress.producers.items(), key=lambda item: item[1].at_ms))
        epochs = [record.epoch for record in records] + ([progress.epoch] if progress is not None else [])
        self.epoch = max(epochs, default=0) + 1
        for entry in sorted(abandoned, key=lambda entry: entry.through_offset):
            # one beyond the progress comes from a torn batch: its cause is folded again and makes it again
            if entry.through_offset <= self.through_offset:
                self._abandoned[entry.request_id] = entry

    def reopen(self, offset: int, event: RequestStarted, *, now_ms: int = ANY_TIME_MS) -> None:
        """Put back an open request (one of `open_offsets`); its reservation is inside the counters already."""
        self._open[event.request_id] = _Open(offset, event)
        lifetime_ms = event.deadline_ms - event.at_ms
        heappush(self._deadlines, (min(event.at_ms, now_ms) + lifetime_ms, event.request_id))


def abandonment(start: RequestStarted, now_ms: int) -> UsageRecorded:
    """The end of a request whose gateway never sent one: what it reserved is taken as its cost."""
    return UsageRecorded(
        request_id=start.request_id,
        started_at_ms=start.at_ms,
        at_ms=now_ms,
        gateway_id=start.gateway_id,
        virtual_key_id=start.virtual_key_id,
        virtual_key_name=start.virtual_key_name,
        endpoint=start.endpoint,
        provider=start.provider,
        model=start.model,
        stream=start.stream,
        end_user=start.end_user,
        outcome="abandoned",
        http_status=0,
        error_code="abandoned",
        cost_nanos=start.reserved_nanos,
        cost_basis="reserved",
        reserved_nanos=start.reserved_nanos,
        charges=start.charges,
        latency_ms=max(0, now_ms - start.at_ms),
    )
