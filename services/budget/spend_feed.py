"""SpendFeed: the spend topic folded into totals for this service's own answers, and shown to the usage consumer."""

from collections.abc import Callable

import msgspec

from services.budget.metrics import BudgetMetrics
from shared.eventlog.port import Record
from shared.events import CounterPublished, PartitionProgress, RequestAbandoned, decode
from shared.governance.spend_view import SpendView
from shared.telemetry import get_logger

_log = get_logger(__name__)

Observer = Callable[[Record, CounterPublished | PartitionProgress], None]


class SpendFeed:
    """Fed by a Follower."""

    def __init__(self, partitions: int, metrics: BudgetMetrics, observer: Observer) -> None:
        self.view = SpendView(partitions=partitions)
        self._metrics = metrics
        self._observer = observer

    def apply(self, record: Record) -> None:
        """Take one record. One that cannot be read is left out, here as on every gateway; it is counted."""
        if record.value is None:
            return
        try:
            event = decode(record.value)
        except msgspec.DecodeError as error:
            self._metrics.unreadable.labels(record.topic).inc()
            _log.error(
                "spend_record_ignored", partition=record.partition, offset=record.offset, reason=str(error)
            )
            return
        if isinstance(event, CounterPublished | PartitionProgress):
            self.view.apply(event)
            self._observer(record, event)
        elif isinstance(event, RequestAbandoned):
            self.view.apply(event)
