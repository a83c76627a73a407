"""A store over HTTP that goes away while requests are being logged, and comes back."""

from pathlib import Path

import httpx
import pytest

from shared.topics import DEAD_LETTERS
from tests.support.clickhouse import chdb_server
from tests.support.eventually import eventually
from tests.support.log_events import request_logged
from tests.support.log_ingest import ingest_settings, listed, running_ingest, started_log, to_append

pytestmark = pytest.mark.clickhouse


async def test_an_overloaded_server_loses_and_doubles_nothing(tmp_path: Path) -> None:
    with chdb_server(tmp_path / "server") as url:
        settings = ingest_settings(tmp_path, clickhouse_url=f"{url}/logs")
        server = url.replace("clickhouse://", "http://")
        events = [request_logged(number) for number in range(60)]
        async with (
            started_log(settings) as log,
            running_ingest(settings, log) as client,
            httpx.AsyncClient(base_url=server) as admin,
        ):
            await log.append(to_append(log, events[:20]))
            await listed(client, 20)

            await admin.post("/admin/away")
            await log.append(to_append(log, events[20:40]))

            async def retried() -> bool:
                text = (await client.get("/metrics")).text
                return "finops_log_ingest_retries_total 0.0" not in text

            await eventually(retried)
            assert (await client.get("/api/logs")).status_code == 503
            await log.append(to_append(log, events[40:]))
            await admin.post("/admin/back")
            items = await listed(client, 60, timeout_s=60)

    assert sorted(str(item["request_id"]) for item in items) == sorted(event.request_id for event in events)


async def test_a_database_that_is_lost_is_made_again_and_no_request_is_set_aside(tmp_path: Path) -> None:
    with chdb_server(tmp_path / "server") as url:
        settings = ingest_settings(tmp_path, clickhouse_url=f"{url}/logs")
        server = url.replace("clickhouse://", "http://")
        events = [request_logged(number) for number in range(40)]
        async with (
            started_log(settings) as log,
            running_ingest(settings, log) as client,
            httpx.AsyncClient(base_url=server) as admin,
        ):
            await log.append(to_append(log, events[:20]))
            await listed(client, 20)

            await admin.post("/", content="DROP DATABASE logs SYNC")
            await log.append(to_append(log, events[20:]))
            items = await listed(client, 40, timeout_s=60)
            set_aside = sum((await log.end_offsets(DEAD_LETTERS)).values())

    assert sorted(str(item["request_id"]) for item in items) == sorted(event.request_id for event in events)
    assert set_aside == 0


async def test_two_members_share_the_work_over_one_server(tmp_path: Path, clickhouse_url: str) -> None:
    settings = ingest_settings(tmp_path, clickhouse_url=f"{clickhouse_url}/shared_work")
    events = [request_logged(number) for number in range(150)]
    async with started_log(settings) as log, running_ingest(settings, log) as first:
        await log.append(to_append(log, events[:50]))
        async with running_ingest(settings, log) as second:
            await log.append(to_append(log, events[50:100]))
            await listed(second, 100, timeout_s=60)
        await log.append(to_append(log, events[100:]))
        items = await listed(first, 150, timeout_s=60)

    assert sorted(str(item["request_id"]) for item in items) == sorted(event.request_id for event in events)
