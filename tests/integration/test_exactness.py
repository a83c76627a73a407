"""Two gateways, log_ingest and budget on a real Kafka behind nginx: mixed traffic, and every figure agrees to the
nano-dollar."""

from pathlib import Path

import pytest

from tests.support.cluster import Shape, running
from tests.support.proof import create_keys, load_for, settle
from tests.support.upstream import upstream_process

REQUESTS = 500
CONCURRENCY = 24


@pytest.mark.kafka
@pytest.mark.clickhouse
@pytest.mark.timeout(240)
async def test_requests_log_rows_and_spend_agree_to_the_nano_dollar(
    kafka_bootstrap: str, tmp_path: Path
) -> None:
    with upstream_process() as upstream_url:
        async with running(Shape(), tmp_path, kafka_bootstrap, upstream_url) as cluster:
            keys = await create_keys(cluster)
            load = load_for(cluster, keys, REQUESTS)

            await load.run(CONCURRENCY)
            result = await settle(cluster, list(keys), load.seen, timeout_s=90)
            assert result.problems == []

    assert result.sent == result.logged == result.rows == REQUESTS - result.unheard.total()
    assert result.settled_nanos == result.truth_nanos > 0
    assert result.abandoned == 0, "no process was killed, so every request ended properly"
    assert result.replays == 0, "nothing was interrupted, so nothing was sent to the log twice"
    # every kind of traffic really happened
    assert result.unheard.keys() <= {"leave_waiting"}, "only a client that left is unheard"
    assert result.outcomes["cancelled"] > 0
    assert result.outcomes["error"] == REQUESTS * 5 // 100
    assert result.bases["estimated"] > 0
    assert sum(seen.complete and seen.status == 200 for seen in load.seen) == REQUESTS * 90 // 100
