"""What log_ingest measures about itself."""

from collections.abc import Mapping

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from shared.eventlog.port import TopicPartition


class IngestMetrics:
    """All metrics of the service, on the registry that is handed in."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.registry = registry
        self._rows = Counter("finops_log_ingest_rows", "Rows inserted.", registry=registry)
        self._insert_s = Histogram(
            "finops_log_ingest_flush_seconds",
            "Duration of one flush: insert and dead letters.",
            buckets=(0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30),
            registry=registry,
        )
        self._dead = Counter(
            "finops_log_ingest_dead_letters",
            "Records set aside, by the step that refused them.",
            ["step"],
            registry=registry,
        )
        self._retries = Counter(
            "finops_log_ingest_retries", "Flushes that had to be tried again.", registry=registry
        )
        self._restarts = Counter(
            "finops_log_ingest_restarts", "Restarts of the consumer after a fault.", registry=registry
        )
        self._lag = Gauge(
            "finops_log_ingest_lag_records",
            "Records not read yet, over the partitions of this member.",
            ["topic"],
            registry=registry,
        )
        self._lagged: frozenset[str] = frozenset()
        self._up = Gauge(
            "finops_log_ingest_store_up", "1 when the last use of the store succeeded.", registry=registry
        )

    def flushed(self, rows: int, seconds: float) -> None:
        self._rows.inc(rows)
        self._insert_s.observe(seconds)
        self._up.set(1)

    def set_aside(self, undecodable: int, refused: int) -> None:
        self._dead.labels("decode").inc(undecodable)
        self._dead.labels("insert").inc(refused)

    def retried(self) -> None:
        self._retries.inc()
        self._up.set(0)

    def restarted(self) -> None:
        self._restarts.inc()

    def store_is_up(self, up: bool) -> None:
        self._up.set(int(up))

    def lagging(self, lag: Mapping[TopicPartition, int]) -> None:
        totals = dict.fromkeys(self._lagged, 0)  # a partition that went to another member lags nothing here
        for (topic, _), records in lag.items():
            totals[topic] = totals.get(topic, 0) + records
        self._lagged = frozenset(totals)
        for topic, records in totals.items():
            self._lag.labels(topic).set(records)
