from fractions import Fraction
from math import floor

import hypothesis.strategies as st
import msgspec
from hypothesis import given

from shared.events import Tokens
from shared.pricing.cost import MAX_COST_NANOS, cost_nanos
from shared.pricing.model import ModelPrice, Tier, rates

per_million = st.integers(0, 200_000_000_000)
counts = st.integers(0, 3_000_000)
rate_sets = st.builds(
    rates,
    input_nanos=per_million,
    output_nanos=per_million,
    cached_read=st.none() | per_million,
    cache_write=st.none() | per_million,
    prompt_audio=st.none() | per_million,
    prompt_image=st.none() | per_million,
    cache_write_1h=st.none() | per_million,
    completion_audio=st.none() | per_million,
    completion_image=st.none() | per_million,
    reasoning=st.none() | per_million,
)
tiers = st.lists(st.builds(Tier, st.integers(0, 2_000_000), rate_sets), max_size=3).map(
    lambda found: tuple(sorted(found, key=lambda tier: tier.above_prompt_tokens))
)
prices = st.builds(
    ModelPrice,
    source=st.just("override"),
    base=rate_sets,
    tiers=tiers,
    per_request_nanos=st.integers(0, 10**9),
    per_image_nanos=st.integers(0, 10**9),
    per_search_nanos=st.integers(0, 10**9),
    per_million_characters_nanos=per_million,
    per_audio_hour_nanos=per_million,
    min_audio_ms=st.sampled_from([0, 10_000]),
)
usages = st.builds(
    Tokens,
    prompt=counts,
    completion=counts,
    cached_read=counts,
    cache_write=counts,
    cache_write_1h=counts,
    reasoning=counts,
    prompt_audio=counts,
    prompt_image=counts,
    completion_audio=counts,
    completion_image=counts,
    images=st.integers(0, 10),
    searches=st.integers(0, 10),
    search_units=st.integers(0, 5),
    characters=counts,
    audio_ms=st.integers(0, 10_000_000),
)
CHAT = ModelPrice(source="override", base=rates(input_nanos=150_000_000, output_nanos=600_000_000))


def exact(price: ModelPrice, tokens: Tokens) -> Fraction:
    """The same in rational numbers, written as one would explain it."""
    rate = price.base
    for tier in price.tiers:
        if tokens.prompt > tier.above_prompt_tokens:
            rate = tier.rates
    cached = min(tokens.cached_read, tokens.prompt)
    kept = min(tokens.cache_write_1h, tokens.cache_write, tokens.prompt - cached)
    written = min(max(0, tokens.cache_write - tokens.cache_write_1h), tokens.prompt - cached - kept)
    heard = min(tokens.prompt_audio, tokens.prompt - cached - kept - written)
    seen = min(tokens.prompt_image, tokens.prompt - cached - kept - written - heard)
    thought = min(tokens.reasoning, tokens.completion)
    said = min(tokens.completion_audio, tokens.completion - thought)
    drawn = min(tokens.completion_image, tokens.completion - thought - said)
    rest = tokens.completion - thought - said - drawn
    all_drawn = tokens.images > 0 and tokens.completion_image == 0
    audio_ms = max(tokens.audio_ms, price.min_audio_ms) if tokens.audio_ms else 0
    return (
        Fraction(
            cached * rate.cached_read
            + written * rate.cache_write
            + kept * rate.cache_write_1h
            + heard * rate.prompt_audio
            + seen * rate.prompt_image
            + (tokens.prompt - cached - written - kept - heard - seen) * rate.input
            + thought * rate.reasoning
            + said * rate.completion_audio
            + drawn * rate.completion_image
            + rest * (rate.completion_image if all_drawn else rate.output)
            + tokens.characters * price.per_million_characters_nanos,
            1_000_000,
        )
        + Fraction(audio_ms * price.per_audio_hour_nanos, 3_600_000)
        + tokens.images * price.per_image_nanos
        + tokens.searches * price.per_search_nanos
        + price.per_request_nanos * max(1, tokens.search_units)
    )


@given(prices, usages)
def test_the_cost_is_exact_and_rounded_half_up_once(price: ModelPrice, tokens: Tokens) -> None:
    assert cost_nanos(price, tokens) == floor(exact(price, tokens) + Fraction(1, 2))


def test_the_usual_case() -> None:
    assert cost_nanos(CHAT, Tokens(prompt=1000, completion=500)) == 150_000 + 300_000


def test_nothing_costs_more_than_can_be_kept() -> None:
    price = ModelPrice(
        source="override", base=rates(input_nanos=10**18, output_nanos=10**18), per_image_nanos=10**18
    )

    assert cost_nanos(price, Tokens(images=10**12)) == MAX_COST_NANOS
    assert cost_nanos(msgspec.structs.replace(price, per_image_nanos=0), Tokens(10**12)) == MAX_COST_NANOS


def test_half_a_nano_dollar_is_rounded_up() -> None:
    price = ModelPrice(source="override", base=rates(input_nanos=1))

    assert cost_nanos(price, Tokens(prompt=499_999)) == 0
    assert cost_nanos(price, Tokens(prompt=500_000)) == 1


def test_parts_larger_than_their_whole_never_make_a_negative_cost() -> None:
    price = ModelPrice(
        source="override", base=rates(input_nanos=1_000_000, output_nanos=2_000_000, cached_read=0)
    )

    assert cost_nanos(price, Tokens(prompt=10, cached_read=1000)) == 0
    assert cost_nanos(price, Tokens(completion=10, reasoning=1000)) == 20


def test_a_tier_holds_for_all_tokens_above_its_threshold_only() -> None:
    price = ModelPrice(
        source="override",
        base=rates(input_nanos=1_000_000),
        tiers=(Tier(200_000, rates(input_nanos=2_000_000, output_nanos=5_000_000)),),
    )

    assert cost_nanos(price, Tokens(prompt=200_000, completion=10)) == 200_000
    assert cost_nanos(price, Tokens(prompt=200_001, completion=10)) == 400_002 + 50


def test_cache_prices_default_to_the_input_price() -> None:
    assert cost_nanos(CHAT, Tokens(prompt=1000, cached_read=400, cache_write=100)) == 150_000


def test_short_audio_is_billed_as_the_minimum_and_none_as_none() -> None:
    price = ModelPrice(
        source="override", base=rates(), per_audio_hour_nanos=3_600_000_000, min_audio_ms=10_000
    )

    assert cost_nanos(price, Tokens(audio_ms=1)) == 10_000_000
    assert cost_nanos(price, Tokens(audio_ms=11_000)) == 11_000_000
    assert cost_nanos(price, Tokens()) == 0
