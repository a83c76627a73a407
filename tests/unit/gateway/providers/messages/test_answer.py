"""Chat completions as Anthropic's messages, judged by the SDK's types and its stream accumulator."""

import json
from typing import Any

import msgspec
import pytest
from anthropic.lib.streaming._messages import accumulate_event
from anthropic.types import Message, RawMessageStreamEvent
from anthropic.types.shared import ErrorResponse
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter

from services.gateway.providers.anthropic.native_request import native_request
from services.gateway.providers.body import parse_json
from services.gateway.providers.errors import UpstreamError
from services.gateway.providers.inbound import Chunk, InboundRelay
from services.gateway.providers.messages.answer import MessageWriter, message_of
from services.gateway.providers.messages.request import as_chat
from services.gateway.providers.relay import OpenAIRelay
from services.gateway.providers.sse import blocks, data_of
from services.gateway.providers.usage import Usage
from shared.events import Tokens
from tests.support.providers.anthropic import judged
from tests.support.targets import relay_options

_EVENT: TypeAdapter[Any] = TypeAdapter(RawMessageStreamEvent)
USAGE = Usage(Tokens(prompt=100, completion=7, cached_read=60, cache_write=10))


def chat(message: Any, finish_reason: str = "stop") -> dict[str, msgspec.Raw]:
    document = {"id": "chatcmpl-1", "choices": [{"message": message, "finish_reason": finish_reason}]}
    return {name: msgspec.Raw(msgspec.json.encode(value)) for name, value in document.items()}


def test_a_whole_answer() -> None:
    call = {"id": "c1", "type": "function", "function": {"name": "look", "arguments": '{"a":1}'}}
    body = message_of(
        "p/m",
        chat({"content": "Hi", "reasoning_content": "Hm.", "tool_calls": [call]}, "tool_calls"),
        USAGE,
    )
    answer = Message.model_validate_json(body)
    assert [block.type for block in answer.content] == ["thinking", "text", "tool_use"]
    assert (answer.stop_reason, answer.model, answer.usage.input_tokens) == ("tool_use", "p/m", 30)
    assert (answer.usage.cache_read_input_tokens, answer.usage.cache_creation_input_tokens) == (60, 10)


def test_thoughts_keep_their_signatures() -> None:
    details = [
        {"type": "reasoning.text", "text": "Hm.", "signature": "c2ln"},
        {"type": "reasoning.encrypted", "data": "xyz"},
    ]
    body = message_of("m", chat({"content": None, "reasoning_details": details}), USAGE)
    first, second = Message.model_validate_json(body).content
    assert first.type == "thinking" and first.signature == "c2ln"
    assert second.type == "redacted_thinking" and second.data == "xyz"


def test_usage_says_how_long_the_cache_keeps() -> None:
    usage = Usage(Tokens(prompt=100, completion=7, cache_write=30, cache_write_1h=20))
    answer = Message.model_validate_json(message_of("m", chat({"content": "Hi"}), usage))
    assert answer.usage.cache_creation is not None
    assert answer.usage.cache_creation.ephemeral_1h_input_tokens == 20
    assert answer.usage.cache_creation.ephemeral_5m_input_tokens == 10


SIGNED_CALL: Any = {
    "id": "c1",
    "type": "function",
    "function": {"name": "look", "arguments": "{}"},
    "extra_content": {"google": {"thought_signature": "t"}},
}
FOREIGN: Any = [{"type": "reasoning.encrypted", "data": "xyz", "format": "google-gemini-v1"}]


@pytest.mark.parametrize("streamed", [False, True])
def test_what_another_provider_wants_back_survives_a_round_through_a_client(streamed: bool) -> None:
    said = {"content": "Hi", "reasoning_details": FOREIGN, "tool_calls": [SIGNED_CALL]}
    content = collected(said) if streamed else json.loads(message_of("m", chat(said), USAGE))["content"]
    assert [block["type"] for block in content][-1] == "tool_use"
    body = {"model": "m", "max_tokens": 9, "messages": [{"role": "assistant", "content": content}]}

    (message,) = json.loads(as_chat(parse_json(json.dumps(body).encode())).raw_body)["messages"]

    assert message["reasoning_details"] == FOREIGN
    assert message["tool_calls"] == [SIGNED_CALL]
    judged("/v1/messages", body)


