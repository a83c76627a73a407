"""Hands records to the log until it has taken them: the same ones, in order, for as long as it takes."""

import asyncio
import time
from collections.abc import Sequence

from shared.errors import LogUnavailable, RecordTooLarge
from shared.eventlog.dead_letters import undelivered
from shared.eventlog.port import HEADER_PRODUCER, HEADER_SEQ, EventLog, NewRecord
from shared.telemetry import get_logger

FIRST_BACKOFF_S = 0.05
LAST_BACKOFF_S = 5.0

log = get_logger("outbox")


class Delivery:
    """The counters are for metrics: they only rise."""

    def __init__(self, event_log: EventLog) -> None:
        self._log = event_log
        self.delivered_records = 0
        self.delivered_batches = 0
        self.failed_attempts = 0
        self.dead_letters = 0
        self.last_error = ""
        """Why the log does not take records now; empty while it does."""

    async def deliver(self, records: Sequence[NewRecord]) -> None:
        """Returns when every record is durable, in the log or, if it is too large for it, among the dead letters."""
        try:
            await self._append(records)
        except RecordTooLarge:
            await self._append_singly(records)
        self.delivered_records += len(records)
        self.delivered_batches += 1

    async def _append_singly(self, records: Sequence[NewRecord]) -> None:
        """Find the record that does not fit. The others may be written twice by this, in the same order: readers
        tell that by their identity."""
        for record in records:
            try:
                await self._append([record])
            except RecordTooLarge as error:
                await self._append([self._buried(record, str(error))])

    async def _append(self, records: Sequence[NewRecord]) -> None:
        backoff_s = FIRST_BACKOFF_S
        while True:
            try:
                await self._log.append(records)
            except LogUnavailable as error:
                self.failed_attempts += 1
                if not self.last_error:
                    log.warning("event_log_away", error=str(error), records=len(records))
                self.last_error = str(error)
                await asyncio.sleep(backoff_s)
                backoff_s = min(2 * backoff_s, LAST_BACKOFF_S)
            else:
                if self.last_error:
                    log.info("event_log_back")
                    self.last_error = ""
                return

    def _buried(self, record: NewRecord, reason: str) -> NewRecord:
        self.dead_letters += 1
        position = f"{record.headers.get(HEADER_PRODUCER, '')}/{record.headers.get(HEADER_SEQ, '')}"
        log.error("record_too_large", topic=record.topic, position=position, reason=reason)
        at_ms = time.time_ns() // 1_000_000
        return undelivered(record, reason, service="gateway", position=position, at_ms=at_ms)
