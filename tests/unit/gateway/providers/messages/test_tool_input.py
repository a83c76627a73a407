"""Arguments that are not quite JSON, or end in the middle, as the input of a tool."""

import json
from typing import Any

import msgspec
import pytest
from anthropic.types import Message
from hypothesis import given
from hypothesis import strategies as st
from jiter import from_json

from services.gateway.providers.inbound import InboundAdapter
from services.gateway.providers.inbounds import INBOUNDS
from services.gateway.providers.messages.tool_input import UNREADABLE, input_of
from services.gateway.providers.openai import OpenAIAdapter
from services.gateway.providers.operations import Operation
from tests.support.targets import json_body

texts = st.text(alphabet='ab"\\,:{}[] \né', max_size=5)
values: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers(-999, 999) | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=8,
)


@given(st.dictionaries(texts, values, max_size=4), st.booleans(), st.sampled_from([None, 1]))
def test_what_is_json_stays_what_it_is(arguments: Any, cut: bool, indent: int | None) -> None:
    assert input_of(json.dumps(arguments, indent=indent), cut=cut) == arguments


@given(st.dictionaries(texts, values, max_size=4), st.integers(1, 200), st.booleans())
def test_of_what_is_cut_that_is_kept_which_their_own_client_keeps_of_a_stream(
    arguments: Any, length: int, ascii_only: bool
) -> None:
    written = json.dumps(arguments, ensure_ascii=ascii_only)[:length]
    kept = input_of(written, cut=True)

    if written[-1].isalnum():
        return  # theirs takes a number for whole wherever it ends, and so it is only told when a string is cut
    assert kept == from_json(written.encode(), partial_mode=True)


@given(st.dictionaries(texts, st.integers(), min_size=1, max_size=4))
def test_a_number_that_may_go_on_is_not_taken_for_whole(arguments: dict[str, int]) -> None:
    *whole, last = arguments
    assert input_of(json.dumps(arguments)[:-1], cut=True) == {name: arguments[name] for name in whole}


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("", {}),
        (" \n", {}),
        ("null", {}),
        ('{"a": 1,}', {"a": 1}),
        ('{"a": [1, 2, ], "b": {"c": ",]", }, }', {"a": [1, 2], "b": {"c": ",]"}}),
        ('{"text": "one\ntwo\tthree"}', {"text": "one\ntwo\tthree"}),
        ('"{\\"a\\": 1}"', {"a": 1}),
    ],
)
def test_slips_are_mended(written: str, meant: Any) -> None:
    assert input_of(written, cut=False) == input_of(written, cut=True) == meant


@pytest.mark.parametrize("cut", [False, True])
@pytest.mark.parametrize(
    "written", ["[1]", "5", '"a"', "look at it", "{a: 1}", '{"a" "b"}', "}{", '{"a": "\\ud800"}']
)
def test_what_is_no_object_is_handed_on_as_it_is(written: str, cut: bool) -> None:
    assert input_of(written, cut=cut) == {UNREADABLE: written}


def test_half_of_the_arguments_is_not_all_of_them_when_the_answer_was_not_cut() -> None:
    written = '{"path": "/tmp/a", "mode": '
    assert input_of(written, cut=False) == {UNREADABLE: written}
    assert input_of(written, cut=True) == {"path": "/tmp/a"}


@pytest.mark.parametrize("written", ['{"a":' * 100_000, "[" * 100_000 + "]" * 100_000, '{"a,"' * 100_000])
def test_no_depth_is_too_much(written: str) -> None:
    assert input_of(written, cut=True) == {UNREADABLE: written}


def test_no_text_is_too_long() -> None:
    """The time is that of reading it once: else this test would take minutes."""
    assert input_of('{"path": "a", "text": "' + '\\"x\\", ' * 200_000, cut=True) == {"path": "a"}


@given(st.text(alphabet='{}[]",:\\ a1\n', max_size=40), st.booleans())
def test_whatever_a_model_writes_is_an_object_that_can_be_sent(written: str, cut: bool) -> None:
    assert (
        msgspec.json.decode(msgspec.json.encode(input_of(written, cut=cut)), type=dict[str, Any]) is not None
    )


@pytest.mark.parametrize(
    ("arguments", "finish_reason", "given_input", "stop_reason"),
    [
        ('{"path": "/tmp/lo', "length", {}, "max_tokens"),
        ('{"path": "/tmp/log", "text": "Hel', "length", {"path": "/tmp/log"}, "max_tokens"),
        ('{"a": 1,}', "tool_calls", {"a": 1}, "tool_use"),
        ("a = 1", "tool_calls", {UNREADABLE: "a = 1"}, "tool_use"),
    ],
)
def test_an_answer_is_good_whatever_the_model_wrote_as_arguments(
    arguments: str, finish_reason: str, given_input: Any, stop_reason: str
) -> None:
    body = json_body('{"model":"m","max_tokens":9,"messages":[{"role":"user","content":"hi"}]}')
    adapter = InboundAdapter(OpenAIAdapter(), INBOUNDS[Operation.MESSAGES], body)
    call = {"id": "c1", "type": "function", "function": {"name": "look", "arguments": arguments}}
    choice = {"index": 0, "message": {"content": None, "tool_calls": [call]}, "finish_reason": finish_reason}
    usage = {"prompt_tokens": 5, "completion_tokens": 7, "total_tokens": 12}
    chat = {"id": "c", "object": "chat.completion", "choices": [choice], "usage": usage}

    answer = adapter.read_answer(Operation.MESSAGES, body, {}, json.dumps(chat).encode())

    assert answer.error is None
    message = Message.model_validate_json(answer.body)
    (block,) = message.content
    assert block.type == "tool_use"
    assert (block.input, message.stop_reason, message.usage.output_tokens) == (given_input, stop_reason, 7)
