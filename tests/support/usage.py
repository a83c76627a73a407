"""Usage events as a gateway writes them, for tests of whoever folds them."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from shared.eventlog.port import (
    HEADER_PRODUCER,
    HEADER_SEQ,
    HEADER_TYPE,
    HEADER_VERSION,
    EventLog,
    NewRecord,
)
from shared.events import Charge, Outcome, RequestStarted, Tokens, UsageRecorded, encode, event_type
from shared.topics import USAGE, partition_for

BASE_MS = 1_790_000_000_000
KEY_ID = "vk_test"


def started(
    request_id: str,
    *,
    key_id: str = KEY_ID,
    budget_id: str = "bud_test",
    reserved_nanos: int = 1_000,
    at_ms: int = BASE_MS,
    deadline_ms: int = BASE_MS + 10_000_000_000,
) -> RequestStarted:
    """The start of a request that is charged to one lifetime budget and to its key."""
    return RequestStarted(
        request_id=request_id,
        at_ms=at_ms,
        deadline_ms=deadline_ms,
        gateway_id="gateway-test",
        virtual_key_id=key_id,
        endpoint="chat.completions",
        provider="demo",
        model="echo",
        reserved_nanos=reserved_nanos,
        charges=(Charge(budget_id, 0, 0), Charge(key_id, 0, 0)),
    )


def ended(
    start: RequestStarted, *, cost_nanos: int = 700, outcome: Outcome = "success", after_ms: int = 100
) -> UsageRecorded:
    """The end of a started request."""
    return UsageRecorded(
        request_id=start.request_id,
        started_at_ms=start.at_ms,
        at_ms=start.at_ms + after_ms,
        gateway_id=start.gateway_id,
        virtual_key_id=start.virtual_key_id,
        endpoint=start.endpoint,
        provider=start.provider,
        model=start.model,
        outcome=outcome,
        http_status=200,
        tokens=Tokens(prompt=10, completion=5),
        cost_nanos=cost_nanos,
        cost_basis="priced",
        reserved_nanos=start.reserved_nanos,
        charges=start.charges,
        latency_ms=after_ms,
    )


@dataclass(slots=True)
class UsageProducer:
    """Appends usage events with the identity headers of one gateway incarnation."""

    log: EventLog
    incarnation: str = "incarnation-test"
    _seq: int = field(default=0)

    async def send(self, *events: RequestStarted | UsageRecorded) -> Sequence[NewRecord]:
        """Durable on return. Answers the records, for a replay."""
        records = [self._record(event) for event in events]
        await self.log.append(records)
        return records

    def _record(self, event: RequestStarted | UsageRecorded) -> NewRecord:
        self._seq += 1
        return NewRecord(
            USAGE,
            partition_for(event.virtual_key_id, self.log.partitions(USAGE)),
            event.virtual_key_id,
            encode(event),
            {
                HEADER_TYPE: event_type(event),
                HEADER_VERSION: "1",
                HEADER_PRODUCER: self.incarnation,
                HEADER_SEQ: str(self._seq),
            },
            event.at_ms,
        )
