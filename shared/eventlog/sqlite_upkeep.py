"""Retention and compaction of the SQLite log, in the background and in small steps.

What is to go is looked up on a connection of its own; the writer only deletes, a few hundred rows at a time, so
that appends wait for milliseconds at most. One process at a time does it, the one that holds the lock file.
"""

import asyncio
import logging
import sqlite3
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial

from shared.errors import LogUnavailable
from shared.eventlog.file_lock import FileLock
from shared.eventlog.sqlite_store import OFFSET_BITS, Catalogue
from shared.eventlog.sqlite_thread import SqliteReader, SqliteWriter
from shared.topics import DAY_MS, FOREVER, TopicSpec

STEP_ROWS = 400
SCAN_ROWS = 5_000
VACUUM_PAGES = 2_000
VACUUM_ABOVE = 0.25
TOMBSTONE_KEEP_MS = DAY_MS

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Upkeep:
    """`topics` by name as they are stored. One `round` handles every topic once."""

    topics: dict[str, TopicSpec]
    catalogue: Catalogue
    scanner: SqliteReader
    writer: SqliteWriter
    lock: FileLock
    now_ms: Callable[[], int]

    async def run(self, interval_s: float) -> None:
        """Rounds for ever. A round that fails is logged; the next one does its work."""
        while True:
            await asyncio.sleep(interval_s)
            try:
                if self.lock.held or self.lock.acquire():
                    await self.round()
            except (LogUnavailable, OSError) as error:
                logger.warning("Retention and compaction will be tried again: %s", error)

    async def round(self) -> int:
        """Delete what is too old or superseded. Returns the number of records deleted."""
        deleted = 0
        for (topic, _), number in self.catalogue.ids.items():
            spec = self.topics.get(topic)
            if spec is None:
                continue
            if spec.retention_ms != FOREVER:
                deleted += await self._expire(number, self.now_ms() - spec.retention_ms)
            if spec.compacted:
                deleted += await self._compact(number, self.now_ms() - TOMBSTONE_KEEP_MS)
        if deleted:
            await self.scanner.run(_vacuum)
        return deleted

    async def _expire(self, number: int, cutoff_ms: int) -> int:
        """Delete from the start of a partition while records are older than the cut-off."""
        deleted = 0
        while True:
            ids = await self.scanner.run(lambda connection: _expired(connection, number, cutoff_ms))
            deleted += await self._delete(ids)
            if len(ids) < SCAN_ROWS:
                return deleted

    async def _compact(self, number: int, tombstones_before_ms: int) -> int:
        ids = await self.scanner.run(lambda connection: _superseded(connection, number, tombstones_before_ms))
        return await self._delete(ids)

    async def _delete(self, ids: list[int]) -> int:
        for first in range(0, len(ids), STEP_ROWS):
            step = ids[first : first + STEP_ROWS]
            await self.writer.run(partial(_delete_rows, ids=step))
        return len(ids)


def _bounds(number: int) -> tuple[int, int]:
    return number << OFFSET_BITS, (number + 1) << OFFSET_BITS


def _expired(connection: sqlite3.Connection, number: int, cutoff_ms: int) -> list[int]:
    rows = connection.execute(
        "SELECT id, timestamp_ms FROM records WHERE id >= ? AND id < ? ORDER BY id LIMIT ?",
        (*_bounds(number), SCAN_ROWS),
    ).fetchall()
    ids: list[int] = []
    for row_id, timestamp_ms in rows:
        if timestamp_ms >= cutoff_ms:
            break
        ids.append(row_id)
    return ids


def _superseded(connection: sqlite3.Connection, number: int, tombstones_before_ms: int) -> list[int]:
    last: dict[str, tuple[int, bool]] = {}
    superseded: list[int] = []
    rows: Iterable[tuple[int, int, str, bool]] = connection.execute(
        "SELECT id, timestamp_ms, key, value IS NULL FROM records WHERE id >= ? AND id < ? ORDER BY id",
        _bounds(number),
    )
    for row_id, timestamp_ms, key, tombstone in rows:
        earlier = last.get(key)
        if earlier is not None:
            superseded.append(earlier[0])
        last[key] = (row_id, bool(tombstone) and timestamp_ms < tombstones_before_ms)
    superseded.extend(row_id for row_id, removable in last.values() if removable)
    return superseded


def _delete_rows(connection: sqlite3.Connection, ids: list[int]) -> None:
    connection.executemany("DELETE FROM records WHERE id = ?", [(row_id,) for row_id in ids])


def _vacuum(connection: sqlite3.Connection) -> None:
    """Give space back, but not the little that the next appends will use again."""
    free = connection.execute("PRAGMA freelist_count").fetchone()[0]
    total = connection.execute("PRAGMA page_count").fetchone()[0]
    if free > total * VACUUM_ABOVE:
        connection.execute(f"PRAGMA incremental_vacuum({VACUUM_PAGES})").fetchall()
