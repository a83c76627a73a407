"""A whole gateway inside the test's event loop, on a real SQLite log and a real port, with the log's events at hand."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import aiohttp
import msgspec
import uvicorn
from starlette.types import ASGIApp

from services.gateway.main import gateway_service
from shared.eventlog.open import open_log
from shared.eventlog.port import EventLog, NewRecord
from shared.events import (
    AnyEvent,
    Bucket,
    CounterPublished,
    GovernanceChanged,
    PartitionProgress,
    RequestLogged,
    RequestStarted,
    UsageRecorded,
    decode,
    encode,
)
from shared.governance.keys import display_prefix, new_key, sha256_of
from shared.governance.model import Budget, Credential, PriceOverride, Provider, Route, VirtualKey
from shared.settings import Settings
from shared.topics import GOVERNANCE, REQUESTS, SPEND, USAGE, partition_for
from tests.support.eventually import eventually
from tests.support.upstream.run import QuietServer, bound_socket

Governed = VirtualKey | Provider | Route | PriceOverride
Event = TypeVar("Event", RequestLogged, RequestStarted, UsageRecorded)

DEMO = Provider(name="demo", type="demo", base_url="demo:")
# What the mock serves costs a dollar per million prompt tokens and two per million completion tokens.
MOCK_PRICE = PriceOverride(
    model="mock/gpt-4o-mini", input_per_million_nanos=1_000_000_000, output_per_million_nanos=2_000_000_000
)


def mock_cost(prompt: int, completion: int) -> int:
    """Nano-dollars at MOCK_PRICE."""
    return prompt * 1_000 + completion * 2_000


def mock_provider(url: str, **overrides: Any) -> Provider:
    values: dict[str, Any] = {
        "name": "mock",
        "type": "openai",
        "base_url": url,
        "models": ("gpt-4o-mini", "text-embedding-3-small", "dall-e-3", "whisper-1", "tts-1"),
        "credentials": (Credential(name="main", env="PATH"),),  # any variable that is always set
    }
    return Provider(**(values | overrides))


def virtual_key(name: str = "team-a", **overrides: Any) -> tuple[str, VirtualKey]:
    """A new key: its secret, and what governance knows of it."""
    secret = new_key()
    values: dict[str, Any] = {
        "id": f"vk_{name}",
        "name": name,
        "key_sha256": sha256_of(secret),
        "prefix": display_prefix(secret),
    }
    return secret, VirtualKey(**(values | overrides))


def budget(limit_nanos: int, **overrides: Any) -> Budget:
    values: dict[str, Any] = {"id": "bud_1", "limit_nanos": limit_nanos, "window": "1M"}
    return Budget(**(values | overrides))


@dataclass
class RunningGateway:
    """`http` has the gateway's address as its base URL."""

    url: str
    http: aiohttp.ClientSession
    log: EventLog
    settings: Settings
    versions: dict[tuple[str, str], int] = field(default_factory=dict)

    async def events(self, topic: str) -> list[AnyEvent]:
        """Everything in a topic, partition after partition."""
        found: list[AnyEvent] = []
        for partition, end in (await self.log.end_offsets(topic)).items():
            async for batch in self.log.read(topic, partition, 0, end):
                found += [decode(record.value) for record in batch if record.value is not None]
        return found

    async def logged(self, count: int = 1) -> list[RequestLogged]:
        """The logged requests in the order of their start, once there are so many; more is a mistake."""

        async def enough() -> list[RequestLogged]:
            found = [event for event in await self.events(REQUESTS) if isinstance(event, RequestLogged)]
            return found if len(found) >= count else []

        found = await eventually(enough)
        assert len(found) == count, [event.request_id for event in found]
        return sorted(found, key=lambda event: event.started_at_ms)

    async def usage(self, kind: type[Event]) -> list[Event]:
        return [event for event in await self.events(USAGE) if isinstance(event, kind)]

    async def govern(self, *entities: Governed) -> None:
        """Append changes; the gateway follows within moments."""
        await govern(self.log, self.versions, *entities)

    async def publish_spend(
        self, key: VirtualKey, budget_id: str, bucket: Bucket, *, at_ms: int, producer: str = ""
    ) -> None:
        """What the budget service would publish: one counter, and its heartbeat."""
        partition = partition_for(key.id, self.settings.partitions)
        counter = CounterPublished(
            budget_id=budget_id, partition=partition, epoch=1, through_offset=0, buckets=(bucket,)
        )
        records = [NewRecord(SPEND, partition, f"counter/{budget_id}", encode(counter))]
        for number in range(self.settings.partitions):
            progress = PartitionProgress(
                partition=number, epoch=1, through_offset=0, at_ms=at_ms, event_time_ms=at_ms
            )
            records.append(NewRecord(SPEND, number, "progress", encode(progress)))
        await self.log.append(records)

    async def chat(self, model: str, text: str, secret: str = "", **fields: Any) -> aiohttp.ClientResponse:
        """A chat completion, read to its end."""
        body = {"model": model, "messages": [{"role": "user", "content": text}], **fields}
        headers = {"authorization": f"Bearer {secret}"} if secret else {}
        async with self.http.post("/v1/chat/completions", json=body, headers=headers) as response:
            await response.read()
            return response


async def govern(log: EventLog, versions: dict[tuple[str, str], int], *entities: Governed) -> None:
    records = []
    for entity in entities:
        match entity:
            case VirtualKey():
                kind, identity = "virtual_key", entity.id
            case Provider():
                kind, identity = "provider", entity.name
            case Route():
                kind, identity = "route", entity.name
            case PriceOverride():
                kind, identity = "price", entity.model
        version = versions[kind, identity] = versions.get((kind, identity), 0) + 1
        change = GovernanceChanged(
            change_id=f"chg_{kind}_{identity}_{version}",
            entity=kind,  # type: ignore[arg-type]  # one of the four literals above
            entity_id=identity,
            version=version,
            at_ms=1,
            actor="test",
            action="apply",
            value=msgspec.Raw(msgspec.json.encode(entity)),
        )
        records.append(NewRecord(GOVERNANCE, 0, identity, encode(change)))
    await log.append(records)


@asynccontextmanager
async def running_gateway(
    data_dir: Path, *entities: Governed, environ: Mapping[str, str] | None = None
) -> AsyncIterator[RunningGateway]:
    """`entities` are in force when it is ready; `environ` holds further FINOPS_ settings."""
    settings = Settings.load(
        {
            "FINOPS_DATA_DIR": str(data_dir),
            "FINOPS_PARTITIONS": "2",
            "FINOPS_GATEWAY_ID": "gw-1",
            **(environ or {}),
        }
    )
    log = open_log(settings)
    await log.start()
    versions: dict[tuple[str, str], int] = {}
    try:
        if entities:
            await govern(log, versions, *entities)
        async with (
            gateway_service(settings, log) as app,
            served(app) as url,
            aiohttp.ClientSession(url) as http,
        ):
            yield RunningGateway(url, http, log, settings, versions)
    finally:
        await log.close()


@asynccontextmanager
async def served(app: ASGIApp) -> AsyncIterator[str]:
    """`app` on a free port; gives its URL. At the end running requests are cut after a moment."""
    config = uvicorn.Config(
        app,
        http="httptools",
        lifespan="off",
        access_log=False,
        log_level="critical",
        timeout_graceful_shutdown=1,
    )
    server = QuietServer(config)
    with bound_socket() as listener:
        task = asyncio.create_task(server.serve(sockets=[listener]))
        try:
            while not server.started:
                if task.done():
                    await task
                await asyncio.sleep(0.001)
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            server.should_exit = True
            await task
