"""BudgetServices: what the routes work with, made once by the composition root."""

from dataclasses import dataclass
from typing import cast

from fastapi import Request

from services.budget.governance_feed import GovernanceFeed
from services.budget.models import Models
from services.budget.views import Views
from services.budget.virtual_keys import VirtualKeys
from shared.governance.spend_view import SpendView


@dataclass(frozen=True, slots=True)
class BudgetServices:
    """The use cases behind the admin API."""

    feed: GovernanceFeed
    keys: VirtualKeys
    models: Models
    views: Views
    spend: SpendView


def services_of(request: Request) -> BudgetServices:
    """The services of the app that this request reached."""
    return cast(BudgetServices, request.app.state.services)
