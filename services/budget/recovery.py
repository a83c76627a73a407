"""Taking over a usage partition: the state that its last owner published, read back from the log.

The spend topic alone decides where to go on; the group's committed offset is for the eyes of operators.
"""

from collections.abc import Iterator, Sequence
from typing import Final

import msgspec

from services.budget.partition import ABANDONED_KEY, OwnedPartition
from shared.errors import FinOpsError
from shared.eventlog.port import EventLog, Record
from shared.events import (
    CounterPublished,
    PartitionProgress,
    RequestAbandoned,
    RequestStarted,
    decode,
)
from shared.governance.counters import is_newer
from shared.governance.ledger import PartitionLedger
from shared.telemetry import get_logger
from shared.topics import SPEND, USAGE

MAX_GAP: Final = 2_000
"""Open requests nearer to each other than this are read in one go: a read costs more than the records between."""

_log = get_logger(__name__)


class StateLost(FinOpsError):
    """The usage topic is not the one that the published spend was folded from: going on would settle money wrongly."""

    code = "spend_state_lost"


class SpendSnapshot:
    """The newest record of each key in one partition of the spend topic, taken in log order."""

    def __init__(self) -> None:
        self.counters: dict[str, CounterPublished] = {}
        self.abandoned: dict[str, RequestAbandoned] = {}
        self.progress: PartitionProgress | None = None
        self.overwritten: set[str] = set()
        """Budgets whose last record in the log is not the furthest: two owners wrote at once."""

    def add(self, record: Record) -> None:
        """Take one record; one that cannot be read is left out, as every reader leaves it out."""
        if record.value is None:
            if record.key.startswith(ABANDONED_KEY):
                self.abandoned.pop(record.key.removeprefix(ABANDONED_KEY), None)
            return
        try:
            event = decode(record.value)
        except msgspec.DecodeError as error:
            _log.error(
                "spend_record_ignored", partition=record.partition, offset=record.offset, reason=str(error)
            )
            return
        if isinstance(event, CounterPublished):
            self._add_counter(event)
        elif isinstance(event, PartitionProgress):
            known = self.progress
            if known is None or (event.through_offset, event.epoch) >= (known.through_offset, known.epoch):
                self.progress = event
        elif isinstance(event, RequestAbandoned):
            self.abandoned[event.request_id] = event

    def _add_counter(self, event: CounterPublished) -> None:
        known = self.counters.get(event.budget_id)
        if known is not None and is_newer(known, event):
            self.overwritten.add(event.budget_id)
        else:
            self.counters[event.budget_id] = event
            self.overwritten.discard(event.budget_id)


async def recover(log: EventLog, partition: int, now_ms: int) -> OwnedPartition:
    """The partition as its last owner left it, with an epoch above all earlier ones; not published yet.

    Raises LogUnavailable and StateLost. `now_ms` is the time of the call.
    """
    end = (await log.end_offsets(SPEND)).get(partition, 0)
    snapshot = SpendSnapshot()
    async for batch in log.read(SPEND, partition, 0, end):
        for record in batch:
            snapshot.add(record)
    ledger = PartitionLedger(partition)
    ledger.restore(snapshot.counters.values(), snapshot.abandoned.values(), snapshot.progress, now_ms=now_ms)
    next_offset = ledger.through_offset + 1
    usage_end = (await log.end_offsets(USAGE)).get(partition, 0)
    if usage_end < next_offset:
        raise StateLost(
            f"{USAGE}:{partition} ends at offset {usage_end}, but {SPEND} holds spend up to {ledger.through_offset}: "
            f"the topic was made anew. Bring the old one back, or delete {SPEND} to count what the new one holds."
        )
    if snapshot.progress is not None:
        await _reopen(log, ledger, sorted(snapshot.progress.open_offsets), now_ms)
    for budget_id in snapshot.overwritten:
        ledger.republish(budget_id)
    complete_at_ms = now_ms if usage_end == next_offset else 0
    return OwnedPartition(ledger, spend_end=end, next_offset=next_offset, complete_at_ms=complete_at_ms)


async def _reopen(log: EventLog, ledger: PartitionLedger, offsets: Sequence[int], now_ms: int) -> None:
    wanted = set(offsets)
    for first, last in runs(offsets, MAX_GAP):
        async for batch in log.read(USAGE, ledger.partition, first, last + 1):
            for record in batch:
                if record.offset in wanted:
                    wanted.remove(record.offset)
                    ledger.reopen(record.offset, _started(record), now_ms=now_ms)
    if wanted:
        # Older than the topic's retention: nobody has counted for that long. What they reserved stays held in every
        # window that lasts so long, as if it had been settled.
        _log.error(
            "open_requests_expired",
            partition=ledger.partition,
            requests=len(wanted),
            first_offset=min(wanted),
        )


def _started(record: Record) -> RequestStarted:
    where = f"{record.topic}:{record.partition}@{record.offset}"
    try:
        event = decode(record.value or b"")
    except msgspec.DecodeError as error:
        raise StateLost(f"{where} should hold the start of a request but cannot be read: {error}.") from error
    if not isinstance(event, RequestStarted):
        raise StateLost(f"{where} should hold the start of a request but holds {type(event).__name__}.")
    return event


def runs(offsets: Sequence[int], max_gap: int) -> Iterator[tuple[int, int]]:
    """Rising offsets as (first, last) of runs whose neighbours are at most `max_gap` apart."""
    first: int | None = None
    last = 0
    for offset in offsets:
        if first is not None and offset - last > max_gap:
            yield first, last
            first = None
        if first is None:
            first = offset
        last = offset
    if first is not None:
        yield first, last
