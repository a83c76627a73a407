"""A whole answer where a stream was asked for: a good completion becomes a stream, anything else an error."""

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from openai.types import Completion
from openai.types.chat import ChatCompletionChunk

from services.gateway.providers.relay import OpenAIRelay
from shared.events import Tokens
from tests.support.targets import relay_options

DONE = b"data: [DONE]\n\n"
USAGE = {"prompt_tokens": 8, "completion_tokens": 3, "total_tokens": 11}


def run(body: bytes, cuts: list[int], *, send_usage: bool = False) -> tuple[list[Any], OpenAIRelay]:
    """The events that the client gets, `[DONE]` left out, when the body comes in these pieces."""
    relay = OpenAIRelay(relay_options(send_usage=send_usage))
    places = [0, *sorted(cut for cut in cuts if cut < len(body)), len(body)]
    fed = b"".join(relay.feed(body[a:b]) for a, b in zip(places, places[1:], strict=False) if body[a:b])
    out = fed + relay.end()
    assert out.endswith(DONE)
    assert relay.done
    return [json.loads(event[6:]) for event in out.removesuffix(DONE).split(b"\n\n") if event], relay


@given(st.lists(st.integers(0, 300)), st.booleans())
def test_a_whole_completion_instead_of_a_stream_comes_as_one_chunk(cuts: list[int], asked: bool) -> None:
    call = {"id": "t1", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    message = {"role": "assistant", "content": "x", "tool_calls": [call]}
    choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": "tool_calls"}
    head = {"id": "c1", "object": "chat.completion", "created": 1, "model": "m"}
    answer = {**head, "choices": [choice], "usage": USAGE}
    body = json.dumps(answer).encode()

    events, relay = run(body, cuts, send_usage=asked)

    said = ChatCompletionChunk.model_validate(events[0], strict=True)
    assert said.usage is None
    assert said.choices[0].finish_reason == "tool_calls"
    assert said.choices[0].delta.content == "x"
    assert said.choices[0].delta.tool_calls is not None
    assert (said.choices[0].delta.tool_calls[0].index, said.choices[0].delta.tool_calls[0].id) == (0, "t1")
    assert [event["usage"] for event in events[1:]] == ([USAGE] if asked else [])
    assert (relay.started, relay.error, relay.finish_reason) == (True, None, "tool_calls")
    assert relay.usage().tokens == Tokens(prompt=8, completion=3)


def test_a_whole_text_completion_instead_of_a_stream_comes_as_one_chunk() -> None:
    choice = {"index": 0, "text": "seven", "logprobs": None, "finish_reason": "length"}
    answer = {"id": "c1", "object": "text_completion", "created": 1, "model": "m", "choices": [choice]}

    (chunk,), relay = run(json.dumps(answer).encode(), [])

    assert Completion.model_validate(chunk, strict=True).choices[0].text == "seven"
    assert relay.usage().estimated
    assert relay.usage().tokens == Tokens(prompt=7, completion=2)


def test_what_is_no_whole_completion_is_an_error_that_is_still_metered() -> None:
    unfinished = {"message": {"content": "x"}, "finish_reason": None}
    for choices in ([], [unfinished], [{"finish_reason": "stop"}], "x", [{"message": 1}], None):
        _, relay = run(json.dumps({"choices": choices, "usage": USAGE}).encode(), [])

        assert relay.error is not None
        assert "it sent a plain JSON answer" in relay.error.message
        assert not relay.started
        assert relay.usage().tokens == Tokens(prompt=8, completion=3)
