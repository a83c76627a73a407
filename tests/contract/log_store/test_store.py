"""What every LogStore promises, and what the schema does on it."""

from datetime import timedelta

import pytest

from services.log_ingest.batch import columns_of, insert_token
from services.log_ingest.decode import decode_record
from services.log_ingest.migrate import apply_retention, migrate, shipped_migrations
from services.log_ingest.rows import TABLE, LogRow
from services.log_ingest.store.port import (
    LogStore,
    QueryLimits,
    QueryTooExpensive,
    Rows,
    StoreDataError,
    StoreRefused,
)
from shared.errors import ConfigurationError
from tests.support.log_events import T0_MS, abandoned, record_of, request_logged

pytestmark = pytest.mark.clickhouse
NAMES = ["request_logs", "requests_view", "search_words", "priced_by"]
DAY_MS = int(timedelta(days=1).total_seconds() * 1000)


def rows_of(count: int, **overrides: object) -> list[LogRow]:
    records = [record_of(request_logged(number, **overrides), number) for number in range(count)]
    return [row for record in records if (row := decode_record(record))]


async def insert(store: LogStore, rows: list[LogRow], token: str = "") -> None:
    await store.insert(TABLE, columns_of(rows), token=token or insert_token(rows))


async def number(store: LogStore, sql: str) -> int:
    (row,) = await store.query(f"SELECT {sql}")
    (value,) = row.values()
    return int(value)


async def test_a_row_comes_back_as_it_went(store: LogStore) -> None:
    (row,) = rows_of(1, ttft_ms=17, end_user="grüße \0 '\"\\ 世界")

    await insert(store, [row])

    (found,) = await store.query(f"SELECT {', '.join(LogRow._fields)} FROM request_logs")
    assert found["end_user"] == row.end_user
    assert (found["cost"], found["ttft_ms"], found["stream"]) == (row.cost, 17, False)
    assert int(found["started_at"].timestamp() * 1000) % 1000 == row.started_at % 1000
    assert (found["request"], found["source_offset"]) == (row.request, 0)


async def test_the_same_insert_again_is_no_insert(store: LogStore) -> None:
    rows = rows_of(20)

    await insert(store, rows)
    await insert(store, rows)

    assert await number(store, "count() FROM request_logs") == 20


async def test_an_insert_of_many_blocks_loses_none_and_again_adds_none(store: LogStore) -> None:
    rows = rows_of(5_000)  # the client sends some hundred to some thousand rows per block

    await insert(store, rows)
    await insert(store, rows)

    assert await number(store, "count() FROM request_logs") == 5_000


async def test_a_batch_cut_otherwise_after_a_crash_is_counted_once(store: LogStore) -> None:
    rows = rows_of(20)

    await insert(store, rows[:12])
    await insert(store, rows[5:])

    assert await number(store, "count() FROM requests") == 20


async def test_a_late_log_supersedes_what_was_settled_for_a_dead_gateway(store: LogStore) -> None:
    logged = request_logged()
    late, early = decode_record(record_of(logged)), decode_record(record_of(abandoned(logged)))
    assert late is not None and early is not None

    await insert(store, [late])
    await insert(store, [early])

    rows = await store.query("SELECT status, answer_text FROM requests")
    assert rows == [{"status": "success", "answer_text": "an answer"}]


async def test_an_insert_may_span_many_days(store: LogStore) -> None:
    rows = [row._replace(started_at=T0_MS - day * DAY_MS) for day, row in enumerate(rows_of(150))]

    await insert(store, rows)

    assert await number(store, "uniqExact(toDate(started_at)) FROM request_logs") == 150


async def test_values_that_do_not_fit_are_a_fault_of_the_data(store: LogStore) -> None:
    (row,) = rows_of(1)

    with pytest.raises(StoreDataError):
        await insert(store, [row._replace(http_status=10**9)])
    with pytest.raises(StoreDataError):
        await insert(store, [row._replace(prompt_tokens=-1)])

    assert await number(store, "count() FROM request_logs") == 0


async def test_a_wrong_statement_is_a_fault_of_the_statement(store: LogStore) -> None:
    with pytest.raises(StoreRefused) as caught:
        await store.query("SELECT * FROM no_such_table")

    assert caught.value.store_code == 60


@pytest.mark.parametrize(
    "loss",
    [
        "DROP TABLE request_logs SYNC",
        "ALTER TABLE request_logs DROP COLUMN price_version",
        "DROP DATABASE {database} SYNC",
    ],
)
async def test_a_schema_that_is_gone_is_no_fault_of_the_data(store: LogStore, loss: str) -> None:
    await store.command(loss.format(database=store.database))

    with pytest.raises(StoreRefused) as caught:
        await insert(store, rows_of(1))

    assert not isinstance(caught.value, StoreDataError)


async def test_a_database_that_is_gone_is_made_again_by_the_next_start(store: LogStore) -> None:
    await store.command(f"DROP DATABASE {store.database} SYNC")

    await store.start()
    await migrate(store)
    await insert(store, rows_of(3))

    assert await number(store, "count() FROM request_logs") == 3


