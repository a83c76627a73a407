"""A price as people read it: an amount for whatever a model charges for, and nothing for what it does not."""

from collections.abc import Iterator
from typing import Final

import msgspec

from shared.catalogue.modality import Modality
from shared.governance.money import usd_from_nanos
from shared.pricing.model import ModelPrice, Rates

_WRITTEN_IN_TOKENS: Final[frozenset[Modality]] = frozenset({"chat", "completion"})
"""What answers in tokens of text, so that those cost nothing where they have no price."""
_OTHER_UNITS: Final = {
    "per_image": "per_image_nanos",
    "per_million_characters": "per_million_characters_nanos",
    "per_audio_hour": "per_audio_hour_nanos",
    "per_search": "per_search_nanos",
    "per_request": "per_request_nanos",
}
_PARTS: Final = {
    "cached_input_per_million": ("cached_read", "input"),
    "cache_write_per_million": ("cache_write", "input"),
    "cache_write_1h_per_million": ("cache_write_1h", "cache_write"),
    "input_audio_per_million": ("prompt_audio", "input"),
    "input_image_per_million": ("prompt_image", "input"),
    "output_audio_per_million": ("completion_audio", "output"),
    "output_image_per_million": ("completion_image", "output"),
    "reasoning_per_million": ("reasoning", "output"),
}
"""Field -> the kind of token, and the one that it costs as when it has no price of its own."""


def shown_prices(price: ModelPrice | None, modality: Modality) -> dict[str, str | None]:
    """The fields of a ModelView that hold prices. None: not charged for, or nobody knows (`price` is None).

    "0.00" is only ever what is free: all of a free model, and text that a model of text takes or gives for nothing.
    """
    shown: dict[str, str | None] = dict.fromkeys(
        ("input_per_million", "output_per_million", *_PARTS, *_OTHER_UNITS)
    )
    if price is not None:
        shown.update(_amounts(price, modality))
    return shown


def _amounts(price: ModelPrice, modality: Modality) -> Iterator[tuple[str, str]]:
    for field, unit in _OTHER_UNITS.items():
        if nanos := getattr(price, unit):
            yield field, usd_from_nanos(nanos)
    base = price.base
    counts_tokens = _charges(base)
    is_free = not counts_tokens and not any(getattr(price, unit) for unit in _OTHER_UNITS.values())
    for field, nanos in (("input_per_million", base.input), ("output_per_million", base.output)):
        if nanos or is_free or (counts_tokens and modality in _WRITTEN_IN_TOKENS):
            yield field, usd_from_nanos(nanos)
    for field, (part, whole) in _PARTS.items():
        nanos = getattr(base, part)
        if nanos != getattr(base, whole):
            yield field, usd_from_nanos(nanos)


def _charges(rates: Rates) -> bool:
    return any(msgspec.structs.astuple(rates))
