"""GovernanceWriter: the only writer of the governance topic.

A change carries the version it was based on; the log's order decides. The writer waits until its own change has
come back from the log and been folded, so that whoever is told "done" reads what was written.
"""

import asyncio
from collections.abc import Callable
from typing import Final, Literal

import msgspec

from services.budget.governance_feed import GovernanceFeed
from shared.errors import Conflict, LogUnavailable
from shared.eventlog.port import HEADER_TYPE, HEADER_VERSION, EventLog, NewRecord
from shared.events import EVENT_VERSION, GovernanceChanged, encode, event_type
from shared.governance.model import Entity
from shared.ids import new_id
from shared.topics import GOVERNANCE, partition_for

EntityKind = Literal["virtual_key", "team", "provider", "route", "price"]
Action = Literal["create", "update", "rotate", "revoke", "apply", "delete"]
ATTEMPTS: Final = 3


class GovernanceWriter:
    """Safe for many tasks at once."""

    def __init__(
        self,
        log: EventLog,
        feed: GovernanceFeed,
        now_ms: Callable[[], int],
        *,
        timeout_s: float = 10.0,
        retry_after_s: float = 0.2,
    ) -> None:
        self._log = log
        self._feed = feed
        self._now_ms = now_ms
        self._timeout_s = timeout_s
        self._retry_after_s = retry_after_s

    async def change(
        self,
        entity: EntityKind,
        entity_id: str,
        value: Entity | None,
        *,
        based_on: int,
        action: Action,
        actor: str,
    ) -> None:
        """Write the entity's whole new state (None: delete it) and wait until it is in force here.

        Raises Conflict when another change of the entity was first, LogUnavailable when the outcome is not known
        within the time limit (the change may still come into force: reading the entity tells).
        """
        now = self._now_ms()
        event = GovernanceChanged(
            change_id=new_id("chg", now),
            entity=entity,
            entity_id=entity_id,
            version=based_on + 1,
            at_ms=now,
            actor=actor,
            action=action,
            value=msgspec.Raw(b"null" if value is None else msgspec.json.encode(value)),
        )
        future = self._feed.expect(event.change_id)
        try:
            async with asyncio.timeout(self._timeout_s):
                await self._append(event)
                accepted = await future
        except TimeoutError as error:
            raise LogUnavailable("The change was not confirmed by the event log in time.") from error
        finally:
            self._feed.forget(event.change_id)
        if not accepted:
            raise Conflict(f"The {entity.replace('_', ' ')} was changed by somebody else; read it again.")

    async def _append(self, event: GovernanceChanged) -> None:
        """A repeated append is harmless: the second record has the same version, so the fold ignores it, and the
        outcome of the first is what counts."""
        record = NewRecord(
            topic=GOVERNANCE,
            partition=partition_for(event.entity_id, self._log.partitions(GOVERNANCE)),
            key=event.entity_id,
            value=encode(event),
            headers={HEADER_TYPE: event_type(event), HEADER_VERSION: str(EVENT_VERSION)},
            timestamp_ms=event.at_ms,
        )
        for attempt in range(1, ATTEMPTS + 1):
            try:
                await self._log.append([record])
                return
            except LogUnavailable:
                if attempt == ATTEMPTS:
                    raise
                await asyncio.sleep(self._retry_after_s * attempt)
