"""`/api/providers`, `/api/routes` and `/api/models`: what the gateways may call and what it costs."""

from typing import Annotated, Any

from fastapi import APIRouter, Query, Request

from services.budget.errors import ErrorAnswer
from services.budget.schemas import ModelList, ProviderList, RouteList
from services.budget.services import services_of

_ERRORS: dict[int | str, dict[str, Any]] = {
    401: {"model": ErrorAnswer, "description": "No valid admin token or session"},
}

router = APIRouter(tags=["providers and models"])


@router.get("/api/providers", responses=_ERRORS)
async def list_providers(request: Request) -> ProviderList:
    """Providers by name. Credentials show their name and where their secret is, never the secret."""
    services = services_of(request)
    providers = services.feed.state.providers
    return ProviderList(items=[services.views.provider(providers[name]) for name in sorted(providers)])


@router.get("/api/routes", responses=_ERRORS)
async def list_routes(request: Request) -> RouteList:
    """Routes by name. They are set in finops.yaml."""
    services = services_of(request)
    routes = services.feed.state.routes
    return RouteList(items=[services.views.route(routes[name]) for name in sorted(routes)])


@router.get("/api/models", responses=_ERRORS)
async def list_models(
    request: Request,
    provider: Annotated[str | None, Query(description="Only this provider's models")] = None,
) -> ModelList:
    """Models of the configured providers with their prices.

    A provider without a list of models in its configuration is asked for them by the gateways (`GET /v1/models` shows
    those); here it stands with the models whose price is known.
    """
    return ModelList(items=services_of(request).models.list(provider))
