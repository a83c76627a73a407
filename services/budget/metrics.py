"""Metrics of the budget service, on a registry of its own so that services in one process do not clash."""

from prometheus_client import Counter, Gauge, Histogram

from shared.telemetry import new_registry

_FAST_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)


class BudgetMetrics:
    """Every metric with its unit and meaning."""

    def __init__(self) -> None:
        registry = self.registry = new_registry()
        self.folded = Counter(
            "finops_budget_events_folded", "Usage events folded.", ["event"], registry=registry
        )
        self.dead_letters = Counter(
            "finops_budget_dead_letters",
            "Records that could not be handled and went to the dead letters.",
            registry=registry,
        )
        self.unreadable = Counter(
            "finops_budget_unreadable_records",
            "Records of followed topics that could not be read and were ignored.",
            ["topic"],
            registry=registry,
        )
        self.published = Counter(
            "finops_budget_records_published", "Records written to the spend topic.", registry=registry
        )
        self.publish_seconds = Histogram(
            "finops_budget_publish_seconds",
            "Time of one append to the spend topic.",
            buckets=_FAST_S,
            registry=registry,
        )
        self.publish_failures = Counter(
            "finops_budget_publish_failures",
            "Appends that the event log did not acknowledge and that were tried again.",
            registry=registry,
        )
        self.visible_seconds = Histogram(
            "finops_budget_visible_seconds",
            "From the time of the oldest event in a batch until its counters were durable on the spend topic.",
            buckets=_FAST_S,
            registry=registry,
        )
        self.abandoned = Counter(
            "finops_budget_requests_abandoned",
            "Requests that were settled because their gateway never told their end.",
            registry=registry,
        )
        self.owned_partitions = Gauge(
            "finops_budget_owned_partitions", "Usage partitions folded here.", registry=registry
        )
        self.lag_records = Gauge(
            "finops_budget_lag_records", "Usage records not folded yet.", ["partition"], registry=registry
        )
        self.recovery_seconds = Histogram(
            "finops_budget_recovery_seconds",
            "Time to take over one usage partition.",
            buckets=_FAST_S,
            registry=registry,
        )
        self.rewritten = Counter(
            "finops_budget_counters_rewritten",
            "Counters written again because an earlier owner wrote after its time.",
            registry=registry,
        )
        self.rejoins = Counter(
            "finops_budget_group_rejoins",
            "Times the consumer group was left and joined again after a fault.",
            registry=registry,
        )
        self.governance_changes = Counter(
            "finops_budget_governance_changes",
            "Governance changes folded, by outcome.",
            ["outcome"],
            registry=registry,
        )
