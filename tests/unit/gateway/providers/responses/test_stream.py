"""Chat chunks as a response's events, judged by OpenAI's own types and by what its client makes of them."""

import json
import re
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from openai.types.chat import ChatCompletionChunk
from openai.types.responses import Response, ResponseStreamEvent
from pydantic import TypeAdapter

from services.gateway.providers.body import JsonBody, parse_json
from services.gateway.providers.chat.memory import Memory, remembered
from services.gateway.providers.errors import UpstreamError
from services.gateway.providers.inbound import InboundRelay
from services.gateway.providers.relay import OpenAIRelay
from services.gateway.providers.responses.stream import ResponseEvents
from tests.support.targets import relay_options

EVENT: TypeAdapter[Any] = TypeAdapter(ResponseStreamEvent)
TOOLS = [{"type": "function", "name": "weather", "parameters": {"type": "object"}}]


def chunk(finish: str | None = None, **delta: Any) -> bytes:
    """A chunk that OpenAI's own type has accepted; fields of other servers pass it as extras."""
    document = {
        "id": "chatcmpl-1",
        "object": "chat.completion.chunk",
        "created": 5,
        "model": "m-2026",
        "choices": [{"index": 0, "delta": delta, "finish_reason": finish}],
    }
    ChatCompletionChunk.model_validate(document)
    return b"data: " + json.dumps(document).encode() + b"\n\n"


def end(reason: str) -> bytes:
    """The last chunk, with a reason that may be another server's own."""
    return chunk("stop").replace(b'"stop"', json.dumps(reason).encode())


def usage_chunk() -> bytes:
    usage = {
        "prompt_tokens": 10,
        "completion_tokens": 4,
        "total_tokens": 14,
        "prompt_tokens_details": {"cached_tokens": 3},
        "completion_tokens_details": {"reasoning_tokens": 2},
    }
    document = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 5, "model": "m-2026"}
    return b"data: " + json.dumps({**document, "choices": [], "usage": usage}).encode() + b"\n\n"


def call(index: int, arguments: str, name: str | None = None, **more: Any) -> dict[str, Any]:
    started = {"id": f"call_{index}", "type": "function"} if name else {}
    return {"index": index, "function": {"name": name, "arguments": arguments}, **started, **more}


DONE = b"data: [DONE]\n\n"
TEXT = [chunk(role="assistant", content=""), chunk(content="Hel"), chunk(content="lo 🌍"), chunk("stop")]
EVERYTHING = [
    chunk(role="assistant", content=""),
    chunk(reasoning_content="Let me "),
    chunk(reasoning_content="think."),
    chunk(reasoning_details=[{"type": "reasoning.text", "text": "Let me think.", "signature": "sig"}]),
    chunk(content="I look it up."),
    chunk(tool_calls=[call(0, "", "weather", extra_content={"google": {"thought_signature": "t"}})]),
    chunk(tool_calls=[call(0, '{"city":')]),
    chunk(tool_calls=[call(1, '{"city":"Rome"}', "weather")]),
    chunk(tool_calls=[call(0, '"Oslo"}')]),
    chunk("tool_calls"),
]


def body_of(**fields: Any) -> JsonBody:
    return parse_json(json.dumps({"model": "m", "input": "hi", "stream": True, **fields}).encode())


def relay_of(body: JsonBody | None = None, cost: str | None = None) -> InboundRelay:
    chat = OpenAIRelay(relay_options(send_usage=True, cost=cost))
    return InboundRelay(chat, ResponseEvents(body or body_of()))


def run(stream: bytes, relay: InboundRelay | None = None) -> tuple[list[Any], InboundRelay]:
    """The events that came out, each of which OpenAI's own type has accepted."""
    relay = relay or relay_of()
    return parsed(sent(stream, [], relay)), relay


def sent(stream: bytes, cuts: list[int], relay: InboundRelay) -> bytes:
    places = [0, *sorted(cuts), len(stream)]
    out = [relay.feed(stream[a:b]) for a, b in zip(places, places[1:], strict=False) if stream[a:b]]
    return b"".join(out) + relay.end()


def parsed(out: bytes) -> list[Any]:
    events = []
    for block in out.split(b"\n\n")[:-1]:
        name, data = block.split(b"\n")
        event = EVENT.validate_json(data.removeprefix(b"data: "))
        assert name == b"event: " + event.type.encode()
        events.append(event)
    assert [event.sequence_number for event in events] == list(range(len(events)))
    return events


