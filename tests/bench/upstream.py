"""What each HTTP client library can do, and the CPU time that it takes for a call and for a stream of 100 chunks.

    python -m tests.bench.upstream [--calls 2000] [--streams 200] [--rounds 3] [--concurrency 16] [--leak 200000]

A library counts only when it passes every check: leaving or cancelling closes the connection at once, also before the
headers; separate times to connect, until the first byte, between chunks and in total; a bounded pool per host; proxies;
64 MB each way; nothing left behind by `--leak` requests; and a process that ends cleanly, closed or not.

User and system time of one process per library (all its threads), the median of the rounds; the mock upstream is
another process. The chunks of a stream come one by one, so that each is a read of its own.
"""

import argparse
import asyncio
import json
import resource
import statistics
import subprocess
import sys
from collections.abc import Awaitable, Callable
from typing import Any, Final

import uvloop

from tests.bench import report
from tests.bench.clients import LIBRARIES
from tests.bench.upstream_checks import address_of, failing, leak, leave_without_closing, ordering
from tests.support.upstream import upstream_process

CHUNKS: Final = 100
CHUNK_MS: Final = 5
EXIT_TIMEOUT_S: Final = 30.0
LEAK: Final = "no leak"
LEFT: Final = "left"
CLEAN_EXIT: Final = "clean exit"

Figures = dict[str, float]


def cpu_s() -> float:
    """User and system time of this process so far, all threads."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


async def many(call: Callable[[], Awaitable[int]], count: int, concurrency: int) -> None:
    """`count` calls, `concurrency` of them at a time. Raises AssertionError when one of them brought nothing."""
    remaining = iter(range(count))

    async def caller() -> None:
        for _ in remaining:
            if not await call():
                raise AssertionError("an empty answer")

    async with asyncio.TaskGroup() as callers:
        for _ in range(concurrency):
            callers.create_task(caller())


async def measure(library: str, url: str, arguments: argparse.Namespace) -> Figures:
    """Microseconds of CPU, in a process of its own."""
    whole = ordering("completion=20", stream=False)
    streamed = ordering(f"completion={CHUNKS}; chunk_ms={CHUNK_MS}")
    async with LIBRARIES[library].open() as calls:

        async def per_item_us(call: Callable[[], Awaitable[int]], count: int) -> float:
            await many(call, max(arguments.concurrency, count // 10), arguments.concurrency)
            figures = []
            for _ in range(arguments.rounds):
                began = cpu_s()
                await many(call, count, arguments.concurrency)
                figures.append((cpu_s() - began) / count * 1e6)
            return round(statistics.median(figures), 1)

        return {
            "call_us": await per_item_us(lambda: calls.whole(url, whole), arguments.calls),
            "stream_us": await per_item_us(lambda: calls.streamed(url, streamed), arguments.streams),
        }


async def part(library: str, url: str, arguments: argparse.Namespace) -> Any:
    """What one process of a library is for."""
    match arguments.part:
        case "speed":
            return await measure(library, url, arguments)
        case "checks":
            return await failing(LIBRARIES[library])
    return await leak(LIBRARIES[library], url, arguments.leak, arguments.concurrency)


def child(
    library: str, url: str, name: str, timeout_s: float | None = None
) -> subprocess.CompletedProcess[str]:
    """One part of one library, in its own process."""
    command = [sys.executable, "-m", "tests.bench.upstream", *sys.argv[1:]]
    command += ["--library", library, "--url", url, "--part", name]
    return subprocess.run(command, capture_output=True, text=True, timeout=timeout_s)


def found_by(library: str, url: str, name: str) -> Any:
    """What such a process found out."""
    report.note(f"{library}: {name} ...")
    done = child(library, url, name)
    if done.returncode:
        raise RuntimeError(f"{library}, {name}: {done.stderr}")
    return json.loads(done.stdout)


def unclean_exit(library: str, url: str) -> str:
    """How a process ends that never closed its client; empty when it ends like any other."""
    try:
        done = child(library, url, LEFT, EXIT_TIMEOUT_S)
    except subprocess.TimeoutExpired:
        return "the process does not end"
    return f"the process ended with {done.returncode}" if done.returncode else ""


def row_of(library: str, url: str) -> dict[str, Any]:
    fails: dict[str, str] = found_by(library, url, "checks")
    left_behind = found_by(library, url, "leak")
    if left_behind:
        fails[LEAK] = left_behind
    unclean = unclean_exit(library, url)
    if unclean:
        fails[CLEAN_EXIT] = unclean
    speed: Figures = found_by(library, url, "speed")
    return {**speed, "fails": fails}


def shown(row: dict[str, Any]) -> str:
    fails = "; ".join(f"{name}: {why}" for name, why in row["fails"].items())
    speed = f"{row['call_us']:8.1f} us   {row['stream_us'] / 1000:6.2f} ms"
    return f"{speed}   {'fails ' + fails if fails else 'passes all'}"


def best(rows: dict[str, dict[str, Any]]) -> str:
    """Of those that pass everything the one that takes least for a stream, where the work is; empty: none does."""
    passing = [name for name, row in rows.items() if not row["fails"]]
    return min(passing, key=lambda name: rows[name]["stream_us"], default="")


def parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--calls", type=int, default=2000)
    parser.add_argument("--streams", type=int, default=200)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--concurrency", type=int, default=16)
    parser.add_argument("--leak", type=int, default=200_000, help="requests after which nothing may be left")
    parser.add_argument("--library", choices=sorted(LIBRARIES), help=argparse.SUPPRESS)
    parser.add_argument("--url", help=argparse.SUPPRESS)
    parser.add_argument("--part", help=argparse.SUPPRESS)
    return parser.parse_args()


def main() -> None:
    arguments = parsed()
    if arguments.part == LEFT:
        # no runner, which would close what is left
        uvloop.new_event_loop().run_until_complete(
            leave_without_closing(LIBRARIES[arguments.library], arguments.url)
        )
        return
    if arguments.library:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            print(json.dumps(runner.run(part(arguments.library, arguments.url, arguments))))
        return
    with upstream_process() as base_url:
        rows = {library: row_of(library, address_of(base_url)) for library in LIBRARIES}
    report.table(
        f"CPU per call and per stream of {CHUNKS} chunks, {report.machine()}",
        [*((name, shown(row)) for name, row in rows.items()), ("best", best(rows) or "none passes all")],
    )
    report.result(rows | {"best": best(rows)})


if __name__ == "__main__":
    main()
