"""The loop: poll, decode, gather, write, commit; through rebalances and outages of either side.

One flush is in flight at a time, and polling never stops, so that membership in the group is kept while the store is
away. Offsets are committed only after the flush that covers them was written.
"""

import asyncio
from collections.abc import Callable, Sequence
from typing import Final

from services.log_ingest.batch import Batch, BatchLimits, Flush
from services.log_ingest.decode import decode_record
from services.log_ingest.metrics import IngestMetrics
from services.log_ingest.positions import StoredPositions
from services.log_ingest.sink import Sink
from shared.errors import Fenced, LogUnavailable, Poison, Retryable, StoreUnavailable
from shared.eventlog.port import Consumer, EventLog, Offsets, Record, TopicPartition
from shared.telemetry import get_logger
from shared.topics import REQUESTS, USAGE

GROUP: Final = "finops-log-ingest"
TOPICS: Final = (REQUESTS, USAGE)
POLL_RECORDS: Final = 2000
POLL_S: Final = 0.25
BREATH_RECORDS: Final = 20
FIRST_BACKOFF_S: Final = 0.2
LONGEST_BACKOFF_S: Final = 10.0
REVOKE_WAIT_S: Final = 30.0
"""How long a rebalance may wait for the flush in flight; the group's rebalance timeout is 60 s."""
LAG_EVERY_S: Final = 2.0


