"""log_ingest in a Kafka consumer group: members come, go and vanish, and every request is stored once."""

import uuid
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import pytest

from shared.events import RequestLogged
from tests.support.log_events import request_logged
from tests.support.log_ingest import ingest_settings, listed, running_ingest, started_log, to_append

pytestmark = [pytest.mark.kafka, pytest.mark.clickhouse]


def numbered() -> Iterator[RequestLogged]:
    number = 0
    while True:
        yield request_logged(number)
        number += 1


async def test_members_come_and_go_without_losing_or_doubling_a_request(
    tmp_path: Path, kafka_bootstrap: str, clickhouse_url: str
) -> None:
    name = f"t{uuid.uuid4().hex[:10]}"
    settings = ingest_settings(
        tmp_path,
        event_log_url=f"kafka://{kafka_bootstrap}",
        topic_prefix=f"{name}.",
        clickhouse_url=f"{clickhouse_url}/{name}",
    )
    source = numbered()
    sent: list[RequestLogged] = []

    def some(count: int) -> list[RequestLogged]:
        sent.extend(events := list(islice(source, count)))
        return events

    async with started_log(settings) as log, started_log(settings) as other_log:
        async with running_ingest(settings, log) as first:
            await log.append(to_append(log, some(50)))
            await listed(first, 50, timeout_s=60)
            async with running_ingest(settings, other_log) as second:
                await log.append(to_append(log, some(50)))
                await listed(second, 100, timeout_s=60)
                await log.append(to_append(log, some(30)))
            await log.append(to_append(log, some(30)))
            await listed(first, 160, timeout_s=60)
        await log.append(to_append(log, some(20)))
        async with running_ingest(settings, other_log) as again:
            items = await listed(again, 180, timeout_s=60)

    assert sorted(str(item["request_id"]) for item in items) == sorted(event.request_id for event in sent)