async def test_a_greedy_query_is_stopped_and_the_store_lives_on(store: LogStore) -> None:
    with pytest.raises(QueryTooExpensive):
        await store.query("SELECT sum(number) AS n FROM numbers(1000000000000)", None, QueryLimits(seconds=1))
    with pytest.raises(QueryTooExpensive):
        await store.query(
            "SELECT length(groupArray(number)) AS n FROM numbers(100000000)",
            None,
            QueryLimits(memory_bytes=20_000_000),
        )

    assert await number(store, "1") == 1


async def test_parameters_are_values_whatever_they_say(store: LogStore) -> None:
    text = "'; DROP TABLE request_logs; -- \\ \t 世界"

    rows = await store.query(
        "SELECT {text:String} AS t, {many:Array(String)} AS m", {"text": text, "many": [text]}
    )

    assert rows == [{"t": text, "m": [text]}]


async def test_bodies_expire_before_their_metadata(store: LogStore) -> None:
    old = [row._replace(started_at=T0_MS - 40 * DAY_MS) for row in rows_of(1)]

    await insert(store, old + rows_of(1))
    await store.command("OPTIMIZE TABLE request_logs FINAL")

    rows = await store.query(
        "SELECT request != '' AS body, prompt_text != '' AS text, model FROM requests ORDER BY started_at"
    )
    assert rows == [
        {"body": 0, "text": 0, "model": "gpt-4o-mini"},
        {"body": 1, "text": 1, "model": "gpt-4o-mini"},
    ]


async def test_migrating_again_does_nothing(store: LogStore) -> None:
    assert await migrate(store) == []


async def test_two_replicas_may_migrate_one_after_the_other_without_knowing(empty_store: LogStore) -> None:
    assert await migrate(empty_store) == NAMES
    await empty_store.command("TRUNCATE TABLE schema_migrations")  # as the slower replica had read it

    assert await migrate(empty_store) == NAMES


async def test_rows_that_are_older_than_a_column_are_read_and_the_view_only_grows(
    empty_store: LogStore,
) -> None:
    before = [one for one in shipped_migrations() if one.number < 4]
    for statement in (statement for one in before for statement in one.statements):
        await empty_store.command(statement)
    (row,) = rows_of(1)
    known = {str(found["name"]) for found in await described(empty_store, "request_logs")}
    old = {name: values for name, values in columns_of([row]).items() if name in known}
    await empty_store.insert(TABLE, old, token="old")
    shown = await described(empty_store, "requests")

    await migrate(empty_store)
    await insert(empty_store, [row._replace(request_id="new", searches=2, service_tier="flex")])

    assert len(old) == len(LogRow._fields) - 8
    now = await described(empty_store, "requests")
    assert now[: len(shown)] == shown
    assert len(now) == len(shown) + 8
    assert await empty_store.query(
        "SELECT request_id = 'new' AS is_new, cache_write_1h_tokens, prompt_image_tokens, completion_image_tokens, "
        "searches, search_units, service_tier, image_quality, image_size FROM requests ORDER BY is_new"
    ) == [
        {
            "is_new": is_new,
            "cache_write_1h_tokens": 0,
            "prompt_image_tokens": 0,
            "completion_image_tokens": 0,
            "searches": 2 * is_new,
            "search_units": 0,
            "service_tier": "flex" * is_new,
            "image_quality": "",
            "image_size": "",
        }
        for is_new in (0, 1)
    ]


async def described(store: LogStore, table: str) -> Rows:
    return await store.query(
        "SELECT name, type FROM system.columns WHERE database = {database:String} AND table = {table:String} "
        "ORDER BY position",
        {"database": store.database, "table": table},
    )


async def test_an_edited_migration_is_refused(store: LogStore) -> None:
    await store.insert(
        "schema_migrations", {"number": [2], "name": ["requests_view"], "checksum": ["other"]}, token="edited"
    )

    with pytest.raises(ConfigurationError, match="0002_requests_view"):
        await migrate(store)


async def test_a_store_of_a_newer_version_is_refused(store: LogStore) -> None:
    await store.insert(
        "schema_migrations", {"number": [9999], "name": ["x"], "checksum": ["y"]}, token="newer"
    )

    with pytest.raises(ConfigurationError, match="newer"):
        await migrate(store)


async def test_retention_follows_the_settings(store: LogStore) -> None:
    assert not await apply_retention(store, bodies_days=30, rows_days=400)
    assert await apply_retention(store, bodies_days=3, rows_days=8)
    assert not await apply_retention(store, bodies_days=3, rows_days=8)

    five_days = [row._replace(started_at=T0_MS - 5 * DAY_MS) for row in rows_of(1)]
    nine_days = [row._replace(started_at=T0_MS - 9 * DAY_MS) for row in rows_of(1)]
    await insert(store, five_days + nine_days)
    await store.command("OPTIMIZE TABLE request_logs FINAL")
    assert await store.query("SELECT request FROM requests") == [{"request": ""}]
