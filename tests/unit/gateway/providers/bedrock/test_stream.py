"""Streams of ConverseStream, made of frames that botocore can read, as OpenAI's chunks."""

import struct
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.gateway.providers.bedrock.adapter import BedrockAdapter
from services.gateway.providers.bedrock.tools import ANSWER_TOOL
from services.gateway.providers.operations import Operation
from services.gateway.providers.port import Relay, RelayOptions
from services.gateway.providers.usage import Usage
from services.gateway.providers.wire_errors import stream_cut
from shared.events import Tokens
from tests.support.providers.aws_model import event_frame, exception_frame
from tests.support.providers.bedrock import Reply, stream_frames, unnamed_error_frame

USED = {
    "inputTokens": 10,
    "outputTokens": 7,
    "totalTokens": 47,
    "cacheReadInputTokens": 20,
    "cacheWriteInputTokens": 10,
}
TALK = Reply(
    [
        {"reasoningContent": {"reasoningText": {"text": "Let me think.", "signature": "c2ln"}}},
        {"reasoningContent": {"redactedContent": b"secret"}},
        {"text": "Grüße from Oslo, it is sunny."},
        {"toolUse": {"toolUseId": "t1", "name": "weather", "input": {"city": "Oslo"}}},
        {"toolUse": {"toolUseId": "t2", "name": "now", "input": {}}},
    ],
    "tool_use",
    dict(USED),
)


def relay(**options: Any) -> Relay:
    values: dict[str, Any] = {
        "send_usage": True,
        "cost_of": lambda usage: "0.5",
        "prompt_estimate": 9,
        "transcript_limit": 100_000,
        "model": "bedrock/claude",
    }
    return BedrockAdapter().relay(Operation.CHAT, RelayOptions(**(values | options)))


def chunks(sent: bytes) -> list[dict[str, Any]]:
    blocks = [block.removeprefix(b"data: ") for block in sent.split(b"\n\n") if block]
    assert blocks[-1] == b"[DONE]"
    return [msgspec.json.decode(block) for block in blocks[:-1]]


def joined(found: list[dict[str, Any]], name: str) -> str:
    deltas = [chunk["choices"][0]["delta"] for chunk in found if chunk.get("choices")]
    return "".join(delta.get(name) or "" for delta in deltas)


def test_a_whole_stream() -> None:
    spoken = relay()

    sent = spoken.feed(b"".join(stream_frames(TALK)))

    assert spoken.done
    found = chunks(sent)
    assert joined(found, "content") == "Grüße from Oslo, it is sunny."
    assert joined(found, "reasoning_content") == "Let me think."
    deltas = [chunk["choices"][0]["delta"] for chunk in found if chunk["choices"]]
    details = [delta["reasoning_details"][0] for delta in deltas if "reasoning_details" in delta]
    assert [detail.get("signature") for detail in details] == ["c2ln", None]
    assert details[1]["data"] == "c2VjcmV0"
    calls: dict[int, dict[str, str]] = {}
    for call in (call for delta in deltas for call in delta.get("tool_calls", ())):
        entry = calls.setdefault(call["index"], {"id": "", "name": "", "arguments": ""})
        entry["id"] += call.get("id", "")
        entry["name"] += call["function"].get("name", "")
        entry["arguments"] += call["function"]["arguments"]
    assert calls == {
        0: {"id": "t1", "name": "weather", "arguments": '{"city":"Oslo"}'},
        1: {"id": "t2", "name": "now", "arguments": "{}"},
    }
    assert [chunk["choices"][0]["finish_reason"] for chunk in found if chunk["choices"]][-1] == "tool_calls"
    assert found[-1]["usage"]["prompt_tokens"] == 40
    assert found[-1]["usage"]["cost"] == 0.5
    assert {chunk["model"] for chunk in found} == {"bedrock/claude"}
    assert len({chunk["id"] for chunk in found}) == 1
    assert spoken.usage() == Usage(Tokens(prompt=40, completion=7, cached_read=20, cache_write=10))
    assert spoken.finish_reason == "tool_calls"


@pytest.mark.parametrize(
    ("model", "prompt"), [("bedrock/global.openai.gpt-5.6-sol", 4_995), ("bedrock/claude", 9_988)]
)
def test_the_input_of_openais_models_holds_what_is_cached(model: str, prompt: int) -> None:
    usage = {
        "inputTokens": 4_995,
        "outputTokens": 19,
        "totalTokens": 10_007,
        "cacheWriteInputTokens": 4_993,
        "cacheDetails": [{"ttl": "1h", "inputTokens": 4_993}],
    }
    spoken = relay(model=model)

    spoken.feed(b"".join(stream_frames(Reply(usage=usage))))

    assert spoken.usage().tokens == Tokens(
        prompt=prompt, completion=19, cache_write=4_993, cache_write_1h=4_993
    )


def test_a_structured_answer_is_text() -> None:
    use = {"toolUseId": "t1", "name": ANSWER_TOOL, "input": {"name": "Oslo"}}
    spoken = relay()

    found = chunks(spoken.feed(b"".join(stream_frames(Reply([{"toolUse": use}], "tool_use")))))

    assert joined(found, "content") == '{"name":"Oslo"}'
    assert spoken.finish_reason == "stop"
    assert not any("tool_calls" in chunk["choices"][0]["delta"] for chunk in found if chunk["choices"])


