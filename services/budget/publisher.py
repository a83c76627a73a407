"""SpendPublisher: writes what owned partitions have to tell to the spend topic, several partitions in one append."""

import asyncio
import time
from collections.abc import Callable, Collection
from typing import Final

from services.budget.metrics import BudgetMetrics
from services.budget.partition import OwnedPartition
from shared.errors import LogUnavailable
from shared.eventlog.port import EventLog
from shared.telemetry import get_logger

FIRST_RETRY_S: Final = 0.1
LONGEST_RETRY_S: Final = 5.0

_log = get_logger(__name__)


class SpendPublisher:
    """Used by one task at a time: a partition's next batch must not be made before its last is durable."""

    def __init__(self, log: EventLog, metrics: BudgetMetrics, now_ms: Callable[[], int]) -> None:
        self._log = log
        self._metrics = metrics
        self._now_ms = now_ms

    async def publish(self, owned: Collection[OwnedPartition], *, patience_s: float = float("inf")) -> None:
        """Make the batch of each partition durable, trying the same batch again while the log is away.

        Raises LogUnavailable after `patience_s` without success. The batches stay pending then and nothing is lost:
        whoever owns the partition next folds the same input again.
        """
        if not owned:
            return
        now_ms = self._now_ms()
        records = [record for one in owned for record in one.batch(now_ms)]
        deadline = time.monotonic() + patience_s
        retry_s = FIRST_RETRY_S
        while True:
            began = time.monotonic()
            try:
                await self._log.append(records)
                break
            except LogUnavailable as error:
                self._metrics.publish_failures.inc()
                if time.monotonic() + retry_s > deadline:
                    raise
                _log.warning("spend_not_published", records=len(records), retry_s=retry_s, reason=str(error))
                await asyncio.sleep(retry_s)
                retry_s = min(retry_s * 2, LONGEST_RETRY_S)
        self._acknowledge(owned, len(records), began)

    def _acknowledge(self, owned: Collection[OwnedPartition], records: int, began: float) -> None:
        at, now_ms = time.monotonic(), self._now_ms()
        self._metrics.publish_seconds.observe(at - began)
        self._metrics.published.inc(records)
        for one in owned:
            if one.oldest_unpublished_ms:
                self._metrics.visible_seconds.observe(max(0, now_ms - one.oldest_unpublished_ms) / 1000)
            one.acknowledge(at)
