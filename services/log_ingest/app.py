"""The ASGI app: API, pages, health, and what all pages share."""

from fastapi import FastAPI

from services.log_ingest.errors import add_error_answers
from services.log_ingest.health import Health
from services.log_ingest.metrics import IngestMetrics
from services.log_ingest.openapi import describe
from services.log_ingest.queries import LogQueries
from services.log_ingest.routes.api import api_routes
from services.log_ingest.routes.health import health_routes
from services.log_ingest.routes.pages import TEMPLATES, page_routes
from services.log_ingest.show import FILTERS
from shared.web.body_limit import BodyLimit
from shared.web.login import web_routes
from shared.web.pages import Pages
from shared.web.paths import OneTrailingSlash
from shared.web.session import AdminAccess


def build_app(queries: LogQueries, access: AdminAccess, health: Health, metrics: IngestMetrics) -> FastAPI:
    """Everything that log_ingest answers over HTTP."""
    app = FastAPI(
        title="FinOps Gateway: logs",
        version="1",
        docs_url=None,  # FastAPI's page loads its scripts from another host
        redoc_url=None,
        openapi_url="/api/logs/openapi.json",
    )
    pages = Pages(TEMPLATES, filters=FILTERS)
    add_error_answers(app)
    app.add_middleware(BodyLimit)
    app.add_middleware(OneTrailingSlash)
    app.include_router(health_routes(health, metrics))
    app.include_router(api_routes(queries, access))
    app.include_router(page_routes(queries, access, pages, health))
    app.router.routes.extend(web_routes(access, pages, home="/logs"))
    app.openapi = lambda: describe(app)  # type: ignore[method-assign]  # FastAPI's documented way to change it
    return app
