"""`/api/virtual-keys`."""

from typing import Annotated, Any

from fastapi import APIRouter, Query, Request, Response

from services.budget.errors import ErrorAnswer
from services.budget.schemas import (
    CreateVirtualKey,
    IfVersion,
    KeyState,
    PatchVirtualKey,
    VirtualKeyList,
    VirtualKeyView,
    VirtualKeyWithSecret,
)
from services.budget.services import services_of
from shared.governance.model import VirtualKey
from shared.web.paths import MAX_LIMIT

_ERRORS: dict[int | str, dict[str, Any]] = {
    400: {"model": ErrorAnswer, "description": "A field is wrong or unknown; `param` names it"},
    401: {"model": ErrorAnswer, "description": "No valid admin token or session"},
    503: {"model": ErrorAnswer, "description": "The event log is away; try again"},
}
_ONE_ERRORS: dict[int | str, dict[str, Any]] = {
    **_ERRORS,
    404: {"model": ErrorAnswer, "description": "No such key"},
    409: {"model": ErrorAnswer, "description": "Changed by somebody else, revoked, or set in finops.yaml"},
}

router = APIRouter(prefix="/api/virtual-keys", tags=["virtual keys"])


@router.post("", status_code=201, responses=_ERRORS)
async def create_virtual_key(
    request: Request, response: Response, body: CreateVirtualKey
) -> VirtualKeyWithSecret:
    """Create a key. The answer is the only one that ever holds the key itself."""
    key, secret = await services_of(request).keys.create(body)
    response.headers["location"] = f"/api/virtual-keys/{key.id}"
    return _with_secret(request, response, key, secret)


@router.get("", responses=_ERRORS)
async def list_virtual_keys(
    request: Request,
    limit: Annotated[int, Query(ge=1, le=MAX_LIMIT)] = 50,
    cursor: Annotated[str | None, Query(description="`next_cursor` of the page before")] = None,
    name: Annotated[str, Query(description="Part of the name, in any case")] = "",
    status: Annotated[KeyState | None, Query()] = None,
) -> VirtualKeyList:
    """Keys, newest first."""
    services = services_of(request)
    page = services.keys.page(limit=limit, cursor=cursor, name=name, status=status)
    return VirtualKeyList(
        items=[services.views.virtual_key(key) for key in page.keys], next_cursor=page.next_cursor
    )


@router.get("/{key_id}", responses=_ONE_ERRORS)
async def get_virtual_key(request: Request, key_id: str) -> VirtualKeyView:
    """One key with its budgets and what they hold now."""
    services = services_of(request)
    return services.views.virtual_key(services.keys.get(key_id))


@router.patch("/{key_id}", responses=_ONE_ERRORS)
async def patch_virtual_key(request: Request, key_id: str, body: PatchVirtualKey) -> VirtualKeyView:
    """Change what is given. In force on every gateway within a second."""
    services = services_of(request)
    return services.views.virtual_key(await services.keys.patch(key_id, body))


@router.post("/{key_id}/rotate", responses=_ONE_ERRORS)
async def rotate_virtual_key(
    request: Request, response: Response, key_id: str, body: IfVersion | None = None
) -> VirtualKeyWithSecret:
    """A new key for the same budgets and spend; the old one stops working. The body may be left out."""
    key, secret = await services_of(request).keys.rotate(key_id, _version(body))
    return _with_secret(request, response, key, secret)


@router.post("/{key_id}/revoke", responses=_ONE_ERRORS)
async def revoke_virtual_key(request: Request, key_id: str, body: IfVersion | None = None) -> VirtualKeyView:
    """Stop the key for ever. The body may be left out."""
    services = services_of(request)
    return services.views.virtual_key(await services.keys.revoke(key_id, _version(body)))


def _version(body: IfVersion | None) -> int | None:
    return None if body is None else body.version


def _with_secret(request: Request, response: Response, key: VirtualKey, secret: str) -> VirtualKeyWithSecret:
    response.headers["cache-control"] = "no-store"
    # the view holds numbers that its fields show as text, so its fields are copied and not its JSON
    shown = services_of(request).views.virtual_key(key)
    return VirtualKeyWithSecret(**dict(shown), key=secret)
