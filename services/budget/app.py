"""The budget service's ASGI app: admin API, home page, health."""

from collections.abc import Callable

from fastapi import Depends, FastAPI
from fastapi.openapi.utils import get_openapi
from fastapi.responses import JSONResponse, Response
from fastapi.security import HTTPBearer

from services.budget.errors import install_error_handlers
from services.budget.guard import AdminGuard
from services.budget.metrics import BudgetMetrics
from services.budget.parameters import only_known_parameters
from services.budget.routes import catalogue, home, virtual_keys
from services.budget.services import BudgetServices
from shared.telemetry import metrics_response
from shared.web.body_limit import BodyLimit
from shared.web.login import web_routes
from shared.web.pages import Pages
from shared.web.paths import OneTrailingSlash
from shared.web.session import AdminAccess

Readiness = Callable[[], str]
"""What is still missing, as a sentence; empty when the service is ready."""


def build_app(
    services: BudgetServices,
    access: AdminAccess,
    metrics: BudgetMetrics,
    readiness: Readiness,
    pages: Pages,
) -> FastAPI:
    """The app; everything it works with has been made already."""
    app = FastAPI(
        title="FinOps Gateway: admin API",
        summary="Virtual keys, budgets, providers and models.",
        description="Money is a decimal string in US dollars, times are RFC 3339 in UTC. Every error has the body "
        '`{"error": {"message", "type", "param", "code"}}`.',
        version="1",
        docs_url=None,
        redoc_url=None,
        openapi_url="/api/openapi.json",
        redirect_slashes=False,
    )
    app.state.services = services
    app.state.access = access
    app.state.pages = pages
    install_error_handlers(app)
    app.add_middleware(BodyLimit)
    app.add_middleware(AdminGuard, access=access)
    app.add_middleware(OneTrailingSlash)
    admin = [
        # for the documentation only: the guard decides, and a session cookie is as good
        Depends(HTTPBearer(auto_error=False, description="The admin token")),
        Depends(only_known_parameters),
    ]
    app.include_router(virtual_keys.router, dependencies=admin)
    app.include_router(catalogue.router, dependencies=admin)
    app.include_router(home.router)
    app.router.routes.extend(web_routes(access, pages))
    _add_health(app, metrics, readiness)
    app.openapi = lambda: _openapi(app)  # type: ignore[method-assign]  # FastAPI's documented way to change it
    return app


def _add_health(app: FastAPI, metrics: BudgetMetrics, readiness: Readiness) -> None:
    @app.get("/healthz", include_in_schema=False)
    async def healthz() -> dict[str, str]:
        return {"status": "ok"}

    @app.get("/readyz", include_in_schema=False)
    async def readyz() -> Response:
        missing = readiness()
        if missing:
            return JSONResponse({"status": "not ready", "reason": missing}, 503)
        return JSONResponse({"status": "ready"})

    @app.get("/metrics", include_in_schema=False)
    async def prometheus() -> Response:
        return metrics_response(metrics.registry)


def _openapi(app: FastAPI) -> dict[str, object]:
    """Without the framework's 422: wrong fields are answered with 400 here."""
    if app.openapi_schema is None:
        schema = get_openapi(
            title=app.title,
            summary=app.summary,
            description=app.description,
            version=app.version,
            routes=app.routes,
        )
        for path in schema["paths"].values():
            for operation in path.values():
                operation["responses"].pop("422", None)
        for unused in ("HTTPValidationError", "ValidationError"):
            schema["components"]["schemas"].pop(unused, None)
        app.openapi_schema = schema
    return app.openapi_schema
