"""PriceBook: the price of a model. The operator's overrides win, then the built-in demo prices, then genai-prices, then
vendors' lists.
"""

import hashlib
from collections.abc import Iterable, Mapping
from typing import Final

import msgspec

from shared.governance.model import PriceOverride
from shared.pricing.genai import DATA_VERSION, Schedule, Scheduled, price_at, schedule_for
from shared.pricing.listed import LISTS_VERSION, listed
from shared.pricing.model import ModelPrice, rates
from shared.pricing.sounds import with_sounds

DEMO_TYPE: Final = "demo"
MAX_REMEMBERED: Final = 8192
"""Models; names come from clients, so there is no end of them."""
_DEMO_CHAT: Final = ModelPrice(
    source="built-in", base=rates(input_nanos=150_000_000, output_nanos=600_000_000)
)
DEMO_PRICES: Final[Mapping[str, ModelPrice]] = {
    "echo": _DEMO_CHAT,
    "lorem": _DEMO_CHAT,
    "embedding": ModelPrice(source="built-in", base=rates(input_nanos=20_000_000)),
    "image": ModelPrice(source="built-in", base=rates(), per_image_nanos=10_000_000),
    "speech": ModelPrice(source="built-in", base=rates(), per_million_characters_nanos=15_000_000_000),
    "transcription": ModelPrice(source="built-in", base=rates(), per_audio_hour_nanos=360_000_000),
    "moderation": ModelPrice(source="built-in", base=rates()),
}
"""Invented, so that budgets and costs can be tried out: $0.15 / $0.60 per million tokens, one cent per image, ..."""


class PriceBook:
    """Immutable in effect: a change of overrides is a new book."""

    def __init__(self, overrides: Iterable[PriceOverride] = ()) -> None:
        given = {override.model: override for override in overrides}
        self._overrides = {model: price_of_override(override) for model, override in given.items()}
        self._found: dict[tuple[str, str, str], Schedule] = {}
        data = f"{DATA_VERSION}+lists-{LISTS_VERSION}"
        self.version = f"{data}+{_fingerprint(given)}" if given else data
        """Names the data and the overrides: the same version gives the same prices."""

    def price(
        self, provider_name: str, provider_type: str, model: str, at_ms: int | None = None
    ) -> ModelPrice | None:
        """The price of `model` (as the provider knows it), or None when nobody knows it: `unpriced`, never free.

        `at_ms`: when the request began, since public prices change on dates; None: the newest.
        """
        place = (provider_name, provider_type, model)
        schedule = self._found.get(place)
        if schedule is None:
            if len(self._found) >= MAX_REMEMBERED:
                self._found.clear()
            schedule = self._found[place] = self._find(provider_name, provider_type, model)
        if len(schedule) == 1:
            return schedule[0].price
        return price_at(schedule, at_ms)

    def _find(self, provider_name: str, provider_type: str, model: str) -> Schedule:
        override = self._overrides.get(f"{provider_name}/{model}")
        if override is not None:
            return (Scheduled(override),)
        if provider_type == DEMO_TYPE:
            demo = DEMO_PRICES.get(model)
            return (Scheduled(demo),) if demo is not None else ()
        public = schedule_for(provider_type, model)
        if public:
            return tuple(
                msgspec.structs.replace(entry, price=with_sounds(provider_type, model, entry.price))
                for entry in public
            )
        price = listed(provider_type, model)
        return (Scheduled(price),) if price is not None else ()


def price_of_override(override: PriceOverride) -> ModelPrice:
    """The operator's price as it is applied."""
    return ModelPrice(
        source="override",
        base=rates(
            input_nanos=override.input_per_million_nanos,
            output_nanos=override.output_per_million_nanos,
            cached_read=override.cached_read_per_million_nanos,
            cache_write=override.cache_write_per_million_nanos,
        ),
        per_image_nanos=override.per_image_nanos,
        per_request_nanos=override.per_request_nanos,
    )


def _fingerprint(overrides: Mapping[str, PriceOverride]) -> str:
    prices = [msgspec.structs.replace(overrides[model], version=0) for model in sorted(overrides)]
    return hashlib.sha256(msgspec.json.encode(prices)).hexdigest()[:8]
