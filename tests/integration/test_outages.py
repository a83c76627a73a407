"""Kafka and ClickHouse are killed amid the load: no client notices, and afterwards every figure agrees."""

import asyncio
from pathlib import Path

import pytest

from tests.support.cluster import Shape, running
from tests.support.kafka import KafkaBroker
from tests.support.load import Mix
from tests.support.proof import create_keys, killing, load_for, run_disturbed, settle
from tests.support.upstream import upstream_process

REQUESTS = 1_200
"""At least; the load goes on until the last process is back."""
CONCURRENCY = 24
MIX = Mix(delay_ms=250)


@pytest.mark.kafka
@pytest.mark.clickhouse
@pytest.mark.timeout(300)
async def test_the_data_plane_goes_on_while_kafka_and_clickhouse_are_away(tmp_path: Path) -> None:
    with KafkaBroker() as kafka, upstream_process() as upstream_url:
        async with running(Shape(), tmp_path, kafka.bootstrap, upstream_url) as cluster:
            keys = await create_keys(cluster)
            load = load_for(cluster, keys, REQUESTS, mix=MIX)

            async def kill_kafka() -> None:
                await asyncio.to_thread(kafka.kill)
                begun = len(load.seen)
                await load.until_ended(begun + CONCURRENCY * 4)  # several rounds of requests meet no broker
                await asyncio.to_thread(kafka.start)

            await run_disturbed(load, CONCURRENCY, [kill_kafka, killing(cluster, "clickhouse"), kill_kafka])
            result = await settle(cluster, list(keys), load.seen, timeout_s=150)
            assert result.problems == []

    assert result.sent == result.logged == result.rows == len(load.seen) - result.unheard.total()
    assert result.unheard.keys() <= {"leave_waiting"}, (
        "no gateway was away: only a client that left is unheard"
    )
    assert result.settled_nanos == result.truth_nanos > 0
    assert result.abandoned == 0, "no gateway was killed"
    assert [
        seen for seen in load.seen if seen.fate == "finish" and not (seen.complete and seen.status == 200)
    ] == []
