"""Which models there are, under which names, and what is known about each before anybody asks for it.

Everything here is memory: an index built from the governance state and the lists that providers gave, built anew
when one of them has changed. No request waits for a provider.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from services.gateway.errors import ClientError
from services.gateway.providers.port import Adapter
from services.gateway.upstream.port import UpstreamTimeouts
from shared.catalogue.modality import modality_of
from shared.catalogue.provider_types import PROVIDER_TYPES, ProviderType, is_ones_own
from shared.governance.admission import model_allowed
from shared.governance.model import Provider, VirtualKey
from shared.governance.model import Route as RouteConfig
from shared.governance.state import GovernanceState
from shared.pricing.book import PriceBook
from shared.pricing.model import ModelPrice
from shared.settings import Settings
from shared.telemetry import get_logger

log = get_logger(__name__)

MAX_CACHED_ROUTES: Final = 10_000
MAX_NAME_CHARS: Final = 256
_NO_ROUTES: Final[Mapping[str, RouteConfig]] = MappingProxyType({})
Lists = Mapping[str, tuple[str, ...]]
"""Provider name -> the model ids it listed; a provider missing here is one whose list nobody knows."""


@dataclass(frozen=True, slots=True)
class Route:
    """One model at one provider, with all that stays the same between requests."""

    name: str
    """`provider/model`: how clients, events and prices call it."""
    model: str
    """The provider's own id."""
    provider: Provider
    type: ProviderType
    adapter: Adapter
    timeouts: UpstreamTimeouts
    prices: PriceBook

    def price_at(self, at_ms: int) -> ModelPrice | None:
        """The price of a request that began then; None when nobody knows it."""
        return self.prices.price(self.provider.name, self.provider.type, self.model, at_ms)


@dataclass(frozen=True, slots=True)
class NamedRoute:
    """A name for models, with everything behind it looked up. What does not exist here is left out."""

    name: str
    targets: tuple[tuple[Route, float], ...]
    """With their weights."""
    fallbacks: tuple[Route, ...]


@dataclass(frozen=True, slots=True)
class Listed:
    """One line of the list of models."""

    name: str
    model: str
    provider: str
    """Empty for a route."""
    modality: str
    provider_type: str = ""


class ModelIndex:
    """An immutable picture of all models. `listed` has the routes by name, then the models sorted by provider, then
    as the provider lists them."""

    def __init__(
        self, providers: Mapping[str, Provider], lists: Lists, routes: Mapping[str, RouteConfig] = _NO_ROUTES
    ) -> None:
        self.providers = dict(providers)
        self.routes = dict(routes)
        self.known: dict[str, frozenset[str]] = {}
        self.by_bare_name: dict[str, list[str]] = {}
        listed = [_listed_route(routes[name]) for name in sorted(routes)]
        for name in sorted(providers):
            models = _known_models(providers[name], lists)
            aliases = [alias for credential in providers[name].credentials for alias in credential.aliases]
            if models is not None:
                if _names_all(providers[name], models):
                    self.known[name] = frozenset((*models, *aliases))
            else:
                models = PROVIDER_TYPES[providers[name].type].static_models
            models = (*models, *aliases)
            kind = providers[name].type
            for model in dict.fromkeys(models):
                listed.append(Listed(f"{name}/{model}", model, name, modality_of(model), kind))
                self.by_bare_name.setdefault(model, []).append(name)
        self.listed = tuple(listed)

    def find(self, key: VirtualKey, requested: str) -> tuple[Provider, str]:
        """The provider and its own model id. Raises ClientError: model_not_found, _ambiguous or _not_allowed."""
        if len(requested) > MAX_NAME_CHARS or not requested.isprintable():
            raise _not_found(requested)  # a name is passed on, put into headers and logged
        head, slash, rest = requested.partition("/")
        provider = self.providers.get(head) if slash and rest else None
        if provider is not None:
            known = self.known.get(head)
            if known is None or rest in known:
                if not model_allowed(key, requested):
                    raise not_allowed(requested)
                return provider, rest
        return self._find_bare(key, requested)

    def _find_bare(self, key: VirtualKey, requested: str) -> tuple[Provider, str]:
        names = self.by_bare_name.get(requested, ())
        allowed = [name for name in names if model_allowed(key, f"{name}/{requested}")]
        if len(allowed) == 1:
            return self.providers[allowed[0]], requested
        if len(allowed) > 1:
            choices = " or ".join(f"'{name}/{requested}'" for name in allowed)
            raise ClientError(
                "model_ambiguous", f"Several providers have '{requested}': ask for {choices}.", param="model"
            )
        if names:
            raise not_allowed(requested)
        raise _not_found(requested)


