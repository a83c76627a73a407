"""Cutting batches, and what identifies an insert."""

from hypothesis import given
from hypothesis import strategies as st

from services.log_ingest.batch import Batch, BatchLimits, columns_of, insert_token
from services.log_ingest.decode import decode_record
from services.log_ingest.rows import LogRow
from shared.errors import Poison
from shared.eventlog.port import Record
from tests.support.log_events import record_of, request_logged


def decoded(number: int, partition: int = 0, **overrides: object) -> tuple[Record, LogRow]:
    record = record_of(request_logged(number, **overrides), number, partition=partition)
    row = decode_record(record)
    assert row is not None
    return record, row


def test_a_batch_is_due_by_rows_by_bytes_or_by_age() -> None:
    by_rows = Batch(BatchLimits(rows=2, bytes=1 << 30, age_s=60))
    by_rows.add(*decoded(0), now=0)
    assert not by_rows.due(1)
    by_rows.add(*decoded(1), now=0)
    assert by_rows.due(1)

    by_bytes = Batch(BatchLimits(rows=1000, bytes=100, age_s=60))
    by_bytes.add(*decoded(0), now=0)
    assert by_bytes.due(0)

    by_age = Batch(BatchLimits(rows=1000, bytes=1 << 30, age_s=0.5))
    assert not by_age.due(1000)
    by_age.add(decoded(0)[0], None, now=10)
    assert not by_age.due(10.4)
    assert by_age.due(10.5)


def test_a_cut_covers_the_offsets_of_all_records_and_starts_anew() -> None:
    batch = Batch(BatchLimits())
    batch.add(*decoded(4), now=0)
    batch.add(decoded(5)[0], None, now=0)
    bad = record_of(b"junk", offset=6)
    batch.add_poison(bad, Poison(bad.topic, 0, 6, "no event"), now=0)

    flush = batch.cut()

    assert flush.offsets == {(bad.topic, 0): 7}
    assert [row.source_offset for row in flush.rows] == [4]
    assert [item.record.offset for item in flush.bad] == [6]
    assert batch.empty()


def test_forgetting_a_partition_keeps_the_others() -> None:
    batch = Batch(BatchLimits())
    batch.add(*decoded(0, partition=0), now=0)
    batch.add(*decoded(1, partition=1), now=0)

    batch.forget(frozenset({(decoded(0)[0].topic, 0)}))

    flush = batch.cut()
    assert [row.source_partition for row in flush.rows] == [1]
    assert list(flush.offsets.values()) == [2]


def test_the_same_rows_have_the_same_token_and_others_another() -> None:
    rows = [decoded(number)[1] for number in range(4)]

    assert insert_token(rows) == insert_token(list(rows))
    tokens = {insert_token(rows[:size]) for size in range(1, 5)}
    assert len(tokens) == 4


def test_a_log_made_anew_does_not_reuse_tokens() -> None:
    """Same topic, partition and offset, but another request: it must not be dropped as a repetition."""
    assert insert_token([decoded(0)[1]]) != insert_token([decoded(0)[1]])


@given(st.lists(st.integers(0, 3), min_size=1, max_size=30))
def test_columns_hold_what_the_rows_held(partitions: list[int]) -> None:
    rows = [decoded(number, partition)[1] for number, partition in enumerate(partitions)]

    columns = columns_of(rows)

    assert [LogRow(*values) for values in zip(*columns.values(), strict=True)] == rows


@given(st.lists(st.tuples(st.integers(0, 2), st.booleans()), max_size=40), st.integers(1, 7))
def test_flushes_cover_every_record_once_in_order(records: list[tuple[int, bool]], size: int) -> None:
    batch, flushes = Batch(BatchLimits(rows=size)), []
    for offset, (partition, is_row) in enumerate(records):
        record, row = decoded(offset, partition)
        batch.add(record, row if is_row else None, now=0)
        if batch.full():
            flushes.append(batch.cut())
    flushes.append(batch.cut())

    written = [row.source_offset for flush in flushes for row in flush.rows]
    assert written == [offset for offset, (_, is_row) in enumerate(records) if is_row]
    last = {partition: offset + 1 for offset, (partition, _) in enumerate(records)}
    committed: dict[int, int] = {}
    for flush in flushes:
        for (_, partition), offset in flush.offsets.items():
            assert offset > committed.get(partition, 0)
            committed[partition] = offset
    assert committed == last
