"""Vendors' own price lists: pictures by quality and size, rankings by the search."""

from itertools import product
from typing import Final

import msgspec
import pytest
from genai_prices.data import providers as bundled
from hypothesis import given
from hypothesis import strategies as st

from shared.catalogue.provider_types import PROVIDER_TYPES
from shared.events import Tokens
from shared.governance.model import PriceOverride
from shared.pricing.book import PriceBook
from shared.pricing.cost import cost_nanos, counts_suffice, image_nanos, pixels_of
from shared.pricing.genai import PROVIDER_IDS
from shared.pricing.listed import LISTS_VERSION, OTHERS, version_of
from shared.pricing.model import ModelPrice, Picture, rates
from shared.pricing.pictures import PRICES as PICTURES
from shared.pricing.sounds import RATES as SOUNDS

BOOK: Final = PriceBook()
LISTED: Final = [
    (kind, model, price)
    for lists in (PICTURES, OTHERS)
    for kind, models in lists.items()
    for model, price in models.items()
]
RATED: Final = [price for _, _, price in LISTED if price.picture_rates]
WORDS: Final = st.sampled_from(["", "standard", "hd", "premium", "low", "medium", "ultra"])
SIZES: Final = st.sampled_from(["", "1k", "2k", "4k", "wide"]) | st.builds(
    "{}x{}".format, st.integers(1, 4096), st.integers(1, 4096)
)


def price_of(kind: str, model: str) -> ModelPrice:
    price = BOOK.price(kind, kind, model)
    assert price is not None, model
    return price


def one(kind: str, model: str, quality: str = "", size: str = "") -> int:
    return cost_nanos(price_of(kind, model), Tokens(images=1), Picture(quality, size))


@pytest.mark.parametrize(("kind", "model", "price"), LISTED)
def test_every_price_on_a_list_is_in_force(kind: str, model: str, price: ModelPrice) -> None:
    assert kind in PROVIDER_TYPES
    assert BOOK.price("any-name", kind, model) == price
    assert price.source == "built-in"


@pytest.mark.parametrize("price", [price for models in PICTURES.values() for price in models.values()])
def test_every_rate_is_reached_by_its_own_quality_and_size(price: ModelPrice) -> None:
    for rate in price.picture_rates:
        assert image_nanos(price, Picture(rate.quality, rate.size)) == rate.nanos > 0
    assert price.per_image_nanos == max(
        [rate.nanos for rate in price.picture_rates] or [price.per_image_nanos]
    )
    assert price.per_image_nanos > 0
    assert price.base == rates()


@pytest.mark.parametrize("price", RATED)
def test_what_is_drawn_unasked_is_on_the_list(price: ModelPrice) -> None:
    usual = price.usual_picture

    assert usual.quality in {rate.quality for rate in price.picture_rates}
    assert usual.size in {rate.size for rate in price.picture_rates}
    assert image_nanos(price, Picture()) == image_nanos(price, usual)


@given(st.sampled_from([price for _, _, price in LISTED]), st.integers(1, 10), WORDS, SIZES)
def test_several_pictures_cost_several_times_as_much(
    price: ModelPrice, count: int, quality: str, size: str
) -> None:
    fee = cost_nanos(price, Tokens())
    picture = Picture(quality, size)

    of_one = cost_nanos(price, Tokens(images=1), picture) - fee
    assert cost_nanos(price, Tokens(images=count), picture) - fee == count * of_one


@given(st.sampled_from(RATED), WORDS, SIZES)
def test_what_is_on_no_list_costs_as_the_dearest_that_it_may_be(
    price: ModelPrice, quality: str, size: str
) -> None:
    found = image_nanos(price, Picture(quality, size))
    drawn = Picture(quality, size).or_as(price.usual_picture)
    qualities = {rate.quality for rate in price.picture_rates}

    assert found in {rate.nanos for rate in price.picture_rates}
    if "" not in qualities and drawn.quality not in qualities:
        assert found == max(image_nanos(price, Picture(known, size)) for known in qualities)
    else:
        alike = [rate for rate in price.picture_rates if rate.quality in ("", drawn.quality)]
        if all(rate.size != drawn.size and pixels_of(rate.size) < pixels_of(drawn.size) for rate in alike):
            assert found == max(rate.nanos for rate in alike)


