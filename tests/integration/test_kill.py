"""kill -9 of each process in turn, amid the load: nothing is lost, nothing is counted twice."""

from pathlib import Path

import pytest

from tests.support.cluster import Shape, running
from tests.support.load import Mix
from tests.support.proof import create_keys, killing, load_for, run_disturbed, settle
from tests.support.upstream import upstream_process

REQUESTS = 1_200
"""At least; the load goes on until the last process is back."""
CONCURRENCY = 24
VICTIMS = ("gateway-1", "budget-1", "log-ingest-1", "gateway-2")
MIX = Mix(delay_ms=250)
"""Long enough for every kill to meet requests that are waiting for their provider."""


@pytest.mark.kafka
@pytest.mark.clickhouse
@pytest.mark.timeout(300)
async def test_no_kill_loses_or_doubles_a_request_or_a_nano_dollar(
    kafka_bootstrap: str, tmp_path: Path
) -> None:
    with upstream_process() as upstream_url:
        async with running(Shape(), tmp_path, kafka_bootstrap, upstream_url) as cluster:
            keys = await create_keys(cluster)
            load = load_for(cluster, keys, REQUESTS, mix=MIX)

            await run_disturbed(load, CONCURRENCY, [killing(cluster, victim) for victim in VICTIMS])
            result = await settle(cluster, list(keys), load.seen, timeout_s=90)
            assert result.problems == []

    assert result.sent == result.rows == len(load.seen) - result.unheard.total()
    assert result.logged + result.abandoned == result.rows
    assert result.settled_nanos == result.truth_nanos > 0
    assert result.abandoned > 0, "the killed gateways had requests in flight"
