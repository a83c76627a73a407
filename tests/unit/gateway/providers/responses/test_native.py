"""Responses at a provider that has them: the body it gets, and a stream that passes untouched but for its last event."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from openai.types.responses import ResponseStreamEvent
from openai.types.responses.response_create_params import ResponseCreateParamsNonStreaming
from pydantic import TypeAdapter

from services.gateway.providers.errors import BadRequest, UpstreamError
from services.gateway.providers.openai import OpenAIAdapter
from services.gateway.providers.operations import Operation
from services.gateway.providers.responses.native import read_response
from services.gateway.providers.responses.relay import ResponsesRelay
from tests.support.targets import json_body, relay_options, target
from tests.support.upstream.directives import read_directives
from tests.support.upstream.responses import response_document, response_pieces

EVENT: TypeAdapter[Any] = TypeAdapter(ResponseStreamEvent)
REQUEST: TypeAdapter[Any] = TypeAdapter(ResponseCreateParamsNonStreaming)


def pieces_of(orders: str = "prompt=10; completion=6") -> list[bytes]:
    pieces, _ = response_pieces("gpt-4o-mini", read_directives(f"mock({orders})".encode()))
    return pieces


STREAM = b"".join(pieces_of())


def run(stream: bytes, cuts: list[int] | None = None, **options: Any) -> tuple[bytes, ResponsesRelay]:
    relay = ResponsesRelay(relay_options(**options))
    places = [0, *sorted(cuts or []), len(stream)]
    out = b"".join(relay.feed(stream[a:b]) for a, b in zip(places, places[1:], strict=False) if stream[a:b])
    return out + relay.end(), relay


def events(out: bytes) -> list[Any]:
    """The events, each of which OpenAI's own type has accepted."""
    blocks = out.replace(b"\r\n", b"\n").split(b"\n\n")
    return [EVENT.validate_json(block.partition(b"data: ")[2]) for block in blocks if b"data: " in block]


def built(provider: str = "openai", at: str = "gpt-4o-mini", **fields: Any) -> dict[str, Any]:
    """What the provider is sent, after OpenAI's type has accepted it."""
    body = json_body(json.dumps({"model": "openai/gpt-4o-mini", "input": "hi", **fields}))
    prepared = OpenAIAdapter().build(Operation.RESPONSES, target(provider, at), body)
    assert isinstance(prepared.request.body, bytes)
    REQUEST.validate_json(prepared.request.body)
    assert prepared.request.url.endswith("/responses")
    sent: dict[str, Any] = json.loads(prepared.request.body)
    return sent | {"dropped": list(prepared.dropped)}


def test_a_request_passes_as_it_came() -> None:
    fields: dict[str, Any] = {
        "previous_response_id": "resp_1",
        "store": True,
        "tools": [{"type": "web_search"}],
        "include": [],
    }

    assert built(**fields) == {"model": "gpt-4o-mini", "input": "hi", "dropped": [], **fields}


def test_what_chat_clients_say_otherwise_is_said_right() -> None:
    function = {"name": "f", "parameters": {"type": "object"}, "strict": True}
    sent = built(
        reasoning_effort="low",
        reasoning={"summary": "auto"},
        max_tokens=20,
        seed=3,
        num_ctx=9,
        stream_options={"include_usage": True},
        tools=[{"type": "function", "function": function}],
    )

    assert sent["reasoning"] == {"summary": "auto", "effort": "low"}
    assert sent["max_output_tokens"] == 20
    assert sent["tools"] == [{"type": "function", **function}]
    assert sent["dropped"] == ["num_ctx", "seed"]
    assert not sent.keys() & {"reasoning_effort", "max_tokens", "seed", "num_ctx", "stream_options"}


def test_grok_models_that_refuse_an_effort_are_told_none() -> None:
    asked: dict[str, Any] = {"reasoning_effort": "low"}

    assert built("xai", "grok-4.3", **asked)["reasoning"] == {"effort": "low"}
    sent = built("xai", "grok-4-0709", **asked, reasoning={"summary": "auto"})
    assert (sent["reasoning"], sent["dropped"]) == ({"summary": "auto"}, ["reasoning.effort"])
    assert "reasoning" not in built("xai", "grok-4-0709", reasoning={"effort": "low"})
    assert built("xai", "grok-4-0709")["dropped"] == []


