"""GovernanceFeed: the governance topic folded in this process, with the outcome of each change told to its author."""

import asyncio
from collections.abc import Mapping

import msgspec

from services.budget.metrics import BudgetMetrics
from shared.eventlog.port import Record
from shared.events import GovernanceChanged, decode
from shared.governance.state import GovernanceState
from shared.telemetry import get_logger

_log = get_logger(__name__)


class GovernanceFeed:
    """Fed by a Follower. Knows, besides the state, who first made each entity (its origin)."""

    def __init__(self, metrics: BudgetMetrics) -> None:
        self.state = GovernanceState()
        self._origins: dict[tuple[str, str], str] = {}
        self._waiting: dict[str, asyncio.Future[bool]] = {}
        self._metrics = metrics

    @property
    def origins(self) -> Mapping[tuple[str, str], str]:
        """(entity, entity id) -> the actor that created it, for every entity that is there now."""
        return self._origins

    def origin(self, entity: str, entity_id: str) -> str:
        """Who created the entity; empty when it is not there."""
        return self._origins.get((entity, entity_id), "")

    def expect(self, change_id: str) -> asyncio.Future[bool]:
        """A future that tells, once the change has been folded here, whether it was accepted."""
        future: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self._waiting[change_id] = future
        return future

    def forget(self, change_id: str) -> None:
        """Nobody waits for this change any more."""
        self._waiting.pop(change_id, None)

    def apply(self, record: Record) -> None:
        """Fold one record. One that cannot be read changes nothing, here as on every gateway; it is counted."""
        try:
            event = decode(record.value or b"")
            if not isinstance(event, GovernanceChanged):
                raise ValueError(f"not a governance change: {type(event).__name__}")
            accepted = self.state.apply(event)
        except (msgspec.DecodeError, ValueError) as error:
            self._metrics.unreadable.labels(record.topic).inc()
            _log.error(
                "governance_record_ignored",
                partition=record.partition,
                offset=record.offset,
                reason=str(error),
            )
            return
        if accepted:
            self._remember_origin(event)
        self._metrics.governance_changes.labels("accepted" if accepted else "ignored").inc()
        future = self._waiting.pop(event.change_id, None)
        if future is not None and not future.done():
            future.set_result(accepted)

    def _remember_origin(self, event: GovernanceChanged) -> None:
        identity = (event.entity, event.entity_id)
        if bytes(event.value) == b"null":
            self._origins.pop(identity, None)
        else:
            self._origins.setdefault(identity, event.actor)
