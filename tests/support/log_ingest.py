"""log_ingest running in this process on an embedded log and store, with an HTTP client in front."""

from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import httpx

from services.log_ingest.main import log_ingest_service
from shared.eventlog.open import open_log
from shared.eventlog.port import HEADER_TYPE, HEADER_VERSION, EventLog, NewRecord
from shared.events import AnyEvent, RequestLogged, encode, event_type
from shared.settings import Settings
from shared.topics import REQUESTS, USAGE, partition_for
from tests.support.eventually import eventually

ADMIN_TOKEN = "fo-admin-for-tests"
SECRET_KEY = "A" * 43


def ingest_settings(data_dir: Path, **overrides: str) -> Settings:
    """Embedded log and store below `data_dir`; `overrides` are FINOPS_ variables in lower case."""
    values = {
        "data_dir": str(data_dir),
        "admin_token": ADMIN_TOKEN,
        "secret_key": SECRET_KEY,
        "partitions": "3",
    }
    return Settings.load({f"FINOPS_{name.upper()}": value for name, value in (values | overrides).items()})


@asynccontextmanager
async def started_log(settings: Settings) -> AsyncIterator[EventLog]:
    log = open_log(settings)
    await log.start()
    try:
        yield log
    finally:
        await log.close()


@asynccontextmanager
async def running_ingest(settings: Settings, log: EventLog) -> AsyncIterator[httpx.AsyncClient]:
    """A client with the admin token, in front of the running service."""
    async with (
        log_ingest_service(settings, log) as app,
        httpx.AsyncClient(
            transport=httpx.ASGITransport(app),
            base_url="http://test",
            headers={"authorization": f"Bearer {ADMIN_TOKEN}"},
        ) as client,
    ):
        yield client


def to_append(log: EventLog, events: Iterable[AnyEvent]) -> list[NewRecord]:
    """The records of events, in the topics and partitions that the gateways use."""
    records = []
    for event in events:
        topic = REQUESTS if isinstance(event, RequestLogged) else USAGE
        key = str(getattr(event, "request_id" if topic == REQUESTS else "virtual_key_id"))
        headers = {HEADER_TYPE: event_type(event), HEADER_VERSION: "1"}
        partition = partition_for(key, log.partitions(topic))
        records.append(NewRecord(topic, partition, key, encode(event), headers))
    return records


async def ready(client: httpx.AsyncClient) -> None:
    async def answers() -> bool:
        return (await client.get("/readyz")).status_code == 200

    await eventually(answers, 30)


async def listed(client: httpx.AsyncClient, count: int, timeout_s: float = 30) -> Sequence[dict[str, object]]:
    """The list once it has `count` requests (at most 200)."""
    items: list[dict[str, object]] = []

    async def all_there() -> bool:
        response = await client.get("/api/logs", params={"limit": 200})
        items[:] = response.json().get("items", [])
        return len(items) >= count

    await eventually(all_there, timeout_s)
    return items
