"""What the gateway knows from the log: governance and spend, read to their ends before it is ready, then followed."""

from collections.abc import Callable

import msgspec

from services.gateway.metrics import GatewayMetrics
from shared.eventlog.port import Record
from shared.events import CounterPublished, GovernanceChanged, PartitionProgress, RequestAbandoned, decode
from shared.governance.spend_view import SpendView
from shared.governance.state import GovernanceState
from shared.telemetry import get_logger

log = get_logger(__name__)

Apply = Callable[[Record], None]


def governance_applier(state: GovernanceState, changed: Callable[[], None], metrics: GatewayMetrics) -> Apply:
    """Folds governance records; `changed` is called after each accepted one."""

    def apply(record: Record) -> None:
        try:
            event = decode(record.value or b"")
            if isinstance(event, GovernanceChanged) and state.apply(event):
                changed()
        except ValueError as error:  # msgspec's errors are ValueErrors too
            _skipped(record, error, metrics)

    return apply


def spend_applier(view: SpendView, metrics: GatewayMetrics) -> Apply:
    """Folds spend records. Tombstones end the memory of abandoned requests, which the view forgets by itself."""

    def apply(record: Record) -> None:
        if record.value is None:
            return
        try:
            event = decode(record.value)
        except msgspec.DecodeError as error:
            _skipped(record, error, metrics)
            return
        if isinstance(event, CounterPublished | PartitionProgress | RequestAbandoned):
            view.apply(event)

    return apply


def _skipped(record: Record, error: Exception, metrics: GatewayMetrics) -> None:
    metrics.skipped_records.labels(record.topic).inc()
    log.error(
        "record_skipped",
        topic=record.topic,
        partition=record.partition,
        offset=record.offset,
        reason=str(error),
    )