OURS = [
    {"type": "reasoning", "id": "rs_finops_1_0", "summary": [], "encrypted_content": "finops1.eyJ9"},
    {"type": "reasoning", "id": "rs_finops_1_0", "summary": []},
    {"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": "finops1."},
]
THEIRS = [
    {"type": "reasoning", "id": "rs_68af4030baa4", "summary": [], "encrypted_content": "gAAAAABfinops1."},
    {"type": "reasoning", "id": "rs_68af4030baa4", "summary": [], "encrypted_content": None},
    {"type": "reasoning", "id": "rs_68af4030baa4", "summary": []},
    {"type": "item_reference", "id": "rs_68af4030baa4"},
    {"role": "user", "content": "What is finops1. and rs_finops_?"},
    {"type": "message", "id": "msg_1_1", "role": "assistant", "status": "completed",
     "content": [{"type": "output_text", "text": "finops1.", "annotations": []}]},
    {"type": "function_call", "id": "fc_1_2", "call_id": "a", "name": "f", "arguments": '{"a":"finops1."}'},
    {"type": "function_call_output", "call_id": "a", "output": "rs_finops_"},
]  # fmt: skip


@pytest.mark.parametrize("provider", ["openai", "xai", "openrouter"])
def test_reasoning_of_another_model_that_was_told_here_is_left_out_and_no_other(provider: str) -> None:
    mixed = [item for pair in zip(THEIRS, [*OURS, *OURS, *OURS], strict=False) for item in pair]
    sent = built(provider, input=mixed)

    assert sent["input"] == THEIRS
    assert sent["dropped"] == ["input.reasoning"]


def passed(text: str) -> bytes:
    """What a provider is sent for this body."""
    prepared = OpenAIAdapter().build(Operation.RESPONSES, target(), json_body(text))
    assert isinstance(prepared.request.body, bytes)
    return prepared.request.body


@pytest.mark.parametrize(
    "given", [THEIRS, "What is finops1. and rs_finops_?", [], {"id": "rs_finops_1"}, [4, "rs_finops_1"]]
)
def test_an_input_without_it_passes_byte_by_byte(given: Any) -> None:
    written = json.dumps(given, indent=3)

    assert written.encode() in passed(f'{{"model":"m","input":{written}}}')


def test_what_stays_beside_it_passes_byte_by_byte() -> None:
    written = '{"type" :"function_call_output","call_id":"a", "output":"\\u00e9"}'

    sent = passed(f'{{"model":"m","input":[{json.dumps(OURS[0])}, {written}]}}')
    assert b'"input":[' + written.encode() + b"]" in sent


def test_what_codex_tells_of_itself_stays_here() -> None:
    sent = built(client_metadata={"x-codex-installation-id": "z"})

    assert "client_metadata" not in sent and sent["dropped"] == ["client_metadata"]


def test_an_answer_that_comes_later_is_refused() -> None:
    with pytest.raises(BadRequest) as caught:
        built(background=True)

    assert caught.value.param == "background"


def test_a_whole_answer_is_metered_and_told_its_cost() -> None:
    document = response_document("m", read_directives(b"mock(prompt=10; completion=6; cached=4)"))
    answer = read_response(json_body('{"model":"m","input":"hi"}'), {}, json.dumps(document).encode())

    assert answer.error is None
    assert (answer.usage.tokens.prompt, answer.usage.tokens.completion) == (10, 6)
    assert answer.usage.tokens.cached_read == 4
    assert answer.finish_reason == "stop"
    assert json.loads(answer.with_cost("0.5"))["usage"]["cost"] == 0.5


@pytest.mark.parametrize(("status", "reason"), [("incomplete", "length"), ("completed", "stop")])
def test_an_answer_without_usage_is_estimated(status: str, reason: str) -> None:
    document = response_document("m", read_directives(b"mock(completion=40; fault=no-usage)"), status)
    answer = read_response(json_body('{"model":"m","input":"hi"}'), {}, json.dumps(document).encode())

    assert answer.usage.estimated
    assert answer.usage.tokens.completion > 20
    assert answer.finish_reason == reason
    assert json.loads(answer.with_cost("0.5"))["usage"]["output_tokens"] == answer.usage.tokens.completion


@pytest.mark.parametrize("answer", [b"[]", b"<html>", b'{"error":{"message":"no"}}', b'{"output":4}'])
def test_an_answer_that_is_none_is_an_error(answer: bytes) -> None:
    assert read_response(json_body('{"model":"m","input":"hi"}'), {}, answer).error is not None


