"""Several instances write governance at once: the log decides, nobody is told "done" for what was ignored."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest

from services.budget.config_apply import apply_config
from services.budget.desired_state import desired_state
from services.budget.errors import ApiError
from services.budget.governance_feed import GovernanceFeed
from services.budget.governance_writer import GovernanceWriter
from services.budget.metrics import BudgetMetrics
from services.budget.schemas import CreateVirtualKey, PatchVirtualKey
from services.budget.virtual_keys import VirtualKeys, wall_ms
from shared.config_file import parse_config
from shared.errors import Conflict, LogUnavailable
from shared.eventlog.follower import Follower
from shared.eventlog.port import EventLog, NewRecord
from shared.governance.keys import new_key
from shared.governance.model import Team
from shared.topics import GOVERNANCE
from tests.support.eventually import eventually


class Instance:
    def __init__(self, log: EventLog) -> None:
        self.feed = GovernanceFeed(BudgetMetrics())
        self.writer = GovernanceWriter(log, self.feed, wall_ms, timeout_s=30)
        self.keys = VirtualKeys(self.feed, self.writer, wall_ms, b"k" * 32)


class SlowWriter(GovernanceWriter):
    """Waits for `may_end` before it writes anything."""

    def __init__(self, log: EventLog, feed: GovernanceFeed, now_ms: Callable[[], int]) -> None:
        super().__init__(log, feed, now_ms)
        self.began, self.may_end = asyncio.Event(), asyncio.Event()

    async def change(self, *args: Any, **kwargs: Any) -> None:
        self.began.set()
        await self.may_end.wait()
        await super().change(*args, **kwargs)


@asynccontextmanager
async def instance(log: EventLog) -> AsyncIterator[Instance]:
    one = Instance(log)
    follower = Follower(log, GOVERNANCE, one.feed.apply)
    await follower.start()
    try:
        yield one
    finally:
        await follower.close()


async def test_of_two_changes_based_on_one_version_exactly_one_is_accepted(log: EventLog) -> None:
    async with instance(log) as first, instance(log) as second:

        async def write(one: Instance, name: str) -> bool:
            try:
                await one.writer.change(
                    "team", "t", Team(id="t", name=name), based_on=0, action="create", actor="admin"
                )
            except Conflict:
                return False
            return True

        outcomes = await asyncio.gather(write(first, "a"), write(second, "b"))

        assert sorted(outcomes) == [False, True]
        winner = "a" if outcomes[0] else "b"
        await eventually(lambda: first.feed.state.teams["t"] == second.feed.state.teams["t"])
        assert first.feed.state.teams["t"].name == winner


async def test_concurrent_patches_without_a_version_are_all_made(log: EventLog) -> None:
    async with instance(log) as first, instance(log) as second:
        key, _ = await first.keys.create(CreateVirtualKey(name="k"))
        await eventually(lambda: key.id in second.feed.state.keys)

        await asyncio.gather(
            first.keys.patch(key.id, PatchVirtualKey(name="renamed")),
            second.keys.patch(key.id, PatchVirtualKey(metadata={"x": 1})),
        )

        await eventually(lambda: first.feed.state.keys[key.id].version == 3)
        final = first.feed.state.keys[key.id]
        assert (final.name, final.metadata) == ("renamed", {"x": 1})


async def test_a_change_that_waits_too_long_for_another_one_is_given_up_and_never_made(log: EventLog) -> None:
    async with instance(log) as one:
        key, _ = await one.keys.create(CreateVirtualKey(name="k"))
        writer = SlowWriter(log, one.feed, wall_ms)
        impatient = VirtualKeys(one.feed, writer, wall_ms, b"k" * 32, turn_after_s=0.01)
        first, second = (PatchVirtualKey(name=name) for name in ("first", "second"))

        running = asyncio.create_task(impatient.patch(key.id, first))
        await writer.began.wait()
        with pytest.raises(LogUnavailable, match="Other changes of this key"):
            await impatient.patch(key.id, second)
        writer.may_end.set()

        assert (await running).name == "first"
        assert one.feed.state.keys[key.id].version == 2


async def test_instances_that_start_at_once_apply_one_configuration_once(log: EventLog) -> None:
    text = "\n".join(["teams:", *[f"  - name: team-{number}" for number in range(30)]])
    desired = desired_state(parse_config(text), {"OPENAI_API_KEY": "x"})

    async def apply(one: Instance) -> int:
        return await apply_config(desired, one.feed, one.writer, b"k" * 32, wall_ms())

    async with instance(log) as first, instance(log) as second, instance(log) as third:
        published = await asyncio.gather(apply(first), apply(second), apply(third))

        assert sum(published) == 32  # 30 teams, demo, openai
        for one in (first, second, third):
            assert len(one.feed.state.teams) == 30
            assert set(one.feed.state.providers) == {"demo", "openai"}
            assert {team.version for team in one.feed.state.teams.values()} == {1}


async def test_a_key_of_the_configuration_can_be_revoked_but_not_changed_by_hand(log: EventLog) -> None:
    desired = desired_state(parse_config(f"virtual_keys: [{{name: a, key: {new_key()}}}]"), {})
    async with instance(log) as one:
        await apply_config(desired, one.feed, one.writer, b"k" * 32, wall_ms())
        (key_id,) = one.feed.state.keys

        with pytest.raises(ApiError) as raised:
            await one.keys.patch(key_id, PatchVirtualKey(name="b"))
        assert (raised.value.status, raised.value.code) == (409, "managed_by_config")
        assert (await one.keys.revoke(key_id)).status == "revoked"


async def test_an_unreadable_record_is_counted_and_ignored(log: EventLog) -> None:
    await log.append([NewRecord(GOVERNANCE, 0, "x", b"{not json")])
    async with instance(log) as one:
        key, _ = await one.keys.create(CreateVirtualKey(name="k"))
        assert one.feed.state.keys[key.id].name == "k"


async def test_a_change_that_never_comes_back_is_not_called_done(log: EventLog) -> None:
    feed = GovernanceFeed(BudgetMetrics())  # fed by nobody
    writer = GovernanceWriter(log, feed, wall_ms, timeout_s=0.2)

    with pytest.raises(LogUnavailable):
        await writer.change("team", "t", Team(id="t", name="a"), based_on=0, action="create", actor="admin")
