"""What the metrics of log_ingest tell."""

from services.log_ingest.metrics import IngestMetrics
from shared.telemetry import new_registry
from shared.topics import REQUESTS, USAGE


def test_a_member_that_lost_its_partitions_lags_nothing() -> None:
    registry = new_registry()
    metrics = IngestMetrics(registry)

    metrics.lagging({(REQUESTS, 0): 5, (REQUESTS, 1): 2, (USAGE, 0): 3})
    metrics.lagging({(USAGE, 0): 4})

    lags = {
        topic: registry.get_sample_value("finops_log_ingest_lag_records", {"topic": topic})
        for topic in (REQUESTS, USAGE)
    }
    assert lags == {REQUESTS: 0, USAGE: 4}
