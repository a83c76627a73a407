from datetime import UTC, datetime, timedelta, timezone
from datetime import time as clock
from decimal import Decimal

import msgspec
import pytest
from genai_prices import Usage, calc_price, types
from genai_prices.data import providers as bundled
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.catalogue.provider_types import PROVIDER_TYPES
from shared.events import Tokens
from shared.governance.model import PriceOverride
from shared.pricing.book import DEMO_PRICES, PriceBook
from shared.pricing.cost import cost_nanos
from shared.pricing.estimate import estimate_tokens
from shared.pricing.genai import PROVIDER_IDS, Scheduled, price_at, scheduled
from shared.pricing.model import ModelPrice, rates
from shared.pricing.sounds import RATES

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
NOW_MS = int(NOW.timestamp() * 1000)
BOOK = PriceBook()


def _token_priced(model: types.ModelInfo) -> bool:
    keys = set(model.get_prices(NOW).__dict__)
    return "input_mtok" in keys and not keys & {"output_reasoning_mtok", "output_citation_mtok"}


PUBLIC = [
    (kind, provider.id, model.id)
    for kind, provider_id in sorted(PROVIDER_IDS.items())
    for provider in bundled
    if provider.id == provider_id
    for model in provider.models
    if (found := provider.find_model(model.id)) is not None and _token_priced(found)
]


def mini(prompt: int, completion: int) -> int:
    price = BOOK.price("openai", "openai", "gpt-4o-mini", NOW_MS)
    assert price is not None
    return cost_nanos(price, Tokens(prompt=prompt, completion=completion))


def test_a_public_price_is_known() -> None:
    assert mini(1_000_000, 0) == 150_000_000
    assert mini(0, 1_000_000) == 600_000_000


def parts(draw: st.DrawFn, whole: int, count: int) -> list[int]:
    """So many parts that do not overlap; often nothing, as models have few kinds of tokens."""
    found, left = [], whole
    for _ in range(count):
        part = draw(st.just(0) | st.integers(0, left))
        found.append(part)
        left -= part
    return found


@st.composite
def usages(draw: st.DrawFn) -> Tokens:
    prompt, completion = draw(st.integers(0, 1_200_000)), draw(st.integers(0, 100_000))
    read, write, audio, image = parts(draw, prompt, 4)
    reasoning, said, drawn = parts(draw, completion, 3)
    return Tokens(
        prompt=prompt,
        completion=completion,
        cached_read=read,
        cache_write=write,
        cache_write_1h=draw(st.just(0) | st.integers(0, write)),
        prompt_audio=audio,
        prompt_image=image,
        reasoning=reasoning,
        completion_audio=said,
        completion_image=drawn,
        searches=draw(st.integers(0, 3)),
    )


NOTHING_SHARED = {
    f"{first}_{second}": 0
    for first in ("cache_audio", "cache_image")
    for second in ("read_tokens", "write_tokens", "write_1h_tokens")
}
"""Our parts do not overlap, and genai-prices wants to be told so."""


@settings(max_examples=600, deadline=None)
@given(st.sampled_from(PUBLIC), usages(), st.sampled_from(["", "flex", "priority", "fast"]))
def test_our_cost_is_that_of_genai_prices(model: tuple[str, str, str], tokens: Tokens, tier: str) -> None:
    kind, provider_id, model_id = model
    if kind == "azure":
        tier = ""  # of which we know more than the data
    price = BOOK.price(kind, kind, model_id, NOW_MS)
    assert price is not None
    if "claude" in model_id:  # of whose writes for an hour we know more than the data
        tokens = msgspec.structs.replace(tokens, cache_write_1h=0)
    if model_id in RATES.get(kind, {}):  # of whose sounds likewise
        tokens = msgspec.structs.replace(tokens, prompt_audio=0, completion_audio=0)
    theirs = calc_price(
        Usage(
            input_tokens=tokens.prompt,
            output_tokens=tokens.completion,
            cache_read_tokens=tokens.cached_read,
            cache_write_tokens=tokens.cache_write,
            cache_write_1h_tokens=tokens.cache_write_1h,
            input_audio_tokens=tokens.prompt_audio,
            input_image_tokens=tokens.prompt_image,
            output_reasoning_tokens=tokens.reasoning,
            output_audio_tokens=tokens.completion_audio,
            output_image_tokens=tokens.completion_image,
            web_searches=tokens.searches,
            **NOTHING_SHARED,
        ),
        model_id,
        provider_id=provider_id,
        genai_request_timestamp=NOW,
        price_context={"speed" if (provider_id, tier) == ("anthropic", "fast") else "service_tier": tier},
    )

    ours = cost_nanos(price.in_tier(tier), tokens)

    # prices with more than nine decimals are rounded per million tokens: below one nano-dollar per part here
    assert abs(Decimal(ours) - theirs.total_price * 10**9) <= Decimal("1.5")


