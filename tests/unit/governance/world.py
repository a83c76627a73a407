"""A small world for property tests: gateways with spools, a usage log, partition owners, a spend log, readers.

Every step is a plain call, so that hypothesis can interleave them freely: lost owners, owners that go on after their
time, torn publications, replays, late ends. `truth` is computed from the events alone, by rules so simple that they
can be read.
"""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field

from services.budget.partition import OwnedPartition
from services.budget.recovery import SpendSnapshot
from shared.eventlog.port import NewRecord, Record
from shared.events import (
    Charge,
    CounterPublished,
    PartitionProgress,
    RequestAbandoned,
    RequestStarted,
    Tokens,
    UsageRecorded,
    decode,
)
from shared.governance.ledger import PartitionLedger
from shared.governance.model import Budget, VirtualKey
from shared.governance.spend_view import SpendView
from shared.governance.windows import DAY_MS, charges_for
from shared.topics import SPEND, partition_for

PARTITIONS = 2
STEP_MS = 7_000
PATIENCE_MS = 20_000
BEGIN_MS = (
    1_764_547_100_000  # 1 December 2025, 100 s before a full hour: the steps cross an hour, a month is new
)
SHARED = Budget(id="bud-shared", limit_nanos=10**9, window="1h")
ROLLING = Budget(id="bud-rolling", limit_nanos=10**9, window="1h", alignment="rolling")
KEYS = tuple(
    VirtualKey(id=name, name=name, key_sha256="", prefix="", budgets=(SHARED, ROLLING))
    for name in ("key-a", "key-b", "key-c")
)
BUDGETS = (SHARED, ROLLING, *(Budget(id=key.id, limit_nanos=0, window="lifetime") for key in KEYS))

UsageEvent = RequestStarted | UsageRecorded
Sums = dict[tuple[str, int], tuple[int, int, int]]
"""(budget, bucket) -> (settled, reserved, requests)."""


@dataclass
class Spooled:
    seq: int
    partition: int
    event: UsageEvent


@dataclass
class Gateway:
    """One incarnation: its spool, how much of it reached the log, its view of spend."""

    incarnation: str
    view: SpendView
    skew_ms: int = 0
    """How far its clock is ahead of everybody else's."""
    spool: list[Spooled] = field(default_factory=list)
    forwarded: int = 0
    alive: bool = True
    open: list[RequestStarted] = field(default_factory=list)
    read: list[int] = field(default_factory=lambda: [0] * PARTITIONS)
    """The next offset of each partition of the spend log."""
    told: list[int] = field(default_factory=lambda: [-1] * PARTITIONS)
    """The furthest that any record of each partition is folded through."""
    seen: list[int] = field(default_factory=lambda: [-1] * PARTITIONS)
    """The last progress of each partition that no record before it was ahead of."""


@dataclass
class Logged:
    offset: int
    producer: str
    seq: int
    event: UsageEvent


