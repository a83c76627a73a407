"""A stream that is cut at any byte ends in one clean error event, in whatever format the client speaks, and what was
seen until then is billed: for every chat provider."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from anthropic.types import RawMessageStreamEvent
from hypothesis import given, settings
from hypothesis import strategies as st
from openai.types.chat import ChatCompletionChunk
from openai.types.responses import ResponseStreamEvent
from pydantic import TypeAdapter

from services.gateway.providers.body import parse_json
from services.gateway.providers.inbound import InboundAdapter
from services.gateway.providers.inbounds import INBOUNDS
from services.gateway.providers.operations import Operation
from services.gateway.providers.port import Relay
from services.gateway.providers.sse import blocks, data_of
from services.gateway.providers.wire_errors import stream_cut
from tests.support.providers.houses import KINDS
from tests.support.providers.judges import adapter_of
from tests.support.providers.script import Call, Turn
from tests.support.providers.streams import stream_of
from tests.support.targets import relay_options

TEXT = Turn(text='Grüße from "Oslo", it is sunny.', prompt=25, completion=14)
CALLS = Turn(
    thought="Let me see.", calls=(Call("callab123", "look", {"city": "Oslo"}),), prompt=25, completion=14
)
ESTIMATE = 7
"""Prompt tokens that are assumed while the provider has not said."""
BESIDE = {"xai": 6, "gemini": 7, "vertex": 7}
"""Tokens of reasoning where they are not counted among the others."""
TOOLLESS = ("replicate",)
_EVENT: TypeAdapter[Any] = TypeAdapter(ResponseStreamEvent)
_MESSAGE: TypeAdapter[Any] = TypeAdapter(RawMessageStreamEvent)
BODIES = {
    Operation.RESPONSES: b'{"model":"m","input":"hi","stream":true}',
    Operation.MESSAGES: b'{"model":"m","max_tokens":9,"messages":[{"role":"user","content":"hi"}],"stream":true}',
}


def relay_of(kind: str, operation: Operation) -> Relay:
    options = relay_options(send_usage=True, prompt_estimate=ESTIMATE)
    if operation is Operation.CHAT:
        return adapter_of(kind).relay(operation, options)
    inbound = InboundAdapter(adapter_of(kind), INBOUNDS[operation], parse_json(BODIES[operation]))
    return inbound.relay(operation, options)


def documents(sent: bytes) -> list[Any]:
    return [
        json.loads(data)
        for block in blocks(sent)
        if (data := data_of(block)) not in (None, b"[DONE]") and data
    ]


def read_chat(sent: bytes) -> tuple[str, int]:
    """The text in it, and how many errors; fails on anything that OpenAI's client could not read."""
    assert sent.endswith(b"data: [DONE]\n\n") and sent.count(b"[DONE]") == 1
    found = documents(sent)
    errors = [document for document in found if "error" in document]
    assert errors == found[len(found) - len(errors) :], "nothing comes after an error"
    for error in errors:
        assert error["error"]["message"]
    chunks = [ChatCompletionChunk.model_validate(document) for document in found[: len(found) - len(errors)]]
    texts = [choice.delta.content or "" for chunk in chunks for choice in chunk.choices]
    return "".join(texts), len(errors)


def read_response(sent: bytes) -> tuple[str, int]:
    events = [_EVENT.validate_python(document) for document in documents(sent)]
    errors = [event for event in events if event.type == "error"]
    assert errors == [event for event in events[-1:] if event.type == "error"]
    assert [event.sequence_number for event in events] == list(range(len(events)))
    return "".join(event.delta for event in events if event.type == "response.output_text.delta"), len(errors)


def read_message(sent: bytes) -> tuple[str, int]:
    found = documents(sent)
    errors = [document for document in found if document["type"] == "error"]
    assert errors == [document for document in found[-1:] if document["type"] == "error"]
    events = [_MESSAGE.validate_python(document) for document in found if document["type"] != "error"]
    assert errors or events[-1].type == "message_stop"
    deltas = [event.delta for event in events if event.type == "content_block_delta"]
    return "".join(delta.text for delta in deltas if delta.type == "text_delta"), len(errors)


READERS: dict[Operation, Callable[[bytes], tuple[str, int]]] = {
    Operation.CHAT: read_chat,
    Operation.RESPONSES: read_response,
    Operation.MESSAGES: read_message,
}
WHERE = [
    (kind, turn, operation)
    for kind in KINDS
    for turn in (TEXT, CALLS)
    for operation in READERS
    if not (kind in TOOLLESS and turn is CALLS)
]


@pytest.mark.parametrize(
    ("kind", "turn", "operation"),
    [
        pytest.param(*where, id=f"{where[0]}-{'calls' if where[1].calls else 'text'}-{where[2]}")
        for where in WHERE
    ],
)
@settings(max_examples=25, deadline=None)
@given(data=st.data())
def test_a_stream_cut_at_any_byte(kind: str, turn: Turn, operation: Operation, data: st.DataObject) -> None:
    stream = stream_of(kind, turn)
    place = data.draw(st.integers(0, len(stream)) | st.just(len(stream)))
    relay = relay_of(kind, operation)
    sent = relay.feed(stream[:place])
    sent += relay.fail(stream_cut()) if data.draw(st.booleans()) else relay.end()

    text, errors = READERS[operation](sent)
    whole = bool(relay.finish_reason)
    assert relay.done and errors == (0 if whole else 1)
    assert (relay.error is None) is whole
    assert text == ("" if turn.calls else turn.text) if whole else turn.text.startswith(text)
    tokens = relay.usage().tokens
    assert tokens.prompt in (ESTIMATE, turn.prompt)
    assert 8 * tokens.completion >= len(text)
    assert tokens.completion <= len(stream)
    if place == len(stream):
        beside = BESIDE.get(kind, 0) if turn.thought else 0
        assert (tokens.prompt, tokens.completion) == (turn.prompt, turn.completion + beside)
        assert not relay.usage().estimated
