"""A form goes out as Cohere's SDK could send it or is refused by name; what is no transcript is an error."""

import pytest

from services.gateway.providers.cohere.adapter import CohereAdapter
from services.gateway.providers.errors import BadRequest
from services.gateway.providers.multipart import MultipartBody, parse_multipart
from services.gateway.providers.operations import Operation
from tests.support.providers.cohere import judge_form
from tests.support.targets import form, target

ADAPTER = CohereAdapter()
FILE = ("file", "a.wav", b"RIFF" + bytes(60))
ENGLISH = ("language", None, b"en")


def body(*parts: tuple[str, str | None, bytes]) -> MultipartBody:
    return parse_multipart(*form([("model", None, b"cohere/m"), *parts]))


def refused(*parts: tuple[str, str | None, bytes]) -> str | None:
    with pytest.raises(BadRequest) as caught:
        ADAPTER.build(Operation.TRANSCRIPTIONS, target("cohere", "m"), body(*parts))
    return caught.value.param


def test_a_form_goes_out_without_what_cohere_has_not() -> None:
    asked = body(FILE, ENGLISH, ("prompt", None, b"p"), ("response_format", None, b"json"), ("stream", None, b"false"))  # fmt: skip
    prepared = ADAPTER.build(Operation.TRANSCRIPTIONS, target("cohere", "m"), asked)

    assert isinstance(prepared.request.body, bytes)
    sent = parse_multipart(prepared.request.body, prepared.request.headers["content-type"]).summary()
    judge_form(sent)
    assert sent == {"model": "m", "file": {"file": "a.wav", "bytes": 64}, "language": "en"}
    assert prepared.request.url == "https://api.cohere.com/v2/audio/transcriptions"
    assert (prepared.dropped, prepared.streams) == (("prompt",), False)


def test_what_is_missing_is_named() -> None:
    assert refused(ENGLISH) == "file"
    assert refused(ENGLISH, FILE, FILE) == "file"
    assert refused(FILE) == "language"
    assert refused(FILE, ENGLISH, ("response_format", None, b"vtt")) == "response_format"
    assert refused(FILE, ENGLISH, ("stream", None, b"true")) == "stream"


@pytest.mark.parametrize("answer", [b"<html>", b"[]", b"{}", b'{"text":null}'])
def test_an_answer_without_a_text_is_an_error(answer: bytes) -> None:
    read = ADAPTER.read_answer(Operation.TRANSCRIPTIONS, body(FILE, ENGLISH), {}, answer)

    assert read.error is not None


def test_usage_is_estimated_from_the_recording_and_the_text() -> None:
    read = ADAPTER.read_answer(Operation.TRANSCRIPTIONS, body(FILE, ENGLISH), {}, b'{"text":"Hello there."}')

    assert read.usage.estimated and read.usage.tokens.audio_ms > 0 and read.usage.tokens.completion > 0
    assert b'"cost":0.5' in read.with_cost("0.5")
