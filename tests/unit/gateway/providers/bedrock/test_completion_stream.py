"""Streams of models that take a bare prompt, made of frames that botocore can read, as OpenAI's chunks."""

import base64
import struct
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from openai.types import Completion

from services.gateway.providers.bedrock.adapter import BedrockAdapter
from services.gateway.providers.operations import Operation
from services.gateway.providers.port import Relay, RelayOptions
from services.gateway.providers.usage import Usage
from services.gateway.providers.wire_errors import stream_cut
from shared.events import Tokens
from tests.support.providers.aws_model import exception_frame, frame, part_frame
from tests.support.providers.bedrock import unnamed_error_frame
from tests.support.providers.bedrock_text import (
    DEEPSEEK,
    LLAMA,
    MISTRAL,
    MODELS,
    DeepSeekAnswer,
    Metrics,
    Saying,
    parts,
)

TEXT = "Grüße from Oslo, it is sunny."
SAYING = Saying(TEXT, prompt=25, completion=14)
ESTIMATE = 9
"""Prompt tokens that are assumed while nobody has counted."""


def relay(**options: Any) -> Relay:
    values: dict[str, Any] = {
        "send_usage": True,
        "cost_of": lambda usage: "0.5",
        "prompt_estimate": ESTIMATE,
        "transcript_limit": 100_000,
        "model": "bedrock/m",
    }
    return BedrockAdapter().relay(Operation.COMPLETIONS, RelayOptions(**(values | options)))


def frames(model: str, saying: Saying = SAYING) -> list[bytes]:
    return [part_frame(part) for part in parts(model, saying)]


def documents(sent: bytes) -> list[dict[str, Any]]:
    blocks = [block.removeprefix(b"data: ") for block in sent.split(b"\n\n") if block]
    assert blocks[-1] == b"[DONE]" and sent.count(b"[DONE]") == 1
    return [msgspec.json.decode(block) for block in blocks[:-1]]


def read(sent: bytes) -> tuple[list[Completion], list[dict[str, Any]]]:
    """The chunks, and the errors behind them; fails on anything that OpenAI's client could not read."""
    found = documents(sent)
    errors = [one["error"] for one in found if "error" in one]
    assert all("error" in one for one in found[len(found) - len(errors) :])
    chunks = [_chunk(one) for one in found[: len(found) - len(errors)]]
    assert len({chunk.id for chunk in chunks}) <= 1
    return chunks, errors


def _chunk(document: dict[str, Any]) -> Completion:
    """OpenAI's own type lacks the null that stands in all chunks but the last."""
    said = [
        choice | ({"finish_reason": "stop"} if choice["finish_reason"] is None else {})
        for choice in document["choices"]
    ]
    return Completion.model_validate(document | {"choices": said})


def finishes(sent: bytes) -> list[str | None]:
    return [choice["finish_reason"] for one in documents(sent) for choice in one["choices"]]


def text_of(chunks: list[Completion]) -> str:
    return "".join(choice.text for chunk in chunks for choice in chunk.choices)


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("reason", ["stop", "length"])
def test_a_whole_stream(model: str, reason: Any) -> None:
    spoken = relay()

    sent = spoken.feed(b"".join(frames(model, Saying(TEXT, 25, 14, reason))))

    assert spoken.done and spoken.error is None
    chunks, errors = read(sent)
    assert errors == []
    assert text_of(chunks) == TEXT
    assert {(chunk.object, chunk.model) for chunk in chunks} == {("text_completion", "bedrock/m")}
    *between, last = finishes(sent)
    assert (last, set(between)) == (reason, {None})
    usage = chunks[-1].usage
    assert usage is not None and chunks[-1].choices == []
    assert (usage.prompt_tokens, usage.completion_tokens, usage.total_tokens) == (25, 14, 39)
    assert usage.model_extra == {"cost": 0.5}
    assert spoken.usage() == Usage(Tokens(prompt=25, completion=14))
    assert spoken.finish_reason == reason


def test_usage_is_for_those_who_ask_for_it() -> None:
    chunks, _ = read(relay(send_usage=False).feed(b"".join(frames(LLAMA))))

    assert all(chunk.choices and chunk.usage is None for chunk in chunks)


def test_what_fills_up_a_frame_means_nothing() -> None:
    headers = {":event-type": "chunk", ":content-type": "application/json", ":message-type": "event"}
    padded = [
        frame(headers, msgspec.json.encode({"bytes": base64.b64encode(part).decode(), "p": "abcdefgh"}))
        for part in parts(LLAMA, SAYING)
    ]

    chunks, errors = read(relay().feed(b"".join(padded)))

    assert (text_of(chunks), errors) == (TEXT, [])


@pytest.mark.parametrize("model", MODELS)
def test_a_guardrail_that_steps_in_is_a_filter(model: str) -> None:
    spoken = relay()

    spoken.feed(b"".join(frames(model, Saying("No.", 25, 2, blocked=True))))

    assert (spoken.done, spoken.finish_reason) == (True, "content_filter")