def test_most_of_the_public_models_are_compared() -> None:
    assert len(PUBLIC) > 300


def test_audio_is_priced_by_its_length() -> None:
    price = BOOK.price("groq", "groq", "whisper-large-v3", NOW_MS)
    assert price is not None

    assert cost_nanos(price, Tokens(audio_ms=3_600_000)) == 111_000_000
    assert cost_nanos(price, Tokens(audio_ms=1_000)) == cost_nanos(price, Tokens(audio_ms=10_000))


def test_speech_is_priced_by_characters_and_search_by_request() -> None:
    speech = BOOK.price("openai", "openai", "tts-1", NOW_MS)
    search = BOOK.price("perplexity", "perplexity", "sonar", NOW_MS)
    assert speech is not None
    assert search is not None

    assert cost_nanos(speech, Tokens(characters=1_000)) == 15_000_000
    assert cost_nanos(search, Tokens()) == 12_000_000


def test_the_tokens_of_a_made_image_have_the_image_price() -> None:
    price = BOOK.price("openai", "openai", "gpt-image-1.5", NOW_MS)
    assert price is not None

    assert cost_nanos(price, Tokens(completion=1_000_000, images=1)) == 32_000_000_000
    assert cost_nanos(price, Tokens(completion=1_000_000)) == 10_000_000_000


def test_the_text_beside_a_made_image_has_the_text_price() -> None:
    price = BOOK.price("gemini", "gemini", "gemini-3-pro-image-preview", NOW_MS)
    assert price is not None

    tokens = Tokens(completion=3_000_000, reasoning=1_000_000, completion_image=1_000_000, images=1)

    assert cost_nanos(price, tokens) == 12_000_000_000 + 120_000_000_000 + 12_000_000_000


def test_searches_of_the_web_have_a_price_of_their_own() -> None:
    price = BOOK.price("vertex", "vertex", "gemini-2.5-flash", NOW_MS)
    assert price is not None

    assert cost_nanos(price, Tokens(searches=2)) == 70_000_000


@pytest.mark.parametrize(
    ("kind", "model", "input_nanos"),
    [
        ("gemini", "gemini-2.5-flash", 300_000_000),
        ("gemini", "models/gemini-2.5-flash", 300_000_000),
        ("gemini", "gemma-3-27b-it", 0),
        ("vertex", "gemini-2.5-flash", 300_000_000),
        ("vertex", "google/gemini-2.5-flash", 300_000_000),
        ("vertex", "publishers/google/models/gemini-2.5-flash", 300_000_000),
        ("vertex", "claude-sonnet-4-6", 3_000_000_000),
        ("vertex", "anthropic/claude-opus-4-1@20250805", 15_000_000_000),
    ],
)
def test_googles_models_have_prices_under_each_of_their_names(
    kind: str, model: str, input_nanos: int
) -> None:
    price = BOOK.price(kind, kind, model, NOW_MS)

    assert price is not None
    assert price.base.input == input_nanos


@pytest.mark.parametrize("model", ["meta/llama-4-scout-maas", "1234567890", "google/gemma-3-27b-it"])
def test_what_nobody_has_priced_on_vertex_is_not_free(model: str) -> None:
    assert BOOK.price("vertex", "vertex", model, NOW_MS) is None


def test_pictures_in_a_request_have_their_own_price() -> None:
    price = PriceBook().price("openai", "openai", "gpt-image-1")

    assert price is not None
    assert cost_nanos(price, Tokens(prompt=1_000_000)) == 5_000_000_000
    assert cost_nanos(price, Tokens(prompt=1_000_000, prompt_image=1_000_000)) == 10_000_000_000


