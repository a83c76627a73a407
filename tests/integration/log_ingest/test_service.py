"""log_ingest on a real embedded log and a real store: what goes into the log comes out of the API, once."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from shared.eventlog.port import NewRecord
from shared.events import Tokens
from shared.topics import DEAD_LETTERS, REQUESTS
from tests.support.eventually import eventually
from tests.support.log_events import abandoned, raw, request_logged
from tests.support.log_ingest import ingest_settings, listed, ready, running_ingest, started_log, to_append

pytestmark = pytest.mark.clickhouse

SSE = 'data: {"choices":[{"index":0,"delta":{"content":"twelve "}}]}\n\ndata: {"choices":[{"delta":{"content":"degrees"}}]}\n\ndata: [DONE]\n\n'


async def test_a_logged_request_is_listed_found_and_shown_whole(tmp_path: Path) -> None:
    settings = ingest_settings(tmp_path)
    event = request_logged(
        1, task="title", stream=True, ttft_ms=31, response=raw(SSE), response_kind="sse", error_code=""
    )
    async with started_log(settings) as log, running_ingest(settings, log) as client:
        await log.append(to_append(log, [event]))

        (item,) = await listed(client, 1)
        detail = (await client.get(f"/api/logs/{event.request_id}")).json()
        search = (await client.get("/api/logs", params={"search": "Twelve"})).json()

    assert item | {"request_id": ""} == {
        "request_id": "",
        "started_at": item["started_at"],
        "endpoint": "chat.completions",
        "provider": "openai",
        "model": "gpt-4o-mini",
        "virtual_key_id": "vk_1",
        "virtual_key_name": "team-a",
        "end_user": "",
        "status": "success",
        "http_status": 200,
        "cost": "0.0000048",
        "cost_basis": "priced",
        "prompt_tokens": 12,
        "completion_tokens": 5,
        "latency_ms": 840,
        "ttft_ms": 31,
        "stream": True,
        "error_code": "",
    }
    assert detail["request"]["messages"][0]["content"] == "question number1"
    assert detail.items() > item.items() and detail["task"] == "title"
    assert detail["response"] == SSE
    assert detail["message"]["choices"][0]["message"]["content"] == "twelve degrees"
    assert detail["attempts"] == []
    assert [found["request_id"] for found in search["items"]] == [event.request_id]


async def test_what_decided_a_price_is_shown_where_there_is_something_to_show(tmp_path: Path) -> None:
    settings = ingest_settings(tmp_path)
    tokens = Tokens(
        prompt=2_000, completion=900, cache_write=70, cache_write_1h=30, prompt_image=1_500,
        completion_image=800, images=2, searches=3, search_units=4,
    )  # fmt: skip
    picture = {"service_tier": "priority", "image_quality": "hd", "image_size": "1792x1024"}
    drawn, plain = request_logged(1, tokens=tokens, **picture), request_logged(2)
    async with started_log(settings) as log, running_ingest(settings, log) as client:
        await log.append(to_append(log, [drawn, plain]))
        await listed(client, 2)
        detail = (await client.get(f"/api/logs/{drawn.request_id}")).json()
        other = (await client.get(f"/api/logs/{plain.request_id}")).json()
        page = " ".join((await client.get(f"/logs/{drawn.request_id}")).text.split())
        plain_page = (await client.get(f"/logs/{plain.request_id}")).text

    assert detail["tokens"] == {name: getattr(tokens, name) for name in Tokens.__struct_fields__}
    assert detail.items() >= picture.items()
    assert {other[name] for name in picture} == {""}
    for fact in (
        "<dt>Tokens in</dt><dd>2,000<small>70 to cache, 30 of them for an hour, 1,500 image</small>",
        "<dt>Tokens out</dt><dd>900<small>800 image</small>",
        "<dt>Images</dt><dd>2<small>hd, 1792x1024</small>",
        "<dt>Searches</dt><dd>3</dd>",
        "<dt>Search units</dt><dd>4</dd>",
        "<dt>Service tier</dt><dd>priority</dd>",
    ):
        assert fact in page
    for label in ("Images", "Characters", "Audio", "Searches", "Search units", "Service tier"):
        assert f"<dt>{label}</dt>" not in plain_page


async def test_a_restart_reads_on_and_doubles_nothing(tmp_path: Path) -> None:
    settings = ingest_settings(tmp_path)
    events = [request_logged(number) for number in range(120)]
    async with started_log(settings) as log:
        async with running_ingest(settings, log) as client:
            await log.append(to_append(log, events[:60]))
            await listed(client, 60)
        await log.append(to_append(log, events[60:]))
        async with running_ingest(settings, log) as client:
            items = await listed(client, 120)

    assert sorted(str(item["request_id"]) for item in items) == sorted(event.request_id for event in events)


async def test_an_abandoned_request_is_shown_until_its_true_log_comes(tmp_path: Path) -> None:
    settings = ingest_settings(tmp_path)
    logged = request_logged(1)
    async with started_log(settings) as log, running_ingest(settings, log) as client:
        await log.append(to_append(log, [abandoned(logged)]))
        (item,) = await listed(client, 1)
        assert (item["status"], item["cost"], item["cost_basis"]) == ("abandoned", "0.000077", "reserved")

        await log.append(to_append(log, [logged]))

        async def superseded() -> bool:
            (now,) = await listed(client, 1)
            return now["status"] == "success"

        await eventually(superseded)


async def test_poison_is_set_aside_with_its_origin_and_the_rest_is_stored(tmp_path: Path) -> None:
    settings = ingest_settings(tmp_path)
    async with started_log(settings) as log, running_ingest(settings, log) as client:
        await log.append([NewRecord(REQUESTS, 0, "bad", b"no event at all")])
        await log.append(to_append(log, [request_logged(1)]))
        await listed(client, 1)

        async def counted() -> bool:
            return (
                'finops_log_ingest_dead_letters_total{step="decode"} 1.0'
                in (await client.get("/metrics")).text
            )

        await eventually(counted)
        set_aside = sum((await log.end_offsets(DEAD_LETTERS)).values())
        health = await client.get("/healthz")

    assert set_aside == 1
    assert health.status_code == 200


async def test_a_flood_of_poison_stops_reading_sets_nothing_aside_and_is_told(tmp_path: Path) -> None:
    settings = ingest_settings(tmp_path)
    async with started_log(settings) as log, running_ingest(settings, log) as client:
        await ready(client)
        await log.append([NewRecord(REQUESTS, 0, "bad", b"no event at all") for _ in range(120)])

        async def has_stopped() -> bool:
            return (await client.get("/healthz")).status_code == 503

        await eventually(has_stopped)
        page = await client.get("/logs")
        set_aside = sum((await log.end_offsets(DEAD_LETTERS)).values())

    assert page.status_code == 200 and "New requests do not reach this list: 120 records" in page.text
    assert set_aside == 0


async def test_a_log_made_anew_beside_an_old_store_is_read_from_its_beginning(tmp_path: Path) -> None:
    """Someone deletes the event log but keeps the store: offsets start again, and no new request may be skipped."""
    store = f"chdb:///{tmp_path}/store"
    first = ingest_settings(tmp_path / "first", clickhouse_url=store)
    second = ingest_settings(tmp_path / "second", clickhouse_url=store)
    for settings, count in ((first, 30), (second, 60)):
        async with started_log(settings) as log, running_ingest(settings, log) as client:
            await log.append(to_append(log, [request_logged(count + number) for number in range(30)]))
            await listed(client, count)


async def test_a_store_that_was_thrown_away_is_filled_again_from_the_log(tmp_path: Path) -> None:
    settings = ingest_settings(tmp_path)
    logged = [request_logged(number) for number in range(30)]
    killed = request_logged(31)
    async with started_log(settings) as log:
        async with running_ingest(settings, log) as client:
            await log.append(to_append(log, [*logged, abandoned(killed)]))
            await listed(client, 31)
        elsewhere = ingest_settings(tmp_path, clickhouse_url=f"chdb:///{tmp_path}/another-store")
        async with running_ingest(elsewhere, log) as client:
            items = await listed(client, 31)

    assert sorted(str(item["request_id"]) for item in items) == sorted(
        event.request_id for event in [*logged, killed]
    )


async def test_what_is_wrong_with_a_question_is_said(tmp_path: Path) -> None:
    settings = ingest_settings(tmp_path)
    async with started_log(settings) as log, running_ingest(settings, log) as client:
        await ready(client)
        wrong = await client.get("/api/logs", params={"status": "ok"})
        unknown = await client.get("/api/logs", params={"colour": "red"})
        missing = await client.get("/api/logs/req_unknown")
        nowhere = await client.get("/api/nothing")
        client.headers["authorization"] = "Bearer sk-fo-something"
        closed = await client.get("/api/logs")

    assert (wrong.status_code, wrong.json()["error"]["param"]) == (400, "status")
    assert unknown.json()["error"]["message"] == "colour is not a filter of this list."
    assert (missing.status_code, missing.json()["error"]["code"]) == (404, "request_not_found")
    assert nowhere.json()["error"]["code"] == "not_found"
    assert (closed.status_code, closed.json()["error"]["code"]) == (401, "invalid_admin_token")


async def test_a_question_that_is_nearly_right_is_answered_or_told_what_is_wrong(tmp_path: Path) -> None:
    settings = ingest_settings(tmp_path)
    async with started_log(settings) as log, running_ingest(settings, log) as client:
        await log.append(to_append(log, [request_logged(1), request_logged(2, outcome="error")]))
        newest, oldest = await listed(client, 2)

        async def ids(query: str) -> list[str]:
            return [item["request_id"] for item in (await client.get(f"/api/logs{query}")).json()["items"]]

        assert (
            await ids("/") == await ids("?cursor=&limit=500") == [newest["request_id"], oldest["request_id"]]
        )
        assert await ids("?status=error&status=cancelled") == [newest["request_id"]]
        assert await ids("?model=none&model=openai/gpt-4o-mini&status=success") == [oldest["request_id"]]
        assert (await client.get(f"/api/logs/{oldest['request_id']}/")).json()["request_id"] == oldest[
            "request_id"
        ]
        refused = {
            query: (answer.status_code, answer.json()["error"]["param"])
            for query in (
                "?end_user=a&end_user=b",
                "?limit=1&limit=2",
                "/filters?days=1",
                "/x?full=1",
                "?limit=501",
            )
            for answer in [await client.get(f"/api/logs{query}")]
        }
        methods = {
            path: answer.headers["allow"]
            for path in (
                "/api/logs",
                "/api/logs/x",
                "/api/logs/filters",
                "/logs",
                "/static/style.css",
                "/healthz",
            )
            for answer in [await client.delete(path)]
            if answer.status_code == 405
        }
        page = (await client.get("/logs?model=openai/gpt-4o-mini")).text

    assert refused == {
        "?end_user=a&end_user=b": (400, "end_user"),
        "?limit=1&limit=2": (400, "limit"),
        "/filters?days=1": (400, "days"),
        "/x?full=1": (400, "full"),
        "?limit=501": (400, "limit"),
    }
    assert methods == {
        "/api/logs": "GET",
        "/api/logs/x": "GET",
        "/api/logs/filters": "GET",
        "/logs": "GET",
        "/static/style.css": "GET, HEAD",
        "/healthz": "GET",
    }
    assert f"row-{oldest['request_id']}" in page


async def test_the_api_describes_what_it_answers(tmp_path: Path) -> None:
    settings = ingest_settings(tmp_path)
    async with started_log(settings) as log, running_ingest(settings, log) as client:
        await log.append(to_append(log, [request_logged(1)]))
        (item,) = await listed(client, 1)
        detail = (await client.get(f"/api/logs/{item['request_id']}")).json()
        document = (await client.get("/api/logs/openapi.json")).json()

    schemas = document["components"]["schemas"]
    assert schemas["LogSummary"]["properties"].keys() == item.keys()
    assert schemas["LogDetail"]["properties"].keys() == detail.keys()
    answers = document["paths"]["/api/logs"]["get"]["responses"]
    assert set(answers) == {"200", "400", "401", "503"}
    assert "HTTPValidationError" not in str(document)


async def test_pages_and_api_say_that_the_store_is_away(tmp_path: Path) -> None:
    settings = ingest_settings(tmp_path, clickhouse_url="clickhouse://127.0.0.1:9/logs")
    async with started_log(settings) as log, running_ingest(settings, log) as client:
        api, page, not_ready = (
            await client.get("/api/logs"),
            await client.get("/logs"),
            await client.get("/readyz"),
        )
        alive = await client.get("/healthz")

    assert (api.status_code, api.json()["error"]["code"]) == (503, "log_store_unavailable")
    assert page.status_code == 200 and "cannot be reached right now" in page.text
    assert 'hx-trigger="refresh"' in page.text  # it looks again by itself
    assert (not_ready.status_code, alive.status_code) == (503, 200)


async def test_what_people_wrote_is_never_markup(tmp_path: Path) -> None:
    settings = ingest_settings(tmp_path)
    attack = '<script>alert(1)</script>"><img src=x onerror=alert(2)>'
    event = request_logged(
        1,
        request=raw({"messages": [{"role": attack, "content": [{"type": "text", "text": attack}]}]}),
        response=raw({"choices": [{"message": {"content": attack}}]}),
        end_user=attack,
        virtual_key_name=attack,
        model=attack,
        error_code=attack,
        error_message=attack,
        task=attack,
        tokens=Tokens(images=1),
        service_tier=attack,
        image_quality=attack,
        image_size=attack,
    )
    async with started_log(settings) as log, running_ingest(settings, log) as client:
        await log.append(to_append(log, [event]))
        await listed(client, 1)
        pages = [
            await client.get("/logs", params={"search": "script", "model": attack}),
            await client.get("/logs", params={"end_user": attack}),
            await client.get(f"/logs/{event.request_id}"),
            await client.get(f"/logs/{event.request_id}", headers={"hx-request": "true"}),
            await client.get("/logs/" + attack.replace("/", "")),
        ]

    for page in pages:
        assert "<script>alert" not in page.text and "<img src=x" not in page.text
        assert "default-src 'none'" in page.headers["content-security-policy"]
    assert "&lt;script&gt;alert(1)" in pages[2].text


async def test_a_request_without_a_known_price_is_never_shown_as_free(tmp_path: Path) -> None:
    settings = ingest_settings(tmp_path)
    event = request_logged(1, cost_basis="unpriced", cost_nanos=0)
    async with started_log(settings) as log, running_ingest(settings, log) as client:
        await log.append(to_append(log, [event]))
        await listed(client, 1)
        pages = [(await client.get(path)).text for path in ("/logs", f"/logs/{event.request_id}")]

    for page in pages:
        assert ">unpriced<" in page
        assert "$0" not in page


async def test_pages_send_strangers_to_the_login_and_back(tmp_path: Path) -> None:
    settings = ingest_settings(tmp_path)
    async with started_log(settings) as log, running_ingest(settings, log) as client:
        del client.headers["authorization"]
        page = await client.get("/logs", params={"search": "a b"})
        piece = await client.get("/logs/rows", headers={"hx-request": "true"})

    assert page.status_code == 303
    assert page.headers["location"] == "/login?next=%2Flogs%3Fsearch%3Da%2Bb"
    assert (piece.status_code, piece.headers["hx-redirect"]) == (401, "/login")


@pytest.mark.parametrize("is_declared", [True, False])
async def test_a_stranger_cannot_fill_the_memory_by_the_login(tmp_path: Path, is_declared: bool) -> None:
    read = 0

    async def pieces() -> AsyncIterator[bytes]:
        nonlocal read
        for _ in range(100):
            read += 65_536
            yield b"x" * 65_536

    settings = ingest_settings(tmp_path)
    headers = {"content-type": "application/x-www-form-urlencoded"}
    async with started_log(settings) as log, running_ingest(settings, log) as client:
        del client.headers["authorization"]
        content = b"x" * 6_553_600 if is_declared else pieces()
        answer = await client.post("/login", content=content, headers=headers)

    assert (answer.status_code, answer.json()["error"]["code"]) == (413, "body_too_large")
    assert read < 2_000_000
