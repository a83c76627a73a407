"""Composition root of log_ingest: the one place that names its concrete classes."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI

from services.log_ingest.app import build_app
from services.log_ingest.consumer import LogConsumer
from services.log_ingest.dead_letters import DeadLetterOffice
from services.log_ingest.health import Health
from services.log_ingest.ingest import Ingest
from services.log_ingest.metrics import IngestMetrics
from services.log_ingest.positions import StoredPositions
from services.log_ingest.queries import LogQueries
from services.log_ingest.sink import Sink
from services.log_ingest.store.open import open_store
from shared.errors import ConfigurationError
from shared.eventlog.open import open_log
from shared.eventlog.port import EventLog
from shared.security import load_secret_key
from shared.server import run_service, serve
from shared.settings import Settings
from shared.telemetry import configure_logging, new_registry
from shared.web.session import AdminAccess


@asynccontextmanager
async def log_ingest_service(settings: Settings, log: EventLog) -> AsyncIterator[FastAPI]:
    """Start consuming, and yield the app. `log` is started and closed by the caller.

    The app answers at once; while the store is away it says so (503) and the service goes on trying.
    """
    metrics = IngestMetrics(new_registry())
    store = open_store(settings.resolved_clickhouse_url)
    health = Health()
    sink = Sink(store, DeadLetterOffice(log, lambda: time.time_ns() // 1_000_000), metrics, time.monotonic)
    consumer = LogConsumer(
        log, sink, StoredPositions(store, log), metrics, time.monotonic, member=settings.gateway_id
    )
    ingest = Ingest(settings, store, consumer, health, metrics, time.monotonic)
    access = AdminAccess(settings.admin_token.get_secret_value(), load_secret_key(settings))
    stop = asyncio.Event()
    task = asyncio.create_task(ingest.run(stop), name="log-ingest")
    try:
        queries = LogQueries(store, is_ready=lambda: health.store_ready)
        yield build_app(queries, access, health, metrics)
    finally:
        stop.set()
        await task
        await store.close()


def run(settings: Settings) -> None:
    """The process `finops log-ingest`, until a signal. Raises ConfigurationError before anything is served."""
    if not settings.admin_token.get_secret_value():
        raise ConfigurationError("FINOPS_ADMIN_TOKEN is not set: without it nobody can read the logs.")

    async def main() -> None:
        log = open_log(settings)
        await log.start()
        try:
            async with log_ingest_service(settings, log) as app:
                await serve(app, settings)
        finally:
            await log.close()

    configure_logging(settings.log_level)
    run_service(main)
