"""A running usage consumer with its own view of spend, as one budget instance has it."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass

from services.budget.consumer import UsageConsumer
from services.budget.metrics import BudgetMetrics
from services.budget.spend_feed import SpendFeed
from services.budget.virtual_keys import wall_ms
from shared.eventlog.follower import Follower
from shared.eventlog.port import EventLog
from shared.governance.model import Budget
from shared.governance.spend_view import Spend
from shared.topics import SPEND
from tests.support.crashing_log import Crash


@dataclass(frozen=True, slots=True)
class BudgetMember:
    consumer: UsageConsumer
    feed: SpendFeed
    task: asyncio.Task[None]
    metrics: BudgetMetrics

    def total(self, budget_id: str) -> Spend:
        """Spend of a lifetime budget as this member has read it from the log."""
        return self.feed.view.totals(Budget(id=budget_id, limit_nanos=1, window="lifetime"), 0)


@asynccontextmanager
async def budget_member(
    log: EventLog, *, now_ms: Callable[[], int] = wall_ms, max_consecutive_poison: int = 100
) -> AsyncIterator[BudgetMember]:
    """A member with fast heartbeats. Leaving stops it gracefully, unless it has crashed already."""
    metrics = BudgetMetrics()
    consumer = UsageConsumer(
        log,
        metrics,
        now_ms,
        publish_interval_s=0.01,
        heartbeat_interval_s=0.1,
        max_consecutive_poison=max_consecutive_poison,
    )
    feed = SpendFeed(log.partitions(SPEND), metrics, consumer.observe)
    follower = Follower(log, SPEND, feed.apply)
    await follower.start()
    task = asyncio.create_task(consumer.run())
    try:
        yield BudgetMember(consumer, feed, task, metrics)
    finally:
        consumer.stop()
        await asyncio.wait({task}, timeout=20)
        await follower.close()
        if task.done() and not task.cancelled() and isinstance(task.exception(), Crash):
            pass  # this is what the test wanted
        else:
            task.cancel()
            await asyncio.wait({task})
