"""How fast lists and searches are with many stored requests, and models with many keys.

    python -m tests.bench.logs [--rows 1000000] [--keys 1000] [--runs 9] [--keep DIR]

Fills the embedded store through the product's own schema with conversations made of paragraphs of this Python's
documentation, over ten days; then starts `finops log-ingest` on it as `finops up` does (a process behind a Unix
socket) and asks its HTTP API. `page_ms` is the median of the first page; `search_ms` the slowest median of several
searches, from a word of one request to a word of nearly all. `--keep DIR` fills DIR once and uses it again.
"""

import argparse
import asyncio
import json
import os
import random
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from itertools import accumulate
from pathlib import Path
from typing import Any, Final

import aiohttp

from services.log_ingest.batch import columns_of, insert_token
from services.log_ingest.migrate import migrate
from services.log_ingest.rows import TABLE, VERSION_LOGGED, LogRow
from services.log_ingest.store.chdb_store import ChdbStore
from shared.eventlog.open import open_log
from shared.governance.keys import new_key, sha256_of
from shared.governance.model import Provider, VirtualKey
from shared.ids import new_id
from shared.settings import Settings
from shared.topics import REQUESTS
from tests.bench import report
from tests.bench.paragraphs import documentation_paragraphs, rare_word
from tests.support.gateway import govern
from tests.support.log_ingest import ADMIN_TOKEN, SECRET_KEY
from tests.support.processes import Child, free_port

BATCH_ROWS: Final = 20_000
DAYS: Final = 10
DAY_MS: Final = 86_400_000
LISTED_MODELS: Final = 300
PROMPT_CHARS: Final = 2100
ANSWER_CHARS: Final = 1050
MODELS: Final = (
    ("openai", "gpt-4o-mini"),
    ("openai", "gpt-4.1"),
    ("groq", "llama-3.3-70b-versatile"),
    ("openrouter", "anthropic/claude-sonnet-4.5"),
)


@dataclass(frozen=True, slots=True)
class Measured:
    name: str
    times_ms: list[float]

    @property
    def median_ms(self) -> float:
        return statistics.median(self.times_ms)


class Generator:
    """Rows like those of a busy team, from a fixed seed. Keys are used unevenly, as in life (1/rank)."""

    def __init__(self, rows: int, keys: int, end_ms: int) -> None:
        self._random = random.Random(7)
        self._paragraphs = documentation_paragraphs()
        self._systems = ["You are an assistant. " + self._text(600) for _ in range(40)]
        self._keys = [f"vk_{number:05d}" for number in range(keys)]
        self._weights = list(accumulate(1 / rank for rank in range(1, keys + 1)))
        self._step_ms = DAYS * DAY_MS / rows
        self._start_ms = end_ms - DAYS * DAY_MS

    def batch(self, first: int, count: int) -> list[LogRow]:
        owners = self._random.choices(range(len(self._keys)), cum_weights=self._weights, k=count)
        return [self._row(first + number, owner) for number, owner in enumerate(owners)]

    def _text(self, characters: int) -> str:
        parts: list[str] = []
        size = 0
        while size < characters:
            part = self._random.choice(self._paragraphs)
            parts.append(part)
            size += len(part)
        return "\n\n".join(parts)[:characters]

    def _row(self, number: int, owner: int) -> LogRow:
        pick = self._random.random
        started = int(self._start_ms + number * self._step_ms)
        provider, model = MODELS[int(pick() * len(MODELS))]
        system = self._systems[int(pick() * len(self._systems))]
        question = f"{self._text(PROMPT_CHARS - len(system))} ticket{number}"
        answer = self._text(ANSWER_CHARS)
        failed = pick() < 0.02
        messages = [{"role": "system", "content": system}, {"role": "user", "content": question}]
        cost = int(pick() * 20_000_000)
        return LogRow(
            started_at=started,
            request_id=new_id("req", started),
            version=VERSION_LOGGED,
            ended_at=started + 900,
            gateway_id="gateway-1",
            virtual_key_id=self._keys[owner],
            virtual_key_name=f"team-{owner}",
            endpoint="chat.completions",
            provider=provider,
            model=model,
            requested_model=f"{provider}/{model}",
            stream=pick() < 0.5,
            end_user=f"user-{int(pick() * 3000)}",
            chat_id=f"chat-{number // 6}",
            task="title" if pick() < 0.15 else "",
            client="OpenWebUI",
            status="error" if failed else "success",
            http_status=500 if failed else 200,
            error_code="upstream_error" if failed else "",
            error_message="",
            finish_reason="stop",
            prompt_tokens=len(question) // 4,
            completion_tokens=len(answer) // 4,
            cached_read_tokens=0,
            cache_write_tokens=0,
            cache_write_1h_tokens=0,
            reasoning_tokens=0,
            prompt_audio_tokens=0,
            prompt_image_tokens=0,
            completion_audio_tokens=0,
            completion_image_tokens=0,
            images=0,
            characters=0,
            audio_ms=0,
            searches=0,
            search_units=0,
            cost=Decimal(cost).scaleb(-9),
            cost_basis="priced",
            price_version="bench",
            service_tier="",
            image_quality="",
            image_size="",
            latency_ms=int(200 + pick() * 8000),
            ttft_ms=int(50 + pick() * 900),
            attempts="[]",
            request=json.dumps({"model": f"{provider}/{model}", "messages": messages}),
            request_bytes=PROMPT_CHARS,
            response=json.dumps({"choices": [{"message": {"role": "assistant", "content": answer}}]}),
            response_kind="json",
            response_bytes=ANSWER_CHARS,
            prompt_text=f"{system}\n{question}",
            answer_text=answer,
            source_topic=REQUESTS,
            source_partition=number % 12,
            source_offset=number // 12,
        )


