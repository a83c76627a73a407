"""A change made through the API is in force on every gateway within a second."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

import pytest

from services.budget.governance_feed import GovernanceFeed
from services.budget.governance_writer import GovernanceWriter
from services.budget.metrics import BudgetMetrics
from services.budget.schemas import CreateVirtualKey, PatchVirtualKey
from services.budget.virtual_keys import VirtualKeys, wall_ms
from services.gateway.followed import governance_applier
from services.gateway.metrics import GatewayMetrics
from shared.eventlog.follower import Follower
from shared.eventlog.port import EventLog
from shared.governance.state import GovernanceState
from shared.topics import GOVERNANCE
from tests.support.eventually import eventually

CHANGES = 100
GATEWAYS = 2
IN_FORCE_S = 1.0


class Gateway:
    """What a gateway knows of keys, and when it came to know it (seconds of the loop's clock by version)."""

    def __init__(self) -> None:
        self.state = GovernanceState()
        self.known_at: dict[tuple[str, int], float] = {}

    def changed(self) -> None:
        now = asyncio.get_running_loop().time()
        for key in self.state.keys.values():
            self.known_at.setdefault((key.id, key.version), now)

    async def follow(self, log: EventLog, stack: AsyncExitStack) -> None:
        follower = Follower(log, GOVERNANCE, governance_applier(self.state, self.changed, GatewayMetrics()))
        stack.push_async_callback(follower.close)
        await follower.start()


@asynccontextmanager
async def installation(log: EventLog) -> AsyncIterator[tuple[VirtualKeys, list[Gateway]]]:
    async with AsyncExitStack() as stack:
        feed = GovernanceFeed(BudgetMetrics())
        follower = Follower(log, GOVERNANCE, feed.apply)
        stack.push_async_callback(follower.close)
        await follower.start()
        gateways = [Gateway() for _ in range(GATEWAYS)]
        for gateway in gateways:
            await gateway.follow(log, stack)
        yield VirtualKeys(feed, GovernanceWriter(log, feed, wall_ms), wall_ms, b"k" * 32), gateways


async def in_force_everywhere(log: EventLog) -> None:
    loop = asyncio.get_running_loop()
    asked_at: dict[tuple[str, int], float] = {}
    async with installation(log) as (keys, gateways):
        began = loop.time()
        key, _ = await keys.create(CreateVirtualKey(name="k"))
        asked_at[key.id, 1] = began
        for number in range(CHANGES - 1):
            began = loop.time()
            key = await keys.patch(key.id, PatchVirtualKey(name=f"k{number}"))
            asked_at[key.id, key.version] = began
        await eventually(lambda: all(len(gateway.known_at) == CHANGES for gateway in gateways))

    took = sorted(gateway.known_at[change] - at for change, at in asked_at.items() for gateway in gateways)
    assert len(took) == CHANGES * GATEWAYS
    assert took[len(took) * 99 // 100] < IN_FORCE_S


async def test_on_the_embedded_log(log: EventLog) -> None:
    await in_force_everywhere(log)


@pytest.mark.kafka
async def test_on_kafka(kafka_log: EventLog) -> None:
    await in_force_everywhere(kafka_log)