def test_a_text_comes_with_the_whole_sequence_of_events() -> None:
    events, relay = run(b"".join([*TEXT, usage_chunk(), DONE]), relay=relay_of(body_of(tools=TOOLS), "0.25"))

    assert [event.type for event in events] == [
        "response.created",
        "response.in_progress",
        "response.output_item.added",
        "response.content_part.added",
        "response.output_text.delta",
        "response.output_text.delta",
        "response.output_text.done",
        "response.content_part.done",
        "response.output_item.done",
        "response.completed",
    ]
    created, completed = events[0].response, events[-1].response
    assert (created.id, created.status, created.output) == ("resp_1", "in_progress", [])
    assert (completed.id, completed.status, completed.model) == ("resp_1", "completed", "m-2026")
    assert completed.output_text == "Hello 🌍"
    assert completed.tools[0].name == "weather"
    assert completed.usage.input_tokens == 10
    assert completed.usage.input_tokens_details.cached_tokens == 3
    assert completed.usage.output_tokens_details.reasoning_tokens == 2
    assert completed.usage.cost == 0.25
    assert relay.done and relay.error is None and relay.finish_reason == "stop"


def test_reasoning_words_and_mixed_calls_each_get_their_item() -> None:
    events, _ = run(b"".join([*EVERYTHING, usage_chunk(), DONE]))

    response: Response = events[-1].response
    assert [item.type for item in response.output] == [
        "reasoning",
        "message",
        "function_call",
        "function_call",
        "reasoning",
    ]
    thought, said, oslo, rome, late = response.output
    assert thought.type == "reasoning" and thought.summary[0].text == "Let me think."
    assert remembered(thought.encrypted_content).details[0]["signature"] == "sig"
    assert said.type == "message" and said.status == "completed"
    assert oslo.type == "function_call" and (oslo.call_id, oslo.arguments) == ("call_0", '{"city":"Oslo"}')
    assert rome.type == "function_call" and (rome.call_id, rome.arguments) == ("call_1", '{"city":"Rome"}')
    assert late.type == "reasoning"
    assert remembered(late.encrypted_content).calls == {"call_0": {"google": {"thought_signature": "t"}}}
    added = {
        event.output_index: event.item.id for event in events if event.type == "response.output_item.added"
    }
    done = {
        event.output_index: event.item.id for event in events if event.type == "response.output_item.done"
    }
    assert added == done == {index: item.id for index, item in enumerate(response.output)}


def test_reasoning_that_is_hidden_is_told_before_what_it_led_to() -> None:
    hidden = chunk(reasoning_details=[{"type": "reasoning.encrypted", "data": "d"}])
    events, _ = run(b"".join([hidden, chunk(content="Hi"), *EVERYTHING[6:7], chunk("tool_calls"), DONE]))

    thought, said, called = events[-1].response.output
    assert (thought.type, said.type, called.type) == ("reasoning", "message", "function_call")
    assert remembered(thought.encrypted_content).details[0]["data"] == "d"


def test_sources_are_told_in_this_formats_own_shape() -> None:
    source = {"start_index": 0, "end_index": 2, "title": "Home", "url": "https://example.org"}
    annotation = {"type": "url_citation", "url_citation": source}
    stream = [chunk(content="Hi"), chunk(annotations=[annotation]), chunk("stop"), DONE]
    events, _ = run(b"".join(stream))

    (added,) = [event for event in events if event.type == "response.output_text.annotation.added"]
    assert (added.annotation.url, added.annotation_index, added.output_index) == ("https://example.org", 0, 0)
    (part,) = events[-1].response.output[0].content
    assert (part.annotations[0].title, part.annotations[0].end_index) == ("Home", 2)


def test_odds_of_tokens_are_whole() -> None:
    odds = {"token": "Hi", "logprob": -0.1, "bytes": None, "top_logprobs": [{"token": "Hi", "logprob": -0.1}]}
    document = json.loads(TEXT[1].removeprefix(b"data: "))
    document["choices"][0]["logprobs"] = {"content": [odds]}
    events, _ = run(b"data: " + json.dumps(document).encode() + b"\n\n" + chunk("stop") + DONE)

    response = Response.model_validate(events[-1].response.model_dump())
    part: Any = response.output[0].content[0]  # type: ignore[union-attr, index]
    assert (part.logprobs[0].bytes, part.logprobs[0].top_logprobs[0].bytes) == ([], [])


def test_plain_reasoning_is_known_again_and_tells_where_it_came_from() -> None:
    for field in ("reasoning", "reasoning_content"):
        events, _ = run(b"".join([chunk(**{field: "Hm."}), chunk(content="Hi"), chunk("stop"), DONE]))

        thought, _ = events[-1].response.output
        assert thought.id.startswith("rs_finops_")
        assert remembered(thought.encrypted_content) == Memory(thought_in=field)


