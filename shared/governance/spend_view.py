"""SpendView: what a gateway knows about spend. Published counters + its own records that these do not cover yet.

The counters of a partition are held back until the `PartitionProgress` that covers them arrives; then counters and
producer marks take effect together. So this gateway's own reservations and settlements are never missed and never
counted twice, however publication and requests interleave; only other gateways' last moments are unseen.

Pure: no I/O, no clock. Sums are kept incrementally: a request costs a few dictionary look-ups.
"""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from shared.events import Bucket, Charge, CounterPublished, PartitionProgress, RequestAbandoned
from shared.governance.counters import is_newer
from shared.governance.ledger import ABANDONED_KEEP_MS
from shared.governance.model import Budget
from shared.governance.windows import active_since

NEVER_MS: Final = 0
MAX_UNCOVERED: Final = 50_000
"""Own records remembered one by one per partition; while budget is away, further ones are remembered as sums."""


class Spend(NamedTuple):
    """Sums over the buckets of a window. `requests` counts settled ones, `unpriced` those without a known price."""

    settled_nanos: int = 0
    reserved_nanos: int = 0
    requests: int = 0
    tokens: int = 0
    unpriced: int = 0


@dataclass(slots=True)
class _Cell:
    """One bucket of one budget, summed over partitions and this gateway's own uncovered records."""

    until_ms: int
    settled: int = 0
    reserved: int = 0
    requests: int = 0
    tokens: int = 0
    unpriced: int = 0


@dataclass(slots=True)
class _Own:
    """One record of this gateway that the published counters do not cover yet, and what it adds to its buckets."""

    seq: int
    charges: Sequence[Charge]
    reserved: int = 0
    settled: int = 0
    requests: int = 0
    tokens: int = 0
    unpriced: int = 0
    request_id: str = ""
    corrected: bool = False


@dataclass(slots=True)
class _Partition:
    through_offset: int = -1
    """How far the state that counts has been folded."""
    needed_offset: int = -1
    """The least progress that can take effect: a counter that waits holds so much already. It may be ahead of the
    next progress when the owner died while it published."""
    heartbeat_ms: int = NEVER_MS
    applied: dict[str, CounterPublished] = field(default_factory=dict)
    waiting: dict[str, CounterPublished] = field(default_factory=dict)
    own: deque[_Own] = field(default_factory=deque)
    covered_seq: int = -1
    overflow: dict[str, dict[int, _Cell]] = field(default_factory=dict)
    overflow_seq: int = -1
    abandonments: int = 0
    """How many had been told when `own` was last looked through for them: it may be long."""