def test_a_prompt_beyond_gemini_s_threshold_has_the_long_price_for_all_of_it() -> None:
    price = BOOK.price("gemini", "gemini", "gemini-2.5-pro", NOW_MS)
    assert price is not None

    assert cost_nanos(price, Tokens(prompt=200_000, completion=10)) == 200_000 * 1_250 + 10 * 10_000
    assert cost_nanos(price, Tokens(prompt=200_001, completion=10)) == 200_001 * 2_500 + 10 * 15_000


@pytest.mark.parametrize(
    ("kind", "model", "nanos"),
    [("anthropic", "claude-sonnet-4-5", 30_000_000), ("openai", "gpt-5", 30_000_000)],
)
def test_searches_are_priced_each(kind: str, model: str, nanos: int) -> None:
    price = BOOK.price(kind, kind, model, NOW_MS)
    assert price is not None

    assert cost_nanos(price, Tokens(searches=3)) == nanos


def test_a_service_tier_has_its_own_price_from_the_day_on_that_the_data_knows_it() -> None:
    today = BOOK.price("openai", "openai", "gpt-5", NOW_MS)
    before = BOOK.price("openai", "openai", "gpt-5", NOW_MS - 365 * 86_400_000)
    assert today is not None
    assert before is not None

    assert today.in_tier("flex").base.input * 2 == today.base.input
    assert today.in_tier("priority").base.input == 2 * today.base.input
    for tier in ("", "default", "standard", "scale", "unheard-of"):
        assert today.in_tier(tier) is today
    assert before.in_tier("flex") is before


def test_azure_has_openai_s_models_in_openai_s_tiers() -> None:
    azure, openai = (BOOK.price(kind, kind, "gpt-5", NOW_MS) for kind in ("azure", "openai"))

    assert azure is not None
    assert azure == openai


def test_a_provider_of_another_name_has_the_prices_of_its_type() -> None:
    assert BOOK.price("openai-eu", "openai", "gpt-4o", NOW_MS) == BOOK.price(
        "openai", "openai", "gpt-4o", NOW_MS
    )


@pytest.mark.parametrize("model", ["nebius/Qwen/Qwen3-32B", "Qwen/Qwen3-32B:nebius"])
def test_hugging_face_prices_are_those_of_the_inference_provider(model: str) -> None:
    price = BOOK.price("huggingface", "huggingface", model, NOW_MS)

    assert price is not None
    assert price == BOOK.price("nebius", "nebius", "Qwen/Qwen3-32B", NOW_MS)


@pytest.mark.parametrize(
    ("kind", "model"),
    [
        ("openai", "no-such-model"),
        ("ollama", "llama3.2"),
        ("vllm", "gpt-4o"),
        ("sgl", "gpt-4o"),
        ("parasail", "gpt-4o"),
        ("huggingface", "Qwen/Qwen3-32B"),
        ("cerebras", "qwen-3-coder-480b"),  # known, but without any price
        ("vertex", "mistral-large-2411"),
        ("demo", "no-such-model"),
        ("unheard-of", "gpt-4o"),
    ],
)
def test_what_nobody_knows_has_no_price(kind: str, model: str) -> None:
    assert BOOK.price(kind, kind, model, NOW_MS) is None


@pytest.mark.parametrize(
    ("kind", "model"),
    [("openai", "omni-moderation-latest"), ("openrouter", "qwen/qwq-32b:free"), ("gemini", "gemma-3-27b-it")],
)
def test_what_is_free_is_priced_as_such(kind: str, model: str) -> None:
    price = BOOK.price(kind, kind, model, NOW_MS)

    assert price is not None
    assert cost_nanos(price, Tokens(prompt=10**6, completion=10**6)) == 0


def test_every_demo_model_has_a_price() -> None:
    assert set(DEMO_PRICES) == set(PROVIDER_TYPES["demo"].static_models)
    assert BOOK.price("demo", "demo", "echo") == DEMO_PRICES["echo"]


