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
    """Records over which the ratio is taken; it counts only when the window is full."""


@dataclass(slots=True)
class DeadLetterCount:
    """What was seen lately, against a limit."""

    limit: DeadLetterLimit
    _recent: deque[bool] = field(default_factory=deque)
    _bad_recent: int = 0
    _consecutive: int = 0

    def check(self, good: int, bad: int) -> None:
        """Count one flush. Raises DeadLetterFlood, before anything is set aside, when the limit is passed."""
        self._consecutive = bad if good else self._consecutive + bad
        for is_bad in [False] * good + [True] * bad:
            self._recent.append(is_bad)
            self._bad_recent += is_bad
            if len(self._recent) > self.limit.window:
                self._bad_recent -= self._recent.popleft()
        full = len(self._recent) >= self.limit.window
        if bad and self._consecutive > self.limit.max_consecutive:
            raise DeadLetterFlood(
                f"{self._consecutive} records in a row cannot be handled; consumption stopped."
            )
        if bad and full and self._bad_recent > self.limit.max_ratio * self.limit.window:
            raise DeadLetterFlood(
                f"{self._bad_recent} of the last {self.limit.window} records cannot be handled; consumption stopped."
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
