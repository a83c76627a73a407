"""Finding requests: every filter, the order, the pages, and the search."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from services.log_ingest.batch import columns_of, insert_token
from services.log_ingest.decode import decode_record
from services.log_ingest.filters import Cursor, LogFilters, conditions
from services.log_ingest.queries import LIST_COLUMNS, LogQueries
from services.log_ingest.rows import TABLE
from services.log_ingest.store.port import LogStore
from shared.errors import StoreUnavailable
from shared.events import RequestLogged, UsageRecorded
from tests.support.log_events import T0_MS, abandoned, raw, record_of, request_logged

pytestmark = pytest.mark.clickhouse


def said(text: str) -> dict[str, Any]:
    return {"request": raw({"messages": [{"role": "user", "content": text}]})}


def answered(text: str) -> dict[str, Any]:
    return {"response": raw({"choices": [{"message": {"content": text}}]})}


async def keep(store: LogStore, *events: RequestLogged | UsageRecorded) -> None:
    rows = [row for number, event in enumerate(events) if (row := decode_record(record_of(event, number)))]
    await store.insert(TABLE, columns_of(rows), token=insert_token(rows))


async def found(store: LogStore, **filters: Any) -> list[str]:
    page = await LogQueries(store).page(LogFilters.model_validate(filters), 100)
    return [item.request_id for item in page.items]


@pytest.mark.parametrize(
    ("mine", "filters"),
    [
        ({"provider": "groq"}, {"provider": ["groq", "none"]}),
        ({"model": "gpt-4.1"}, {"model": ["gpt-4.1"]}),
        ({"provider": "groq", "model": "gpt-4.1"}, {"model": ["groq/gpt-4.1"]}),
        ({"provider": "openrouter", "model": "openai/gpt-4o"}, {"model": ["openai/gpt-4o", "none"]}),
        ({"provider": "openrouter", "model": "openai/gpt-4o"}, {"model": ["openrouter/openai/gpt-4o"]}),
        ({"virtual_key_id": "vk_9"}, {"virtual_key": ["vk_9"]}),
        ({"virtual_key_name": "team-z"}, {"virtual_key": ["team-z"]}),
        ({"outcome": "error"}, {"status": ["error", "cancelled"]}),
        ({"endpoint": "embeddings"}, {"endpoint": ["embeddings"]}),
        ({"end_user": "ada"}, {"end_user": "ada"}),
        ({"stream": True}, {"stream": True}),
        ({"task": "title"}, {"task": "title"}),
        ({"chat_id": "c-1"}, {"chat_id": "c-1"}),
        ({"error_code": "budget_exceeded"}, {"error_code": "budget_exceeded"}),
        ({"cost_nanos": 1_000_000_001}, {"min_cost": "1.000000001"}),
        ({"cost_nanos": 1}, {"max_cost": "0.000000001"}),
        ({"latency_ms": 5000}, {"min_latency_ms": 5000}),
        ({"latency_ms": 5}, {"max_latency_ms": 5}),
        ({"started_at_ms": T0_MS - 86_400_000}, {"to": datetime.fromtimestamp(T0_MS / 1000, UTC)}),
        ({"started_at_ms": T0_MS + 3_000_000}, {"period": "1h"}),
        (said("Über das Wetter"), {"search": "über WETTER"}),
        (said("well done 😀👍!"), {"search": "😀"}),
        (answered("a → b"), {"search": "→"}),
        (said("100 %_"), {"search": "%_"}),
        (said("why?! why"), {"search": "?! ?"}),
        (said("C:\\\\ it's {x}"), {"search": "\\\\ ' {"}),
        (answered("forty-two"), {"search": "forty two"}),
        (said("天気は晴れです"), {"search": "晴れ"}),
        (said("今日は「東京」、GPT模型"), {"search": "東京、gpt模型"}),
        (said("今天的天氣" * 30), {"search": "今天的天氣" * 30}),
        (answered("ข้อความภาษาไทย"), {"search": "ภาษา"}),
        (answered("He said “hello”—then left… it’s fine🎉"), {"search": "hello then left it s fine"}),
        (answered("ΟΔΟΣ, naïve İstanbul"), {"search": "οδος Naïve İSTANBUL"}),
        (answered("हिन्दी में €20•now"), {"search": "हिन्दी 20 NOW"}),
        (said('100% sure_thing O\'Brien \\ "x"'), {"search": '%sure_ o\'brien \\ "X"'}),
    ],
)
async def test_each_filter_finds_its_request_and_no_other(
    store: LogStore, mine: dict[str, Any], filters: dict[str, Any]
) -> None:
    wanted = request_logged(50, **mine)
    old = {"started_at_ms": T0_MS + 1} if "period" not in filters else {"started_at_ms": T0_MS - 7_200_000}

    await keep(store, request_logged(1, **old), wanted, request_logged(2, **old))

    assert await found(store, **filters) == [wanted.request_id]


async def test_all_words_must_occur_and_each_may_be_said_or_answered(store: LogStore) -> None:
    both = request_logged(1, **said("the red fox"), **answered("jumps high"))
    half = request_logged(2, **said("the red dog"), **answered("sleeps"))
    await keep(store, both, half)

    assert await found(store, search="red jumps") == [both.request_id]
    assert await found(store, search="red") == [half.request_id, both.request_id]
    assert await found(store, search="re") == []


@pytest.mark.parametrize(
    "filters",
    [
        {"status": ["abandoned"]},
        {"error_code": "gateway_lost"},
        {"model": ["first-choice"]},
        {"chat_id": ""},
        {"max_cost": "0.00008", "min_cost": "0.00007"},
    ],
)
async def test_what_was_settled_for_a_dead_gateway_is_not_found_once_its_log_has_come(
    store: LogStore, filters: dict[str, Any]
) -> None:
    logged = request_logged(1, model="fallback", chat_id="c-1")
    others = [request_logged(number, chat_id="c-2") for number in range(100, 120)]
    await keep(store, abandoned(logged, model="first-choice", error_code="gateway_lost"))
    assert await found(store, **filters) == [logged.request_id]

    await keep(store, *others, logged)

    assert await found(store, **filters) == []


async def test_an_unpriced_request_has_no_cost_and_is_in_no_range_of_costs(store: LogStore) -> None:
    await keep(store, request_logged(1, cost_basis="unpriced", cost_nanos=0))

    (item,) = (await LogQueries(store).page(LogFilters(), 10)).items
    assert item.cost is None
    assert await found(store, min_cost="0") == []


async def test_pages_follow_each_other_without_gap_or_repetition(store: LogStore) -> None:
    same_moment = [request_logged(0, started_at_ms=T0_MS) for _ in range(7)]
    await keep(store, *same_moment, *[request_logged(number) for number in range(1, 19)])
    queries, seen, after = LogQueries(store), [], None

    while True:
        page = await queries.page(LogFilters(), 4, after)
        seen += [(item.started_at, item.request_id) for item in page.items]
        if page.next_cursor is None:
            break
        after = Cursor.parse(page.next_cursor)
        await keep(store, request_logged(5000 + len(seen)))  # newer ones do not move a page

    assert len(seen) == 25
    assert seen == sorted(set(seen), reverse=True)


async def test_a_page_is_filled_from_however_long_ago(store: LogStore) -> None:
    days_ago = [0, 0, 3, 5, 9, 28]
    await keep(store, *[request_logged(0, started_at_ms=T0_MS - days * 86_400_000) for days in days_ago])
    queries = LogQueries(store)

    for limit in range(1, 8):
        ages, after = [], None
        while True:
            page = await queries.page(LogFilters(), limit, after)
            ages += [item.cursor.started_at_ms for item in page.items]
            if page.next_cursor is None:
                break
            after = Cursor.parse(page.next_cursor)
        assert ages == [T0_MS - days * 86_400_000 for days in days_ago], limit


@pytest.mark.parametrize("filters", [{"period": "30d"}, {"from": datetime.now(UTC) - timedelta(days=20)}])
async def test_a_page_of_a_long_time_is_filled_from_its_end_and_stops_at_its_beginning(
    store: LogStore, filters: dict[str, Any]
) -> None:
    now = datetime.now(UTC)
    days_ago = [0, 2, 9, 19, 40]
    events = [request_logged(0, started_at_ms=int(now.timestamp() * 1000) - d * 86_400_000) for d in days_ago]
    await keep(store, *events)

    pages = [await LogQueries(store).page(LogFilters.model_validate(filters), limit) for limit in (1, 3, 10)]

    inside = [event.request_id for event in events[:4]]
    assert [[item.request_id for item in page.items] for page in pages] == [inside[:1], inside[:3], inside]


async def test_questions_before_the_schema_is_in_place_are_told_to_wait(empty_store: LogStore) -> None:
    queries = LogQueries(empty_store, is_ready=lambda: False)

    for question in (queries.page(LogFilters(), 1), queries.one("req_1"), queries.choices()):
        with pytest.raises(StoreUnavailable):
            await question


async def test_a_refresh_finds_everything_down_to_a_place(store: LogStore) -> None:
    events = [request_logged(number) for number in range(10)]
    await keep(store, *events)

    items = await LogQueries(store).since(
        LogFilters(), 100, Cursor(events[4].started_at_ms, events[4].request_id)
    )

    assert [item.request_id for item in items] == [event.request_id for event in reversed(events[4:])]


async def test_one_request_is_found_by_its_id_with_its_bodies(store: LogStore) -> None:
    event = request_logged(1)
    await keep(store, event, request_logged(2))

    row = await LogQueries(store).one(event.request_id)

    assert row is not None and row["request"] == bytes(event.request).decode()
    assert await LogQueries(store).one("req_unknown") is None


async def test_choices_are_what_recent_requests_had(store: LogStore) -> None:
    await keep(
        store,
        request_logged(1, virtual_key_name="old"),
        request_logged(2, virtual_key_name="new", task="tags"),
    )

    choices = await LogQueries(store).choices()

    assert (choices.providers, choices.models, choices.tasks) == (["openai"], ["gpt-4o-mini"], ["tags"])
    assert choices.virtual_keys == [("vk_1", "new")]


async def test_a_list_reads_no_body(store: LogStore) -> None:
    for body in ("request", "response", "prompt_text", "answer_text", "attempts"):
        assert body not in LIST_COLUMNS.split(", ")


@pytest.mark.parametrize("search", ["\x00", "\x01\x7f", "\ufffd", "\u200b", "'; --"])
async def test_a_search_for_odd_signs_that_nobody_said_finds_nothing(store: LogStore, search: str) -> None:
    await keep(store, request_logged(1))

    assert await found(store, search=search) == []


async def test_the_characters_of_an_unspaced_word_must_stand_together(store: LogStore) -> None:
    await keep(store, request_logged(1, **said("天地有気")))

    assert await found(store, search="天気") == []
    assert len(await found(store, search="天 気")) == 1


@pytest.mark.parametrize("search", ["nowhere", "今日"])
async def test_a_search_is_answered_by_the_index(store: LogStore, search: str) -> None:
    await keep(store, *[request_logged(number) for number in range(50)])
    where, bound = conditions(LogFilters(search=search), datetime.now(UTC))

    plan = await store.query(
        f"EXPLAIN indexes = 1 SELECT request_id FROM request_logs FINAL WHERE {' AND '.join(where)}", bound
    )

    text = "\n".join(str(row["explain"]) for row in plan)
    assert "ix_prompt_words" in text and "ix_answer_words" in text