@given(st.sampled_from(RATED), WORDS, SIZES, SIZES)
def test_a_larger_picture_is_never_cheaper(price: ModelPrice, quality: str, one: str, other: str) -> None:
    smaller, larger = sorted((one, other), key=pixels_of)

    if pixels_of(smaller):
        assert image_nanos(price, Picture(quality, smaller)) <= image_nanos(price, Picture(quality, larger))


OPENAI_S: Final = {
    ("dall-e-3", "standard", "1024x1024"): 40_000_000,
    ("dall-e-3", "standard", "1792x1024"): 80_000_000,
    ("dall-e-3", "standard", "1024x1792"): 80_000_000,
    ("dall-e-3", "hd", "1024x1024"): 80_000_000,
    ("dall-e-3", "hd", "1792x1024"): 120_000_000,
    ("dall-e-3", "hd", "1024x1792"): 120_000_000,
    ("dall-e-3", "", ""): 40_000_000,
    ("dall-e-3", "hd", ""): 80_000_000,
    ("dall-e-3", "", "1792x1024"): 80_000_000,
    ("dall-e-3", "exquisite", "1024x1024"): 80_000_000,
    ("dall-e-3", "hd", "9999x9999"): 120_000_000,
    ("dall-e-2", "", "256x256"): 16_000_000,
    ("dall-e-2", "standard", "512x512"): 18_000_000,
    ("dall-e-2", "", "1024x1024"): 20_000_000,
    ("dall-e-2", "", ""): 20_000_000,
}


@pytest.mark.parametrize(("model", "quality", "size"), OPENAI_S)
def test_openai_s_pictures(model: str, quality: str, size: str) -> None:
    assert one("openai", model, quality, size) == OPENAI_S[model, quality, size]
    if model == "dall-e-3":
        assert one("azure", model, quality, size) == OPENAI_S[model, quality, size]


@pytest.mark.parametrize(
    ("model", "quality", "size", "nanos"),
    [
        ("amazon.titan-image-generator-v1", "", "", 10_000_000),
        ("amazon.titan-image-generator-v1:0", "standard", "512x512", 8_000_000),
        ("amazon.titan-image-generator-v2:0", "premium", "512x512", 10_000_000),
        ("amazon.titan-image-generator-v2:0", "premium", "384x576", 10_000_000),
        ("amazon.titan-image-generator-v2:0", "premium", "768x1408", 12_000_000),
        ("amazon.nova-canvas-v1:0", "", "", 40_000_000),
        ("amazon.nova-canvas-v1:0", "standard", "1280x720", 40_000_000),
        ("amazon.nova-canvas-v1:0", "standard", "2048x2048", 60_000_000),
        ("amazon.nova-canvas-v1:0", "premium", "4096x1024", 80_000_000),
        ("us-west-2/amazon.nova-canvas-v1:0", "premium", "320x320", 60_000_000),
        ("us.stability.stable-image-ultra-v1:1", "", "", 140_000_000),
        ("arn:aws:bedrock:us-west-2::foundation-model/stability.sd3-5-large-v1:0", "", "", 80_000_000),
        ("stability.stable-image-core-v1:1", "hd", "1x1", 40_000_000),
    ],
)
def test_bedrock_s_pictures(model: str, quality: str, size: str, nanos: int) -> None:
    assert one("bedrock", model, quality, size) == nanos


@pytest.mark.parametrize(
    ("kind", "model", "nanos"),
    [
        ("gemini", "imagen-4.0-generate-001", 40_000_000),
        ("gemini", "models/imagen-3.0-generate-002", 30_000_000),
        ("vertex", "imagen-3.0-generate-002", 40_000_000),
        ("vertex", "google/imagen-4.0-ultra-generate-001", 60_000_000),
        ("vertex", "publishers/google/models/imagegeneration@006", 20_000_000),
        ("nebius", "black-forest-labs/FLUX-schnell", 1_300_000),
        ("replicate", "black-forest-labs/flux-schnell", 3_000_000),
        ("xai", "grok-2-image-1212", 70_000_000),
    ],
)
def test_pictures_of_one_price(kind: str, model: str, nanos: int) -> None:
    assert one(kind, model) == one(kind, model, "hd", "2048x2048") == nanos


