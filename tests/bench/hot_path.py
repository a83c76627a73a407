"""CPU time that one gateway process spends on a non-streamed request, with a key, a budget and events to Kafka.

    python -m tests.bench.hot_path [--requests 5000] [--rounds 3] [--concurrency 16] [--profile]

User and system time of the process (all its threads) from /proc, over everything from the first request to the last
event acknowledged by Kafka, divided by the requests; the median of the rounds. The mock upstream, the broker and the
load are other processes.
"""

import argparse
import asyncio
import os
import signal
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import aiohttp

from tests.bench import report
from tests.bench.surroundings import surroundings
from tests.support.cluster import Cluster, Shape, running
from tests.support.evidence import count_records

EVENTS_PER_REQUEST: Final = 3
"""RequestStarted, UsageRecorded, RequestLogged."""
EVENTS_TIMEOUT_S: Final = 60
TICKS_PER_S: Final = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True)
class Figures:
    user_s: float
    system_s: float
    wall_s: float
    events: int

    @property
    def cpu_s(self) -> float:
        return self.user_s + self.system_s


@dataclass(frozen=True, slots=True)
class Cpu:
    user_s: float
    system_s: float

    @classmethod
    def of(cls, pid: int) -> "Cpu":
        # the name in field 2 may hold spaces: count from behind its closing bracket
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return cls(int(fields[11]) / TICKS_PER_S, int(fields[12]) / TICKS_PER_S)


async def post_many(cluster: Cluster, key: str, requests: int, concurrency: int) -> None:
    """The same small completion, over connections that stay open."""
    body = {
        "model": cluster.model,
        "messages": [
            {"role": "system", "content": "You are a helpful assistant."},
            {"role": "user", "content": "What does a request through the gateway cost? " * 5},
        ],
        "max_tokens": 64,
    }
    remaining = iter(range(requests))
    connector = aiohttp.TCPConnector(limit=0)
    headers = {"Authorization": f"Bearer {key}"}
    async with aiohttp.ClientSession(cluster.url, connector=connector, headers=headers) as session:

        async def client() -> None:
            for _ in remaining:
                async with session.post("/v1/chat/completions", json=body) as response:
                    text = await response.read()
                    if response.status != 200:
                        raise AssertionError(f"answered {response.status}: {text[:500]!r}")

        async with asyncio.TaskGroup() as clients:
            for _ in range(concurrency):
                clients.create_task(client())


async def until_events(cluster: Cluster, expected: int) -> int:
    """Wait until Kafka holds `expected` records of requests; returns how many it holds."""
    deadline = time.monotonic() + EVENTS_TIMEOUT_S
    while (found := await count_records(cluster.kafka, cluster.topic_prefix)) < expected:
        if time.monotonic() > deadline:
            raise AssertionError(f"only {found} of {expected} events reached the log")
        await asyncio.sleep(0.05)
    return found


async def measure(arguments: argparse.Namespace) -> tuple[list[Figures], str]:
    with surroundings() as around:
        profile = around.directory / "profile.txt"
        launcher = ("-m", "tests.bench.sampler", str(profile)) if arguments.profile else ("-m",)
        shape = Shape(
            gateways=1,
            log_ingests=0,
            balancer=False,
            partitions=12,
            request_timeout_s=60,
            launcher=launcher,
        )
        async with running(shape, around.directory, around.kafka, around.upstream_url) as cluster:
            budgets = [{"limit": "1000000.00", "window": "1M"}]
            _, key = await cluster.create_key("hot", budgets)
            await post_many(cluster, key, arguments.warm_up, arguments.concurrency)
            events = await until_events(cluster, arguments.warm_up * EVENTS_PER_REQUEST)
            if arguments.profile:
                os.kill(cluster.children["gateway-1"].pid, signal.SIGUSR1)
            rounds: list[Figures] = []
            for number in range(arguments.rounds):
                report.note(f"round {number + 1} of {arguments.rounds} ...")
                rounds.append(await _measured(cluster, key, arguments, events))
                events += rounds[-1].events
        return rounds, profile.read_text() if arguments.profile else ""


async def _measured(cluster: Cluster, key: str, arguments: argparse.Namespace, events_before: int) -> Figures:
    pid = cluster.children["gateway-1"].pid
    start, began = Cpu.of(pid), time.monotonic()
    await post_many(cluster, key, arguments.requests, arguments.concurrency)
    wall_s = time.monotonic() - began
    events = (
        await until_events(cluster, events_before + arguments.requests * EVENTS_PER_REQUEST) - events_before
    )
    end = Cpu.of(pid)
    return Figures(end.user_s - start.user_s, end.system_s - start.system_s, wall_s, events)


def show_profile(text: str, rows: int) -> None:
    lines = text.splitlines()
    samples = int(lines[0])
    entries = [(int(own), int(total), name) for own, total, name in (line.split("\t") for line in lines[1:])]
    by_own = sorted(entries, reverse=True)[:rows]
    report.table(
        "Share of CPU in the function itself", [(f"{own / samples:6.1%}", name) for own, _, name in by_own]
    )
    by_total = sorted(entries, key=lambda entry: entry[1], reverse=True)[:rows]
    report.table("Share in and below it", [(f"{total / samples:6.1%}", name) for _, total, name in by_total])


def per_request_us(seconds: float, requests: int) -> float:
    return round(seconds * 1e6 / requests, 1)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--requests", type=int, default=5000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--warm-up", type=int, default=1000)
    parser.add_argument("--concurrency", type=int, default=16)
    parser.add_argument(
        "--profile", action="store_true", help="also show where the time goes (costs some itself)"
    )
    parser.add_argument("--rows", type=int, default=40, help="lines per table of --profile")
    arguments = parser.parse_args()
    requests = arguments.requests
    rounds, profile = asyncio.run(measure(arguments))
    if profile:
        show_profile(profile, arguments.rows)
    rounds.sort(key=lambda each: each.cpu_s)
    middle = rounds[len(rounds) // 2]
    cpu_us = per_request_us(middle.cpu_s, requests)
    rps = round(requests / middle.wall_s, 1)
    report.table(
        f"Hot path, {report.machine()}",
        [
            ("requests", f"{requests} non-streamed per round, {arguments.concurrency} at a time"),
            ("CPU per request", f"{cpu_us} us (median of {len(rounds)})"),
            ("all rounds", ", ".join(f"{per_request_us(each.cpu_s, requests)}" for each in rounds)),
            ("of it in user mode", f"{per_request_us(middle.user_s, requests)} us"),
            ("of it in the kernel", f"{per_request_us(middle.system_s, requests)} us"),
            ("throughput", f"{rps} requests/s (load, upstream and broker share the cores)"),
            ("events on Kafka", middle.events),
        ],
    )
    report.result({"cpu_us_per_request": cpu_us, "rps": rps, "events": middle.events})


if __name__ == "__main__":
    main()
