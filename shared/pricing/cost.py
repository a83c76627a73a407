"""Usage x price = cost, in exact integer arithmetic, rounded once."""

import re
from collections.abc import Sequence
from typing import Final

from shared.events import Tokens
from shared.pricing.model import ModelPrice, Picture, PictureRate, Rates

PER_MILLION: Final = 1_000_000
MS_PER_HOUR: Final = 3_600_000
# One denominator for all parts: the least common multiple of a million and the milliseconds of an hour.
DENOMINATOR: Final = 18_000_000
_PER_MILLION_SCALE: Final = DENOMINATOR // PER_MILLION
MAX_COST_NANOS: Final = 10**18 - 1
"""A billion dollars less a nano-dollar: the most that the log store's column holds. Nothing costs more; a wrong price
or count may say so, and must not make a record that nobody can keep."""
_AUDIO_SCALE: Final = DENOMINATOR // MS_PER_HOUR
_ANY_PICTURE: Final = Picture()


def cost_nanos(price: ModelPrice, tokens: Tokens, picture: Picture = _ANY_PICTURE) -> int:
    """The cost in nano-dollars, rounded half up once, on the total; at most MAX_COST_NANOS.

    Parts that are said to be larger than their whole (some providers count so) are cut to it. `picture`: what the
    images in `tokens` are like.
    """
    per_million = _token_sum(rates_for(price, tokens.prompt), tokens)
    if not (
        price.per_million_characters_nanos
        or price.per_audio_hour_nanos
        or price.per_image_nanos
        or price.per_search_nanos
        or price.per_request_nanos
    ):
        return min((per_million + PER_MILLION // 2) // PER_MILLION, MAX_COST_NANOS)
    per_million += tokens.characters * price.per_million_characters_nanos
    audio_ms = max(tokens.audio_ms, price.min_audio_ms) if tokens.audio_ms > 0 else 0
    total = per_million * _PER_MILLION_SCALE
    total += audio_ms * price.per_audio_hour_nanos * _AUDIO_SCALE
    total += (
        tokens.images * image_nanos(price, picture)
        + tokens.searches * price.per_search_nanos
        + price.per_request_nanos * max(1, tokens.search_units)
    ) * DENOMINATOR
    return min((total + DENOMINATOR // 2) // DENOMINATOR, MAX_COST_NANOS)


def image_nanos(price: ModelPrice, picture: Picture) -> int:
    """The price of one picture.

    What is not said is what the model draws unasked; what is said and not on the list costs as the dearest of what
    it may be: of all qualities, or of all sizes.
    """
    if not price.picture_rates:
        return price.per_image_nanos
    drawn = picture.or_as(price.usual_picture)
    rates = [rate for rate in price.picture_rates if rate.quality in ("", drawn.quality)]
    by_quality: dict[str, list[PictureRate]] = {}
    for rate in rates or price.picture_rates:
        by_quality.setdefault(rate.quality, []).append(rate)
    return max(_at_size(alike, drawn.size) for alike in by_quality.values())


def _at_size(rates: Sequence[PictureRate], size: str) -> int:
    named = [rate.nanos for rate in rates if rate.size in ("", size)]
    if named:
        return max(named)
    pixels = pixels_of(size)
    limits = sorted((limit, rate.nanos) for rate in rates if (limit := pixels_of(rate.size)) >= pixels)
    return limits[0][1] if pixels and limits else max(rate.nanos for rate in rates)


def pixels_of(size: str) -> int:
    """In a picture of WIDTHxHEIGHT; 0 when the size is none."""
    sides = re.fullmatch(r"(\d{1,6})x(\d{1,6})", size, re.ASCII)
    return int(sides[1]) * int(sides[2]) if sides is not None else 0


def counts_suffice(price: ModelPrice, tokens: Tokens) -> bool:
    """Whether the cost follows from these counts. It does not where pictures are priced by tokens that nobody counted."""
    return not tokens.images or bool(
        tokens.completion or price.per_image_nanos or not price.base.completion_image
    )


def is_known(price: ModelPrice, tokens: Tokens) -> bool:
    """Whether everything in these counts has a price."""
    return not price.unknown or not any(getattr(tokens, kind) for kind in price.unknown)


def rates_for(price: ModelPrice, prompt_tokens: int) -> Rates:
    """The rates of the highest tier that the prompt reaches."""
    chosen = price.base
    for tier in price.tiers:
        if prompt_tokens > tier.above_prompt_tokens:
            chosen = tier.rates
    return chosen


def _token_sum(rates: Rates, tokens: Tokens) -> int:
    plain = tokens.prompt
    total = 0
    for part, rate in (
        (tokens.cached_read, rates.cached_read),
        (min(tokens.cache_write_1h, tokens.cache_write), rates.cache_write_1h),
        (max(0, tokens.cache_write - tokens.cache_write_1h), rates.cache_write),
        (tokens.prompt_audio, rates.prompt_audio),
        (tokens.prompt_image, rates.prompt_image),
    ):
        if part:
            part = min(part, plain)
            plain -= part
            total += part * rate
    total += plain * rates.input
    answer = tokens.completion
    for part, rate in (
        (tokens.reasoning, rates.reasoning),
        (tokens.completion_audio, rates.completion_audio),
        (tokens.completion_image, rates.completion_image),
    ):
        if part:
            part = min(part, answer)
            answer -= part
            total += part * rate
    # Images whose tokens nobody counted apart: all of the answer counts as image.
    is_image = tokens.images and not tokens.completion_image
    return total + answer * (rates.completion_image if is_image else rates.output)
