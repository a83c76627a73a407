"""A SQLite log whose appends can fail, and outboxes on it."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from shared.topics import DAY_MS, topic_specs
from tests.support.flaky_log import FlakyLog


@pytest.fixture
async def log(tmp_path: Path) -> AsyncIterator[FlakyLog]:
    specs = topic_specs(4, usage_retention_ms=90 * DAY_MS, requests_retention_ms=7 * DAY_MS)
    log = FlakyLog(tmp_path / "events.db", specs)
    await log.start()
    try:
        yield log
    finally:
        await log.close()
