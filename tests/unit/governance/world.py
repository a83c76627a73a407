"""A small world for property tests: gateways with spools, a usage log, partition owners, a spend log, readers.

Every step is a plain call, so that hypothesis can interleave them freely: lost owners, torn publications, replays,
late ends. `truth` is computed from the events alone, by rules so simple that they can be read.
"""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field

from shared.events import (
    Charge,
    CounterPublished,
    PartitionProgress,
    RequestAbandoned,
    RequestStarted,
    Tokens,
    UsageRecorded,
    decode,
    encode,
)
from shared.governance.ledger import PartitionLedger
from shared.governance.model import Budget, VirtualKey
from shared.governance.spend_view import SpendView
from shared.governance.windows import charges_for
from shared.topics import partition_for

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
    spool: list[Spooled] = field(default_factory=list)
    forwarded: int = 0
    alive: bool = True
    open: list[RequestStarted] = field(default_factory=list)
    read: list[int] = field(default_factory=lambda: [0] * PARTITIONS)
    seen: list[tuple[int, int]] = field(default_factory=lambda: [(0, -1)] * PARTITIONS)


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
        self.spend: list[list[tuple[str, bytes | None]]] = [[] for _ in range(PARTITIONS)]
        self.owners = [PartitionLedger(number) for number in range(PARTITIONS)]
        self.read = [0] * PARTITIONS
        self.gateways: list[Gateway] = []
        self.requests = 0
        for _ in range(2):
            self._new_gateway()

    def step(self) -> None:
        self.now_ms += STEP_MS

    # ---- gateways

    def _new_gateway(self) -> None:
        incarnation = f"gw-{len(self.gateways)}"
        self.gateways.append(Gateway(incarnation, SpendView(incarnation, PARTITIONS)))

    def living(self, choice: int) -> Gateway:
        living = [gateway for gateway in self.gateways if gateway.alive]
        return living[choice % len(living)]

    def start(self, gateway: Gateway, key: VirtualKey, reserve: int) -> None:
        self.requests += 1
        event = RequestStarted(
            request_id=f"req-{self.requests}",
            at_ms=self.now_ms,
            deadline_ms=self.now_ms + PATIENCE_MS,
            gateway_id=gateway.incarnation,
            virtual_key_id=key.id,
            endpoint="chat.completions",
            provider="demo",
            model="demo/echo",
            reserved_nanos=reserve,
            charges=charges_for(key, self.now_ms),
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
            at_ms=self.now_ms,
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

    def kill(self, gateway: Gateway) -> None:
        """Its open requests never end; what it had spooled is forwarded by another one later."""
        gateway.alive = False
        gateway.open.clear()
        self._new_gateway()

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
        begin = max(0, self.read[partition] - back)
        self.read[partition] = min(len(self.usage[partition]), self.read[partition] + count)
        for record in self.usage[partition][begin : self.read[partition]]:
            self.owners[partition].apply(record.offset, record.producer, record.seq, record.event)

    def abandon(self, partition: int) -> None:
        for event in self.owners[partition].due(self.now_ms):
            self._append(partition, "", 0, event)

    def publish(self, partition: int, torn_after: int | None = None) -> None:
        """One batch to the spend log; with `torn_after` the owner dies after so many records of it."""
        ledger = self.owners[partition]
        batch: list[tuple[str, bytes | None]] = [
            (f"counter/{budget_id}", encode(ledger.counter(budget_id))) for budget_id in ledger.take_changed()
        ]
        new, gone = ledger.take_abandoned()
        batch += [(f"abandoned/{entry.request_id}", encode(entry)) for entry in new]
        batch += [(f"abandoned/{request_id}", None) for request_id in gone]
        batch.append(("progress", encode(ledger.progress(self.now_ms))))
        self.spend[partition] += batch[:torn_after]
        if torn_after is not None:
            self.replace_owner(partition)

    def replace_owner(self, partition: int) -> None:
        """The owner is gone with all that it held in memory; another one takes over from the logs."""
        latest: dict[str, bytes] = {}
        for key, value in self.spend[partition]:
            latest.pop(key, None)
            if value is not None:
                latest[key] = value
        events = [decode(value) for value in latest.values()]
        progress = next((event for event in events if isinstance(event, PartitionProgress)), None)
        ledger = PartitionLedger(partition)
        ledger.restore(
            [event for event in events if isinstance(event, CounterPublished)],
            [event for event in events if isinstance(event, RequestAbandoned)],
            progress,
        )
        for offset in progress.open_offsets if progress is not None else ():
            started = self.usage[partition][offset // 2].event
            assert isinstance(started, RequestStarted)
            ledger.reopen(offset, started)
        self.owners[partition] = ledger
        self.read[partition] = ledger.through_offset // 2 + 1

    # ---- readers

    def follow(self, gateway: Gateway, partition: int, count: int) -> None:
        records = self.spend[partition][gateway.read[partition] : gateway.read[partition] + count]
        gateway.read[partition] += len(records)
        for _, value in records:
            if value is None:
                continue
            event = decode(value)
            assert isinstance(event, CounterPublished | PartitionProgress | RequestAbandoned)
            gateway.view.apply(event)
            if isinstance(event, PartitionProgress):
                gateway.seen[partition] = max(gateway.seen[partition], (event.epoch, event.through_offset))

    def finish(self) -> None:
        """Everything reaches the log, is folded and published."""
        for gateway in self.gateways:
            self.forward(gateway, len(gateway.spool))
        for partition in range(PARTITIONS):
            self.fold(partition, len(self.usage[partition]))
            self.publish(partition)


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


def _tidy(sums: defaultdict[tuple[str, int], list[int]]) -> Sums:
    return {place: (s, r, n) for place, (s, r, n) in sums.items() if (s, r, n) != (0, 0, 0)}
