"""Outboxes in tests, and what they brought into a log."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from shared.eventlog.outbox import Outbox
from shared.eventlog.port import EventLog, Record
from shared.events import RequestLogged, RequestStarted, decode
from shared.topics import REQUESTS, USAGE
from tests.support.eventlog import collect

MIB = 1_048_576


@asynccontextmanager
async def open_outbox(
    log: EventLog, directory: Path, *, limit_bytes: int = 64 * MIB, **options: float
) -> AsyncIterator[Outbox]:
    outbox = Outbox(log, directory, limit_bytes=limit_bytes, fsync_interval_s=0.05, **options)  # type: ignore[arg-type]  # sizes are ints
    await outbox.start()
    try:
        yield outbox
    finally:
        await outbox.close()


async def everything(log: EventLog, *topics: str) -> list[Record]:
    records: list[Record] = []
    for topic in topics or (USAGE, REQUESTS):
        for partition, end in (await log.end_offsets(topic)).items():
            records.extend(await collect(log.read(topic, partition, 0, end)))
    return records


def ids(records: list[Record]) -> set[str]:
    events = [decode(record.value or b"") for record in records]
    return {event.request_id for event in events if isinstance(event, RequestStarted | RequestLogged)}


def assert_in_order(records: list[Record]) -> None:
    """Along each partition, dropping replays as readers do leaves every record of a producer, in rising order."""
    kept: dict[tuple[str, int, str], list[int]] = {}
    everything_seen: dict[tuple[str, int, str], set[int]] = {}
    for record in records:
        lane = (record.topic, record.partition, record.headers["producer"])
        seq = int(record.headers["seq"])
        everything_seen.setdefault(lane, set()).add(seq)
        rising = kept.setdefault(lane, [])
        if not rising or seq > rising[-1]:
            rising.append(seq)
    assert kept == {lane: sorted(seqs) for lane, seqs in everything_seen.items()}


async def vanish(outbox: Outbox) -> None:
    """What a crash leaves: the files as they are, and no lock."""
    for task in outbox._tasks:
        task.cancel()
    await asyncio.wait(outbox._tasks)
    outbox._tasks = []
    outbox._writer.close()
    outbox._lock.release()
