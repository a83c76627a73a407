"""Models: the models of the configured providers with their prices, for people to look at."""

from collections.abc import Callable, Iterator
from functools import cache

from genai_prices.data import providers as PUBLIC_PRICES

from services.budget.governance_feed import GovernanceFeed
from services.budget.model_prices import shown_prices
from services.budget.schemas import ModelView
from shared.catalogue.modality import modality_of
from shared.catalogue.provider_types import PROVIDER_TYPES
from shared.governance.model import Provider
from shared.governance.windows import DAY_MS
from shared.pricing.book import PriceBook
from shared.pricing.genai import PROVIDER_IDS
from shared.pricing.listed import listed_models


class Models:
    """Computed once per generation of the governed state, and anew each day: public prices change on dates."""

    def __init__(self, feed: GovernanceFeed, now_ms: Callable[[], int]) -> None:
        self._feed = feed
        self._now_ms = now_ms
        self._computed_for = (-1, -1)
        self._models: list[ModelView] = []

    def list(self, provider: str | None = None) -> list[ModelView]:
        """By id. `provider`: only its models."""
        state, now_ms = self._feed.state, self._now_ms()
        current = (state.generation, now_ms // DAY_MS)
        if self._computed_for != current:
            book = PriceBook(state.prices.values())
            self._models = sorted(self._all(book, now_ms), key=lambda model: model.id)
            self._computed_for = current
        return [model for model in self._models if provider is None or model.provider == provider]

    def _all(self, book: PriceBook, now_ms: int) -> Iterator[ModelView]:
        state = self._feed.state
        for provider in state.providers.values():
            names = {*_names(provider), *_aliases(provider)}
            prefix = f"{provider.name}/"
            names |= {model.removeprefix(prefix) for model in state.prices if model.startswith(prefix)}
            for name in names:
                yield _view(provider, name, book, now_ms)


def _names(provider: Provider) -> tuple[str, ...]:
    """The configured list, else those of the provider's type, else those with a public price."""
    if provider.models is not None:
        return provider.models
    known = PROVIDER_TYPES.get(provider.type)
    if known is not None and known.static_models:
        return tuple(known.static_models)
    return _known_by_price(provider.type)


def _aliases(provider: Provider) -> Iterator[str]:
    for credential in provider.credentials:
        yield from credential.aliases


@cache
def _known_by_price(provider_type: str) -> tuple[str, ...]:
    return tuple(dict.fromkeys((*_publicly_priced(provider_type), *listed_models(provider_type))))


@cache
def _publicly_priced(provider_type: str) -> tuple[str, ...]:
    """Without the names that stand for several models (`regional....`): no request can be made with one.

    Google's list is that of both its platforms; Claude is on Vertex AI only.
    """
    wanted = PROVIDER_IDS.get(provider_type)
    return tuple(
        model.id
        for provider in PUBLIC_PRICES
        if provider.id == wanted
        for model in provider.models
        if not model.deprecated
        and provider.find_model(model.id) is not None
        and not (provider_type == "gemini" and model.id.startswith("claude"))
    )


def _view(provider: Provider, name: str, book: PriceBook, now_ms: int) -> ModelView:
    price = book.price(provider.name, provider.type, name, now_ms)
    modality = modality_of(name)
    return ModelView(
        id=f"{provider.name}/{name}",
        provider=provider.name,
        model=name,
        modality=modality,
        price_basis=price.source if price else "unpriced",
        **shown_prices(price, modality),
    )