class Catalogue:
    """The current index, and the routes of the models that were asked for."""

    def __init__(
        self,
        state: GovernanceState,
        lists: Callable[[], tuple[int, Lists]],
        adapter_for: Callable[[ProviderType], Adapter],
        settings: Settings,
    ) -> None:
        """`lists` gives the lists and a number that changes with them."""
        self._state = state
        self._lists = lists
        self._adapter_for = adapter_for
        self._settings = settings
        self._built_from: tuple[int, int] = (-1, -1)
        self._signature: object = None
        self._routes: dict[tuple[str, tuple[str, ...]], Route] = {}
        self._named: dict[str, NamedRoute] = {}
        self._prices = PriceBook()
        self._index = ModelIndex({}, {})

    @property
    def index(self) -> ModelIndex:
        """The picture as of now. The same object as long as nothing changed."""
        lists_version, lists = self._lists()
        now = (self._state.generation, lists_version)
        if now != self._built_from:
            self._rebuild(lists_version, lists)
            self._built_from = now
        return self._index

    def resolve(self, key: VirtualKey, requested: str) -> Route:
        """Raises ClientError when there is no such model, several, or one that the key may not use."""
        index = self.index
        cached = self._routes.get((requested, key.allowed_models))
        if cached is not None:
            return cached
        provider, model = index.find(key, requested)
        if len(self._routes) >= MAX_CACHED_ROUTES:
            self._routes.clear()
        route = self._routes[requested, key.allowed_models] = self._route(provider, model)
        return route

    def named(self, requested: str) -> NamedRoute | None:
        """The route of that name, if there is one, whoever may use it."""
        if not self._state.routes:
            return None
        config = self.index.routes.get(requested)
        if config is None:
            return None
        named = self._named.get(requested)
        if named is None:
            named = self._named[requested] = self._looked_up(config)
        return named

    def _looked_up(self, config: RouteConfig) -> NamedRoute:
        targets = [(self._behind(config, target.model), target.weight) for target in config.targets]
        fallbacks = [self._behind(config, model) for model in config.fallbacks]
        return NamedRoute(
            name=config.name,
            targets=tuple((route, weight) for route, weight in targets if route is not None),
            fallbacks=tuple(route for route in fallbacks if route is not None),
        )

    def _behind(self, config: RouteConfig, model: str) -> Route | None:
        """One model of a route. Its provider is taken at the administrator's word that it has the model."""
        name, _, own = model.partition("/")
        provider = self._index.providers.get(name)
        if provider is None:
            log.warning("route_names_unknown_provider", route=config.name, model=model)
            return None
        return self._route(provider, own)

    def _rebuild(self, lists_version: int, lists: Lists) -> None:
        """Changes of keys alone raise the generation too, and change nothing here."""
        signature = (
            lists_version,
            [(provider.name, provider.version) for provider in self._state.providers.values()],
            [(price.model, price.version) for price in self._state.prices.values()],
            [(route.name, route.version) for route in self._state.routes.values()],
        )
        if signature == self._signature:
            return
        known = {name: p for name, p in self._state.providers.items() if p.type in PROVIDER_TYPES}
        self._prices = PriceBook(self._state.prices.values())
        self._index = ModelIndex(known, lists, self._state.routes)
        self._routes = {}
        self._named = {}
        self._signature = signature

    def _route(self, provider: Provider, model: str) -> Route:
        kind = PROVIDER_TYPES[provider.type]
        return Route(
            name=f"{provider.name}/{model}",
            model=model,
            provider=provider,
            type=kind,
            adapter=self._adapter_for(kind),
            timeouts=timeouts_of(provider, self._settings),
            prices=self._prices,
        )


def timeouts_of(provider: Provider, settings: Settings) -> UpstreamTimeouts:
    """The provider's own times where it has any, else the installation's; never beyond the total of a request."""
    own = provider.timeouts
    return UpstreamTimeouts(
        connect=_first(own.connect, settings.connect_timeout),
        first_byte=_first(own.first_byte, settings.first_byte_timeout),
        between_chunks=_first(own.between_chunks, settings.between_chunks_timeout),
        total=min(_first(own.total, settings.request_timeout), settings.request_timeout),
    )


def _first(own: float | None, default: float) -> float:
    return default if own is None else own


def _known_models(provider: Provider, lists: Lists) -> tuple[str, ...] | None:
    """All models of a provider; None when nobody can say, so that any name is passed on to it."""
    if provider.models is not None:
        return provider.models
    listed = lists.get(provider.name)
    return None if listed is None else (*listed, *PROVIDER_TYPES[provider.type].unlisted_models)


def _names_all(provider: Provider, models: tuple[str, ...]) -> bool:
    """Whether nothing but these models, which are known of it, can be asked for."""
    kind = PROVIDER_TYPES[provider.type]
    if provider.models is not None:
        return True
    # Somebody's own server may have the address of a list, and nothing in it.
    return kind.lists_all and (bool(models) or not is_ones_own(kind, provider.base_url))


def _listed_route(route: RouteConfig) -> Listed:
    """It is what its first target is."""
    return Listed(route.name, route.name, "", modality_of(route.targets[0].model.partition("/")[2]))


def _not_found(requested: str) -> ClientError:
    return ClientError(
        "model_not_found",
        f"The model '{requested[:MAX_NAME_CHARS]}' does not exist here. See /v1/models for those that do.",
        param="model",
    )


def not_allowed(requested: str) -> ClientError:
    """The model or route exists, but not for this key."""
    return ClientError(
        "model_not_allowed", f"This API key may not use the model '{requested}'.", param="model"
    )