def test_an_override_wins_and_is_for_its_provider_only() -> None:
    override = PriceOverride(model="mine/gpt-4o", input_per_million_nanos=7, per_image_nanos=3)
    book = PriceBook([override])

    price = book.price("mine", "openai", "gpt-4o", NOW_MS)

    assert price is not None
    assert (price.source, price.base.input, price.base.output, price.per_image_nanos) == ("override", 7, 0, 3)
    assert price.base.cached_read == 7
    assert book.price("openai", "openai", "gpt-4o", NOW_MS) == BOOK.price(
        "openai", "openai", "gpt-4o", NOW_MS
    )


def test_an_override_prices_what_has_no_public_price() -> None:
    book = PriceBook([PriceOverride(model="local/llama3.2", output_per_million_nanos=5)])

    price = book.price("local", "ollama", "llama3.2")

    assert price is not None
    assert price.output_per_million_nanos == 5


def test_the_version_names_the_data_and_the_overrides() -> None:
    one = PriceOverride(model="a/b", input_per_million_nanos=1)
    two = PriceOverride(model="c/d", input_per_million_nanos=2)

    plain, changed = PriceBook().version, PriceBook([one, two]).version

    assert plain.startswith("genai-prices-")
    assert changed.startswith(plain + "+")
    assert changed == PriceBook([two, one]).version
    assert (
        changed == PriceBook([two, PriceOverride(model="a/b", input_per_million_nanos=1, version=9)]).version
    )
    assert changed != PriceBook([one]).version


def _flat(amount: int) -> ModelPrice:
    return ModelPrice(source="genai-prices", base=rates(input_nanos=amount))


def test_the_price_in_force_depends_on_when_the_request_began() -> None:
    schedule = (
        Scheduled(_flat(1)),
        Scheduled(_flat(2), from_ms=1000),
        Scheduled(_flat(3), from_time_ms=20 * 3_600_000, to_time_ms=2 * 3_600_000),
    )
    day = 86_400_000

    assert price_at(schedule, 5 * 3_600_000) == _flat(2)
    assert price_at(schedule, day + 21 * 3_600_000) == _flat(3)
    assert price_at(schedule, day + 3_600_000) == _flat(3)
    assert price_at(schedule, day + 2 * 3_600_000) == _flat(2)
    assert price_at(schedule[:2], 999) == _flat(1)
    assert price_at(schedule, None) == _flat(2)
    assert price_at((), 0) is None


@pytest.mark.parametrize("kind", sorted(PROVIDER_IDS))
def test_dated_prices_change_when_genai_prices_says_so(kind: str) -> None:
    provider = next(provider for provider in bundled if provider.id == PROVIDER_IDS[kind])
    for model in provider.models:
        if isinstance(model.prices, types.ModelPrice):
            continue
        for entry in model.prices:
            if not isinstance(entry.constraint, types.StartDateConstraint):
                continue
            midnight = datetime.combine(entry.constraint.start_date, clock(), UTC)
            for moment in (midnight - timedelta(milliseconds=1), midnight):
                # `regional.` stands for each part of the world that Bedrock has profiles for.
                name = model.id.replace("regional.", "us.", 1)
                price = BOOK.price(kind, kind, name, int(moment.timestamp() * 1000))
                theirs = provider.find_model(name)
                assert theirs is not None
                stored = theirs.get_prices(moment).input_mtok
                if isinstance(stored, Decimal) and price is not None:
                    assert price.base.input == int(stored * 10**9)


def test_times_of_day_are_compared_in_utc() -> None:
    east = timezone(timedelta(hours=8))
    entry = types.ConditionalPrice(
        types.TimeOfDateConstraint(clock(0, 30, tzinfo=east), clock(8, 30, tzinfo=east)),
        prices=types.ModelPrice(input_mtok=Decimal(1)),
    )
    from_genai = scheduled(entry)

    for hour in range(24):
        moment = NOW.replace(hour=hour)
        constraint = entry.constraint
        assert constraint is not None
        assert from_genai.holds(int(moment.timestamp() * 1000)) == constraint.active(moment)


def test_tokens_are_estimated_from_bytes() -> None:
    assert estimate_tokens(0) == 0
    assert estimate_tokens(1) == 1
    assert estimate_tokens(7) == 2
    assert estimate_tokens(3500) == 1000
