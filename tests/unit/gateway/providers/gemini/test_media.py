"""Pictures, speech and transcripts: what is asked of Google, what is refused, and what is told as left out."""

from typing import Any

import msgspec
import pytest

from services.gateway.providers.body import JsonBody, parse_json
from services.gateway.providers.errors import BadRequest
from services.gateway.providers.gemini.audio import speech_body, transcript_body
from services.gateway.providers.gemini.images import picture_body
from services.gateway.providers.multipart import MultipartBody, parse_multipart
from tests.support.providers.gemini import checked

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
        ({"prompt": "x", "n": 5}, "n"),
        ({"prompt": "x", "size": "big"}, "size"),
    ],
)
@pytest.mark.parametrize("model", [DRAWS, IMAGEN])
def test_pictures_that_cannot_be(model: str, fields: dict[str, Any], param: str) -> None:
    with pytest.raises(BadRequest) as refused:
        picture_body(body(**fields), model)

    assert refused.value.param == param


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
