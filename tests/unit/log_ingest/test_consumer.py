"""The loop: nothing is committed before it is written, and no absence or rebalance loses or doubles a row."""

import asyncio
import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from services.log_ingest.batch import BatchLimits
from services.log_ingest.consumer import LogConsumer
from services.log_ingest.dead_letters import DeadLetterFlood, DeadLetterLimit, DeadLetterOffice
from services.log_ingest.metrics import IngestMetrics
from services.log_ingest.positions import StoredPositions
from services.log_ingest.sink import Sink
from shared.errors import Fenced, LogUnavailable
from shared.telemetry import new_registry
from tests.support.eventually import eventually
from tests.support.fake_log import PART, FakeLog
from tests.support.fake_store import FakeStore
from tests.support.log_events import record_of, request_logged

LIMITS = BatchLimits(rows=10, age_s=0.02)


def fill(log: FakeLog, count: int) -> None:
    start = len(log.records)
    log.records += [record_of(request_logged(number), number) for number in range(start, start + count)]


def consumer_on(log: FakeLog, store: FakeStore, limit: DeadLetterLimit | None = None) -> LogConsumer:
    metrics = IngestMetrics(new_registry())
    sink = Sink(store, DeadLetterOffice(log, lambda: 1), metrics, time.monotonic, limit)
    return LogConsumer(log, sink, StoredPositions(store, log), metrics, time.monotonic, limits=LIMITS)


@asynccontextmanager
async def running(log: FakeLog, store: FakeStore) -> AsyncIterator[asyncio.Task[None]]:
    stop = asyncio.Event()
    task = asyncio.create_task(consumer_on(log, store).run(stop))
    try:
        yield task
    finally:
        stop.set()
        await task


def offsets(store: FakeStore) -> list[int]:
    return [row["source_offset"] for row in store.rows]


async def test_everything_is_written_once_in_order_and_then_committed() -> None:
    log, store = FakeLog(), FakeStore()
    fill(log, 95)

    async with running(log, store):
        await eventually(lambda: log.stored.get(PART) == 95)

    assert offsets(store) == list(range(95))


async def test_nothing_is_committed_while_the_insert_is_in_flight() -> None:
    log, store = FakeLog(), FakeStore()
    store.gate.clear()
    fill(log, 10)

    async with running(log, store):
        await eventually(lambda: log.position == 10 and log.polls > 20)
        assert log.commits == []
        store.gate.set()
        await eventually(lambda: log.stored.get(PART) == 10)


async def test_an_outage_of_the_store_is_waited_out_while_polling_goes_on() -> None:
    log, store = FakeLog(), FakeStore()
    async with running(log, store):
        await eventually(lambda: not log.paused and log.polls > 2)
        store.away = True
        fill(log, 40)
        await eventually(lambda: PART in log.paused)
        polls = log.polls
        await eventually(lambda: log.polls > polls + 5)
        assert log.commits == []

        store.away = False
        await eventually(lambda: log.stored.get(PART) == 40)

    assert offsets(store) == list(range(40))


async def test_a_start_without_the_store_waits_before_it_reads() -> None:
    log, store = FakeLog(), FakeStore()
    store.away = True
    fill(log, 5)

    async with running(log, store):
        await eventually(lambda: log.polls > 10)
        assert log.position == 0
        store.away = False
        await eventually(lambda: log.stored.get(PART) == 5)

    assert offsets(store) == list(range(5))


async def test_a_new_owner_resumes_after_what_the_store_holds() -> None:
    log, store = FakeLog(), FakeStore()
    fill(log, 30)
    log.stored[PART] = 10
    stored_id = log.records[19].key
    store.answers = [{"topic": PART[0], "part": 0, "last": 19, "request_id": stored_id}]

    async with running(log, store):
        await eventually(lambda: log.stored.get(PART) == 30)

    assert offsets(store) == list(range(20, 30))


async def test_a_store_that_was_made_anew_is_filled_from_the_beginning_of_the_log() -> None:
    log, store = FakeLog(), FakeStore()
    fill(log, 30)
    log.stored[PART] = 30

    async with running(log, store):
        await eventually(lambda: len(store.rows) == 30 and log.stored.get(PART) == 30)

    assert offsets(store) == list(range(30))
    assert log.commits[0][PART] < 30  # another member would have begun there


