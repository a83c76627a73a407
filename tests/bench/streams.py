"""CPU time that one gateway process spends on a stream of 100 chunks: passed through, and translated.

    python -m tests.bench.streams [--streams 800] [--rounds 3] [--concurrency 64] [--pace-ms 2]

User and system time of the process (all its threads) from /proc, with a key, a budget and all events, divided by the
streams; the median of the rounds. The providers and the load are other processes. Passed through: a server of
OpenAI's format. Translated: Anthropic's. The chunks come one by one, each a read and a write of its own; `--concurrency`
streams with `--pace-ms` between two chunks keep the gateway busy, which is when its CPU time counts. The table also has
what a stream costs a gateway that is mostly idle (it goes to sleep and wakes up for each chunk), and one whose chunks
come as fast as they can, many in one read.
"""

import argparse
import asyncio
import os
import signal
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import aiohttp
import uvloop

from services.gateway.main import gateway_service
from shared.eventlog.open import open_log
from shared.governance.model import Credential, PriceOverride, Provider
from shared.server import serve
from shared.settings import Settings
from tests.bench import report
from tests.support.gateway import MOCK_PRICE, budget, govern, mock_provider, served, virtual_key
from tests.support.providers.anthropic import events, text, wire
from tests.support.upstream import upstream_process
from tests.support.upstream.app import Receive, Scope, Send
from tests.support.upstream.directives import read_directives

CHUNKS: Final = 100
WORD: Final = "word "
TICKS_PER_S: Final = os.sysconf("SC_CLK_TCK")
CLAUDE: Final = "claude-opus-5"
CLAUDE_PRICE: Final = PriceOverride(model=f"claude/{CLAUDE}", input_per_million_nanos=1_000_000_000)


@dataclass(frozen=True, slots=True)
class Load:
    """So many streams at a time, with so much between two chunks of each."""

    name: str
    concurrency: int
    pace_ms: int


AT_LEISURE: Final = Load("mostly idle", 16, 5)


@dataclass(frozen=True, slots=True)
class Target:
    """A gateway process, and how to call it."""

    pid: int
    url: str
    key: str


class PacedMessages:
    """ASGI: Anthropic's events of an answer of 100 pieces, as far apart as the request orders of the mock."""

    def __init__(self) -> None:
        self._pieces = [wire(item) for item in events(text(WORD * CHUNKS), pieces=CHUNKS)]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        body = b""
        more = True
        while more:
            message = await receive()
            body += message.get("body", b"")
            more = message.get("more_body", False)
        pace_s = read_directives(body).chunk_ms / 1000
        headers = [(b"content-type", b"text/event-stream; charset=utf-8")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        for piece in self._pieces:
            if pace_s:
                await asyncio.sleep(pace_s)
            await send({"type": "http.response.body", "body": piece, "more_body": True})
        await send({"type": "http.response.body", "body": b""})


async def serve_messages() -> None:
    """The process of Anthropic's fake: prints its address, then serves until it is stopped."""
    stopped = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stopped.set)
    async with served(PacedMessages()) as url:
        print(url, flush=True)
        await stopped.wait()


async def serve_gateway(directory: Path, mock_url: str, claude_url: str) -> None:
    """The process that is measured: prints its address and a key, then serves until it is stopped."""
    settings = Settings.load({"FINOPS_DATA_DIR": str(directory), "FINOPS_PORT": "0"})
    log = open_log(settings)
    await log.start()
    secret, key = virtual_key("bench", budgets=(budget(1_000_000_000_000_000),))
    claude = Provider(
        name="claude",
        type="anthropic",
        base_url=claude_url,
        models=(CLAUDE,),
        credentials=(Credential(name="main", env="PATH"),),  # any variable that is always set
    )
    await govern(log, {}, mock_provider(mock_url), MOCK_PRICE, claude, CLAUDE_PRICE, key)
    try:
        async with gateway_service(settings, log) as app:
            await serve(app, settings, ready=lambda url: print(url, secret, flush=True))
    finally:
        await log.close()


@contextmanager
def child(*arguments: str) -> Iterator[tuple[int, list[str]]]:
    """This module as another process; gives its pid and the words it printed first. Stopped at the end."""
    command = [sys.executable, "-m", "tests.bench.streams", *arguments]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        try:
            assert process.stdout is not None
            words = process.stdout.readline().split()
            if not words:
                raise RuntimeError(f"{arguments[0]} did not start")
            yield process.pid, words
        finally:
            process.terminate()
            process.wait(30)


