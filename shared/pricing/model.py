"""ModelPrice: what one model costs, as integers.

Token rates are nano-dollars per million tokens, so a price of $0.15 per million is 150_000_000. All rates are
resolved: a kind of token that has no price of its own has that of the kind it belongs to.
"""

from collections.abc import Mapping
from typing import Literal

import msgspec

PriceSource = Literal["genai-prices", "override", "built-in"]
Sound = Literal["prompt_audio", "completion_audio"]
"""Tokens of it, as they are counted."""


class Rates(msgspec.Struct, frozen=True, kw_only=True):
    """Nano-dollars per million tokens of each kind."""

    input: int
    output: int
    cached_read: int
    cache_write: int
    cache_write_1h: int
    """Kept for an hour."""
    prompt_audio: int
    prompt_image: int
    completion_audio: int
    completion_image: int
    """For the images in an answer."""
    reasoning: int


class Tier(msgspec.Struct, frozen=True):
    """Long context: with more than `above_prompt_tokens` in the prompt these rates hold for ALL tokens."""

    above_prompt_tokens: int
    rates: Rates


class Picture(msgspec.Struct, frozen=True):
    """What decides about the price of a picture, in its provider's words. Empty: nobody has said."""

    quality: str = ""
    size: str = ""
    """WIDTHxHEIGHT, or what the provider calls it."""

    def or_as(self, other: "Picture") -> "Picture":
        """With what the other says where this one says nothing."""
        return Picture(self.quality or other.quality, self.size or other.size)


class PictureRate(msgspec.Struct, frozen=True):
    """The price of one picture."""

    nanos: int
    quality: str = ""
    """Empty: whatever the quality."""
    size: str = ""
    """WIDTHxHEIGHT: up to so many pixels. Another word: this size. Empty: whatever the size."""


class ModelPrice(msgspec.Struct, frozen=True, kw_only=True):
    """The price of a model at one time. What it does not name costs nothing."""

    source: PriceSource
    base: Rates
    tiers: tuple[Tier, ...] = ()
    """Rising."""
    per_request_nanos: int = 0
    per_image_nanos: int = 0
    """Where pictures differ in price, the dearest."""
    picture_rates: tuple[PictureRate, ...] = ()
    """Empty: all pictures cost the same."""
    usual_picture: Picture = Picture()
    """What the model draws when it is not told."""
    per_search_nanos: int = 0
    per_million_characters_nanos: int = 0
    per_audio_hour_nanos: int = 0
    min_audio_ms: int = 0
    """Audio is billed as at least this long."""
    unknown: tuple[Sound, ...] = ()
    """Sounds that cost something else than text, and nobody has said what."""
    service_tiers: Mapping[str, "ModelPrice"] = {}
    """What it costs in other tiers than the standard one, by the name that the provider's answer has for the tier."""

    def in_tier(self, service_tier: str) -> "ModelPrice":
        """The price in this tier; this price where there is no other."""
        return self.service_tiers.get(service_tier, self)

    @property
    def input_per_million_nanos(self) -> int:
        return self.base.input

    @property
    def output_per_million_nanos(self) -> int:
        return self.base.output


def rates(
    *,
    input_nanos: int = 0,
    output_nanos: int = 0,
    cached_read: int | None = None,
    cache_write: int | None = None,
    cache_write_1h: int | None = None,
    prompt_audio: int | None = None,
    prompt_image: int | None = None,
    completion_audio: int | None = None,
    completion_image: int | None = None,
    reasoning: int | None = None,
) -> Rates:
    """Rates per million tokens; None: the price of the kind of token that this one is part of."""

    def output_or(value: int | None) -> int:
        return output_nanos if value is None else value

    def input_or(value: int | None) -> int:
        return input_nanos if value is None else value

    return Rates(
        input=input_nanos,
        output=output_nanos,
        cached_read=input_or(cached_read),
        cache_write=input_or(cache_write),
        cache_write_1h=input_or(cache_write) if cache_write_1h is None else cache_write_1h,
        prompt_audio=input_or(prompt_audio),
        prompt_image=input_or(prompt_image),
        completion_audio=output_or(completion_audio),
        completion_image=output_or(completion_image),
        reasoning=output_or(reasoning),
    )
