"""The load of the proofs: it meets every disturbance however long one takes, and it always ends."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator

import pytest

from tests.support.load import BLOCK, MOST_TIMES, Load, Mix, traffic
from tests.support.proof import ROUNDS_BETWEEN, run_disturbed
from tests.support.upstream import MockUpstream, RunningUpstream, running_upstream

LEAST = 40
CONCURRENCY = 8
MIX = Mix(streamed=20, leaving=0, upstream_errors=0)


@pytest.fixture
async def upstream() -> AsyncIterator[RunningUpstream]:
    async with running_upstream(MockUpstream()) as upstream:
        yield upstream


def load_of(upstream: RunningUpstream, longest_s: float = 60) -> Load:
    url = upstream.url.removesuffix("/v1")
    return Load(url, traffic(LEAST, ["key"], MIX, seed=1), "gpt-4o-mini", LEAST, longest_s)


async def test_a_load_that_nobody_disturbs_has_exactly_its_count(upstream: RunningUpstream) -> None:
    load = load_of(upstream)

    await load.run(CONCURRENCY)

    assert len({seen.marker for seen in load.seen}) == len(load.seen) == LEAST
    assert all(seen.complete for seen in load.seen)


async def test_each_disturbance_meets_a_load_however_long_the_one_before_took(
    upstream: RunningUpstream,
) -> None:
    load = load_of(upstream)
    met: list[int] = []

    async def disturb() -> None:
        before = len(load.seen)
        await load.until_ended(before + LEAST)  # longer than a load of its least count alone would last
        met.append(len(load.seen) - before)

    await run_disturbed(load, CONCURRENCY, [disturb] * 3)

    assert min(met) >= LEAST
    assert len(load.seen) >= 3 * (LEAST + CONCURRENCY * ROUNDS_BETWEEN)
    assert len({seen.marker for seen in load.seen}) == len(load.seen)


async def test_a_disturbance_that_takes_no_time_leaves_the_load_its_least_count(
    upstream: RunningUpstream,
) -> None:
    load = load_of(upstream)

    async def disturb() -> None:
        return

    await run_disturbed(load, 1, [disturb])

    assert len(load.seen) == LEAST


async def test_a_load_that_may_never_end_stops_by_its_count(upstream: RunningUpstream) -> None:
    load = load_of(upstream)

    with pytest.raises(AssertionError, match="could not end within"):
        await load.run(CONCURRENCY, asyncio.Event())

    most = LEAST + len(range(LEAST, LEAST * MOST_TIMES, BLOCK)) * BLOCK
    assert len(load.seen) == most == len({seen.marker for seen in load.seen})


async def test_a_load_that_may_never_end_stops_by_its_time(upstream: RunningUpstream) -> None:
    with pytest.raises(AssertionError, match="could not end within 0 s"):
        await load_of(upstream, longest_s=0).run(CONCURRENCY, asyncio.Event())


def test_more_traffic_is_of_the_same_mix_and_never_repeats_a_marker() -> None:
    planned = list(traffic(500, ["a", "b", "c"], Mix(), seed=1))

    for block in (planned[:500], planned[500 : 500 + BLOCK], planned[-BLOCK:]):
        share = Counter(each.fate for each in block)
        assert share["finish"] == len(block) * 90 // 100
        assert share["upstream_error"] == len(block) * 5 // 100
        assert sum(each.stream for each in block) == len(block) * 20 // 100
    assert len({each.marker for each in planned}) == len(planned)