def cpu_s(pid: int) -> float:
    """User and system time of a process so far, all threads."""
    # the name in field 2 may hold spaces: count from behind its closing bracket
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS_PER_S


async def stream_many(target: Target, model: str, load: Load, count: int) -> None:
    """So many streams, read to their ends. Raises AssertionError when one is not whole."""
    orders = f"mock(completion={CHUNKS}; chunk_ms={load.pace_ms})"
    body = {
        "model": model,
        "messages": [{"role": "user", "content": orders}],
        "max_tokens": 200,
        "stream": True,
        "stream_options": {"include_usage": True},
    }
    remaining = iter(range(count))
    headers = {"authorization": f"Bearer {target.key}"}
    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(target.url, connector=connector, headers=headers) as session:

        async def client() -> None:
            for _ in remaining:
                async with session.post("/v1/chat/completions", json=body) as response:
                    answer = await response.read()
                if answer.count(WORD.encode()) < CHUNKS or not answer.endswith(b"data: [DONE]\n\n"):
                    raise AssertionError(f"answered {response.status}: {answer[-500:]!r}")

        async with asyncio.TaskGroup() as clients:
            for _ in range(load.concurrency):
                clients.create_task(client())


async def measure(target: Target, model: str, load: Load, streams: int, rounds: int) -> list[float]:
    """Milliseconds of CPU per stream, round by round."""
    await stream_many(target, model, replace(load, pace_ms=0), streams // 2)
    figures = []
    for number in range(rounds):
        report.note(f"{model}, {load.name}: round {number + 1} of {rounds} ...")
        began = cpu_s(target.pid)
        await stream_many(target, model, load, streams)
        figures.append((cpu_s(target.pid) - began) / streams * 1000)
    return figures


def run(loads: Sequence[Load], streams: int, rounds: int) -> dict[tuple[str, Load], list[float]]:
    """The rounds of each way under each load."""
    with ExitStack() as stack:
        mock_url = stack.enter_context(upstream_process())
        _, (claude_url,) = stack.enter_context(child("--messages"))
        directory = stack.enter_context(tempfile.TemporaryDirectory(prefix="finops-bench-"))
        pid, (url, key) = stack.enter_context(child("--gateway", directory, mock_url, claude_url))
        target = Target(pid, url, key)
        models = {"passthrough": "mock/gpt-4o-mini", "translated": f"claude/{CLAUDE}"}
        return {
            (name, load): asyncio.run(measure(target, model, load, streams, rounds))
            for load in loads
            for name, model in models.items()
        }


def described(load: Load) -> str:
    return f"{load.name}: {load.concurrency} at a time, {load.pace_ms} ms between chunks"


def shown(figures: Sequence[float]) -> str:
    rounds = ", ".join(f"{figure:.2f}" for figure in figures)
    return f"{statistics.median(figures):.2f} ms (all rounds: {rounds})"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--streams", type=int, default=800)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--concurrency", type=int, default=64)
    parser.add_argument("--pace-ms", type=int, default=2, help="between two chunks")
    parser.add_argument("--messages", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--gateway", nargs=3, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        if arguments.messages:
            runner.run(serve_messages())
            return
        if arguments.gateway:
            directory, mock_url, claude_url = arguments.gateway
            runner.run(serve_gateway(Path(directory), mock_url, claude_url))
            return
    busy = Load("busy", arguments.concurrency, arguments.pace_ms)
    figures = run(
        (busy, AT_LEISURE, replace(busy, name="at full speed", pace_ms=0)),
        arguments.streams,
        arguments.rounds,
    )
    report.table(
        f"CPU of one gateway per stream of {CHUNKS} chunks, {report.machine()}",
        [
            ("streams", f"{arguments.streams} per round"),
            *((f"{name}, {described(load)}", shown(rounds)) for (name, load), rounds in figures.items()),
        ],
    )
    report.result(
        {
            f"{name}_ms_per_100_chunks": round(statistics.median(rounds), 3)
            for (name, load), rounds in figures.items()
            if load == busy
        }
    )


if __name__ == "__main__":
    main()
