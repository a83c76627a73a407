"""The gateway's metrics, on a registry of their own. Label values come from bounded sets; never from a caller.

Children are looked up once per combination and kept, because finding one by its labels costs more than counting.
"""

import math
import time
from collections.abc import Callable
from typing import Final

from prometheus_client import Counter, Gauge, Histogram

from shared.eventlog.outbox import Outbox
from shared.events import Attempt, Tokens
from shared.governance.spend_view import SpendView
from shared.telemetry import new_registry

MAX_MODELS: Final = 1000
"""A provider whose list is unknown passes any model name on: past this many, the label is `other`."""
_LATENCY_BUCKETS: Final = (0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 20, 40, 80, 160, 320, 900)
_USD_PER_NANO: Final = 1e-9


class _ModelSeries:
    """The children of one (endpoint, provider, model)."""

    __slots__ = ("completion", "cost", "first_byte", "latency", "outcomes", "prompt")

    def __init__(self, metrics: "GatewayMetrics", endpoint: str, provider: str, model: str) -> None:
        self.latency = metrics.latency.labels(endpoint, provider)
        self.first_byte = metrics.first_byte.labels(endpoint, provider)
        self.prompt = metrics.tokens.labels(provider, model, "prompt")
        self.completion = metrics.tokens.labels(provider, model, "completion")
        self.cost = metrics.cost.labels(provider, model)
        self.outcomes: dict[tuple[str, str], Counter] = {}


class GatewayMetrics:
    """Counters and gauges of one gateway. Times are seconds, money US dollars."""

    def __init__(self) -> None:
        self.registry = registry = new_registry()
        labels = ("endpoint", "provider", "model", "outcome", "code")
        self.requests = Counter("finops_gateway_requests", "Requests ended.", labels, registry=registry)
        self.latency = Histogram(
            "finops_gateway_request_seconds",
            "From the request's arrival to its end.",
            ("endpoint", "provider"),
            buckets=_LATENCY_BUCKETS,
            registry=registry,
        )
        self.first_byte = Histogram(
            "finops_gateway_first_byte_seconds",
            "From a streamed request's arrival to the first event of its answer.",
            ("endpoint", "provider"),
            buckets=_LATENCY_BUCKETS,
            registry=registry,
        )
        self.tokens = Counter(
            "finops_gateway_tokens", "Tokens used.", ("provider", "model", "kind"), registry=registry
        )
        self.cost = Counter(
            "finops_gateway_cost_dollars", "Cost of ended requests.", ("provider", "model"), registry=registry
        )
        self.unpriced = Counter(
            "finops_gateway_unpriced_requests", "Requests whose price nobody knows.", registry=registry
        )
        self.unauthorized = Counter(
            "finops_gateway_unauthorized", "Requests refused with 401.", ("code",), registry=registry
        )
        self.refused_user_tokens = Counter(
            "finops_gateway_refused_user_tokens",
            "Tokens about a user that were not believed.",
            ("reason",),
            registry=registry,
        )
        self.attempts = Counter(
            "finops_gateway_upstream_attempts",
            "Calls to providers.",
            ("provider", "result"),
            registry=registry,
        )
        self.in_flight = 0
        """A plain number, because it changes twice with each request."""
        self.dropped_events = Counter(
            "finops_gateway_dropped_events", "Events that could not be kept.", ("reason",), registry=registry
        )
        self.unverified = Counter(
            "finops_gateway_unverified_requests", "Admitted although counters were stale.", registry=registry
        )
        self.discovery_failures = Counter(
            "finops_gateway_model_list_failures",
            "Model lists that a provider did not give.",
            ("provider",),
            registry=registry,
        )
        self.internal_errors = Counter(
            "finops_gateway_internal_errors",
            "Requests that failed by a fault of the gateway.",
            registry=registry,
        )
        self.skipped_records = Counter(
            "finops_gateway_skipped_records", "Records that could not be read.", ("topic",), registry=registry
        )
        self.gauge("in_flight", "Requests at work now.", lambda: self.in_flight)
        self._series: dict[tuple[str, str, str], _ModelSeries] = {}
        self._attempt_results: dict[tuple[str, str], Counter] = {}
        self._models: set[tuple[str, str]] = set()

    def gauge(self, name: str, text: str, read: Callable[[], float]) -> None:
        """A gauge `finops_gateway_NAME` that is read when it is scraped."""
        Gauge(f"finops_gateway_{name}", text, registry=self.registry).set_function(read)

    def ended(
        self,
        endpoint: str,
        provider: str,
        model: str,
        *,
        outcome: str,
        code: str,
        latency_ms: int,
        first_byte_ms: int | None,
        tokens: Tokens,
        cost_nanos: int,
    ) -> None:
        series = self._series_of(endpoint, provider, model)
        counter = series.outcomes.get((outcome, code))
        if counter is None:
            counter = self.requests.labels(endpoint, provider, self._bounded(provider, model), outcome, code)
            series.outcomes[outcome, code] = counter
        counter.inc()
        series.latency.observe(latency_ms / 1000)
        if first_byte_ms is not None:
            series.first_byte.observe(first_byte_ms / 1000)
        if tokens.prompt:
            series.prompt.inc(tokens.prompt)
        if tokens.completion:
            series.completion.inc(tokens.completion)
        if cost_nanos > 0:
            series.cost.inc(cost_nanos * _USD_PER_NANO)

    def attempted(self, attempt: Attempt) -> None:
        name = (attempt.provider, attempt.error_code or "ok")
        counter = self._attempt_results.get(name)
        if counter is None:
            counter = self._attempt_results[name] = self.attempts.labels(*name)
        counter.inc()

    def _series_of(self, endpoint: str, provider: str, model: str) -> _ModelSeries:
        name = (endpoint, provider, self._bounded(provider, model))
        series = self._series.get(name)
        if series is None:
            series = self._series[name] = _ModelSeries(self, *name)
        return series

    def _bounded(self, provider: str, model: str) -> str:
        name = (provider, model)
        if name not in self._models:
            if len(self._models) >= MAX_MODELS:
                return "other"
            self._models.add(name)
        return model


def observe_log(metrics: GatewayMetrics, outbox: Outbox, view: SpendView) -> None:
    """Gauges of what is not in the log yet, and of how old the counters from it are."""
    metrics.gauge(
        "spool_pending_records", "Records the event log has not taken yet.", lambda: outbox.pending_records
    )
    metrics.gauge("spool_pending_bytes", "Their bytes.", lambda: outbox.pending_bytes)
    metrics.gauge(
        "spool_oldest_seconds", "Age of the oldest of them.", lambda: outbox.oldest_pending_age_s(time.time())
    )
    metrics.gauge(
        "spend_age_seconds",
        "Age of the oldest spend counter: the staleness of budgets.",
        lambda: _age_s(view),
    )
    metrics.gauge(
        "spend_uncovered_records", "Own records not in the counters yet.", lambda: view.uncovered_records
    )


def _age_s(view: SpendView) -> float:
    now_ms = time.time_ns() // 1_000_000
    age_ms = view.age_ms(now_ms)
    return age_ms / 1000 if age_ms < now_ms else math.inf  # no counter was ever heard of
