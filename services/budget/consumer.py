"""UsageConsumer: a member of the consumer group that folds the usage topic and publishes spend.

The order of work is what makes every crash harmless: fold in memory -> append the changed counters, the progress
last -> commit the input offsets. A crash at any step only means that the next owner folds the same records again,
from the state and the offset that were published together.
"""

import asyncio
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import suppress
from typing import Final

import msgspec

from services.budget.metrics import BudgetMetrics
from services.budget.partition import OwnedPartition
from services.budget.publisher import SpendPublisher
from services.budget.recovery import recover
from shared.errors import Fenced, FinOpsError, LogUnavailable
from shared.eventlog.dead_letters import unhandled
from shared.eventlog.port import (
    HEADER_PRODUCER,
    HEADER_SEQ,
    HEADER_TYPE,
    HEADER_VERSION,
    Consumer,
    EventLog,
    NewRecord,
    Record,
    TopicPartition,
)
from shared.events import (
    EVENT_VERSION,
    CounterPublished,
    PartitionProgress,
    RequestStarted,
    UsageRecorded,
    decode,
    encode,
    event_type,
)
from shared.telemetry import get_logger
from shared.topics import USAGE

GROUP: Final = "finops-budget"
PUBLISH_INTERVAL_S: Final = 0.05
"""Changes of a partition are published at most this often; the first change after a pause goes out at once."""
HEARTBEAT_INTERVAL_S: Final = 1.0
IDLE_POLL_S: Final = 0.25
MAX_RECORDS: Final = 256
"""Folding this many takes a few milliseconds: other tasks of the process do not wait longer."""
MAX_CONSECUTIVE_POISON: Final = 100
FAREWELL_S: Final = 5.0
"""How long leaving waits for a log that is away; what was not published is folded again by the next owner."""
REJOIN_AFTER_S: Final = 1.0

_log = get_logger(__name__)


class TooMuchPoison(FinOpsError):
    """Nothing in the usage topic can be read: a wrong topic or a newer release wrote it. Going on would lose spend."""

    code = "too_many_poison_records"


