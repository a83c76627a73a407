"""CPU time that each HTTP client library takes for a call to a provider and for a stream of 100 chunks.

    python -m tests.bench.upstream [--calls 2000] [--streams 200] [--rounds 3] [--concurrency 16]

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
from dataclasses import asdict, dataclass
from typing import Final

import uvloop

from tests.bench import report
from tests.bench.clients import LIBRARIES
from tests.support.upstream import upstream_process

CHUNKS: Final = 100
CHUNK_MS: Final = 5


@dataclass(frozen=True, slots=True)
class Row:
    """CPU in microseconds."""

    call_us: float
    stream_us: float


def cpu_s() -> float:
    """User and system time of this process so far, all threads."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def body_of(*, stream: bool) -> bytes:
    orders = f"mock(completion={CHUNKS}; chunk_ms={CHUNK_MS})" if stream else "mock(completion=20)"
    messages = [{"role": "user", "content": orders}]
    return json.dumps({"model": "gpt-4o-mini", "messages": messages, "stream": stream}).encode()


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


async def measure(library: str, url: str, arguments: argparse.Namespace) -> Row:
    """In a process of its own."""
    whole, streamed = body_of(stream=False), body_of(stream=True)
    async with LIBRARIES[library].open() as calls:

        async def per_item_us(call: Callable[[], Awaitable[int]], count: int) -> float:
            await many(call, max(arguments.concurrency, count // 10), arguments.concurrency)
            figures = []
            for _ in range(arguments.rounds):
                began = cpu_s()
                await many(call, count, arguments.concurrency)
                figures.append((cpu_s() - began) / count * 1e6)
            return round(statistics.median(figures), 1)

        return Row(
            call_us=await per_item_us(lambda: calls.whole(url, whole), arguments.calls),
            stream_us=await per_item_us(lambda: calls.streamed(url, streamed), arguments.streams),
        )


def measured(library: str, url: str) -> Row:
    """The row of one library, from its own process."""
    report.note(f"{library} ...")
    command = [
        sys.executable,
        "-m",
        "tests.bench.upstream",
        *sys.argv[1:],
        "--library",
        library,
        "--url",
        url,
    ]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    return Row(**json.loads(done.stdout))


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--calls", type=int, default=2000)
    parser.add_argument("--streams", type=int, default=200)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--concurrency", type=int, default=16)
    parser.add_argument("--library", choices=sorted(LIBRARIES), help=argparse.SUPPRESS)
    parser.add_argument("--url", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.library:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            print(json.dumps(asdict(runner.run(measure(arguments.library, arguments.url, arguments)))))
        return
    with upstream_process() as base_url:
        rows = {library: measured(library, f"{base_url}/chat/completions") for library in LIBRARIES}
    report.table(
        f"CPU per call and per stream of {CHUNKS} chunks, {report.machine()}",
        [(name, f"{row.call_us:8.1f} us   {row.stream_us / 1000:6.2f} ms") for name, row in rows.items()],
    )
    report.result({name: asdict(row) for name, row in rows.items()})


if __name__ == "__main__":
    main()
