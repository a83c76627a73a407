"""What Google's types count, in our terms, and what it costs."""

from typing import Any

import msgspec
from google.genai import types

from services.gateway.providers.gemini.usage import usage_of
from services.gateway.providers.gemini.wire import UsageMetadata
from shared.events import Tokens


def tokens(*, images: int = 0, **counts: Any) -> Tokens:
    reported = types.GenerateContentResponseUsageMetadata(**counts).model_dump_json(
        by_alias=True, exclude_none=True
    )
    return usage_of(msgspec.json.decode(reported, type=UsageMetadata), images=images).tokens


def modality(name: str, count: int) -> types.ModalityTokenCount:
    return types.ModalityTokenCount(modality=types.MediaModality(name), token_count=count)


def test_every_count_goes_where_it_is_priced() -> None:
    found = tokens(
        prompt_token_count=100,
        tool_use_prompt_token_count=20,
        candidates_token_count=40,
        thoughts_token_count=7,
        cached_content_token_count=60,
        prompt_tokens_details=[modality("TEXT", 70), modality("AUDIO", 30)],
        candidates_tokens_details=[modality("TEXT", 10), modality("IMAGE", 25), modality("AUDIO", 5)],
        total_token_count=167,
    )

    assert found == Tokens(
        prompt=120,
        completion=47,
        cached_read=60,
        reasoning=7,
        prompt_audio=30,
        completion_audio=5,
        completion_image=25,
    )


def test_a_recording_that_was_cached_is_priced_as_cached_alone() -> None:
    found = tokens(
        prompt_token_count=1_000,
        cached_content_token_count=500,
        prompt_tokens_details=[modality("TEXT", 100), modality("AUDIO", 900)],
        cache_tokens_details=[modality("TEXT", 50), modality("AUDIO", 450)],
    )

    assert (found.cached_read, found.prompt_audio) == (500, 450)


def test_pictures_are_counted_beside_their_tokens() -> None:
    found = tokens(
        images=2, candidates_token_count=2_600, candidates_tokens_details=[modality("IMAGE", 2_580)]
    )

    assert (found.images, found.completion_image) == (2, 2_580)


def test_nothing_is_paid_back() -> None:
    assert (
        tokens(
            prompt_token_count=-5, candidates_token_count=-1, prompt_tokens_details=[modality("AUDIO", -9)]
        )
        == Tokens()
    )
