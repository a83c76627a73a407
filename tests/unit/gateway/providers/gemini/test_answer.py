"""Whole answers, made of Google's types."""

from typing import Any

import msgspec
import pytest
from google.genai import types

from services.gateway.providers.answer import OpenAIAnswer
from services.gateway.providers.body import ParsedBody, parse_json
from services.gateway.providers.gemini.answer import read_chat_answer
from services.gateway.providers.gemini.images import TOKENS_PER_IMAGE, read_pictures
from services.gateway.providers.gemini.stream import GeminiTranslator
from services.gateway.upstream_errors import blame
from tests.support.providers.gemini import PNG

PICTURE = types.Part(inline_data=types.Blob(data=PNG, mime_type="image/png"))
DRAWN = types.GenerateContentResponseUsageMetadata(
    prompt_token_count=10,
    candidates_token_count=1_300,
    candidates_tokens_details=[
        types.ModalityTokenCount(modality=types.MediaModality.IMAGE, token_count=1_290)
    ],
    prompt_tokens_details=[
        types.ModalityTokenCount(modality=types.MediaModality.TEXT, token_count=4),
        types.ModalityTokenCount(modality=types.MediaModality.IMAGE, token_count=6),
    ],
)


def body(**fields: Any) -> ParsedBody:
    return parse_json(msgspec.json.encode({"model": "gemini/m", **fields}))


def answer(*parts: types.Part, finish: str = "STOP", **fields: Any) -> bytes:
    candidate = types.Candidate(
        content=types.Content(role="model", parts=list(parts)), finish_reason=types.FinishReason(finish)
    )
    response = types.GenerateContentResponse(candidates=[candidate], **fields)
    return response.model_dump_json(by_alias=True, exclude_none=True).encode()


def chat(*parts: types.Part, **fields: Any) -> OpenAIAnswer:
    asked = body(messages=[{"role": "user", "content": "Hi"}])
    return read_chat_answer(asked, answer(*parts, **fields))


def test_a_picture_in_a_chat_is_counted_as_one() -> None:
    found = chat(types.Part(text="Here:"), PICTURE, usage_metadata=DRAWN)

    message = msgspec.json.decode(found.body)["choices"][0]["message"]
    assert message["images"][0]["image_url"]["url"].startswith("data:image/png;base64,")
    assert (found.usage.tokens.images, found.usage.tokens.completion_image) == (1, 1_290)


@pytest.mark.parametrize(
    ("version", "searches"), [("gemini-2.5-flash", 1), ("gemini-3.8-flash", 3), (None, 1)]
)
def test_searches_are_counted_as_google_bills_them(version: str | None, searches: int) -> None:
    grounding = types.GroundingMetadata(web_search_queries=["a", "b"], image_search_queries=["c"])
    candidate = types.Candidate(
        content=types.Content(role="model", parts=[types.Part(text="x")]),
        finish_reason=types.FinishReason.STOP,
        grounding_metadata=grounding,
    )
    response = types.GenerateContentResponse(
        candidates=[candidate], usage_metadata=DRAWN, model_version=version
    )
    sent = response.model_dump_json(by_alias=True, exclude_none=True).encode()

    whole = read_chat_answer(body(messages=[{"role": "user", "content": "Hi"}]), sent).usage
    translator = GeminiTranslator("gemini/gemini-2.5-pro")
    translator.feed(b"data: " + sent + b"\r\n\r\n")

    assert whole.tokens.searches == searches
    assert translator.usage is not None
    assert translator.usage.tokens.searches == searches


def test_a_picture_is_told_with_what_it_used() -> None:
    found = read_pictures(body(prompt="a cat"), answer(PICTURE, usage_metadata=DRAWN))

    usage = msgspec.json.decode(found.body)["usage"]
    assert (usage["input_tokens"], usage["output_tokens"]) == (10, 1_300)
    assert usage["input_tokens_details"] == {"text_tokens": 4, "image_tokens": 6}
    assert found.usage.tokens.images == 1


def test_a_picture_without_usage_is_estimated_and_not_free() -> None:
    found = read_pictures(body(prompt="a cat"), answer(PICTURE, PICTURE))

    assert found.usage.estimated
    assert found.usage.tokens.completion_image == 2 * TOKENS_PER_IMAGE
    assert found.usage.tokens.prompt > 0


@pytest.mark.parametrize(
    ("sent", "code"),
    [
        (b'[{"error":{"code":429,"message":"Slow.","status":"RESOURCE_EXHAUSTED"}}]', 429),
        (b'{"error":{"code":503,"message":"Full."}}', 503),
        (b'{"candidates":[]}', 502),
        (b"<html>", 502),
    ],
)
def test_an_error_that_came_as_a_success(sent: bytes, code: int) -> None:
    error = read_chat_answer(body(messages=[{"role": "user", "content": "Hi"}]), sent).error

    assert error is not None
    assert error.status == code


@pytest.mark.parametrize(
    ("finish", "reason"), [("STOP", "stop"), ("MAX_TOKENS", "length"), ("SAFETY", "content_filter")]
)
def test_why_it_ended(finish: str, reason: str) -> None:
    assert chat(types.Part(text="x"), finish=finish).finish_reason == reason


@pytest.mark.parametrize("finish", ["MALFORMED_FUNCTION_CALL", "UNEXPECTED_TOOL_CALL"])
def test_a_model_that_went_wrong_gave_no_answer(finish: str) -> None:
    found = chat(finish=finish, usage_metadata=DRAWN)

    assert found.error is not None
    assert (found.error.status, found.error.upstream_code) == (502, finish.lower())
    assert blame(found.error) == "model"  # nobody else's requests must suffer for it
    assert (found.usage.tokens.prompt, found.usage.estimated) == (10, False)


def test_a_model_that_talks_instead_of_drawing_is_paid_for() -> None:
    found = read_pictures(body(prompt="a cat"), answer(types.Part(text="I cannot."), usage_metadata=DRAWN))

    assert found.error is not None
    assert (found.error.status, found.error.message) == (400, "I cannot.")
    assert found.usage.tokens.prompt == 10
