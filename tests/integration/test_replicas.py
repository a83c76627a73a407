"""Two of each service: one is restarted or killed amid the load, the other takes its partitions over."""

from pathlib import Path

import pytest

from tests.support.cluster import Shape, running
from tests.support.load import Mix
from tests.support.proof import create_keys, killing, load_for, restarting, run_disturbed, settle
from tests.support.upstream import upstream_process

REQUESTS = 1_500
"""At least; the load goes on until the last process is back."""
CONCURRENCY = 24
MIX = Mix(delay_ms=250)
PAIRS = Shape(gateways=2, budgets=2, log_ingests=2)


@pytest.mark.kafka
@pytest.mark.clickhouse
@pytest.mark.timeout(300)
async def test_a_rolling_restart_abandons_nothing(kafka_bootstrap: str, tmp_path: Path) -> None:
    with upstream_process() as upstream_url:
        async with running(PAIRS, tmp_path, kafka_bootstrap, upstream_url) as cluster:
            keys = await create_keys(cluster)
            load = load_for(cluster, keys, REQUESTS, mix=MIX)
            names = ("gateway-1", "budget-1", "log-ingest-1", "gateway-2", "budget-2", "log-ingest-2")

            await run_disturbed(load, CONCURRENCY, [restarting(cluster, name) for name in names])
            result = await settle(cluster, list(keys), load.seen, timeout_s=90)
            assert result.problems == []

    assert result.sent == result.logged == result.rows == len(load.seen) - result.unheard.total()
    assert result.settled_nanos == result.truth_nanos > 0
    assert result.abandoned == 0, "each gateway finished what it had begun"


@pytest.mark.kafka
@pytest.mark.clickhouse
@pytest.mark.timeout(300)
async def test_a_surviving_replica_takes_over_exactly(kafka_bootstrap: str, tmp_path: Path) -> None:
    with upstream_process() as upstream_url:
        async with running(PAIRS, tmp_path, kafka_bootstrap, upstream_url) as cluster:
            keys = await create_keys(cluster)
            load = load_for(cluster, keys, REQUESTS, mix=MIX)
            victims = ("budget-1", "log-ingest-2", "budget-2", "log-ingest-1")

            await run_disturbed(load, CONCURRENCY, [killing(cluster, name) for name in victims])
            result = await settle(cluster, list(keys), load.seen, timeout_s=90)
            assert result.problems == []

    assert result.sent == result.logged == result.rows == len(load.seen) - result.unheard.total()
    assert result.unheard.keys() <= {"leave_waiting"}, (
        "no gateway was away: only a client that left is unheard"
    )
    assert result.settled_nanos == result.truth_nanos > 0
    assert result.abandoned == 0, "no gateway was killed"
