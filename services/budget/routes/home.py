"""`/`: virtual keys with their spend, read-only, refreshed in place."""

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from fastapi import APIRouter, Request
from fastapi.responses import Response

from services.budget.services import BudgetServices, services_of
from services.budget.virtual_keys import state_of, wall_ms
from shared.events import ANONYMOUS_KEY_ID
from shared.field_types import rfc3339
from shared.governance.model import Budget, VirtualKey
from shared.governance.money import usd_from_nanos
from shared.governance.spend_view import Spend
from shared.governance.windows import resets_at_ms
from shared.web.pages import Pages, is_htmx, to_login
from shared.web.session import AdminAccess

TEMPLATES: Final = Path(__file__).parent.parent / "templates"
SHOWN: Final = 200
NEARLY_SPENT_PERCENT: Final = 80

router = APIRouter(include_in_schema=False)


@dataclass(frozen=True, slots=True)
class Bar:
    """One budget of a key as it is drawn. Percentages of the limit, together at most 100."""

    window: str
    settled: str
    reserved: str
    limit: str
    resets: str
    settled_percent: float
    reserved_percent: float
    tone: str
    has_reserved: bool


@dataclass(frozen=True, slots=True)
class Row:
    """One key of the table."""

    id: str
    name: str
    prefix: str
    status: str
    models: str
    spent: str
    """Empty where all that was spent is unpriced: unknown is not nothing."""
    requests: int
    unpriced: int
    bars: tuple[Bar, ...]


@router.get("/")
async def home(request: Request) -> Response:
    """The page, or (asked by htmx) its table alone."""
    access: AdminAccess = request.app.state.access
    if not access.allows(request):
        return to_login(request)
    services = services_of(request)
    pages: Pages = request.app.state.pages
    page = services.keys.page(limit=SHOWN, cursor=None, name="", status=None)
    template = "budget/keys.html" if is_htmx(request) else "budget/home.html"
    rows = [_row(services, key) for key in page.keys]
    anonymous = services.spend.lifetime(ANONYMOUS_KEY_ID)
    return pages.render(
        request,
        template,
        rows=rows,
        total=len(services.feed.state.keys),
        anonymous=anonymous,
        anonymous_spent=_spent(anonymous),
        has_unpriced=anonymous.unpriced > 0 or any(row.unpriced for row in rows),
        providers=sorted(services.feed.state.providers),
    )


def _row(services: BudgetServices, key: VirtualKey) -> Row:
    now_ms = wall_ms()
    lifetime = services.spend.lifetime(key.id)
    return Row(
        id=key.id,
        name=key.name,
        prefix=key.prefix,
        status=state_of(key, now_ms),
        models=", ".join(key.allowed_models),
        spent=_spent(lifetime),
        requests=lifetime.requests,
        unpriced=lifetime.unpriced,
        bars=tuple(_bar(services, budget, now_ms) for budget in key.budgets),
    )


def _spent(spend: Spend) -> str:
    return usd_from_nanos(spend.settled_nanos) if spend.settled_nanos or not spend.unpriced else ""


def _bar(services: BudgetServices, budget: Budget, now_ms: int) -> Bar:
    spend = services.spend.totals(budget, now_ms)
    settled = min(100.0, max(0.0, spend.settled_nanos * 100 / budget.limit_nanos))
    reserved = min(100.0 - settled, spend.reserved_nanos * 100 / budget.limit_nanos)
    resets = resets_at_ms(budget, now_ms)
    window = budget.window if budget.alignment == "calendar" else f"{budget.window} rolling"
    return Bar(
        window=window,
        settled=usd_from_nanos(spend.settled_nanos),
        reserved=usd_from_nanos(spend.reserved_nanos),
        limit=usd_from_nanos(budget.limit_nanos),
        resets="" if resets is None else rfc3339(resets),
        settled_percent=round(settled, 2),
        reserved_percent=round(reserved, 2),
        tone="bad" if settled >= 100 else "warn" if settled >= NEARLY_SPENT_PERCENT else "good",
        has_reserved=spend.reserved_nanos > 0,
    )
