"""Pictures, speech and transcripts: what is asked of Google, what is refused, and what is told as left out."""

from typing import Any

import msgspec
import openai
import pytest
from google.genai import types

from services.gateway.providers.body import JsonBody, parse_json
from services.gateway.providers.errors import BadRequest
from services.gateway.providers.gemini.audio import speech_body, transcript_body
from services.gateway.providers.gemini.images import picture_body, read_pictures, times_to_ask
from services.gateway.providers.multipart import MultipartBody, parse_multipart
from services.gateway.providers.operations import Operation
from services.gateway.providers.usage import Usage
from shared.events import Tokens
from tests.support.providers.gemini import PNG, checked
from tests.support.providers.judges import adapter_of, target_of

DRAWS = "gemini-2.5-flash-image"
IMAGEN = "imagen-4.0-generate-001"


def body(**fields: Any) -> JsonBody:
    return parse_json(msgspec.json.encode({"model": "m", **fields}))


def form(*files: str, **fields: str) -> MultipartBody:
    parts = [
        f'--b\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'
        for name, value in {"model": "m", **fields}.items()
    ]
    parts += [
        f'--b\r\nContent-Disposition: form-data; name="{name}"; filename="a.wav"\r\n\r\nabc\r\n'
        for name in files
    ]
    return parse_multipart("".join([*parts, "--b--\r\n"]).encode(), "multipart/form-data; boundary=b")


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({}, "prompt"),
        ({"prompt": "x", "stream": True}, "stream"),
        ({"prompt": "x", "n": 11}, "n"),
        ({"prompt": "x", "size": "big"}, "size"),
    ],
)
@pytest.mark.parametrize("model", [DRAWS, IMAGEN])
def test_pictures_that_cannot_be(model: str, fields: dict[str, Any], param: str) -> None:
    with pytest.raises(BadRequest) as refused:
        picture_body(body(**fields), model)

    assert refused.value.param == param


def test_pictures_beyond_what_imagen_draws_at_once() -> None:
    with pytest.raises(BadRequest) as refused:
        picture_body(body(prompt="x", n=5), IMAGEN)

    assert refused.value.param == "n"
    assert times_to_ask(body(n=3), IMAGEN) == 1


@pytest.mark.parametrize("kind", ["gemini", "vertex"])
def test_several_pictures_of_a_model_that_draws_one_are_asked_for_one_by_one(kind: str) -> None:
    adapter = adapter_of(kind)

    alone = adapter.build(Operation.IMAGES, target_of(kind, DRAWS), body(prompt="x"))
    several = adapter.build(Operation.IMAGES, target_of(kind, DRAWS), body(prompt="x", n=3))

    assert alone.converse is None
    assert several.converse is not None
    assert several.request.body == alone.request.body


def drawn(*parts: Any, prompt: int = 5, drew: int = 1_290) -> Any:
    """An answer of a model that draws."""
    details = [types.ModalityTokenCount(modality=types.MediaModality.IMAGE, token_count=drew)]
    usage = types.GenerateContentResponseUsageMetadata(
        prompt_token_count=prompt, candidates_token_count=drew, candidates_tokens_details=details
    )
    content = types.Content(role="model", parts=list(parts))
    return types.GenerateContentResponse(
        candidates=[types.Candidate(content=content, finish_reason=types.FinishReason.STOP)],
        usage_metadata=usage,
    )


def answers(*given: Any) -> bytes:
    """As several calls are answered."""
    documents = [one.model_dump(mode="json", exclude_none=True, by_alias=True) for one in given]
    return msgspec.json.encode({"answers": documents})


PICTURE = types.Part(inline_data=types.Blob(data=PNG, mime_type="image/png"))


def test_the_pictures_of_several_answers_are_one() -> None:
    read = read_pictures(body(n=2), answers(drawn(PICTURE), drawn(types.Part(text="A cat"), PICTURE)))

    document = msgspec.json.decode(read.body)
    openai.types.ImagesResponse.model_validate(document)
    assert [one.get("revised_prompt") for one in document["data"]] == [None, "A cat"]
    assert document["usage"]["total_tokens"] == 2 * 1_295
    assert read.usage == Usage(Tokens(10, 2_580, completion_image=2_580, images=2))


def test_a_picture_that_was_not_drawn_costs_what_google_says() -> None:
    refused = drawn(types.Part(text="I will not draw that."), drew=8)

    some = read_pictures(body(n=2), answers(refused, drawn(PICTURE)))
    none = read_pictures(body(n=2), answers(refused, refused))

    assert len(msgspec.json.decode(some.body)["data"]) == 1
    assert (some.error, some.usage.tokens.prompt, some.usage.tokens.completion) == (None, 10, 1_298)
    assert none.error is not None
    assert "will not" in none.error.message
    assert (none.usage.tokens.prompt, none.usage.tokens.completion) == (10, 16)


@pytest.mark.parametrize("answer", [b'{"answers":[', b'{"answers":[{]}', b"<html>"])
def test_what_is_no_answer_is_an_error(answer: bytes) -> None:
    assert read_pictures(body(n=2), answer).error is not None


@pytest.mark.parametrize(
    ("model", "size", "expected"),
    [
        (DRAWS, "auto", None),
        (DRAWS, "2048x2048", {"aspectRatio": "1:1"}),
        ("gemini-3-pro-image", "1792x1024", {"aspectRatio": "16:9"}),
        ("gemini-3-pro-image", "2048x2048", {"aspectRatio": "1:1", "imageSize": "2K"}),
        ("gemini-3.1-flash-image-preview", "2304x4096", {"aspectRatio": "9:16", "imageSize": "4K"}),
    ],
)
def test_the_size_of_a_picture(model: str, size: str, expected: Any) -> None:
    _, wire, _ = picture_body(body(prompt="x", size=size), model)

    assert wire["generationConfig"].get("imageConfig") == expected
    checked(wire)


@pytest.mark.parametrize("model", [DRAWS, IMAGEN])
def test_what_is_left_out_of_a_picture_is_told(model: str) -> None:
    _, _, dropped = picture_body(
        body(prompt="x", quality="hd", seed=1, partial_images=2, style=None, response_format="url"), model
    )

    assert sorted(dropped) == ["partial_images", "quality", "response_format", "seed"]


def test_speech() -> None:
    wire, dropped = speech_body(
        body(input="Hi", voice="nova", instructions="Softly", speed=2, response_format="mp3")
    )

    assert checked(wire).speech_config is not None
    assert wire["contents"][0]["parts"] == [{"text": "Softly: Hi"}]
    assert sorted(dropped) == ["response_format", "speed"]
    wrong: dict[str, Any]
    for wrong in ({}, {"input": "x", "stream_format": "sse"}):
        with pytest.raises(BadRequest):
            speech_body(body(**wrong))


def test_a_transcript() -> None:
    wire, dropped = transcript_body(
        form("file", temperature="0.5", language="de", **{"timestamp_granularities[]": "word"})
    )

    assert checked(wire).temperature == 0.5
    assert dropped == ("timestamp_granularities[]",)


@pytest.mark.parametrize(
    ("asked", "param"),
    [
        (form(), "file"),
        (form("file", temperature="hot"), "temperature"),
        (form("file", temperature="9"), "temperature"),
        (form("file", stream="true"), "stream"),
        (form("file", response_format="srt"), "response_format"),
    ],
)
def test_transcripts_that_cannot_be(asked: MultipartBody, param: str) -> None:
    with pytest.raises(BadRequest) as refused:
        transcript_body(asked)

    assert refused.value.param == param
