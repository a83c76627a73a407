"""What a token of sound costs, where genai-prices knows the price of a model's text alone.

| provider type | list, and when it said so |
| --- | --- |
| `openai` | OpenAI's pages of both models, 2026-10: the preview of 2024-10-01 cost more, and is not here |

Where nobody says it (see `unknown_sounds`), a request with sound in it is not priced.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

import msgspec

from shared.pricing.model import ModelPrice, Rates, Sound

_GPT_4O: Final = (40_000_000_000, 80_000_000_000)
_GPT_4O_MINI: Final = (10_000_000_000, 20_000_000_000)
RATES: Final[Mapping[str, Mapping[str, tuple[int, int]]]] = MappingProxyType(
    {
        "openai": {
            "gpt-4o-audio-preview": _GPT_4O,
            "gpt-4o-audio-preview-2024-12-17": _GPT_4O,
            "gpt-4o-audio-preview-2025-06-03": _GPT_4O,
            "gpt-4o-mini-audio-preview": _GPT_4O_MINI,
            "gpt-4o-mini-audio-preview-2024-12-17": _GPT_4O_MINI,
        }
    }
)
"""Provider type -> model -> nano-dollars per million tokens that are heard, and that are spoken."""
_ONE_PRICE_FOR_ALL: Final = "google"
"""Its list names sound apart wherever it costs something else than text."""
_NAMED_LATER: Final = "gemini-2.5-flash-preview"
"""Its price of sound was on the list, but is not in the data."""
_SPEAKS_ONLY: Final = "tts"
"""In the names of models that answer with sound alone: the price of their answers is that of sound."""


def unknown_sounds(
    provider_id: str, model: str, *, by_hour: bool, heard: bool, spoken: bool
) -> tuple[Sound, ...]:
    """Which sounds nobody has said the price of, of a model that is priced by the token.

    `provider_id` and `model`: genai-prices' own. `by_hour`: sound is priced by its length as well. `heard`, `spoken`: the
    data has a price for it.
    """
    if by_hour or (provider_id == _ONE_PRICE_FOR_ALL and not model.startswith(_NAMED_LATER)):
        return ()
    unknown: list[Sound] = []
    if not heard:
        unknown.append("prompt_audio")
    if not spoken and _SPEAKS_ONLY not in model:
        unknown.append("completion_audio")
    return tuple(unknown)


def with_sounds(provider_type: str, model: str, price: ModelPrice) -> ModelPrice:
    """The price with the listed one of its sounds; the same where none is listed, or needed."""
    listed = RATES.get(provider_type, {}).get(model)
    if listed is None or not price.unknown:
        return price
    tiers = tuple(msgspec.structs.replace(tier, rates=_with(tier.rates, listed)) for tier in price.tiers)
    return msgspec.structs.replace(price, base=_with(price.base, listed), tiers=tiers, unknown=())


def _with(rates: Rates, listed: tuple[int, int]) -> Rates:
    return msgspec.structs.replace(rates, prompt_audio=listed[0], completion_audio=listed[1])