class SpendView:
    """`incarnation`: the producer name of this gateway's records (see the outbox); empty for a mere reader.
    `partitions`: how many heartbeats are expected; with fewer known, `age_ms` counts from the beginning of time.
    """

    def __init__(
        self, incarnation: str = "", partitions: int = 1, *, max_uncovered: int = MAX_UNCOVERED
    ) -> None:
        self._incarnation = incarnation
        self._max_uncovered = max_uncovered
        self._expected = partitions
        self._partitions: dict[int, _Partition] = {}
        self._cells: dict[str, dict[int, _Cell]] = {}
        self._oldest_heartbeat_ms = NEVER_MS
        self._abandoned: dict[str, RequestAbandoned] = {}
        self._abandonments = 0
        """How many have been told."""

    # ---- from the spend topic

    def apply(self, event: CounterPublished | PartitionProgress | RequestAbandoned) -> None:
        """Take one record of the spend topic, in the order of its partition."""
        if isinstance(event, CounterPublished):
            self._wait(self._partition(event.partition), event)
        elif isinstance(event, PartitionProgress):
            self._progress(self._partition(event.partition), event)
        else:
            self._abandoned[event.request_id] = event
            self._abandonments += 1

    def _partition(self, number: int) -> _Partition:
        state = self._partitions.get(number)
        if state is None:
            state = self._partitions[number] = _Partition()
        return state

    def _wait(self, state: _Partition, event: CounterPublished) -> None:
        known = state.waiting.get(event.budget_id) or state.applied.get(event.budget_id)
        if known is None or is_newer(event, known):
            state.waiting[event.budget_id] = event
            state.needed_offset = max(state.needed_offset, event.through_offset)

    def _progress(self, state: _Partition, event: PartitionProgress) -> None:
        if event.through_offset < state.needed_offset:
            return  # by an owner that took over further back: it will come to where this view is already
        state.needed_offset = state.through_offset = event.through_offset
        for counter in state.waiting.values():
            self._replace(state.applied.get(counter.budget_id), counter)
            state.applied[counter.budget_id] = counter
        state.waiting.clear()
        mark = event.producers.get(self._incarnation)
        if mark is not None and self._incarnation:
            self._cover(state, mark.seq)
        if state.abandonments != self._abandonments:
            state.abandonments = self._abandonments
            for own in state.own:
                self._correct(state, own)
        self._forget_abandoned(event.event_time_ms)
        self._heartbeat(state, event.at_ms)

    def _heartbeat(self, state: _Partition, at_ms: int) -> None:
        state.heartbeat_ms = max(state.heartbeat_ms, at_ms)
        self._oldest_heartbeat_ms = min(p.heartbeat_ms for p in self._partitions.values())

    def _replace(self, old: CounterPublished | None, new: CounterPublished) -> None:
        cells = self._cells.setdefault(new.budget_id, {})
        for bucket in old.buckets if old is not None else ():
            _add_bucket(cells, bucket, -1)
        for bucket in new.buckets:
            _add_bucket(cells, bucket, 1)
        _sweep(cells)

    def _cover(self, state: _Partition, seq: int) -> None:
        state.covered_seq = max(state.covered_seq, seq)
        while state.own and state.own[0].seq <= seq:
            self._post(state.own.popleft(), -1)
        if state.overflow and state.overflow_seq <= seq:
            for budget_id, cells in state.overflow.items():
                for bucket_ms, cell in cells.items():
                    _add(self._cell(budget_id, bucket_ms, cell.until_ms), cell, -1)
            state.overflow = {}

    def _forget_abandoned(self, event_time_ms: int) -> None:
        while self._abandoned:
            first = next(iter(self._abandoned))
            if event_time_ms - self._abandoned[first].at_ms <= ABANDONED_KEEP_MS:
                break
            del self._abandoned[first]

    def _correct(self, state: _Partition, own: _Own) -> None:
        """A request of ours that budget gave up on is inside the counters at its reserved cost: an end of ours that
        they do not cover yet changes that cost only."""
        abandoned = self._abandoned.get(own.request_id)
        if abandoned is None or own.corrected or abandoned.through_offset > state.through_offset:
            return
        self._post(own, -1)
        own.settled, own.reserved, own.requests = own.settled - abandoned.cost_nanos, 0, 0
        own.corrected = True
        self._post(own, 1)

    # ---- this gateway's own records

    def reserve(self, position_partition: int, seq: int, charges: Sequence[Charge], nanos: int) -> None:
        """A `RequestStarted` of ours was written as (`position_partition`, `seq`)."""
        self._add_own(position_partition, _Own(seq, charges, reserved=nanos))

    def settle(
        self,
        partition: int,
        seq: int,
        charges: Sequence[Charge],
        cost_nanos: int,
        reserved_nanos: int,
        *,
        tokens: int = 0,
        unpriced: bool = False,
        request_id: str = "",
    ) -> None:
        """A `UsageRecorded` of ours was written: it releases `reserved_nanos` and settles `cost_nanos`.

        With `request_id` a request that was abandoned meanwhile is corrected instead of counted again.
        """
        own = _Own(seq, charges, -reserved_nanos, cost_nanos, 1, tokens, int(unpriced), request_id)
        self._add_own(partition, own)
        if request_id in self._abandoned:
            self._correct(self._partition(partition), own)

    def _add_own(self, number: int, own: _Own) -> None:
        state = self._partition(number)
        if own.seq <= state.covered_seq:
            return
        self._post(own, 1)
        if len(state.own) < self._max_uncovered:
            state.own.append(own)
            return
        # a sum is dropped as a whole, with its last record: until then what is covered of it counts twice
        state.overflow_seq = own.seq
        for charge in own.charges:
            cells = state.overflow.setdefault(charge.budget_id, {})
            _add(cells.setdefault(charge.bucket_ms, _Cell(charge.until_ms)), own, 1)

    def _post(self, own: _Own, sign: int) -> None:
        for charge in own.charges:
            _add(self._cell(charge.budget_id, charge.bucket_ms, charge.until_ms), own, sign)

    def _cell(self, budget_id: str, bucket_ms: int, until_ms: int) -> _Cell:
        cells = self._cells.get(budget_id)
        if cells is None:
            cells = self._cells[budget_id] = {}
        cell = cells.get(bucket_ms)
        if cell is None:
            cell = cells[bucket_ms] = _Cell(until_ms)
        return cell

    # ---- answers

    def totals(self, budget: Budget, now_ms: int) -> Spend:
        """Spend of the window that `now_ms` lies in (or, rolling, ends in)."""
        cells = self._cells.get(budget.id)
        if not cells:
            return Spend()
        return _sum(cells, active_since(budget, now_ms))

    def lifetime(self, virtual_key_id: str) -> Spend:
        """Everything a key ever spent."""
        cells = self._cells.get(virtual_key_id)
        return _sum(cells, 0) if cells else Spend()

    def buckets(self, budget: Budget, now_ms: int) -> list[tuple[int, Spend]]:
        """The (bucket start, spend) that count now, oldest first."""
        since = active_since(budget, now_ms)
        cells = self._cells.get(budget.id, {})
        return [(ms, _sum({ms: cells[ms]}, ms)) for ms in sorted(cells) if ms >= since]

    def age_ms(self, now_ms: int) -> int:
        """Age of the oldest partition's last heartbeat: how old this view may be at worst."""
        if len(self._partitions) < self._expected:
            return now_ms
        return max(0, now_ms - self._oldest_heartbeat_ms)

    @property
    def uncovered_records(self) -> int:
        """Own records that the published counters do not hold yet."""
        return sum(len(state.own) for state in self._partitions.values())


