"""Records that could not be handled: kept whole, with the reason and where they came from."""

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from services.log_ingest.batch import BadRecord
from shared.errors import FinOpsError
from shared.eventlog.dead_letters import unhandled
from shared.eventlog.port import EventLog


class DeadLetterFlood(FinOpsError):
    """So many records cannot be handled that the fault is ours: consumption stops, nothing more is set aside."""

    code = "dead_letter_flood"


@dataclass(frozen=True, slots=True)
class DeadLetterLimit:
    """How much poison is normal."""

    max_consecutive: int = 100
    max_ratio: float = 0.05
    window: int = 2000
    """The ratio is taken over the latest flushes that hold at least so many records; it counts when there are as many."""


@dataclass(slots=True)
class DeadLetterCount:
    """What was seen lately, against a limit."""

    limit: DeadLetterLimit
    _recent: deque[tuple[int, int]] = field(default_factory=deque)
    """Per flush: records, and the bad ones among them."""
    _records: int = 0
    _bad: int = 0
    _consecutive: int = 0

    def check(self, good: int, bad: int) -> None:
        """Count one flush. Raises DeadLetterFlood, before anything is set aside, when the limit is passed."""
        self._consecutive = 0 if good else self._consecutive + bad
        self._recent.append((good + bad, bad))
        self._records += good + bad
        self._bad += bad
        while self._records - self._recent[0][0] >= self.limit.window:
            records, old = self._recent.popleft()
            self._records -= records
            self._bad -= old
        if self._consecutive > self.limit.max_consecutive:
            raise _flood(f"{self._consecutive} records in a row cannot be handled")
        is_full = self._records >= self.limit.window
        if bad and is_full and self._bad > self.limit.max_ratio * self._records:
            raise _flood(f"{self._bad} of the last {self._records} records cannot be handled")


def _flood(what: str) -> DeadLetterFlood:
    return DeadLetterFlood(
        f"{what}, which more likely is a fault of this version than of so many records: reading stopped and nothing "
        "of it was set aside; it goes on after a start of a version that can handle them."
    )


class DeadLetterOffice:
    """Appends dead letters to the event log. `now_ms` is Unix milliseconds."""

    def __init__(self, log: EventLog, now_ms: Callable[[], int]) -> None:
        self._log = log
        self._now_ms = now_ms

    async def keep(self, bad: Sequence[BadRecord]) -> None:
        """Durable on return. Raises LogUnavailable."""
        now_ms = self._now_ms()
        for item in bad:
            await self._log.append([unhandled(item.record, item.reason, service="log_ingest", at_ms=now_ms)])