def test_a_failed_response_is_an_error() -> None:
    document = response_document("m", read_directives(b"mock()"), "failed")
    answer = read_response(json_body('{"model":"m","input":"hi"}'), {}, json.dumps(document).encode())

    assert answer.error is not None
    assert answer.error.message == "mock failure of a response"


def test_only_the_last_event_is_touched() -> None:
    out, relay = run(STREAM, cost="0.25")

    before, last = pieces_of()[:-1], events(out)[-1]
    assert out.startswith(b"".join(before))
    assert last.type == "response.completed"
    assert last.response.usage.cost == 0.25
    assert last.response.output_text == "word " * 6
    assert relay.done and relay.error is None and relay.finish_reason == "stop"
    assert relay.usage().tokens.prompt == 10
    assert run(STREAM)[0] == STREAM  # nothing to tell, nothing changed


@given(cuts=st.lists(st.integers(0, len(STREAM))))
def test_it_does_not_matter_where_the_network_cut(cuts: list[int]) -> None:
    out, relay = run(STREAM, cuts, cost="0.25")

    assert out == run(STREAM, cost="0.25")[0]
    assert relay.usage().tokens.completion == 6


@given(end=st.integers(1, len(STREAM) - len(pieces_of()[-1])), broke=st.booleans())
def test_a_stream_that_is_cut_anywhere_ends_with_an_error_event(end: int, broke: bool) -> None:
    relay = ResponsesRelay(relay_options())
    out = relay.feed(STREAM[:end])
    out += relay.fail(UpstreamError(status=502, message="broke")) if broke else relay.end()

    found = events(out)
    assert found[-1].type == "error"
    assert [event.sequence_number for event in found] == list(range(len(found)))
    assert relay.done and relay.error is not None
    assert relay.usage().estimated
    assert relay.usage().tokens.completion <= 12
    assert relay.end() == relay.feed(STREAM) == b""


def test_what_was_written_before_a_cut_is_billed() -> None:
    _, relay = run(b"".join(pieces_of("completion=40")[:30]))

    assert relay.error is not None
    assert 15 < relay.usage().tokens.completion < 60


@pytest.mark.parametrize(
    ("fault", "last", "reason"),
    [("incomplete", "response.incomplete", "length"), ("crlf", "response.completed", "stop")],
)
def test_other_ends_are_metered_too(fault: str, last: str, reason: str) -> None:
    out, relay = run(b"".join(pieces_of(f"prompt=10; completion=6; fault={fault}")), cost="1")

    assert events(out)[-1].type == last
    assert events(out)[-1].response.usage.cost == 1
    assert (relay.finish_reason, relay.usage().tokens.completion) == (reason, 6)


def test_a_response_that_failed_is_told_and_billed() -> None:
    out, relay = run(b"".join(pieces_of("prompt=10; completion=6; fault=fail-last")), cost="1")

    assert events(out)[-1].type == "response.failed"
    assert events(out)[-1].response.usage.cost == 1
    assert relay.error is not None and relay.error.message == "mock failure of a response"
    assert relay.usage().tokens.prompt == 10


def test_an_error_event_ends_the_stream() -> None:
    out, relay = run(b"".join(pieces_of("completion=3; fault=error-event")))

    assert (events(out)[-1].type, events(out)[-1].code) == ("error", "mock_failure")
    assert relay.error is not None and relay.started


def test_an_error_that_is_null_is_none() -> None:
    delta = b'"type":"response.output_text.delta"'
    out, relay = run(STREAM.replace(delta, delta + b',"error":null'))

    assert relay.error is None
    assert events(out)[-1].type == "response.completed"


def test_an_error_before_anything_else_is_no_answer() -> None:
    for stream in (pieces_of("fault=error-first")[0], b'{"error":{"message":"no"}}', b"<html>"):
        _, relay = run(stream)

        assert relay.error is not None
        assert not relay.started


@pytest.mark.parametrize(
    ("text", "param"),
    [
        ('{"model":"m","tools":{"function":1}}', "tools"),
        ('{"model":"m","reasoning":"hard","reasoning_effort":"low"}', "reasoning"),
    ],
)
def test_a_body_that_is_no_request_is_refused(text: str, param: str) -> None:
    with pytest.raises(BadRequest) as caught:
        OpenAIAdapter().build(Operation.RESPONSES, target(), json_body(text))

    assert caught.value.param == param
