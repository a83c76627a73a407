"""Tokens of sound cost what a list says, or nobody knows what they cost; they never cost what text does by accident."""

import pytest
from genai_prices.data import providers as bundled

from shared.events import Tokens
from shared.pricing.book import PriceBook
from shared.pricing.cost import cost_nanos, is_known
from shared.pricing.genai import PROVIDER_IDS
from shared.pricing.model import ModelPrice
from shared.pricing.sounds import RATES

BOOK = PriceBook()
HEARD, SPOKEN = Tokens(prompt=10, prompt_audio=5), Tokens(completion=10, completion_audio=5)
LISTED = [(kind, model) for kind, models in RATES.items() for model in models]


def price_of(kind: str, model: str) -> ModelPrice:
    price = BOOK.price(kind, kind, model)
    assert price is not None, model
    return price


@pytest.mark.parametrize(
    ("model", "nanos"),
    [
        ("gpt-4o-audio-preview", 662_500),
        ("gpt-4o-audio-preview-2025-06-03", 662_500),
        ("gpt-4o-mini-audio-preview", 153_750),
        ("gpt-audio-mini", 165_000),
    ],
)
def test_a_conversation_half_in_sound_costs_what_is_on_the_list(model: str, nanos: int) -> None:
    tokens = Tokens(prompt=10, prompt_audio=5, completion=10, completion_audio=5)

    price = price_of("openai", model)

    assert is_known(price, tokens)
    assert cost_nanos(price, tokens) == nanos


@pytest.mark.parametrize(("kind", "model"), LISTED)
def test_every_listed_price_of_sound_is_needed_and_in_force(kind: str, model: str) -> None:
    price, text = price_of(kind, model), price_of("azure", model)

    assert (price.base.prompt_audio, price.base.completion_audio) == RATES[kind][model]
    assert (price.base.input, price.base.output) == (text.base.input, text.base.output)
    assert price.unknown == ()
    assert text.unknown == ("prompt_audio", "completion_audio")


@pytest.mark.parametrize(
    ("kind", "model", "heard", "spoken"),
    [
        ("openai", "gpt-4o-audio-preview-2024-10-01", False, False),
        ("azure", "gpt-4o-audio-preview", False, False),
        ("openrouter", "openai/gpt-audio", False, False),
        ("openrouter", "google/gemini-2.5-flash", False, False),
        ("gemini", "gemini-2.5-flash-preview-05-20", False, False),
        ("openai", "gpt-audio", True, True),
        ("openai", "gpt-4o-transcribe", True, False),
        ("openai", "gpt-4o-mini-tts", False, True),
        ("azure", "gpt-4o-mini-tts", False, True),
        ("gemini", "gemini-2.5-flash", True, True),
        ("gemini", "gemini-2.5-pro", True, True),
        ("gemini", "gemini-2.5-flash-preview-tts", True, True),
        ("vertex", "gemini-3.1-pro-preview", True, True),
        ("mistral", "voxtral-small-24b-2507", True, True),
        ("openai", "whisper-1", True, True),
    ],
)
def test_whether_it_is_known_what_sound_costs(kind: str, model: str, heard: bool, spoken: bool) -> None:
    price = price_of(kind, model)

    assert (is_known(price, HEARD), is_known(price, SPOKEN)) == (heard, spoken)
    assert is_known(price, Tokens(prompt=10, completion=10))


def test_only_google_and_speech_are_priced_as_text() -> None:
    """Of all models that are priced by the token."""
    ids = {provider.id: provider for provider in bundled}
    for kind in ("openai", "azure", "anthropic", "xai", "groq"):
        for model in ids[PROVIDER_IDS[kind]].models:
            price = BOOK.price(kind, kind, model.id)
            if price is None or not (price.base.input or price.base.output) or price.per_audio_hour_nanos:
                continue
            as_text = price.base.completion_audio == price.base.output
            assert not as_text or "tts" in model.id or "completion_audio" in price.unknown, model.id