@pytest.mark.parametrize(
    ("quality", "size", "nanos"),
    [
        ("", "", 60),
        ("low", "", 40),
        ("low", "2k", 60),
        ("medium", "2k", 80),
        ("high", "1k", 60),
        ("", "8k", 80),
    ],
)
def test_xai_has_words_for_its_sizes(quality: str, size: str, nanos: int) -> None:
    assert one("xai", "grok-imagine-image-2.0", quality, size) == nanos * 1_000_000


@pytest.mark.parametrize(
    ("kind", "model", "units", "nanos"),
    [
        ("cohere", "rerank-v3.5", 0, 2_000_000),
        ("cohere", "rerank-multilingual-v3.0", 3, 6_000_000),
        ("bedrock", "cohere.rerank-v3-5:0", 2, 4_000_000),
        ("bedrock", "eu-central-1/amazon.rerank-v1:0", 2, 2_000_000),
        ("vertex", "semantic-ranker-default@latest", 1, 1_000_000),
    ],
)
def test_a_ranking_is_priced_by_the_search_unit(kind: str, model: str, units: int, nanos: int) -> None:
    assert cost_nanos(price_of(kind, model), Tokens(search_units=units)) == nanos


def test_azure_has_names_of_its_own_for_openai_s_sounds() -> None:
    for theirs, ours in (("whisper-1", "whisper"), ("tts-1", "tts"), ("tts-1-hd", "tts-hd")):
        heard = Tokens(characters=1_000, audio_ms=60_000)
        assert cost_nanos(price_of("azure", ours), heard) == cost_nanos(price_of("openai", theirs), heard)


@pytest.mark.parametrize(
    ("kind", "model"),
    [
        ("azure", "dall-e-2"),
        ("azure", "my-deployment"),
        ("bedrock", "arn:aws:bedrock:us-east-1:123456789012:provisioned-model/abc"),
        ("huggingface", "hf-inference/black-forest-labs/FLUX.1-schnell"),
        ("replicate", "deployments/acme/painter"),
        ("replicate", "stability-ai/sdxl"),
        ("vllm", "dall-e-3"),
    ],
)
def test_what_is_on_no_list_is_not_free(kind: str, model: str) -> None:
    assert BOOK.price(kind, kind, model) is None


def test_the_operators_price_wins_over_the_list() -> None:
    book = PriceBook([PriceOverride(model="mine/dall-e-3", per_image_nanos=7)])

    price = book.price("mine", "openai", "dall-e-3")

    assert price is not None
    assert cost_nanos(price, Tokens(images=2), Picture("hd", "1792x1024")) == 14


@pytest.mark.parametrize(("kind", "provider_id"), PROVIDER_IDS.items())
def test_no_list_has_what_genai_prices_has(kind: str, provider_id: str) -> None:
    """It would never be looked at."""
    (provider,) = [provider for provider in bundled if provider.id == provider_id]
    listed = {*PICTURES.get(kind, ()), *OTHERS.get(kind, ())}

    assert [name for name in listed if provider.find_model(name) is not None] == []


def test_the_version_is_another_with_any_other_price() -> None:
    dearer = msgspec.structs.replace(PICTURES["openai"]["dall-e-3"], per_image_nanos=1)
    renamed = {"openai": {"dall-e-4": PICTURES["openai"]["dall-e-3"]}}
    versions = {
        version_of(PICTURES, OTHERS, SOUNDS),
        version_of(PICTURES, OTHERS),
        version_of(PICTURES),
        version_of({**PICTURES, "openai": {"dall-e-3": dearer}}, OTHERS),
        version_of({**PICTURES, **renamed}, OTHERS),
    }

    assert len(versions) == 5
    assert LISTS_VERSION in versions
    assert BOOK.version.endswith(f"+lists-{LISTS_VERSION}")


@pytest.mark.parametrize(("images", "completion"), list(product((0, 1), (0, 9))))
def test_pictures_that_are_priced_by_tokens_have_no_price_without_them(images: int, completion: int) -> None:
    by_token = price_of("openai", "gpt-image-1")
    tokens = Tokens(prompt=5, completion=completion, images=images)

    assert counts_suffice(by_token, tokens) is not (images > 0 and completion == 0)
    assert counts_suffice(price_of("openai", "dall-e-3"), tokens)
    assert counts_suffice(ModelPrice(source="override", base=rates()), tokens)
