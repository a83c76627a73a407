"""The same event log twice: on a SQLite file and on a real Kafka."""

import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from shared.eventlog.kafka import KafkaEventLog
from shared.eventlog.kafka_connection import KafkaConnection
from shared.eventlog.port import EventLog
from shared.eventlog.sqlite import SqliteEventLog
from shared.topics import DAY_MS, TopicSpec, topic_specs

PARTITIONS = 4
Topics = dict[str, TopicSpec]
MakeLog = Callable[[], EventLog]
StartLog = Callable[[], Awaitable[EventLog]]


def specs() -> Topics:
    return topic_specs(PARTITIONS, usage_retention_ms=90 * DAY_MS, requests_retention_ms=7 * DAY_MS)


@pytest.fixture(params=["sqlite", pytest.param("kafka", marks=pytest.mark.kafka)])
def make_log(request: pytest.FixtureRequest, tmp_path: Path) -> MakeLog:
    """Opens the same log again and again, as several processes would: topics and data are shared, members are not."""
    if request.param == "sqlite":
        return lambda: SqliteEventLog(tmp_path / "events.db", specs(), session_timeout_s=2.0)
    bootstrap: str = request.getfixturevalue("kafka_bootstrap")
    prefix = f"t{uuid.uuid4().hex[:8]}."
    connection = KafkaConnection((bootstrap,))
    return lambda: KafkaEventLog(connection, specs(), topic_prefix=prefix)


@pytest.fixture
async def start_log(make_log: MakeLog) -> AsyncIterator[StartLog]:
    """Starts one more handle on the log; all are closed after the test."""
    async with AsyncExitStack() as stack:

        async def start() -> EventLog:
            log = make_log()
            await log.start()
            stack.push_async_callback(log.close)
            return log

        yield start


@pytest.fixture
async def log(make_log: MakeLog) -> AsyncIterator[EventLog]:
    log = make_log()
    await log.start()
    try:
        yield log
    finally:
        await log.close()
