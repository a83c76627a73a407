"""Each contract test runs on both backends, each with an empty database of its own."""

import uuid
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from services.log_ingest.migrate import migrate
from services.log_ingest.store.chdb_store import ChdbStore
from services.log_ingest.store.open import open_store
from services.log_ingest.store.port import LogStore
from tests.support.clickhouse import clickhouse_url

__all__ = ["clickhouse_url"]


@pytest.fixture(params=["chdb", "http"])
async def empty_store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[LogStore]:
    """A started store without any table."""
    if request.param == "chdb":
        store: LogStore = ChdbStore(tmp_path / "clickhouse")
    else:
        store = open_store(f"{request.getfixturevalue('clickhouse_url')}/test_{uuid.uuid4().hex[:12]}")
    await store.start()
    yield store
    await store.close()


@pytest.fixture
async def store(empty_store: LogStore) -> LogStore:
    """A started store with the schema."""
    await migrate(empty_store)
    return empty_store