def _add(cell: _Cell, change: _Cell | _Own, sign: int) -> None:
    cell.settled += sign * change.settled
    cell.reserved += sign * change.reserved
    cell.requests += sign * change.requests
    cell.tokens += sign * change.tokens
    cell.unpriced += sign * change.unpriced


def _add_bucket(cells: dict[int, _Cell], bucket: Bucket, sign: int) -> None:
    cell = cells.get(bucket.bucket_ms)
    if cell is None:
        cell = cells[bucket.bucket_ms] = _Cell(bucket.until_ms)
    cell.settled += sign * bucket.settled_nanos
    cell.reserved += sign * bucket.reserved_nanos
    cell.requests += sign * bucket.requests
    cell.tokens += sign * bucket.tokens
    cell.unpriced += sign * bucket.unpriced


def _sweep(cells: dict[int, _Cell]) -> None:
    """Drop buckets that no partition publishes any more and no record of ours touches."""
    for bucket_ms in [ms for ms, cell in cells.items() if _is_empty(cell)]:
        del cells[bucket_ms]


def _is_empty(cell: _Cell) -> bool:
    return not (cell.settled or cell.reserved or cell.requests or cell.tokens or cell.unpriced)


def _sum(cells: dict[int, _Cell], since: int) -> Spend:
    settled = reserved = requests = tokens = unpriced = 0
    for bucket_ms, cell in cells.items():
        if bucket_ms >= since:
            settled += cell.settled
            reserved += cell.reserved
            requests += cell.requests
            tokens += cell.tokens
            unpriced += cell.unpriced
    return Spend(settled, reserved if reserved > 0 else 0, requests, tokens, unpriced)