@pytest.mark.parametrize("streamed", [False, True])
def test_what_only_other_providers_can_read_does_not_reach_anthropic(streamed: bool) -> None:
    said = {"content": "Hi", "reasoning_content": "Hm.", "tool_calls": [SIGNED_CALL]}
    content = collected(said) if streamed else json.loads(message_of("m", chat(said), USAGE))["content"]
    own = {"type": "thinking", "thinking": "Hm.", "signature": "c2ln"}
    turns = [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": [own, *content]}]
    body = {"model": "m", "max_tokens": 9, "messages": turns}

    sent = json.loads(native_request(parse_json(json.dumps(body).encode())).changes["messages"])

    assert [block["type"] for block in sent[1]["content"]] == ["thinking", "text", "tool_use"]
    assert sent[1]["content"][0] == own
    assert sent[0] == turns[0]


def collected(said: Any) -> list[Any]:
    """The content that Anthropic's own client puts together from the stream."""
    writer = MessageWriter("m")
    calls = [{**call, "index": at} for at, call in enumerate(said["tool_calls"])]
    chunk = {"id": "c", "choices": [{"index": 0, "delta": {**said, "tool_calls": calls}}]}
    snapshot: Any = None
    unread: dict[int, bytes] = {}
    for block in blocks(writer.chunk(msgspec.convert(chunk, Chunk)) + writer.finish(USAGE)):
        event = _EVENT.validate_json(data_of(block) or b"")
        snapshot = accumulate_event(event=event, current_snapshot=snapshot, json_bufs=unread)
    return [block.model_dump(exclude_none=True) for block in snapshot.content]


deltas = st.one_of(
    st.builds(lambda text: {"content": text}, st.text(min_size=1, max_size=4)),
    st.builds(lambda text: {"reasoning_content": text}, st.text(min_size=1, max_size=4)),
    st.just({"reasoning_details": [{"type": "reasoning.text", "text": "x", "signature": "s"}]}),
    st.just({"reasoning_details": [{"type": "reasoning.encrypted", "data": "x"}]}),
    st.builds(
        lambda index, text: {"tool_calls": [{"index": index, "function": {"name": "n", "arguments": text}}]},
        st.integers(0, 2),
        st.text(max_size=3),
    ),
    st.just({"role": "assistant", "content": ""}),
)


@given(st.lists(deltas, max_size=10))
def test_any_stream_is_one_that_their_clients_can_put_together(parts: list[Any]) -> None:
    writer = MessageWriter("m")
    sent = b""
    for delta in parts:
        chunk = {"id": "c", "choices": [{"index": 0, "delta": delta, "finish_reason": None}]}
        sent += writer.chunk(msgspec.convert(chunk, Chunk))
    sent += writer.finish(USAGE)
    found = [json.loads(data_of(block) or b"") for block in blocks(sent)]
    open_blocks: set[int] = set()
    begun = 0
    for event in found:
        _EVENT.validate_python(event)
        if event["type"] == "content_block_start":
            assert event["index"] == begun
            begun += 1
            open_blocks.add(event["index"])
        elif event["type"] == "content_block_delta":
            assert event["index"] in open_blocks
        elif event["type"] == "content_block_stop":
            open_blocks.remove(event["index"])
    assert not open_blocks
    assert [found[0]["type"], found[-2]["type"], found[-1]["type"]] == [
        "message_start",
        "message_delta",
        "message_stop",
    ]
    said = "".join(e["delta"].get("text", "") for e in found if e["type"] == "content_block_delta")
    assert said == "".join(delta.get("content", "") for delta in parts)


def piece(**delta: Any) -> bytes:
    chunk = {"id": "c", "choices": [{"index": 0, "delta": delta, "finish_reason": None}]}
    return b"data: " + json.dumps(chunk).encode() + b"\n\n"


STREAM = b"".join(
    [
        piece(role="assistant", content=""),
        piece(reasoning_content="Hm."),
        piece(content="Grüße, "),
        piece(content="you."),
        piece(tool_calls=[{"index": 0, "id": "c1", "function": {"name": "look", "arguments": '{"a":'}}]),
        piece(tool_calls=[{"index": 0, "function": {"arguments": "1}"}}]),
    ]
)
END = b'data: {"id":"c","choices":[{"index":0,"delta":{},"finish_reason":"tool_calls"}]}\n\ndata: [DONE]\n\n'


@settings(deadline=None)
@given(st.integers(1, len(STREAM)), st.lists(st.integers(0, len(STREAM)), max_size=4), st.booleans())
def test_a_stream_that_is_cut_anywhere_ends_with_one_clean_error(
    end: int, cuts: list[int], broke: bool
) -> None:
    relay = InboundRelay(OpenAIRelay(relay_options()), MessageWriter("m"))
    places = [0, *sorted(cut for cut in cuts if cut < end), end]
    sent = [relay.feed(STREAM[start:stop]) for start, stop in zip(places, places[1:], strict=False)]
    sent.append(relay.fail(UpstreamError(status=502, message="gone")) if broke else relay.end())

    found = [json.loads(data_of(block) or b"") for block in blocks(b"".join(sent))]
    for event in found[:-1]:
        _EVENT.validate_python(event)
    ErrorResponse.model_validate({**found[-1], "request_id": None})
    assert relay.done and relay.error is not None
    said = "".join(event.get("delta", {}).get("text", "") for event in found[:-1])
    assert "Grüße, you.".startswith(said)
    assert relay.usage().estimated
    assert relay.usage().tokens.completion * 8 >= len(said)


def test_a_stream_that_lost_only_its_last_word_is_whole() -> None:
    relay = InboundRelay(OpenAIRelay(relay_options()), MessageWriter("m"))
    sent = relay.feed(STREAM + END[: -len(b"data: [DONE]\n\n")]) + relay.end()
    assert json.loads(data_of(list(blocks(sent))[-1]) or b"")["type"] == "message_stop"
    assert (relay.error, relay.finish_reason) == (None, "tool_calls")
