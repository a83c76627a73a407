"""An event log of its own for each test, and the admin API over one."""

import uuid
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest

from shared.eventlog.kafka import KafkaEventLog
from shared.eventlog.kafka_connection import KafkaConnection
from shared.eventlog.port import EventLog
from shared.eventlog.sqlite import SqliteEventLog
from shared.topics import DAY_MS, topic_specs
from tests.support.budget_api import running

SPECS = topic_specs(2, usage_retention_ms=DAY_MS, requests_retention_ms=DAY_MS)


@pytest.fixture
async def log(tmp_path: Path) -> AsyncIterator[SqliteEventLog]:
    """SQLite, two partitions, short sessions."""
    event_log = SqliteEventLog(tmp_path / "events.db", SPECS, session_timeout_s=2.0)
    await event_log.start()
    yield event_log
    await event_log.close()


@pytest.fixture
async def kafka_log(kafka_bootstrap: str) -> AsyncIterator[EventLog]:
    """A real broker, two partitions, topics of its own."""
    connection = KafkaConnection((kafka_bootstrap,))
    event_log = KafkaEventLog(connection, SPECS, topic_prefix=f"budget-{uuid.uuid4().hex[:8]}-")
    await event_log.start()
    yield event_log
    await event_log.close()


@pytest.fixture
async def api(log: EventLog, tmp_path: Path) -> AsyncIterator[httpx.AsyncClient]:
    async with running(log, tmp_path) as client:
        yield client
