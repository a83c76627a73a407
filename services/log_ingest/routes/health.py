"""/healthz, /readyz and /metrics."""

from fastapi import APIRouter
from starlette.responses import JSONResponse, Response

from services.log_ingest.health import Health
from services.log_ingest.metrics import IngestMetrics
from shared.telemetry import metrics_response


def health_routes(health: Health, metrics: IngestMetrics) -> APIRouter:
    router = APIRouter(include_in_schema=False)

    @router.get("/healthz")
    async def healthz() -> Response:
        """503 only for what a restart or a person must mend: consumption has stopped for good."""
        if health.fault:
            return JSONResponse({"status": "failed", "reason": health.fault}, 503)
        return JSONResponse({"status": "ok"})

    @router.get("/readyz")
    async def readyz() -> Response:
        if health.store_ready and not health.fault:
            return JSONResponse({"status": "ready", "consuming": health.consuming})
        return JSONResponse(
            {"status": "not ready", "reason": health.fault or "the log store has not been reached yet"}, 503
        )

    @router.get("/metrics")
    async def metrics_() -> Response:
        return metrics_response(metrics.registry)

    return router
