"""`/metrics` of `finops up`: one page of all services, with or without the child."""

import asyncio
from collections import Counter

import httpx
import pytest
from prometheus_client import CollectorRegistry
from prometheus_client.parser import text_string_to_metric_families
from starlette.types import ASGIApp, Receive, Scope, Send

from services import standalone_metrics
from services.budget.metrics import BudgetMetrics
from services.gateway.metrics import GatewayMetrics
from services.log_ingest.metrics import IngestMetrics
from services.standalone_metrics import StandaloneMetrics
from shared.telemetry import metrics_response, new_registry


def telling(registry: CollectorRegistry) -> ASGIApp:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        assert (scope["path"], scope["method"]) == ("/metrics", "GET")
        await metrics_response(registry)(scope, receive, send)

    return app


async def away(scope: Scope, receive: Receive, send: Send) -> None:
    await send({"type": "http.response.start", "status": 503, "headers": []})
    await send({"type": "http.response.body", "body": b"starting"})


async def breaking_off(scope: Scope, receive: Receive, send: Send) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"finops_log_ingest_ro", "more_body": True})


async def hanging(scope: Scope, receive: Receive, send: Send) -> None:
    await asyncio.Event().wait()


async def page_of(logs: ASGIApp) -> str:
    gateway, budget = telling(GatewayMetrics().registry), telling(BudgetMetrics().registry)
    app = StandaloneMetrics(gateway=gateway, budget=budget, logs=logs)
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://test") as client:
        answer = await client.get("/metrics/?a=b")
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/plain; version=")
    return answer.text


def names(text: str) -> set[str]:
    """The names of all metrics. Each is described once, and each of its series is there once."""
    described = [line.split()[2] for line in text.splitlines() if line.startswith("# TYPE ")]
    assert [name for name, times in Counter(described).items() if times > 1] == []
    samples = [sample for family in text_string_to_metric_families(text) for sample in family.samples]
    series = Counter((sample.name, tuple(sorted(sample.labels.items()))) for sample in samples)
    assert [name for name, times in series.items() if times > 1] == []
    return {sample.name for sample in samples}


async def test_the_metrics_of_both_processes_stand_on_one_page_and_none_clash() -> None:
    ingest = IngestMetrics(new_registry())
    ingest.set_aside(undecodable=3, refused=0)
    ingest.lagging({("finops.usage", 0): 7})

    text = await page_of(telling(ingest.registry))

    assert 'finops_log_ingest_dead_letters_total{step="decode"} 3.0' in text
    assert 'finops_log_ingest_lag_records{topic="finops.usage"} 7.0' in text
    assert "\nfinops_log_ingest_up 1\n" in text
    assert names(text) >= {
        "finops_gateway_in_flight",
        "finops_budget_owned_partitions",
        "process_cpu_seconds_total",
        "finops_log_ingest_process_cpu_seconds_total",
    }


@pytest.mark.parametrize("child", [away, breaking_off, hanging])
async def test_without_the_child_its_part_is_missing_and_a_gauge_says_so(
    child: ASGIApp, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(standalone_metrics, "CHILD_TIMEOUT_S", 0.01)

    text = await page_of(child)

    assert "\nfinops_log_ingest_up 0\n" in text
    assert {name for name in names(text) if name.startswith("finops_log_ingest")} == {"finops_log_ingest_up"}
    assert "finops_gateway_in_flight" in names(text)
