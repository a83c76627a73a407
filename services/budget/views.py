"""Entities as the admin API shows them: money as decimal strings, no secret in any of them."""

from collections.abc import Callable, Mapping

from services.budget.governance_feed import GovernanceFeed
from services.budget.schemas import (
    BudgetView,
    CredentialView,
    LifetimeSpend,
    ManagedBy,
    ProviderView,
    RouteTargetView,
    RouteView,
    VirtualKeyView,
)
from services.budget.virtual_keys import CONFIG_ACTOR, state_of
from shared.governance.model import Budget, Credential, Provider, Route, VirtualKey
from shared.governance.money import usd_from_nanos
from shared.governance.spend_view import SpendView
from shared.governance.windows import resets_at_ms


class Views:
    """Joins governed entities with their spend."""

    def __init__(
        self,
        feed: GovernanceFeed,
        spend: SpendView,
        environ: Mapping[str, str],
        now_ms: Callable[[], int],
    ) -> None:
        self._feed = feed
        self._spend = spend
        self._environ = environ
        self._now_ms = now_ms

    def virtual_key(self, key: VirtualKey) -> VirtualKeyView:
        now_ms = self._now_ms()
        return VirtualKeyView(
            id=key.id,
            name=key.name,
            prefix=key.prefix,
            status=state_of(key, now_ms),
            budgets=[self._budget(budget, now_ms) for budget in key.budgets],
            allowed_models=list(key.allowed_models),
            fallbacks=list(key.fallbacks),
            expires_at=key.expires_at_ms,
            team_id=key.team_id,
            cost_in_usage=key.cost_in_usage,
            always_send_usage=key.always_send_usage,
            trust_user_headers=key.trust_user_headers,
            has_user_jwt_secret=key.user_jwt is not None,
            on_unavailable=key.on_unavailable,
            metadata=dict(key.metadata),
            spend=self._lifetime(key.id),
            created_at=key.created_at_ms,
            managed_by=self._managed_by("virtual_key", key.id),
            version=key.version,
        )

    def provider(self, provider: Provider) -> ProviderView:
        return ProviderView(
            name=provider.name,
            type=provider.type,
            base_url=provider.base_url,
            credentials=[self._credential(credential) for credential in provider.credentials],
            models=None if provider.models is None else list(provider.models),
            managed_by=self._managed_by("provider", provider.name),
            version=provider.version,
        )

    def route(self, route: Route) -> RouteView:
        return RouteView(
            name=route.name,
            targets=[RouteTargetView(model=target.model, weight=target.weight) for target in route.targets],
            fallbacks=list(route.fallbacks),
            managed_by=self._managed_by("route", route.name),
            version=route.version,
        )

    def _managed_by(self, entity: str, entity_id: str) -> ManagedBy:
        return "config" if self._feed.origin(entity, entity_id) == CONFIG_ACTOR else "api"

    def _budget(self, budget: Budget, now_ms: int) -> BudgetView:
        spend = self._spend.totals(budget, now_ms)
        return BudgetView(
            id=budget.id,
            limit=usd_from_nanos(budget.limit_nanos),
            window=budget.window,
            alignment=budget.alignment,
            settled=usd_from_nanos(spend.settled_nanos),
            reserved=usd_from_nanos(spend.reserved_nanos),
            resets_at=resets_at_ms(budget, now_ms),
        )

    def _lifetime(self, key_id: str) -> LifetimeSpend:
        spend = self._spend.lifetime(key_id)
        return LifetimeSpend(
            settled=usd_from_nanos(spend.settled_nanos),
            reserved=usd_from_nanos(spend.reserved_nanos),
            requests=spend.requests,
            tokens=spend.tokens,
            unpriced=spend.unpriced,
        )

    def _credential(self, credential: Credential) -> CredentialView:
        if credential.env:
            return CredentialView(
                name=credential.name,
                source="env",
                env=credential.env,
                is_set=bool(self._environ.get(credential.env)),
                weight=credential.weight,
                models=list(credential.models),
            )
        return CredentialView(
            name=credential.name,
            source="sealed" if credential.sealed else "none",
            is_set=bool(credential.sealed),
            weight=credential.weight,
            models=list(credential.models),
        )