class UsageConsumer:
    """Run by one task. `observe` is called by the follower of the spend topic on the same event loop."""

    def __init__(
        self,
        log: EventLog,
        metrics: BudgetMetrics,
        now_ms: Callable[[], int],
        *,
        member: str = "",
        publish_interval_s: float = PUBLISH_INTERVAL_S,
        heartbeat_interval_s: float = HEARTBEAT_INTERVAL_S,
        max_consecutive_poison: int = MAX_CONSECUTIVE_POISON,
    ) -> None:
        self._log = log
        self._metrics = metrics
        self._now_ms = now_ms
        self._member = member
        self._publish_interval_s = publish_interval_s
        self._heartbeat_interval_s = heartbeat_interval_s
        self._max_consecutive_poison = max_consecutive_poison
        self._publisher = SpendPublisher(log, metrics, now_ms)
        self._owned: dict[int, OwnedPartition] = {}
        self._consumer: Consumer | None = None
        self._stopping = asyncio.Event()
        self._consecutive_poison = 0
        self._housekeeping_at = 0.0
        self._member_since = 0.0
        self.has_joined = asyncio.Event()
        """Set once the group has given this member its share. One that got nothing within a heartbeat is a spare."""
        self.last_round_at = time.monotonic()
        """Monotonic time of the last completed round: a stuck consumer is told from an idle one."""

    @property
    def owned(self) -> Mapping[int, OwnedPartition]:
        return self._owned

    def stop(self) -> None:
        """Leave the group after the current round. `run` returns once everything folded is published."""
        self._stopping.set()

    async def run(self) -> None:
        """Consume until `stop`. Raises TooMuchPoison or StateLost when going on would be wrong."""
        while not self._stopping.is_set():
            try:
                await self._consume_as_member()
            except (LogUnavailable, Fenced) as error:
                self._metrics.rejoins.inc()
                _log.warning("usage_group_left", reason=str(error), rejoin_after_s=REJOIN_AFTER_S)
                with suppress(TimeoutError):
                    await asyncio.wait_for(self._stopping.wait(), REJOIN_AFTER_S)

    async def _consume_as_member(self) -> None:
        """One membership: whatever goes wrong with the log ends it, and the next begins by recovering all state."""
        self._forget(self._owned.keys())
        consumer = self._log.consumer(GROUP, [USAGE], self, member=self._member)
        self._consumer = consumer
        async with consumer:
            self._member_since = time.monotonic()
            try:
                while not self._stopping.is_set():
                    await self._fold(await consumer.poll(self._poll_timeout_s(), MAX_RECORDS))
                    await self._publish_due()
                    await self._housekeep(consumer)
                    self.last_round_at = time.monotonic()
            except Fenced:
                self._forget(self._owned.keys())
                raise

    # ---- RebalanceListener

    async def assigned(self, partitions: frozenset[TopicPartition]) -> None:
        """Take over: recover each partition, make the new epoch known at once, go on where the state ends."""
        won = sorted(partition for topic, partition in partitions if topic == USAGE)
        began = time.monotonic()
        now_ms = self._now_ms()
        for one in await asyncio.gather(*(recover(self._log, partition, now_ms) for partition in won)):
            self._owned[one.partition] = one
        await self._publisher.publish([self._owned[partition] for partition in won], patience_s=FAREWELL_S)
        for partition in won:
            self._member_of_group.seek((USAGE, partition), self._owned[partition].next_offset)
            self._metrics.recovery_seconds.observe(time.monotonic() - began)
        self._metrics.owned_partitions.set(len(self._owned))
        self.has_joined.set()
        if won:
            _log.info("usage_partitions_taken_over", partitions=won)

    async def revoked(self, partitions: frozenset[TopicPartition]) -> None:
        """Hand over: publish what changed, commit, drop the state. A log that is away is not waited for long."""
        lost = [partition for topic, partition in partitions if topic == USAGE and partition in self._owned]
        try:
            await self._publisher.publish(
                [self._owned[partition] for partition in lost], patience_s=FAREWELL_S
            )
            await self._commit(self._member_of_group, lost)
        except (LogUnavailable, Fenced) as error:
            _log.warning("usage_partitions_lost_unpublished", partitions=lost, reason=str(error))
        finally:
            self._forget(lost)

    def observe(self, record: Record, event: CounterPublished | PartitionProgress) -> None:
        """A record of the spend topic, as its follower read it: keeps an earlier owner's late word from staying last."""
        owned = self._owned.get(record.partition)
        if owned is not None and owned.observe(record.offset, event):
            self._metrics.rewritten.inc()
            _log.warning(
                "spend_of_earlier_owner_overruled",
                partition=record.partition,
                offset=record.offset,
                epoch=event.epoch,
            )

    # ---- one round

    async def _fold(self, records: Sequence[Record]) -> None:
        now_ms = self._now_ms()
        for record in records:
            owned = self._owned.get(record.partition)
            if owned is None or record.offset < owned.next_offset:
                continue
            try:
                event, seq = _read(record)
            except (msgspec.DecodeError, ValueError) as error:
                await self._put_aside(record, str(error))
                owned.put_aside(record.offset)
                continue
            self._consecutive_poison = 0
            owned.fold(record.offset, record.headers.get(HEADER_PRODUCER, ""), seq, event, now_ms)
            self._metrics.folded.labels(event_type(event)).inc()

    async def _put_aside(self, record: Record, reason: str) -> None:
        self._consecutive_poison += 1
        if self._consecutive_poison > self._max_consecutive_poison:
            raise TooMuchPoison(
                f"{self._consecutive_poison} records in a row cannot be read, the last at "
                f"{record.topic}:{record.partition}@{record.offset}: {reason}"
            )
        letter = unhandled(record, reason, service="budget", at_ms=self._now_ms())
        await self._log.append([letter])
        self._metrics.dead_letters.inc()
        _log.error("usage_record_put_aside", partition=record.partition, offset=record.offset, reason=reason)

    async def _publish_due(self) -> None:
        now = time.monotonic()
        due = [one for one in self._owned.values() if now >= self._due_at(one)]
        await self._publisher.publish(due)

    def _due_at(self, one: OwnedPartition) -> float:
        interval = self._publish_interval_s if one.is_dirty else self._heartbeat_interval_s
        return one.published_at + interval

    def _poll_timeout_s(self) -> float:
        if not self._owned:
            return IDLE_POLL_S
        earliest = min(self._due_at(one) for one in self._owned.values())
        return min(max(earliest - time.monotonic(), 0.0), IDLE_POLL_S)

    async def _housekeep(self, consumer: Consumer) -> None:
        """Once a second: settle the requests of dead gateways, commit, measure."""
        now = time.monotonic()
        if now - self._housekeeping_at < self._heartbeat_interval_s:
            return
        self._housekeeping_at = now
        if now - self._member_since >= self._heartbeat_interval_s:
            self.has_joined.set()
        await self._look_for_backlog(consumer)
        await self._abandon()
        await self._commit(consumer, self._owned)

    async def _look_for_backlog(self, consumer: Consumer) -> None:
        now_ms = self._now_ms()
        lag = await consumer.lag()
        self._metrics.lag_records.clear()  # of partitions that are another member's now
        for (_, partition), records in lag.items():
            self._metrics.lag_records.labels(str(partition)).set(records)
            if records == 0:
                self._owned[partition].complete_at_ms = now_ms

    async def _abandon(self) -> None:
        late = [
            (partition, end) for partition, one in self._owned.items() for end in one.ledger.due(one.clock_ms)
        ]
        if not late:
            return
        try:
            await self._log.append([_abandonment(partition, end) for partition, end in late])
        except LogUnavailable as error:  # the ledger hands the same requests out again after a while
            _log.warning("abandonments_not_written", requests=len(late), reason=str(error))
            return
        self._metrics.abandoned.inc(len(late))
        _log.warning("requests_abandoned", requests=[end.request_id for _, end in late[:20]], total=len(late))

    async def _commit(self, consumer: Consumer, partitions: Collection[int]) -> None:
        offsets = {(USAGE, partition): self._owned[partition].published_offset for partition in partitions}
        if offsets:
            await consumer.commit(offsets)

    @property
    def _member_of_group(self) -> Consumer:
        if self._consumer is None:
            raise RuntimeError("told about partitions before joining the group")
        return self._consumer

    def _forget(self, partitions: Collection[int]) -> None:
        for partition in list(partitions):
            self._owned.pop(partition, None)
        self._metrics.owned_partitions.set(len(self._owned))


def _read(record: Record) -> tuple[RequestStarted | UsageRecorded, int]:
    """The event and its sequence number. Raises msgspec.DecodeError or ValueError for poison."""
    event = decode(record.value or b"")
    if not isinstance(event, RequestStarted | UsageRecorded):
        raise ValueError(f"{event_type(event)} does not belong on this topic")
    return event, int(record.headers.get(HEADER_SEQ, "0"))


def _abandonment(partition: int, end: UsageRecorded) -> NewRecord:
    """Without producer and seq: it is nobody's replay, and the fold settles a request only once."""
    headers = {HEADER_TYPE: event_type(end), HEADER_VERSION: str(EVENT_VERSION)}
    return NewRecord(USAGE, partition, end.virtual_key_id, encode(end), headers, end.at_ms)