class LogConsumer:
    """Call `run`. It is its own rebalance listener."""

    def __init__(
        self,
        log: EventLog,
        sink: Sink,
        positions: StoredPositions,
        metrics: IngestMetrics,
        monotonic: Callable[[], float],
        *,
        limits: BatchLimits | None = None,
        member: str = "",
    ) -> None:
        self._log = log
        self._sink = sink
        self._positions = positions
        self._metrics = metrics
        self._monotonic = monotonic
        self._limits = limits or BatchLimits()
        self._member = member
        self._logger = get_logger("log_ingest.consumer")
        self._start_over()

    def _start_over(self) -> None:
        self._consumer: Consumer | None = None
        self._batch = Batch(self._limits)
        self._in_flight: tuple[Flush, asyncio.Task[None]] | None = None
        self._failing = False
        self._held = False
        self._owned: frozenset[TopicPartition] = frozenset()
        self._unplaced: frozenset[TopicPartition] = frozenset()
        self._turned_away: dict[TopicPartition, int] = {}
        self._uncommitted: dict[TopicPartition, int] = {}
        self._place_after = 0.0
        self._lag_after = 0.0

    async def run(self, stop: asyncio.Event) -> None:
        """Consume until `stop` is set, then write and commit what was gathered.

        Raises DeadLetterFlood, and StoreUnavailable when a rebalance could not wait for the store any longer:
        run again, everything resumes from the store and the committed offsets.
        """
        self._start_over()
        async with self._log.consumer(GROUP, TOPICS, self, member=self._member) as consumer:
            self._consumer = consumer
            try:
                while not stop.is_set():
                    await self._once(consumer)
                await self._drain(consumer)
            finally:
                await self._abort_in_flight()

    async def assigned(self, partitions: frozenset[TopicPartition]) -> None:
        """Nothing of a partition is taken before its position was looked up in the store (see `_place`)."""
        self._owned |= partitions
        self._unplaced |= partitions
        if self._consumer is not None and partitions:
            self._consumer.pause(partitions)

    async def revoked(self, partitions: frozenset[TopicPartition]) -> None:
        """Waits for the insert in flight: the next owner asks the store how far it got."""
        if not partitions:
            return
        if self._in_flight is not None:
            task = self._in_flight[1]
            await asyncio.wait({task}, timeout=REVOKE_WAIT_S)
            if not task.done():
                raise StoreUnavailable("A rebalance could not wait for the log store any longer.")
            if self._consumer is not None:
                await self._finish(self._consumer)
        self._batch.forget(partitions)
        self._owned -= partitions
        self._unplaced -= partitions
        for part in partitions:
            self._uncommitted.pop(part, None)
            self._turned_away.pop(part, None)

    async def _once(self, consumer: Consumer) -> None:
        records = await self._poll(consumer)
        await self._place(consumer)
        await self._take(records)
        if self._in_flight is not None and self._in_flight[1].done():
            await self._finish(consumer)
        if self._in_flight is None and self._batch.due(self._monotonic()):
            self._send()
        self._hold_or_release(consumer)
        await self._measure_lag(consumer)

    async def _poll(self, consumer: Consumer) -> Sequence[Record]:
        timeout = POLL_S if self._failing else min(POLL_S, self._batch.due_in_s(self._monotonic()))
        try:
            return await consumer.poll(max(timeout, 0.01), POLL_RECORDS)
        except LogUnavailable as error:
            self._logger.warning("event_log_unavailable", reason=str(error))
            await asyncio.sleep(FIRST_BACKOFF_S)
            return ()

    async def _place(self, consumer: Consumer) -> None:
        """Seek new partitions to where the store stands, then let them flow."""
        if not self._unplaced or self._monotonic() < self._place_after:
            return
        partitions = self._unplaced
        try:
            stored = await self._positions.next_offsets(partitions)
            unknown = await self._positions.unknown(partitions)
            for part in partitions:
                committed = await consumer.committed(part) or 0
                turned_away = self._turned_away.pop(part, None)
                start = 0 if part in unknown else max(stored.get(part, 0), committed, turned_away or 0)
                if turned_away is not None or start != committed:
                    consumer.seek(part, start)
                if start < committed:
                    self._uncommitted[part] = start  # at once, so that the next owner goes on from here, too
        except Retryable as error:
            self._logger.warning("positions_unavailable", reason=str(error))
            self._metrics.store_is_up(False)
            self._place_after = self._monotonic() + 1.0
            return
        self._unplaced -= partitions
        self._logger.info("partitions_placed", partitions=len(partitions), ahead_of_commits=len(stored))
        if not self._held:
            consumer.resume(partitions)

    async def _take(self, records: Sequence[Record]) -> None:
        now = self._monotonic()
        for number, record in enumerate(records, start=1):
            if number % BREATH_RECORDS == 0:
                await asyncio.sleep(0)  # a long stream takes milliseconds to read, and people wait for pages
            part = (record.topic, record.partition)
            if part in self._unplaced:
                self._turned_away.setdefault(part, record.offset)
                continue
            try:
                self._batch.add(record, decode_record(record), now)
            except Poison as poison:
                self._logger.error("poison_record", reason=str(poison))
                self._batch.add_poison(record, poison, now)

    def _send(self) -> None:
        flush = self._batch.cut()
        self._in_flight = flush, asyncio.create_task(self._write(flush), name="log-ingest-flush")

    async def _write(self, flush: Flush) -> None:
        """The same flush again and again until it is written; only the store's or log's absence is waited out."""
        backoff = FIRST_BACKOFF_S
        while True:
            try:
                await self._sink.write(flush)
            except Retryable as error:
                self._failing = True
                self._metrics.retried()
                self._logger.warning("flush_retried", reason=str(error), rows=len(flush.rows), wait_s=backoff)
                await asyncio.sleep(backoff)
                backoff = min(backoff * 2, LONGEST_BACKOFF_S)
            else:
                self._failing = False
                return

    async def _finish(self, consumer: Consumer) -> None:
        """Take over the outcome of the flush in flight and commit what it covers."""
        if self._in_flight is None:
            return
        flush, task = self._in_flight
        self._in_flight = None
        await task
        self._uncommitted.update(flush.offsets)
        await self._commit(consumer)

    async def _commit(self, consumer: Consumer) -> None:
        offsets: Offsets = dict(self._uncommitted)
        if not offsets:
            return
        try:
            await consumer.commit(offsets)
        except Fenced as error:
            # The rows are in the store; the new owner resumes from there.
            self._logger.info("commit_fenced", reason=str(error))
        except LogUnavailable as error:
            self._logger.warning("commit_failed", reason=str(error))
            return
        self._uncommitted.clear()

    def _hold_or_release(self, consumer: Consumer) -> None:
        """Deliver nothing while a flush is failing, or the next batch is full behind one in flight."""
        hold = self._in_flight is not None and (self._failing or self._batch.full())
        if hold == self._held:
            return
        self._held = hold
        if hold:
            consumer.pause(self._owned)
        else:
            consumer.resume(self._owned - self._unplaced)

    async def _measure_lag(self, consumer: Consumer) -> None:
        now = self._monotonic()
        if now < self._lag_after:
            return
        self._lag_after = now + LAG_EVERY_S
        try:
            self._metrics.lagging(await consumer.lag())
        except LogUnavailable as error:
            self._logger.debug("lag_unknown", reason=str(error))
        await self._commit(consumer)

    async def _drain(self, consumer: Consumer) -> None:
        """Write what is left, within the time that a stop may take."""
        try:
            async with asyncio.timeout(REVOKE_WAIT_S / 2):
                await self._finish(consumer)
                if not self._batch.empty():
                    self._send()
                    await self._finish(consumer)
        except TimeoutError:
            self._logger.warning(
                "stopped_before_flush", reason="the log store is away; rows are read again at the next start"
            )

    async def _abort_in_flight(self) -> None:
        if self._in_flight is not None:
            _, task = self._in_flight
            self._in_flight = None
            task.cancel()
            await asyncio.wait({task})