async def fill(directory: Path, rows: int, keys: int) -> float:
    """Fill the store below `directory` up to `rows`; the seconds it took."""
    store = ChdbStore(directory / "clickhouse")
    await store.start()
    try:
        await migrate(store)
        there = int((await store.query("SELECT count() AS n FROM request_logs"))[0]["n"])
        if there >= rows:
            report.note(f"{there:,} rows are there already")
            return 0.0
        await store.command("TRUNCATE TABLE request_logs")
        generator = Generator(rows, keys, time.time_ns() // 1_000_000)
        started = time.monotonic()
        for first in range(0, rows, BATCH_ROWS):
            batch = generator.batch(first, min(BATCH_ROWS, rows - first))
            await store.insert(TABLE, columns_of(batch), token=insert_token(batch))
            done = first + len(batch)
            if done % (BATCH_ROWS * 5) == 0:
                report.note(f"{done:,} rows, {done / (time.monotonic() - started):,.0f} per second")
        return time.monotonic() - started
    finally:
        await store.close()


def questions(rows: int) -> Iterator[tuple[str, str, dict[str, str]]]:
    """(kind, name, parameters) of every list that is asked for."""
    yield "page", "first page", {}
    yield "page", "first page, last 24 h", {"period": "24h"}
    yield "page", "first page of a rare key", {"virtual_key": "team-900"}
    yield "page", "errors above 5 s", {"status": "error", "min_latency_ms": "5000"}
    yield "search", "search: a word of one request", {"search": f"ticket{rows // 3}"}
    yield "search", "search: a word of none", {"search": "xylophonist"}
    yield "search", "search: a rare word", {"search": rare_word(documentation_paragraphs())}
    yield "search", "search: a common word", {"search": "function"}
    yield "search", "search: a word of all", {"search": "assistant"}
    yield "search", "search: three words", {"search": "socket server timeout"}
    yield "search", "search: a script without spaces", {"search": "天気"}
    yield "search", "search: common words, one key", {"search": "return value", "virtual_key": "team-900"}


async def ask(session: aiohttp.ClientSession, path: str, parameters: dict[str, str]) -> tuple[float, Any]:
    started = time.perf_counter()
    async with session.get(path, params=parameters) as response:
        body = await response.read()
        took = (time.perf_counter() - started) * 1000
        if response.status != 200:
            raise AssertionError(f"{path} {parameters} answered {response.status}: {body[:300]!r}")
    return took, json.loads(body)


async def measure_logs(directory: Path, rows: int, runs: int) -> list[tuple[str, Measured]]:
    """Ask the service as `finops up` runs it: its own process, behind a Unix socket."""
    uds = str(directory / "log-ingest.sock")
    environment = {
        "PATH": os.defpath,
        "FINOPS_DATA_DIR": str(directory),
        "FINOPS_UDS": uds,
        "FINOPS_ADMIN_TOKEN": ADMIN_TOKEN,
        "FINOPS_SECRET_KEY": SECRET_KEY,
    }
    child = Child(
        "log-ingest",
        [sys.executable, "-m", "services.cli", "log-ingest"],
        environment,
        directory / "log-ingest.log",
    )
    child.start()
    headers = {"Authorization": f"Bearer {ADMIN_TOKEN}"}
    found = []
    try:
        async with aiohttp.ClientSession(
            "http://log-ingest", connector=aiohttp.UnixConnector(uds), headers=headers
        ) as session:

            async def ready() -> bool:
                try:
                    async with session.get("/readyz") as response:
                        return response.status == 200
                except (aiohttp.ClientError, OSError):
                    return False

            await child.until(ready, 60, "ready")
            for kind, name, parameters in questions(rows):
                times = []
                items = 0
                for _ in range(runs + 1):  # the first, cold, is reported but is not in the median
                    took, answer = await ask(session, "/api/logs", parameters)
                    times.append(took)
                    items = len(answer["items"])
                found.append((kind, Measured(f"{name} ({items} rows; cold {times[0]:.0f} ms)", times[1:])))
    finally:
        await child.stop()
    return found


async def measure_models(directory: Path, keys: int, runs: int) -> Measured:
    """GET /v1/models of a gateway process that knows `keys` virtual keys, asked with one of them after the other."""
    secrets = [new_key() for _ in range(keys)]
    port = free_port()
    environment = {"PATH": os.defpath, "FINOPS_DATA_DIR": str(directory), "FINOPS_PORT": str(port)}
    environment["FINOPS_SECRET_KEY"] = SECRET_KEY
    await govern_before_start(environment, secrets)
    url = f"http://127.0.0.1:{port}"
    child = Child(
        "gateway", [sys.executable, "-m", "services.cli", "gateway"], environment, directory / "gateway.log"
    )
    child.start()
    times: list[float] = []
    try:
        await child.until_answering(f"{url}/readyz", 60)
        async with aiohttp.ClientSession(url) as session:
            for number in range(max(runs, 100) + 1):
                headers = {"Authorization": f"Bearer {secrets[-1 - number % keys]}"}
                started = time.perf_counter()
                async with session.get("/v1/models", headers=headers) as response:
                    listed = await response.json()
                    times.append((time.perf_counter() - started) * 1000)
                if response.status != 200 or len(listed["data"]) < LISTED_MODELS:
                    raise AssertionError(f"/v1/models answered {response.status} with {str(listed)[:300]}")
    finally:
        await child.stop()
    return Measured(f"/v1/models: {LISTED_MODELS} models, {keys:,} keys", times[1:])


async def govern_before_start(environment: dict[str, str], secrets: list[str]) -> None:
    """Put the keys and a provider with a long list of models into the event log that the gateway will read."""
    log = open_log(Settings.load(environment))
    await log.start()
    try:
        models = tuple(f"model-{number}" for number in range(LISTED_MODELS))
        provider = Provider(name="mock", type="openai", base_url="http://127.0.0.1:9/v1", models=models)
        entities = [
            VirtualKey(
                id=f"vk_{number:05d}", name=f"team-{number}", key_sha256=sha256_of(secret), prefix=secret[:10]
            )
            for number, secret in enumerate(secrets)
        ]
        await govern(log, {}, provider, *entities)
    finally:
        await log.close()


async def bench(rows: int, keys: int, runs: int, directory: Path) -> None:
    seconds = await fill(directory, rows, keys)
    logs = await measure_logs(directory, rows, runs)
    with tempfile.TemporaryDirectory(prefix="finops-bench-") as folder:
        models = await measure_models(Path(folder), keys, runs)
    everything = [*logs, ("models", models)]
    lines: list[tuple[str, object]] = [("rows", f"{rows:,}")]
    if seconds:
        lines.append(("filled at", f"{rows / seconds:,.0f} rows/s, generator included"))
    lines += [
        (
            measured.name,
            f"{measured.median_ms:8.1f} ms median   {max(measured.times_ms):8.1f} ms worst of {runs}",
        )
        for _, measured in everything
    ]
    report.table(f"Logs and models on {report.machine()}", lines)
    report.result(
        {
            "rows": rows,
            "models_ms": round(models.median_ms, 2),
            "page_ms": round(logs[0][1].median_ms, 1),
            "search_ms": round(max(measured.median_ms for kind, measured in logs if kind == "search"), 1),
        }
    )


def main() -> None:
    parser = argparse.ArgumentParser(
        description="Lists and searches over many stored requests; models with many keys."
    )
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--keys", type=int, default=1000)
    parser.add_argument("--runs", type=int, default=9)
    parser.add_argument("--keep", type=Path, help="fill this directory once and use it again")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="finops-bench-") as folder:
        directory = arguments.keep or Path(folder)
        asyncio.run(bench(arguments.rows, arguments.keys, arguments.runs, directory))


if __name__ == "__main__":
    main()