def test_ids_are_such_as_openai_takes_and_never_come_twice() -> None:
    strange = [piece.replace(b"chatcmpl-1", b"gen/1:" + b"x" * 99) for piece in EVERYTHING]
    first, second = (run(b"".join([*strange, DONE]))[0][-1].response for _ in range(2))

    ids = [item.id for response in (first, second) for item in response.output]
    assert len(set(ids)) == len(ids)
    for id in (first.id, *ids):
        assert re.fullmatch(r"(resp|rs|msg|fc)_[A-Za-z0-9_-]{1,60}", id) and len(id) <= 64


@pytest.mark.parametrize("reason", ["length", "model_length"])
@pytest.mark.parametrize("arguments", ['{"city": "Os', '{"city": "Oslo",}', "Oslo"])
def test_a_call_that_is_cut_off_is_incomplete_and_stays_as_it_was_written(
    reason: str, arguments: str
) -> None:
    stream = [
        chunk(content="I look."),
        chunk(tool_calls=[call(0, "{}", "weather")]),
        chunk(tool_calls=[call(1, arguments, "weather")]),
        end(reason),
        usage_chunk(),
        DONE,
    ]
    events, relay = run(b"".join(stream))

    response = events[-1].response
    assert (events[-1].type, response.status) == ("response.incomplete", "incomplete")
    assert response.incomplete_details.reason == "max_output_tokens"
    assert [item.status for item in response.output] == ["completed", "completed", "incomplete"]
    assert response.output[-1].arguments == arguments
    assert relay.error is None


def test_sloppy_arguments_of_a_whole_answer_are_the_clients_to_read() -> None:
    stream = [chunk(tool_calls=[call(0, '{"a": 1,}', "weather")]), chunk("tool_calls"), usage_chunk(), DONE]
    events, relay = run(b"".join(stream))

    (called,) = events[-1].response.output
    assert (events[-1].type, called.status, called.arguments) == (
        "response.completed",
        "completed",
        '{"a": 1,}',
    )
    assert relay.error is None


@pytest.mark.parametrize(
    ("reason", "told"),
    [
        ("length", "max_output_tokens"),
        ("model_length", "max_output_tokens"),
        ("content_filter", "content_filter"),
    ],
)
def test_a_cut_off_answer_is_incomplete(reason: str, told: str) -> None:
    events, _ = run(b"".join([chunk(content="Hal"), end(reason), usage_chunk(), DONE]))

    assert events[-1].type == "response.incomplete"
    response = events[-1].response
    assert (response.status, response.incomplete_details.reason) == ("incomplete", told)
    assert response.output[0].status == "incomplete"


def test_a_refusal_is_a_part_of_its_own() -> None:
    events, _ = run(b"".join([chunk(refusal="I will "), chunk(refusal="not."), chunk("stop"), DONE]))

    assert events[-1].response.output[0].content[0].refusal == "I will not."
    assert [event.delta for event in events if event.type == "response.refusal.delta"] == ["I will ", "not."]


@given(cuts=st.lists(st.integers(0, sum(map(len, EVERYTHING)))))
def test_it_does_not_matter_where_the_network_cut(cuts: list[int]) -> None:
    stream = b"".join([*EVERYTHING, usage_chunk(), DONE])

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("services.gateway.providers.responses.envelope.new_id", lambda prefix: "1")
        assert sent(stream, cuts, relay_of()) == sent(stream, [], relay_of())


@settings(deadline=None)
@given(end=st.integers(1, sum(map(len, EVERYTHING)) - len(EVERYTHING[-1])), broke=st.booleans())
def test_a_stream_that_is_cut_anywhere_ends_with_an_error_event(end: int, broke: bool) -> None:
    relay = relay_of()
    out = relay.feed(b"".join(EVERYTHING)[:end])
    error = UpstreamError(status=502, message="The line broke.", code="broken")
    out += relay.fail(error) if broke else relay.end()

    events = parsed(out)
    assert events[-1].type == "error"
    assert events[-1].code == ("broken" if broke else "provider_error")
    assert sum(event.type == "error" for event in events) == 1
    assert relay.done and relay.error is not None
    assert relay.usage().estimated
    assert relay.end() == relay.feed(b"data: {}\n\n") == b""


def test_an_error_inside_the_stream_is_told_in_this_format() -> None:
    error = b'data: {"error":{"message":"no more","type":"server_error","code":"boom"}}\n\n'
    events, relay = run(b"".join([*TEXT[:2], error]))

    assert (events[-1].type, events[-1].message, events[-1].code) == ("error", "no more", "boom")
    assert relay.started


def test_an_error_before_anything_else_is_no_answer() -> None:
    _, relay = run(b'data: {"error":{"message":"no"}}\n\n')

    assert not relay.started
    assert relay.error is not None
