"""What a chat model said goes to a client of another format, whole or streamed, and comes back as what it said."""

import json
from typing import Any

import msgspec
import pytest
from anthropic.lib.streaming._messages import accumulate_event
from anthropic.types import Message, RawMessageStreamEvent
from hypothesis import given, settings
from hypothesis import strategies as st
from openai.types.responses import Response
from pydantic import TypeAdapter

from services.gateway.providers.body import parse_json
from services.gateway.providers.inbound import Chunk, Inbound
from services.gateway.providers.messages.format import MessagesFormat
from services.gateway.providers.responses.format import ResponsesFormat
from services.gateway.providers.sse import blocks, data_of
from services.gateway.providers.usage import Usage
from shared.events import Tokens

EVENT: TypeAdapter[Any] = TypeAdapter(RawMessageStreamEvent)
USAGE = Usage(Tokens(prompt=10, completion=4))
SIGNED = {"type": "reasoning.text", "text": "Hm.", "signature": "s", "format": "anthropic-claude-v1"}
HIDDEN = {"type": "reasoning.encrypted", "data": "d", "format": "anthropic-claude-v1"}
GOOGLES = {"type": "reasoning.encrypted", "data": "g", "format": "google-gemini-v1"}
ASK = {"role": "user", "content": "hi"}
text = st.text(min_size=1, max_size=8).filter(str.strip)


def call(at: int, mark: str | None, arguments: str) -> dict[str, Any]:
    extra = {"extra_content": {"google": {"thought_signature": mark}}} if mark else {}
    return {
        "id": f"call_{at}",
        "type": "function",
        "function": {"name": f"f{at}", "arguments": arguments},
        **extra,
    }


calls = st.lists(st.tuples(st.none() | st.just("t"), st.sampled_from(["{}", '{"a":[1,2]}'])), max_size=3).map(
    lambda found: [call(at, mark, arguments) for at, (mark, arguments) in enumerate(found)]
)
turns = st.fixed_dictionaries(
    {
        "content": text | st.none(),
        "reasoning_details": st.sampled_from([[], [SIGNED], [HIDDEN], [SIGNED, HIDDEN], [HIDDEN, SIGNED], [GOOGLES]]),
        "tool_calls": calls,
    }
).filter(lambda turn: turn["content"] or turn["tool_calls"])  # fmt: skip


def completion(turn: dict[str, Any]) -> dict[str, msgspec.Raw]:
    shown = "".join(detail.get("text", "") for detail in turn["reasoning_details"])
    message = {"role": "assistant", "reasoning_content": shown, **turn}
    fields = {"id": "chatcmpl-1", "choices": [{"index": 0, "message": message, "finish_reason": "stop"}]}
    return {name: msgspec.Raw(msgspec.json.encode(value)) for name, value in fields.items()}


def chunks(turn: dict[str, Any], *, late: bool) -> list[Chunk]:
    """As providers stream it: each thought with its detail, the words, the calls. `late`: hidden details come last."""
    deltas: list[dict[str, Any]] = []
    after: list[dict[str, Any]] = []
    for detail in turn["reasoning_details"]:
        if detail.get("text"):
            deltas.append({"reasoning_content": detail["text"]})
        (after if late and detail == GOOGLES else deltas).append({"reasoning_details": [detail]})
    if turn["content"]:
        deltas += [{"content": piece} for piece in turn["content"]]
    for at, one in enumerate(turn["tool_calls"]):
        begun = {**one, "index": at, "function": {"name": one["function"]["name"], "arguments": ""}}
        deltas.append({"tool_calls": [begun]})
        pieces = one["function"]["arguments"]
        deltas += [{"tool_calls": [{"index": at, "function": {"arguments": piece}}]} for piece in pieces]
    found = [{"id": "chatcmpl-1", "choices": [{"index": 0, "delta": delta}]} for delta in deltas + after]
    return [msgspec.convert(chunk, Chunk) for chunk in found]


def streamed(form: Inbound, asked: Any, turn: dict[str, Any], *, late: bool) -> list[Any]:
    translator = form.translator(parse_json(json.dumps(asked).encode()))
    sent = b"".join([*map(translator.chunk, chunks(turn, late=late)), translator.finish(USAGE)])
    return [json.loads(data_of(block) or b"") for block in blocks(sent)]


def came_back(form: Inbound, body: Any) -> Any:
    """The assistant's turn in the next request, without what says nothing."""
    messages = json.loads(form.to_chat(parse_json(json.dumps(body).encode())).raw_body)["messages"]
    (turn,) = [message for message in messages if message["role"] == "assistant"]
    return {name: value for name, value in turn.items() if value and name != "role"}


def said(turn: dict[str, Any]) -> Any:
    return {name: value for name, value in turn.items() if value}


@pytest.mark.parametrize("late", [False, True])
@settings(deadline=None)
@given(turn=turns)
def test_a_client_of_responses_gives_back_what_was_said(turn: dict[str, Any], late: bool) -> None:
    form, asked = ResponsesFormat(), {"model": "m", "input": "hi"}
    whole = json.loads(form.answer(parse_json(json.dumps(asked).encode()), completion(turn), USAGE))
    last = streamed(form, asked, turn, late=late)[-1]["response"]
    results = [
        {"type": "function_call_output", "call_id": one["id"], "output": "1"} for one in turn["tool_calls"]
    ]
    for response in (whole, last):
        output = Response.model_validate(response).model_dump(exclude_none=True)["output"]
        body = {"model": "m", "input": [ASK, *output, *(results or [ASK])]}
        assert came_back(form, body) == said(turn)


@pytest.mark.parametrize("late", [False, True])
@settings(deadline=None)
@given(turn=turns)
def test_a_client_of_messages_gives_back_what_was_said(turn: dict[str, Any], late: bool) -> None:
    form, asked = MessagesFormat(), {"model": "m", "max_tokens": 9, "messages": [ASK]}
    whole = Message.model_validate_json(
        form.answer(parse_json(json.dumps(asked).encode()), completion(turn), USAGE)
    )
    snapshot: Any = None
    unread: dict[int, bytes] = {}
    for event in streamed(form, asked, turn, late=late):
        snapshot = accumulate_event(
            event=EVENT.validate_python(event), current_snapshot=snapshot, json_bufs=unread
        )
    results = [
        {"type": "tool_result", "tool_use_id": one["id"], "content": "1"} for one in turn["tool_calls"]
    ]
    for message in (whole, snapshot):
        content = [block.model_dump(exclude_none=True) for block in message.content]
        turns = [ASK, {"role": "assistant", "content": content}, {"role": "user", "content": results or "?"}]
        assert came_back(form, {**asked, "messages": turns}) == said(turn)
