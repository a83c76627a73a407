"""Writing flushes: what the store refuses, and how much of that is normal."""

import base64
import json
import time

import pytest

from services.log_ingest.batch import Flush
from services.log_ingest.dead_letters import DeadLetterFlood, DeadLetterLimit, DeadLetterOffice
from services.log_ingest.decode import decode_record
from services.log_ingest.metrics import IngestMetrics
from services.log_ingest.sink import Sink
from services.log_ingest.store.port import StoreRefused
from shared.errors import LogUnavailable, StoreUnavailable
from shared.telemetry import new_registry
from tests.support.fake_log import FakeLog
from tests.support.fake_store import FakeStore
from tests.support.log_events import record_of, request_logged


def flush_of(count: int) -> Flush:
    records = [record_of(request_logged(number), number) for number in range(count)]
    rows = [row for record in records if (row := decode_record(record))]
    return Flush(rows, {(r.topic, r.partition, r.offset): r for r in records}, (), {})


def sink_on(store: FakeStore, log: FakeLog, limit: DeadLetterLimit | None = None) -> Sink:
    office = DeadLetterOffice(log, lambda: 1)
    return Sink(store, office, IngestMetrics(new_registry()), time.monotonic, limit)


async def test_a_flush_is_one_insert() -> None:
    store, log = FakeStore(), FakeLog()

    await sink_on(store, log).write(flush_of(100))

    assert store.inserts == [100]
    assert log.appended == []


async def test_refused_rows_are_found_by_halving_and_set_aside_whole() -> None:
    store, log = FakeStore(), FakeLog()
    store.refuses = lambda row: row["source_offset"] in {3, 77}
    flush = flush_of(100)

    await sink_on(store, log).write(flush)

    assert sorted(row["source_offset"] for row in store.rows) == [n for n in range(100) if n not in {3, 77}]
    letters = [json.loads(record.value or b"") for record in log.appended]
    assert [letter["offset"] for letter in letters] == [3, 77]
    assert "refused by the log store" in letters[0]["reason"]
    original = flush.records[letters[0]["topic"], 0, 3].value
    assert base64.b64decode(letters[0]["value"]) == original


async def test_writing_a_flush_again_doubles_nothing() -> None:
    store, log = FakeStore(), FakeLog()
    store.refuses = lambda row: row["source_offset"] == 1
    sink, flush = sink_on(store, log), flush_of(5)
    log.append_fault = LogUnavailable("no broker")
    with pytest.raises(LogUnavailable):
        await sink.write(flush)

    log.append_fault = None
    await sink.write(flush)

    assert len(store.rows) == 4
    assert len(log.appended) == 1


async def test_an_absent_store_is_not_the_rows_fault() -> None:
    store, log = FakeStore(), FakeLog()
    store.away = True

    with pytest.raises(StoreUnavailable):
        await sink_on(store, log).write(flush_of(3))

    assert log.appended == []


async def test_a_store_without_its_table_is_not_the_rows_fault() -> None:
    store, log = FakeStore(), FakeLog()
    store.insert_fault = StoreRefused("Unknown table", 60)

    with pytest.raises(StoreRefused):
        await sink_on(store, log).write(flush_of(3))

    assert log.appended == []


async def test_a_flood_of_poison_stops_before_anything_is_set_aside() -> None:
    store, log = FakeStore(), FakeLog()
    store.refuses = lambda row: True

    with pytest.raises(DeadLetterFlood):
        await sink_on(store, log, DeadLetterLimit(max_consecutive=5)).write(flush_of(6))

    assert log.appended == []


async def test_some_poison_in_a_large_flush_is_no_flood() -> None:
    store, log = FakeStore(), FakeLog()
    store.refuses = lambda row: row["source_offset"] % 50 == 0  # 2 %

    await sink_on(store, log, DeadLetterLimit(max_consecutive=5, max_ratio=0.05, window=100)).write(
        flush_of(400)
    )

    assert len(log.appended) == 8


async def test_poison_is_in_a_row_until_something_good_comes() -> None:
    store, log = FakeStore(), FakeLog()
    store.refuses = lambda row: True
    sink = sink_on(store, log, DeadLetterLimit(max_consecutive=5))

    await sink.write(flush_of(4))
    store.refuses = lambda row: False
    await sink.write(flush_of(1))
    store.refuses = lambda row: True
    await sink.write(flush_of(4))
    with pytest.raises(DeadLetterFlood):
        await sink.write(flush_of(2))


async def test_too_large_a_share_of_poison_stops_too() -> None:
    store, log = FakeStore(), FakeLog()
    store.refuses = lambda row: row["source_offset"] < 2
    sink = sink_on(store, log, DeadLetterLimit(max_consecutive=100, max_ratio=0.1, window=20))

    await sink.write(flush_of(10))
    with pytest.raises(DeadLetterFlood):
        await sink.write(flush_of(10))
