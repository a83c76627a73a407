"""The third step: a flush goes into the store, what the store refuses goes to the dead letters."""

from collections.abc import Callable, Sequence

from services.log_ingest.batch import BadRecord, Flush, columns_of, insert_token
from services.log_ingest.dead_letters import DeadLetterCount, DeadLetterLimit, DeadLetterOffice
from services.log_ingest.metrics import IngestMetrics
from services.log_ingest.rows import TABLE, LogRow
from services.log_ingest.store.port import LogStore, StoreDataError


class Sink:
    """Writes flushes. `monotonic` is a clock in seconds for the insert's duration."""

    def __init__(
        self,
        store: LogStore,
        office: DeadLetterOffice,
        metrics: IngestMetrics,
        monotonic: Callable[[], float],
        limit: DeadLetterLimit | None = None,
    ) -> None:
        self._store = store
        self._office = office
        self._metrics = metrics
        self._monotonic = monotonic
        self._count = DeadLetterCount(limit or DeadLetterLimit())
        self._counted: Flush | None = None

    async def write(self, flush: Flush) -> None:
        """On return every record of the flush is in the store or in the dead letters, durably.

        Raises StoreUnavailable or LogUnavailable: write the same flush again, what is already there is not doubled.
        Raises DeadLetterFlood: too much poison, nothing of it was set aside.
        """
        started = self._monotonic()
        refused = await self._insert(flush.rows, flush)
        bad = [*flush.bad, *refused]
        if self._counted is not flush:  # a retry of the same flush is not counted again
            self._count.check(len(flush.rows) - len(refused), len(bad))
            self._counted = flush
        await self._office.keep(bad)
        self._counted = None
        self._metrics.flushed(len(flush.rows) - len(refused), self._monotonic() - started)
        self._metrics.set_aside(len(flush.bad), len(refused))

    async def _insert(self, rows: Sequence[LogRow], flush: Flush) -> list[BadRecord]:
        """Insert all that the store takes; the rest, found by halving, with the store's reason."""
        if not rows:
            return []
        try:
            await self._store.insert(TABLE, columns_of(rows), token=insert_token(rows))
        except StoreDataError as error:
            if len(rows) == 1:
                row = rows[0]
                record = flush.records[row.source_topic, row.source_partition, row.source_offset]
                return [BadRecord(record, f"refused by the log store: {error}")]
            middle = len(rows) // 2
            return [
                *await self._insert(rows[:middle], flush),
                *await self._insert(rows[middle:], flush),
            ]
        return []
