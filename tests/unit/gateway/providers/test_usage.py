"""Usage, answers, errors and estimates, in the shapes that providers really use."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.gateway.providers.answer import OpenAIAnswer, read_openai_answer
from services.gateway.providers.body import ParsedBody
from services.gateway.providers.estimate import IMAGE_TOKENS, estimate_prompt
from services.gateway.providers.multipart import parse_multipart
from services.gateway.providers.operations import Operation
from services.gateway.providers.usage import Usage, read_usage
from services.gateway.providers.wire_errors import LONGEST_WAIT_S, error_from_answer
from shared.events import Tokens
from tests.support.targets import form, json_body

CHAT = json_body('{"model":"m","messages":[{"role":"user","content":"hello there"}]}')


@pytest.mark.parametrize(
    ("usage", "expected"),
    [
        (
            {"prompt_tokens": 9, "completion_tokens": 4, "total_tokens": 13},
            Usage(Tokens(prompt=9, completion=4)),
        ),
        (
            {
                "prompt_tokens": 100,
                "completion_tokens": 50,
                "prompt_tokens_details": {"cached_tokens": 60, "audio_tokens": 7},
                "completion_tokens_details": {"reasoning_tokens": 30, "audio_tokens": 5, "new_kind": 1},
            },
            Usage(
                Tokens(
                    prompt=100,
                    completion=50,
                    cached_read=60,
                    prompt_audio=7,
                    reasoning=30,
                    completion_audio=5,
                )
            ),
        ),
        # xAI leaves the reasoning out of the completion
        (
            {
                "prompt_tokens": 10,
                "completion_tokens": 5,
                "total_tokens": 35,
                "completion_tokens_details": {"reasoning_tokens": 20},
            },
            Usage(Tokens(prompt=10, completion=25, reasoning=20)),
        ),
        # DeepSeek, Moonshot
        ({"prompt_tokens": 9, "completion_tokens": 1, "prompt_cache_hit_tokens": 8}, Usage(Tokens(9, 1, 8))),
        ({"prompt_tokens": 9, "completion_tokens": 1, "cached_tokens": 8}, Usage(Tokens(9, 1, 8))),
        # embeddings
        ({"prompt_tokens": 9, "total_tokens": 9}, Usage(Tokens(prompt=9))),
        # OpenRouter, Perplexity
        ({"prompt_tokens": 1, "completion_tokens": 1, "cost": 0.0000012345}, Usage(Tokens(1, 1), 1235)),
        (
            {"prompt_tokens": 1, "completion_tokens": 1, "cost": {"total_cost": 0.006}},
            Usage(Tokens(1, 1), 6_000_000),
        ),
        ({"prompt_tokens": 1, "completion_tokens": 1, "cost": 0}, Usage(Tokens(1, 1), 0)),
        ({"prompt_tokens": 1, "completion_tokens": 1, "cost": -5}, Usage(Tokens(1, 1))),
        ({"prompt_tokens": 1, "completion_tokens": 1, "cost": "free"}, Usage(Tokens(1, 1))),
        # xAI
        (
            {"prompt_tokens": 1, "completion_tokens": 1, "cost_in_usd_ticks": 37_756_005},
            Usage(Tokens(1, 1), 3_775_601),
        ),
        ({"cost_in_usd_ticks": 200_000_000}, Usage(Tokens(), 20_000_000)),
        ({"prompt_tokens": 1, "cost_in_usd_ticks": None}, Usage(Tokens(1))),
        # images and transcriptions
        (
            {
                "input_tokens": 5,
                "output_tokens": 6,
                "input_tokens_details": {"text_tokens": 2, "image_tokens": 3},
            },
            Usage(Tokens(5, 6, prompt_image=3)),
        ),
        (
            {"input_tokens": 5, "output_tokens": 6, "input_tokens_details": {"text_tokens": 5}},
            Usage(Tokens(5, 6)),
        ),
        (
            {
                "type": "tokens",
                "input_tokens": 5,
                "output_tokens": 6,
                "input_token_details": {"audio_tokens": 4},
            },
            Usage(Tokens(5, 6, prompt_audio=4)),
        ),
        ({"type": "duration", "seconds": 7.25}, Usage(Tokens(audio_ms=7250))),
        # Mistral's transcripts
        (
            {"prompt_tokens": 4, "completion_tokens": 9, "total_tokens": 13, "prompt_audio_seconds": 7},
            Usage(Tokens(4, 9, audio_ms=7000)),
        ),
        # Perplexity, should it not say what it costs
        (
            {"prompt_tokens": 4, "completion_tokens": 9, "num_search_queries": 3},
            Usage(Tokens(4, 9, searches=3)),
        ),
        # servers that write numbers as they please
        ({"prompt_tokens": 9.0, "completion_tokens": "4"}, Usage(Tokens(9, 4))),
        ({"prompt_tokens": None, "completion_tokens": 4}, Usage(Tokens(0, 4))),
        ({"prompt_tokens": -9, "completion_tokens": 4}, None),
        ({"prompt_tokens": 9, "completion_tokens": -4, "cost": 0.5}, None),
        ({"input_tokens": 9, "input_tokens_details": {"cached_tokens": -1}}, Usage(Tokens(9, 0))),
        ({}, None),
        ({"total_tokens": 5}, None),
        ({"prompt_tokens": "many"}, None),
        # OpenRouter with a key of our own at the model's provider, which bills the rest
        (
            {
                "prompt_tokens": 9,
                "cost": 0.5,
                "is_byok": True,
                "cost_details": {"upstream_inference_cost": 2},
            },
            Usage(Tokens(9), 2_500_000_000),
        ),
        (
            {
                "prompt_tokens": 9,
                "cost": 0.5,
                "is_byok": False,
                "cost_details": {"upstream_inference_cost": 0.5},
            },
            Usage(Tokens(9), 500_000_000),
        ),
        (
            {
                "prompt_tokens": 9,
                "cost": 0,
                "is_byok": True,
                "cost_details": {"upstream_inference_cost": None},
            },
            Usage(Tokens(9)),
        ),
        ({"prompt_tokens": 9, "cost": 0, "is_byok": True, "cost_details": "?"}, Usage(Tokens(9))),
        # what nobody can have used is a mistake, and would not fit into any record
        ({"prompt_tokens": 2**64, "completion_tokens": 4}, None),
        ({"prompt_tokens": 9, "prompt_tokens_details": {"cached_tokens": 10**30}}, None),
        ({"seconds": 1e300}, None),
        ({"prompt_tokens": 9, "completion_tokens": 4, "cost": 1e300}, Usage(Tokens(9, 4))),
        (None, None),
        ([], None),
    ],
)
def test_reads_usage(usage: Any, expected: Usage | None) -> None:
    assert read_usage(json.dumps(usage).encode()) == expected


@given(st.integers(0, 10**15))
def test_a_reported_cost_is_exact(nanos: int) -> None:
    usd = f"{nanos // 10**9}.{nanos % 10**9:09d}"

    usage = read_usage(b'{"prompt_tokens":1,"cost":' + usd.encode() + b"}")

    assert usage is not None
    assert usage.cost_nanos == nanos


def answer(document: Any, operation: Operation = Operation.CHAT, request: ParsedBody = CHAT) -> OpenAIAnswer:
    body = document if isinstance(document, bytes) else json.dumps(document).encode()
    return read_openai_answer(operation, request, {"content-type": "application/json"}, body)


def test_a_whole_answer() -> None:
    whole = answer(
        {
            "choices": [{"message": {"content": "x"}, "finish_reason": "length"}],
            "usage": {"prompt_tokens": 3, "completion_tokens": 2},
            "extra": [1.0],
        }
    )

    assert whole.usage == Usage(Tokens(3, 2))
    assert whole.finish_reason == "length"
    assert whole.error is None
    with_cost = json.loads(whole.with_cost("0.000001"))
    assert with_cost["usage"] == {"prompt_tokens": 3, "completion_tokens": 2, "cost": 0.000001}
    assert with_cost["extra"] == [1.0]
    assert b'"cost":0.000001' in whole.with_cost("0.000001")


def test_our_cost_replaces_the_providers() -> None:
    whole = answer({"choices": [], "usage": {"prompt_tokens": 3, "cost": {"total_cost": 0.5}}})

    assert whole.usage.cost_nanos == 500_000_000
    assert json.loads(whole.with_cost("0.5"))["usage"]["cost"] == 0.5


def test_an_answer_without_usage_is_estimated_and_says_so() -> None:
    whole = answer({"choices": [{"message": {"content": "y" * 35}, "finish_reason": "stop"}]})

    assert whole.usage.estimated
    assert whole.usage.tokens.completion == 10
    assert whole.usage.tokens.prompt > 0
    assert json.loads(whole.with_cost("1"))["usage"]["estimated"] is True


def test_a_tool_call_counts_as_text() -> None:
    call = [{"id": "1", "type": "function", "function": {"name": "f", "arguments": "{}" * 40}}]
    whole = answer(
        {"choices": [{"message": {"content": None, "tool_calls": call}, "finish_reason": "tool_calls"}]}
    )

    assert whole.usage.tokens.completion > 20


def test_an_error_inside_a_200() -> None:
    whole = answer({"error": {"message": "no", "code": 429}})

    assert whole.error is not None
    assert (whole.error.message, whole.error.status, whole.error.retryable) == ("no", 429, True)


def test_an_error_inside_a_choice() -> None:
    error = {"code": 503, "message": "the model went away"}
    whole = answer({"choices": [{"finish_reason": "error", "error": error, "message": {"content": "Hal"}}]})

    assert whole.error is not None
    assert (whole.error.message, whole.error.status) == ("the model went away", 503)


@pytest.mark.parametrize("operation", [Operation.SPEECH, Operation.TRANSCRIPTIONS])
def test_an_error_object_or_a_web_page_is_neither_a_sound_nor_a_text(operation: Operation) -> None:
    speech: ParsedBody = json_body('{"model":"tts-1","input":"x"}')
    fields = [("model", None, b"m"), ("response_format", None, b"text"), ("file", "a", b"x")]
    request = speech if operation is Operation.SPEECH else parse_multipart(*form(fields))

    def read(content_type: str, body: bytes) -> OpenAIAnswer:
        return read_openai_answer(operation, request, {"content-type": content_type}, body)

    refused = read("application/json; charset=utf-8", b'{"error":{"message":"no voice"}}').error
    assert refused is not None
    assert refused.message == "no voice"
    assert read("text/html", b"<html>").error is not None
    assert read("application/json", b'{"text":"said"}').error is None
    assert read("application/json", b"said").error is None


@pytest.mark.parametrize("body", [b"", b"<html>", b"[]", b'{"a":'])
def test_an_answer_that_cannot_be_read_is_an_error(body: bytes) -> None:
    whole = answer(body)

    assert whole.error is not None
    assert whole.with_cost("1") == body


def test_images_are_counted() -> None:
    request = json_body('{"model":"dall-e-3","prompt":"a cat","n":2}')
    document = {"created": 1, "data": [{"b64_json": "QUJD"}, {"b64_json": "QUJD"}]}

    counted = answer(document, Operation.IMAGES, request)
    metered = answer(
        {**document, "usage": {"input_tokens": 4, "output_tokens": 9}}, Operation.IMAGES, request
    )

    assert counted.usage == Usage(Tokens(images=2))
    assert metered.usage == Usage(Tokens(prompt=4, completion=9, images=2))
    assert json.loads(counted.with_cost("0.08"))["usage"]["cost"] == 0.08


def test_transcripts() -> None:
    request = parse_multipart(*form([("model", None, b"whisper-1"), ("file", "a.mp3", bytes(8000))]))
    text_request = parse_multipart(
        *form(
            [("model", None, b"whisper-1"), ("response_format", None, b"srt"), ("file", "a.mp3", bytes(8000))]
        )
    )

    def transcript(document: Any, request: ParsedBody = request) -> Usage:
        return answer(document, Operation.TRANSCRIPTIONS, request).usage

    assert transcript({"text": "x", "usage": {"type": "duration", "seconds": 3}}) == Usage(
        Tokens(audio_ms=3000)
    )
    assert transcript({"text": "x", "duration": 8.47}) == Usage(Tokens(audio_ms=8470))
    assert transcript({"text": "x"}).tokens.audio_ms == 2000
    assert transcript({"text": "x"}).estimated
    assert transcript(b"1\n00:00\nhi", text_request).estimated
    heard = Tokens(prompt=20, prompt_audio=20, completion=2, audio_ms=2000)
    assert transcript({"text": "1234567"}) == Usage(heard, estimated=True)
    assert transcript(b"1234567", text_request) == Usage(heard, estimated=True)


def test_speech_is_counted_by_its_characters() -> None:
    request = json_body('{"model":"tts-1","input":"Gr\u00fc\u00dfe","voice":"alloy"}')

    spoken = answer(b"\xff\xfbsound", Operation.SPEECH, request)

    assert spoken.usage == Usage(
        Tokens(prompt=2, completion=7, completion_audio=7, characters=5), estimated=True
    )
    assert spoken.with_cost("1") == b"\xff\xfbsound"


def test_pictures_in_a_prompt_are_not_counted_by_their_base64() -> None:
    url = "data:image/png;base64," + "A" * 400_000
    content = [{"type": "text", "text": "what is this?"}, {"type": "image_url", "image_url": {"url": url}}]
    body = json_body(json.dumps({"model": "m", "messages": [{"role": "user", "content": content}] * 2}))

    tokens = estimate_prompt(Operation.CHAT, body).prompt

    assert 2 * IMAGE_TOKENS < tokens < 2 * IMAGE_TOKENS + 200


@pytest.mark.parametrize(
    "part",
    [
        {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "A" * 400_000}},
        {"type": "document", "source": {"data": "A" * 400_000, "type": "base64"}},
        {"type": "file", "file": {"file_data": "A" * 399_998 + "==", "filename": "a.pdf"}},
        {"type": "input_file", "file_data": "A" * 400_000, "filename": "a.pdf"},
    ],
)
def test_files_without_a_data_url_are_not_counted_by_their_base64_either(part: Any) -> None:
    for operation, name in ((Operation.MESSAGES, "messages"), (Operation.RESPONSES, "input")):
        body = json_body(json.dumps({"model": "m", name: [{"role": "user", "content": [part]}]}))

        assert IMAGE_TOKENS < estimate_prompt(operation, body).prompt < IMAGE_TOKENS + 200


def test_long_words_of_a_document_are_text() -> None:
    source = {"type": "text", "media_type": "text/plain", "data": "plain words " * 1_000}
    block = {"type": "document", "source": source}
    body = json_body(json.dumps({"model": "m", "messages": [{"role": "user", "content": [block]}]}))

    assert estimate_prompt(Operation.MESSAGES, body).prompt > 3_000


def test_recordings_in_a_prompt_are_counted_by_their_length() -> None:
    part = {"type": "input_audio", "input_audio": {"data": "A" * 1_000_000, "format": "mp3"}}
    body = json_body(json.dumps({"model": "m", "messages": [{"role": "user", "content": [part]}]}))

    assert estimate_prompt(Operation.CHAT, body).prompt < 3000


def test_tools_count_and_embeddings_of_tokens_are_counted_exactly() -> None:
    tools = [{"type": "function", "function": {"name": "f", "description": "d" * 3500}}]
    body = json_body(json.dumps({"model": "m", "messages": [], "tools": tools}))

    assert estimate_prompt(Operation.CHAT, body).prompt > 1000
    assert estimate_prompt(Operation.EMBEDDINGS, json_body('{"model":"m","input":[1,2,3]}')).prompt == 3


def test_a_count_of_tokens_uses_none() -> None:
    body = json_body(json.dumps({"model": "m", "messages": [{"role": "user", "content": "Hello" * 100}]}))

    assert estimate_prompt(Operation.COUNT_TOKENS, body) == Tokens()


def test_a_wav_file_says_how_long_it_is() -> None:
    wav = (
        b"RIFF\0\0\0\0WAVEfmt \x10\0\0\0\x01\0\x01\0"
        + (16000).to_bytes(4, "little")
        + (32000).to_bytes(4, "little")
    )
    body = parse_multipart(*form([("model", None, b"m"), ("file", "a.wav", wav.ljust(64_000, b"\0"))]))

    assert estimate_prompt(Operation.TRANSCRIPTIONS, body).audio_ms == 2000


@pytest.mark.parametrize(
    ("status", "body", "message", "code", "retryable"),
    [
        (400, {"error": {"message": "m", "code": "c", "param": "p", "type": "t"}}, "m", "c", False),
        (401, {"error": {"message": "m", "code": None}}, "m", "", True),
        (404, {"error": "text", "code": "gone"}, "text", "gone", False),
        (422, {"object": "error", "message": "flat", "code": 1500}, "flat", "", False),
        (422, {"detail": "d"}, "d", "", False),
        (422, {"detail": [{"loc": ["body", "top_k"], "msg": "no"}, {"msg": "z"}]}, "top_k: no; z", "", False),
        (
            422,
            {"object": "error", "message": {"detail": [{"loc": ["body", "x"], "msg": "extra"}]}},
            "x: extra",
            "",
            False,
        ),
        (429, [{"error": {"message": "listed", "code": 429}}], "listed", "", True),
        (500, "<html>oops</html>", "The provider answered 500 Internal Server Error.", "", True),
        (503, "plain words", "plain words", "", True),
        (529, "", "The provider answered 529 an unknown status.", "", True),
        (500, {"error": {}}, "The provider answered 500 Internal Server Error.", "", True),
        (500, 5, "The provider answered 500 Internal Server Error.", "", True),
    ],
)
def test_errors_of_all_shapes(status: int, body: Any, message: str, code: str, retryable: bool) -> None:
    raw = body.encode() if isinstance(body, str) else json.dumps(body).encode()

    error = error_from_answer(status, {}, raw)

    assert (error.status, error.message, error.upstream_code, error.retryable) == (
        status,
        message,
        code,
        retryable,
    )


@given(st.integers(400, 599), st.binary(max_size=100), st.text(max_size=20))
def test_no_error_body_is_too_strange(status: int, body: bytes, wait: str) -> None:
    error = error_from_answer(status, {"retry-after": wait, "content-type": "x"}, body)

    assert error.message
    assert error.retry_after_s is None or error.retry_after_s >= 0


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, None),
        ({"retry-after": "3"}, 3.0),
        ({"retry-after": "1.5"}, 1.5),
        ({"retry-after": "3", "retry-after-ms": "250"}, 0.25),
        ({"retry-after": "soon"}, None),
        ({"retry-after": "9" * 400}, LONGEST_WAIT_S),
        (
            {"retry-after": "Mon, 23 Nov 2026 10:00:30 GMT", "date": "Mon, 23 Nov 2026 10:00:00 GMT"},
            30.0,
        ),
        ({"retry-after": "Mon, 23 Nov 2026 10:00:30 GMT"}, None),
    ],
)
def test_reads_how_long_to_wait(headers: dict[str, str], seconds: float | None) -> None:
    assert error_from_answer(429, headers, b"{}").retry_after_s == seconds