class World:
    def __init__(self) -> None:
        self.now_ms = BEGIN_MS
        self.usage: list[list[Logged]] = [[] for _ in range(PARTITIONS)]
        self.spend: list[list[Record]] = [[] for _ in range(PARTITIONS)]
        self.spend_end = [0] * PARTITIONS
        self.owners = [self._take_over(number) for number in range(PARTITIONS)]
        self.observed = [0] * PARTITIONS
        """How far each owner has read the spend log back."""
        self.zombies: list[list[OwnedPartition]] = [[] for _ in range(PARTITIONS)]
        self.gateways: list[Gateway] = []
        self.requests = 0
        for _ in range(2):
            self._new_gateway()

    def step(self) -> None:
        self.now_ms += STEP_MS

    # ---- gateways

    def _new_gateway(self, skew_ms: int = 0) -> None:
        incarnation = f"gw-{len(self.gateways)}"
        self.gateways.append(Gateway(incarnation, SpendView(incarnation, PARTITIONS), skew_ms))

    def living(self, choice: int) -> Gateway:
        living = [gateway for gateway in self.gateways if gateway.alive]
        return living[choice % len(living)]

    def start(self, gateway: Gateway, key: VirtualKey, reserve: int) -> None:
        self.requests += 1
        now_ms = self.now_ms + gateway.skew_ms
        event = RequestStarted(
            request_id=f"req-{self.requests}",
            at_ms=now_ms,
            deadline_ms=now_ms + PATIENCE_MS,
            gateway_id=gateway.incarnation,
            virtual_key_id=key.id,
            endpoint="chat.completions",
            provider="demo",
            model="demo/echo",
            reserved_nanos=reserve,
            charges=charges_for(key, now_ms),
        )
        record = self._put(gateway, event)
        gateway.view.reserve(record.partition, record.seq, event.charges, reserve)
        gateway.open.append(event)

    def end(self, gateway: Gateway, choice: int, cost: int) -> None:
        if not gateway.open:
            return
        start = gateway.open.pop(choice % len(gateway.open))
        event = UsageRecorded(
            request_id=start.request_id,
            started_at_ms=start.at_ms,
            at_ms=self.now_ms + gateway.skew_ms,
            gateway_id=gateway.incarnation,
            virtual_key_id=start.virtual_key_id,
            endpoint=start.endpoint,
            provider=start.provider,
            model=start.model,
            outcome="success",
            http_status=200,
            tokens=Tokens(prompt=1),
            cost_nanos=cost,
            cost_basis="priced",
            reserved_nanos=start.reserved_nanos,
            charges=start.charges,
        )
        record = self._put(gateway, event)
        gateway.view.settle(
            record.partition,
            record.seq,
            event.charges,
            cost,
            start.reserved_nanos,
            tokens=1,
            request_id=event.request_id,
        )

    def _put(self, gateway: Gateway, event: UsageEvent) -> Spooled:
        partition = partition_for(event.virtual_key_id, PARTITIONS)
        record = Spooled(len(gateway.spool), partition, event)
        gateway.spool.append(record)
        return record

    def kill(self, gateway: Gateway, heir_skew_ms: int = 0) -> None:
        """Its open requests never end; what it had spooled is forwarded by another one later."""
        gateway.alive = False
        gateway.open.clear()
        self._new_gateway(heir_skew_ms)

    def forward(self, gateway: Gateway, count: int, again: int = 0) -> None:
        """Move spooled records to the log, with the last `again` ones that had gone before once more."""
        begin = max(0, gateway.forwarded - again)
        gateway.forwarded = min(len(gateway.spool), gateway.forwarded + count)
        for record in gateway.spool[begin : gateway.forwarded]:
            self._append(record.partition, gateway.incarnation, record.seq, record.event)

    def _append(self, partition: int, producer: str, seq: int, event: UsageEvent) -> None:
        log = self.usage[partition]
        log.append(Logged(2 * len(log), producer, seq, event))  # gaps, as in Kafka

    # ---- owners

    def fold(self, partition: int, count: int, back: int = 0) -> None:
        """Deliver `count` further records, after delivering the last `back` ones again."""
        owner = self.owners[partition]
        read = self._read_by(owner)
        for record in self.usage[partition][max(0, read - back) : read]:
            owner.ledger.apply(record.offset, record.producer, record.seq, record.event, now_ms=self.now_ms)
        self._fold(owner, count)

    def _read_by(self, owner: OwnedPartition) -> int:
        return (owner.next_offset + 1) // 2

    def _fold(self, owner: OwnedPartition, count: int) -> None:
        read = self._read_by(owner)
        for record in self.usage[owner.partition][read : read + count]:
            owner.fold(record.offset, record.producer, record.seq, record.event, self.now_ms)

    def abandon(self, partition: int) -> None:
        for event in self.owners[partition].ledger.due(self.now_ms):
            self._append(partition, "", 0, event)

    def publish(self, partition: int, torn_after: int | None = None) -> None:
        """One batch to the spend log; with `torn_after` the owner dies after so many records of it."""
        self._publish(self.owners[partition], torn_after)
        if torn_after is not None:
            self.replace_owner(partition)

    def _publish(self, owner: OwnedPartition, torn_after: int | None) -> None:
        self._write(owner.batch(self.now_ms)[:torn_after])
        if torn_after is None:
            owner.acknowledge(0.0)

    def _write(self, batch: Iterable[NewRecord]) -> None:
        for new in batch:
            offset = self.spend_end[new.partition]
            self.spend_end[new.partition] += 1
            self.spend[new.partition].append(
                Record(SPEND, new.partition, offset, new.key, new.value, new.headers, new.timestamp_ms)
            )

    def replace_owner(self, partition: int) -> None:
        """The owner is gone with all that it held in memory; another one takes over from the logs."""
        self.owners[partition] = self._take_over(partition)
        self.observed[partition] = self.spend_end[partition]

    def usurp(self, partition: int) -> None:
        """Another one takes over while the owner does not know yet that its time is over."""
        self.zombies[partition].append(self.owners[partition])
        self.replace_owner(partition)

    def haunt(self, partition: int, choice: int, count: int, torn_after: int | None) -> None:
        """A former owner goes on: it folds and publishes, perhaps for the last time."""
        zombies = self.zombies[partition]
        if not zombies:
            return
        zombie = zombies[choice % len(zombies)]
        self._fold(zombie, count)
        self._publish(zombie, torn_after)
        if torn_after is not None:
            zombies.remove(zombie)

    def _take_over(self, partition: int) -> OwnedPartition:
        snapshot = SpendSnapshot()
        for record in self.spend[partition]:
            snapshot.add(record)
        ledger = PartitionLedger(partition)
        ledger.restore(
            snapshot.counters.values(), snapshot.abandoned.values(), snapshot.progress, now_ms=self.now_ms
        )
        for offset in snapshot.progress.open_offsets if snapshot.progress is not None else ():
            started = self.usage[partition][offset // 2].event
            assert isinstance(started, RequestStarted)
            ledger.reopen(offset, started, now_ms=self.now_ms)
        for budget_id in snapshot.overwritten:
            ledger.republish(budget_id)
        return OwnedPartition(
            ledger, spend_end=self.spend_end[partition], next_offset=ledger.through_offset + 1
        )

    def observe(self, partition: int) -> None:
        """The owner reads what was written to its partition of the spend log, also by others."""
        for record in self.spend[partition]:
            if record.offset >= self.observed[partition] and record.value is not None:
                event = decode(record.value)
                if isinstance(event, CounterPublished | PartitionProgress):
                    self.owners[partition].observe(record.offset, event)
        self.observed[partition] = self.spend_end[partition]

    def compact(self, partition: int) -> None:
        """Only the last record of each key stays. It takes much longer until this happens than an owner takes to see
        that it was interfered with."""
        self.settle(partition)
        last = {record.key: record for record in self.spend[partition]}
        self.spend[partition] = sorted(last.values(), key=lambda record: record.offset)

    def settle(self, partition: int) -> None:
        """Everything is folded and published, and stands there to stay."""
        self.fold(partition, len(self.usage[partition]))
        self.publish(partition)
        self.observe(partition)
        while self.owners[partition].is_dirty:
            self.publish(partition)
            self.observe(partition)

    # ---- readers

    def follow(self, gateway: Gateway, partition: int, count: int) -> None:
        new = [record for record in self.spend[partition] if record.offset >= gateway.read[partition]]
        for record in new[:count]:
            gateway.read[partition] = record.offset + 1
            if record.value is None:
                continue
            event = decode(record.value)
            assert isinstance(event, CounterPublished | PartitionProgress | RequestAbandoned)
            gateway.view.apply(event)
            if isinstance(event, CounterPublished):
                gateway.told[partition] = max(gateway.told[partition], event.through_offset)
            elif isinstance(event, PartitionProgress) and event.through_offset >= gateway.told[partition]:
                gateway.told[partition] = gateway.seen[partition] = event.through_offset

    def finish(self) -> None:
        """Everything reaches the log, is folded and published."""
        for gateway in self.gateways:
            self.forward(gateway, len(gateway.spool))
        for partition in range(PARTITIONS):
            self.settle(partition)

    @property
    def ledgers(self) -> list[PartitionLedger]:
        return [owner.ledger for owner in self.owners]


def published_sums(owners: Iterable[PartitionLedger]) -> Sums:
    """What the ledgers hold, over all partitions."""
    sums: defaultdict[tuple[str, int], list[int]] = defaultdict(lambda: [0, 0, 0])
    for ledger in owners:
        for budget_id in ledger.budget_ids:
            for bucket in ledger.counter(budget_id).buckets:
                entry = sums[budget_id, bucket.bucket_ms]
                entry[0] += bucket.settled_nanos
                entry[1] += bucket.reserved_nanos
                entry[2] += bucket.requests
    return _tidy(sums)


def truth(events: Iterable[UsageEvent]) -> Sums:
    """A request's true end is what it cost; without one its abandonment is; without either it is reserved."""
    charges: dict[str, tuple[Charge, ...]] = {}
    reserved: dict[str, int] = {}
    ended: dict[str, int] = {}
    abandoned: dict[str, int] = {}
    for event in events:
        charges[event.request_id] = event.charges
        if isinstance(event, RequestStarted):
            reserved[event.request_id] = event.reserved_nanos
        elif event.outcome == "abandoned":
            abandoned[event.request_id] = event.cost_nanos
        else:
            ended[event.request_id] = event.cost_nanos
    sums: defaultdict[tuple[str, int], list[int]] = defaultdict(lambda: [0, 0, 0])
    for request_id, of_request in charges.items():
        cost = ended.get(request_id, abandoned.get(request_id))
        for charge in of_request:
            entry = sums[charge.budget_id, charge.bucket_ms]
            if cost is None:
                entry[1] += reserved[request_id]
            else:
                entry[0] += cost
                entry[2] += 1
    return _tidy(sums)


def of_today(sums: Sums) -> Sums:
    """Without the buckets that only a wrong clock can have charged."""
    return {
        (name, bucket_ms): entry
        for (name, bucket_ms), entry in sums.items()
        if bucket_ms == 0 or abs(bucket_ms - BEGIN_MS) <= DAY_MS
    }


def _tidy(sums: defaultdict[tuple[str, int], list[int]]) -> Sums:
    return {place: (s, r, n) for place, (s, r, n) in sums.items() if (s, r, n) != (0, 0, 0)}
