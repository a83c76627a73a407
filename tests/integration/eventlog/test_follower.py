"""The follower: complete before it is ready, and going on after the log was away."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence

import pytest

from shared.errors import LogUnavailable
from shared.eventlog.follower import Follower
from shared.eventlog.port import Record
from shared.topics import USAGE
from tests.support.eventlog import numbered, numbers
from tests.support.eventually import eventually
from tests.support.flaky_log import FlakyLog


class Interrupted(FlakyLog):
    """Following breaks off after each batch while `breaks` is above zero."""

    breaks = 0
    stuck = False
    follows: list[dict[int, int]]

    async def follow(
        self, topic: str, start: Mapping[int, int], *, caught_up: Callable[[], Awaitable[None]] | None = None
    ) -> AsyncIterator[Sequence[Record]]:
        self.follows.append(dict(start))
        if self.stuck:
            raise LogUnavailable("away")
        async for batch in super().follow(topic, start, caught_up=caught_up):
            yield batch
            if self.breaks > 0:
                self.breaks -= 1
                raise LogUnavailable("broken off")


@pytest.fixture
async def interrupted(log: FlakyLog) -> Interrupted:
    log.__class__ = Interrupted
    assert isinstance(log, Interrupted)
    log.follows = []
    return log


async def test_start_returns_when_everything_that_was_there_is_applied(log: FlakyLog) -> None:
    await log.append(numbered(range(2_500)))
    await log.append(numbered(range(10), partition=2))
    seen: list[Record] = []
    follower = Follower(log, USAGE, seen.append)

    await follower.start()
    assert len(seen) == 2_510
    await log.append(numbered([99], partition=1))
    await eventually(lambda: len(seen) == 2_511)
    await follower.close()

    assert numbers(record for record in seen if record.partition == 0) == list(range(2_500))


async def test_an_empty_topic_is_ready_at_once(log: FlakyLog) -> None:
    follower = Follower(log, USAGE, lambda _: None)

    await follower.start(5)

    await follower.close()


async def test_it_goes_on_where_it_stood_after_the_log_was_away(interrupted: Interrupted) -> None:
    await interrupted.append(numbered(range(5)))
    interrupted.breaks = 1
    seen: list[Record] = []
    follower = Follower(interrupted, USAGE, seen.append)

    await follower.start(10)
    await interrupted.append(numbered(range(5, 8)))
    await eventually(lambda: len(seen) == 8)
    await follower.close()

    assert numbers(seen) == list(range(8))
    assert interrupted.follows == [{}, {0: 5}]


async def test_a_log_that_stays_away_fails_the_start_in_time(interrupted: Interrupted) -> None:
    interrupted.stuck = True
    follower = Follower(interrupted, USAGE, lambda _: None)

    with pytest.raises(LogUnavailable, match=r"finops\.usage .* within 0\.3 s: away"):
        await follower.start(0.3)


async def test_a_fault_in_apply_is_not_swallowed(log: FlakyLog) -> None:
    await log.append(numbered([1]))

    def fail(_: Record) -> None:
        raise KeyError("bug")

    follower = Follower(log, USAGE, fail)
    with pytest.raises(KeyError):
        await follower.start(5)
    assert isinstance(follower.failure, KeyError)


async def test_a_fault_later_on_is_raised_by_close(log: FlakyLog) -> None:
    def fail(_: Record) -> None:
        raise KeyError("bug")

    follower = Follower(log, USAGE, fail)
    await follower.start(5)
    await log.append(numbered([1]))
    await eventually(lambda: follower.failure is not None)

    with pytest.raises(KeyError):
        await follower.close()
    await asyncio.sleep(0)