@pytest.mark.parametrize("model", MODELS)
def test_without_bedrocks_count_llamas_own_stands_and_the_others_are_estimated(model: str) -> None:
    spoken = relay()

    spoken.feed(b"".join(frames(model, Saying(TEXT, 25, 14, counted=False))))
    chunks, errors = read(spoken.end())

    assert errors == [] and chunks[-1].usage is not None
    usage = spoken.usage()
    assert usage.estimated is (model != LLAMA)
    assert usage.tokens.prompt == (25 if model == LLAMA else ESTIMATE)
    assert usage.tokens.completion > 0


def test_a_count_that_comes_after_the_end_is_waited_for() -> None:
    spoken = relay()

    sent = spoken.feed(b"".join(frames(DEEPSEEK, Saying(TEXT, 25, 14, counted=False))))
    assert not spoken.done
    sent += spoken.feed(part_frame(msgspec.json.encode(DeepSeekAnswer([], metrics=Metrics(25, 14)))))

    assert spoken.done
    assert text_of(read(sent)[0]) == TEXT
    assert spoken.usage() == Usage(Tokens(prompt=25, completion=14))


@pytest.mark.parametrize(
    ("name", "status", "retryable"),
    [
        ("throttlingException", 429, True),
        ("serviceUnavailableException", 503, True),
        ("internalServerException", 500, True),
        ("modelStreamErrorException", 502, True),
        ("modelTimeoutException", 504, True),
        ("validationException", 400, False),
    ],
)
@pytest.mark.parametrize("begun", [False, True])
def test_an_exception_in_the_stream(name: str, status: int, retryable: bool, begun: bool) -> None:
    spoken = relay()

    sent = spoken.feed(b"".join(frames(MISTRAL)[: 2 if begun else 0]) + exception_frame(name, "No more."))

    chunks, errors = read(sent)
    assert spoken.error is not None
    assert (spoken.error.status, spoken.error.retryable) == (status, retryable)
    assert [(error["message"], error["code"]) for error in errors] == [("No more.", name)]
    assert spoken.started is begun
    assert bool(text_of(chunks)) is begun
    assert spoken.usage().estimated


def test_an_error_that_the_service_does_not_name() -> None:
    spoken = relay()

    spoken.feed(unnamed_error_frame("InternalFailure", "Broken."))

    assert spoken.error is not None
    assert (spoken.error.status, spoken.error.message) == (502, "Broken.")


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b'{"__type":"ThrottlingException","message":"slow"}', 429),
        (b"<html>", 502),
        (struct.pack("!III", 16, 0, 1) + bytes(4), 502),
        (part_frame(b"no JSON"), 502),
        (part_frame(b'{"generation":5}'), 502),
        (part_frame(b'{"completion":"of another maker"}'), 502),
    ],
)
def test_what_is_no_stream_of_such_a_model(body: bytes, status: int) -> None:
    spoken = relay()

    _, errors = read(spoken.feed(body) + spoken.end())

    assert spoken.error is not None and len(errors) == 1
    assert spoken.error.status == status
    assert not spoken.started


@pytest.mark.parametrize("model", MODELS)
@settings(max_examples=80, deadline=None)
@given(data=st.data())
def test_however_it_is_cut(model: str, data: st.DataObject) -> None:
    pieces = frames(model)
    whole = b"".join(pieces)
    end = data.draw(st.integers(0, len(whole)) | st.just(len(whole)))
    places = sorted(data.draw(st.lists(st.integers(0, end), max_size=6)))
    spoken, sent, last = relay(), b"", 0
    for place in [*places, end]:
        sent += spoken.feed(whole[last:place])
        last = place
    sent += spoken.fail(stream_cut()) if data.draw(st.booleans()) else spoken.end()

    chunks, errors = read(sent)
    assert spoken.done
    if end == len(whole):
        assert (text_of(chunks), errors) == (TEXT, [])
        assert spoken.usage() == Usage(Tokens(prompt=25, completion=14))
        return
    assert len(errors) == 1 and spoken.error is not None
    assert TEXT.startswith(text_of(chunks)) and text_of(chunks) != TEXT
    counted = model == LLAMA and end >= len(pieces[0])
    assert spoken.usage().tokens.prompt == (25 if counted else ESTIMATE)
    assert 8 * spoken.usage().tokens.completion >= len(text_of(chunks))
    assert spoken.usage().tokens.completion <= 14


@settings(max_examples=60, deadline=None)
@given(st.sampled_from(MODELS), st.data())
def test_a_flipped_bit_never_raises(model: str, data: st.DataObject) -> None:
    broken = bytearray(b"".join(frames(model)))
    broken[data.draw(st.integers(0, len(broken) - 1))] ^= data.draw(st.integers(1, 255))
    spoken = relay()

    read(spoken.feed(bytes(broken)) + spoken.end())

    assert spoken.done