@pytest.mark.parametrize("last", [19, 500])
async def test_offsets_of_a_log_that_was_made_anew_are_not_believed(last: int) -> None:
    log, store = FakeLog(), FakeStore()
    fill(log, 30)
    store.answers = [{"topic": PART[0], "part": 0, "last": last, "request_id": "req_of_another_log"}]

    async with running(log, store):
        await eventually(lambda: log.stored.get(PART) == 30)

    assert offsets(store) == list(range(30))


async def test_a_revoked_partition_is_let_go_only_after_the_insert_in_flight() -> None:
    log, store = FakeLog(), FakeStore()
    store.gate.clear()
    fill(log, 10)

    async with running(log, store):
        await eventually(lambda: log.position == 10 and log.polls > 20)
        log.to_revoke = frozenset({PART})
        await eventually(lambda: not log.to_revoke)
        assert log.commits == []
        store.gate.set()
        await eventually(lambda: log.stored.get(PART) == 10)
        fill(log, 5)
        await eventually(lambda: log.stored.get(PART) == 15)

    assert offsets(store) == list(range(15))


async def test_rows_gathered_from_a_revoked_partition_are_left_to_the_next_owner() -> None:
    log, store = FakeLog(), FakeStore()
    consumer = consumer_on(log, store)
    store.gate.clear()
    fill(log, 15)  # ten in flight, five gathered
    stop = asyncio.Event()
    task = asyncio.create_task(consumer.run(stop))
    await eventually(lambda: log.position == 15)

    log.to_revoke = frozenset({PART})
    store.gate.set()
    await eventually(lambda: log.stored.get(PART, 0) >= 10)
    log.position = log.stored[PART]  # as a group that comes back starts from what is committed
    await eventually(lambda: log.stored.get(PART) == 15)
    stop.set()
    await task

    assert sorted(set(offsets(store))) == list(range(15))


async def test_poison_goes_to_the_dead_letters_and_the_rest_goes_on() -> None:
    log, store = FakeLog(), FakeStore()
    fill(log, 3)
    log.records.append(record_of(b"junk", 3))
    fill(log, 3)

    async with running(log, store):
        await eventually(lambda: log.stored.get(PART) == 7)

    assert offsets(store) == [0, 1, 2, 4, 5, 6]
    letter = json.loads(log.appended[0].value or b"")
    assert (letter["offset"], letter["topic"]) == (3, PART[0])


async def test_a_flood_of_poison_stops_without_committing() -> None:
    log, store = FakeLog(), FakeStore()
    log.records += [record_of(b"junk", offset) for offset in range(30)]
    consumer = consumer_on(log, store, DeadLetterLimit(max_consecutive=5))

    with pytest.raises(DeadLetterFlood):
        await asyncio.wait_for(consumer.run(asyncio.Event()), 30)

    assert log.commits == []
    assert log.appended == []


async def test_a_lost_commit_is_made_up_for() -> None:
    log, store = FakeLog(), FakeStore()
    log.commit_fault = LogUnavailable("no broker")
    fill(log, 10)

    async with running(log, store):
        await eventually(lambda: len(store.rows) == 10)
        log.commit_fault = None
        await eventually(lambda: log.stored.get(PART) == 10)

    assert offsets(store) == list(range(10))


async def test_a_fenced_commit_is_left_to_the_new_owner() -> None:
    log, store = FakeLog(), FakeStore()
    log.commit_fault = Fenced("another member owns it")
    fill(log, 10)

    async with running(log, store):
        await eventually(lambda: len(store.rows) == 10)
        fill(log, 10)
        await eventually(lambda: len(store.rows) == 20)

    assert log.commits == []


async def test_stopping_writes_and_commits_what_was_gathered() -> None:
    log, store = FakeLog(), FakeStore()
    async with running(log, store):
        await eventually(lambda: log.polls > 2)
        fill(log, 4)
        await eventually(lambda: log.position == 4)

    assert offsets(store) == [0, 1, 2, 3]
    assert log.stored[PART] == 4