def test_a_structured_answer_of_nothing_is_an_object() -> None:
    use = {"toolUseId": "t1", "name": ANSWER_TOOL, "input": {}}

    found = chunks(relay().feed(b"".join(stream_frames(Reply([{"toolUse": use}], "tool_use")))))

    assert joined(found, "content") == "{}"


def test_a_picture_comes_in_one_piece() -> None:
    frames = [
        event_frame("contentBlockStart", {"contentBlockIndex": 0, "start": {"image": {"format": "png"}}}),
        *(
            event_frame(
                "contentBlockDelta",
                {"contentBlockIndex": 0, "delta": {"image": {"source": {"bytes": piece}}}},
            )
            for piece in (b"ab", b"c")
        ),
        event_frame("contentBlockStop", {"contentBlockIndex": 0}),
    ]

    found = chunks(relay().feed(b"".join([*frames, *stream_frames(Reply([]))])))

    images = [
        image
        for chunk in found
        if chunk["choices"]
        for image in chunk["choices"][0]["delta"].get("images", ())
    ]
    assert [image["image_url"]["url"] for image in images] == ["data:image/png;base64,YWJj"]


@pytest.mark.parametrize(
    ("stop", "reason"),
    [
        ("end_turn", "stop"),
        ("stop_sequence", "stop"),
        ("max_tokens", "length"),
        ("model_context_window_exceeded", "length"),
        ("guardrail_intervened", "content_filter"),
        ("content_filtered", "content_filter"),
    ],
)
def test_why_it_stopped(stop: str, reason: str) -> None:
    spoken = relay()

    spoken.feed(b"".join(stream_frames(Reply(stop_reason=stop))))

    assert spoken.finish_reason == reason


@pytest.mark.parametrize("last", [None, -1])
@pytest.mark.parametrize("breaks", [False, True])
def test_a_model_that_went_wrong_gave_no_answer(last: int | None, breaks: bool) -> None:
    spoken = relay()
    frames = stream_frames(Reply([{"text": "Let me"}], "malformed_tool_use"))

    sent = spoken.feed(b"".join(frames[:last]))
    found = chunks(sent + (spoken.fail(stream_cut()) if breaks else spoken.end()))

    assert spoken.error is not None
    assert spoken.error.status == 502
    assert "error" in found[-1]
    assert spoken.usage().estimated is (last is not None)


@pytest.mark.parametrize(
    ("name", "status", "retryable"),
    [
        ("throttlingException", 429, True),
        ("serviceUnavailableException", 503, True),
        ("modelNotReadyException", 503, True),
        ("internalServerException", 500, True),
        ("modelStreamErrorException", 502, True),
        ("validationException", 400, False),
    ],
)
def test_an_exception_in_the_stream(name: str, status: int, retryable: bool) -> None:
    spoken = relay()
    begun = event_frame("contentBlockDelta", {"contentBlockIndex": 0, "delta": {"text": "Hello"}})

    found = chunks(spoken.feed(begun + exception_frame(name, "No more.")))

    assert spoken.error is not None
    assert (spoken.error.status, spoken.error.retryable) == (status, retryable)
    assert found[-1]["error"]["message"] == "No more."
    assert found[-1]["error"]["code"] == name
    assert spoken.usage().tokens.prompt == 9
    assert spoken.usage().estimated


def test_an_error_that_the_model_does_not_name() -> None:
    spoken = relay()

    spoken.feed(unnamed_error_frame("InternalFailure", "Broken."))

    assert spoken.error is not None
    assert (spoken.error.status, spoken.error.message) == (502, "Broken.")
    assert not spoken.started


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b'{"__type":"ThrottlingException","message":"slow"}', 429),
        (b"<html>", 502),
        (struct.pack("!III", 16, 0, 1) + bytes(4), 502),
    ],
)
def test_what_is_no_stream_at_all(body: bytes, status: int) -> None:
    spoken = relay()

    spoken.feed(body)
    spoken.end()

    assert spoken.error is not None
    assert spoken.error.status == status
    assert spoken.done


def test_an_answer_without_its_last_event_is_whole_but_its_usage_is_estimated() -> None:
    spoken = relay()

    spoken.feed(b"".join(stream_frames(Reply())[:-1]))
    spoken.end()

    assert spoken.error is None
    assert spoken.usage().estimated


WHOLE = b"".join(stream_frames(TALK))
STOP_AT = len(WHOLE) - len(stream_frames(TALK)[-1])


@settings(max_examples=120, deadline=None)
@given(st.lists(st.integers(0, len(WHOLE)), max_size=6), st.integers(0, len(WHOLE)))
def test_however_it_is_cut(places: list[int], end: int) -> None:
    spoken, sent, last = relay(), b"", 0
    for place in [*sorted(place for place in places if place < end), end]:
        sent += spoken.feed(WHOLE[last:place])
        last = place
    sent += spoken.end()

    found = chunks(sent)
    if end < STOP_AT:
        assert "error" in found[-1]
        assert spoken.error is not None
        assert spoken.usage().estimated
    else:
        assert spoken.error is None
        assert joined(found, "content") == "Grüße from Oslo, it is sunny."
    assert spoken.usage().tokens.prompt == (40 if end == len(WHOLE) else 9)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, len(WHOLE) - 1), st.integers(1, 255))
def test_a_flipped_bit_never_raises(place: int, change: int) -> None:
    broken = bytearray(WHOLE)
    broken[place] ^= change
    spoken = relay()

    spoken.feed(bytes(broken))
    spoken.end()

    assert spoken.done
