"""Load a cluster, let it settle, compare the witnesses."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Final

import aiohttp

from tests.support.audit import Audit, Books, Served, audit
from tests.support.cluster import Cluster
from tests.support.evidence import read_evidence
from tests.support.load import LONGEST_S, Load, Mix, Seen, traffic

KEY_NAMES: Final = ("team-a", "team-b", "team-c")
BUDGETS: Final = (
    {"limit": "1000000.00", "window": "lifetime"},
    {"limit": "1000000.00", "window": "1d", "alignment": "rolling"},
)
"""Far away, and two per key: each has its own counters, and all must agree."""
POLL_INTERVAL_S: Final = 1.0
ROUNDS_BETWEEN: Final = 2
"""Requests per client that end between two disturbances, and after the last."""
Disturbance = Callable[[], Awaitable[None]]


async def create_keys(cluster: Cluster) -> dict[str, str]:
    """Three virtual keys: id -> key."""
    return dict([await cluster.create_key(name, BUDGETS) for name in KEY_NAMES])


def load_for(
    cluster: Cluster,
    keys: Mapping[str, str],
    least: int,
    *,
    mix: Mix | None = None,
    seed: int = 1,
    longest_s: float = LONGEST_S,
) -> Load:
    planned = traffic(least, list(keys.values()), mix or Mix(), seed)
    return Load(cluster.url, planned, cluster.model, least, longest_s)


async def run_disturbed(load: Load, concurrency: int, disturbances: Sequence[Disturbance]) -> None:
    """Run the load, and amid it one disturbance after the other, spread evenly over its least count of requests.

    However fast or slow the machine is, each disturbance meets the load, which goes on for some rounds after each: it
    ends after the last of them.
    """
    may_end = asyncio.Event()
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(load.run(concurrency, may_end))
        calm_from = 0
        for number, disturb in enumerate(disturbances, start=1):
            await load.until_ended(max(calm_from, load.least * number // (len(disturbances) + 1)))
            await disturb()
            calm_from = len(load.seen) + concurrency * ROUNDS_BETWEEN
        await load.until_ended(calm_from)
        may_end.set()


def killing(cluster: Cluster, name: str) -> Disturbance:
    """kill -9, then start again."""

    async def disturb() -> None:
        await cluster.kill(name)
        await cluster.start(name)

    return disturb


def restarting(cluster: Cluster, name: str) -> Disturbance:
    """SIGTERM, then start again."""

    async def disturb() -> None:
        await cluster.stop(name)
        await cluster.start(name)

    return disturb


async def served_by(upstream_url: str) -> dict[str, Served]:
    """What the mock upstream at `upstream_url` (ending in /v1) did, by marker."""
    served: dict[str, Served] = {}
    async with (
        aiohttp.ClientSession() as session,
        session.get(f"{upstream_url.removesuffix('/v1')}/__served") as response,
    ):
        for call in await response.json():
            entry = served.setdefault(call["marker"], Served())
            entry.calls += 1
            if call["outcome"] == "finished":
                entry.finished += 1
                entry.prompt += call["prompt_tokens"]
                entry.completion += call["completion_tokens"]
    return served


async def books_of(cluster: Cluster, keys: Sequence[str], seen: Sequence[Seen]) -> Books:
    """Ask every witness now."""
    return Books(
        seen=seen,
        served=await served_by(cluster.upstream_url),
        evidence=await read_evidence(cluster.kafka, cluster.topic_prefix),
        rows=await cluster.rows(),
        keys={key_id: await cluster.key(key_id) for key_id in keys},
        price=cluster.shape.price,
    )


async def settle(cluster: Cluster, keys: Sequence[str], seen: Sequence[Seen], timeout_s: float) -> Audit:
    """Ask until all witnesses agree, and still agree when nothing can be abandoned any more.

    Returns the last audit, with its problems if there are any left after `timeout_s`.
    """
    deadline = time.monotonic() + timeout_s
    while True:
        books = await books_of(cluster, keys, seen)
        last = audit(books)
        final_at_ms = max((event["deadline_ms"] for event in books.evidence.started.values()), default=0)
        final = time.time() * 1000 > final_at_ms + cluster.shape.abandon_grace_s * 1000
        if (final and not last.problems) or time.monotonic() > deadline:
            return last
        await asyncio.sleep(POLL_INTERVAL_S)
