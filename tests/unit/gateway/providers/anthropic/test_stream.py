"""Anthropic's streams as OpenAI's chunks: whole, cut anywhere, and with errors inside."""

import json
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from openai.lib.streaming.chat import ChatCompletionStreamState
from openai.types.chat import ChatCompletion, ChatCompletionChunk

from services.gateway.providers.anthropic.answer import read_message
from services.gateway.providers.anthropic.native import NativeRelay
from services.gateway.providers.anthropic.stream import MessagesTranslator
from services.gateway.providers.chat.translate import TranslatedRelay
from services.gateway.providers.errors import UpstreamError
from services.gateway.providers.port import RelayOptions
from services.gateway.providers.sse import blocks, data_of
from tests.support.providers.anthropic import error, events, message, text, thinking, tool_use, wire

STREAM = wire(
    *events(
        thinking("Let me see."), text("Hello – you."), tool_use(city="Rome"), stop_reason="tool_use", pieces=4
    )
)
OPTIONS = RelayOptions(
    send_usage=True, cost_of=lambda usage: "0.01", prompt_estimate=50, transcript_limit=100_000
)


def relay() -> TranslatedRelay:
    return TranslatedRelay(OPTIONS, MessagesTranslator())


def documents(sent: bytes) -> list[Any]:
    found = [data_of(block) for block in blocks(sent)]
    assert found[-1] == b"[DONE]"
    assert b"[DONE]" not in found[:-1]
    return [json.loads(data or b"") for data in found[:-1]]


def fed(target: TranslatedRelay | NativeRelay, stream: bytes, *cuts: int) -> bytes:
    places = [0, *sorted(cuts), len(stream)]
    sent = [
        target.feed(stream[start:end]) for start, end in zip(places, places[1:], strict=False) if end > start
    ]
    return b"".join(sent) + target.end()


def told(chunks: list[Any], field: str) -> str:
    return "".join(
        choice["delta"].get(field) or "" for chunk in chunks for choice in chunk.get("choices", ())
    )


@given(st.lists(st.integers(1, len(STREAM) - 1), max_size=6))
def test_it_makes_no_difference_where_the_network_cut(cuts: list[int]) -> None:
    target = relay()
    chunks = documents(fed(target, STREAM, *cuts))
    for chunk in chunks:
        ChatCompletionChunk.model_validate(chunk)
    assert (told(chunks, "reasoning_content"), told(chunks, "content")) == ("Let me see.", "Hello – you.")
    assert (target.finish_reason, target.error) == ("tool_calls", None)
    assert chunks[-1]["usage"]["cost"] == 0.01
    assert target.usage().tokens.prompt == 141
    assert target.transcript.count(b"data: ") == len(chunks)


@given(st.integers(1, len(STREAM) - 1))
def test_a_stream_cut_at_any_byte_ends_with_one_clean_error(place: int) -> None:
    target = relay()
    chunks = documents(fed(target, STREAM[:place]))
    if target.error is None:
        assert target.finish_reason == "tool_calls"
    else:
        assert set(chunks[-1]) == {"error"}
        assert not [chunk for chunk in chunks[:-1] if "error" in chunk]
    used = target.usage()
    assert used.tokens.prompt in (50, 141)
    assert used.tokens.completion * 8 >= len(told(chunks, "content"))


@given(st.integers(1, len(STREAM) - 1))
def test_a_native_stream_cut_at_any_byte_ends_with_one_clean_error(place: int) -> None:
    target = NativeRelay(OPTIONS)
    sent = fed(target, STREAM[:place])
    names = [json.loads(data_of(block) or b"{}")["type"] for block in blocks(sent)]
    assert names[-1] == ("error" if target.error is not None else "message_stop")
    assert "error" not in names[:-1]
    assert target.done


def test_a_native_stream_goes_out_as_it_came() -> None:
    target = NativeRelay(OPTIONS)
    assert fed(target, STREAM) == STREAM
    assert (target.finish_reason, target.usage().tokens.completion) == ("tool_calls", 7)


blocks_said = st.lists(
    st.one_of(
        st.builds(text, st.text(min_size=1, max_size=12)),
        st.builds(thinking, st.text(min_size=1, max_size=12), st.text(min_size=1, max_size=4)),
        st.just({"type": "redacted_thinking", "data": "abc"}),
        st.builds(lambda id, given: tool_use(id, "look", **given), st.uuids().map(str), st.sampled_from([{}, {"city": "Rome"}, {"a": [1, None]}])),
    ),
    min_size=1,
    max_size=5,
)  # fmt: skip


@settings(deadline=None)
@given(blocks_said, st.sampled_from(["end_turn", "tool_use"]), st.integers(1, 4))
def test_a_stream_says_what_the_whole_answer_says(said: list[Any], stop_reason: str, pieces: int) -> None:
    whole = json.loads(read_message(json.dumps(message(*said, stop_reason=stop_reason)).encode()).body)
    state = ChatCompletionStreamState()
    thoughts = ""
    details: list[Any] = []
    for document in documents(fed(relay(), wire(*events(*said, stop_reason=stop_reason, pieces=pieces)))):
        chunk = ChatCompletionChunk.model_validate(document)
        state.handle_chunk(chunk)
        for choice in document["choices"]:
            thoughts += choice["delta"].get("reasoning_content") or ""
            details += choice["delta"].get("reasoning_details") or []
    streamed = state.current_completion_snapshot.choices[0]

    ChatCompletion.model_validate(whole)
    expected = whole["choices"][0]
    assert streamed.finish_reason == expected["finish_reason"]
    assert (streamed.message.content or None) == expected["message"]["content"]
    assert thoughts == expected["message"].get("reasoning_content", "")
    assert details == expected["message"].get("reasoning_details", [])
    calls = [
        (call.id, call.function.name, json.loads(call.function.arguments))
        for call in streamed.message.tool_calls or ()
    ]
    assert calls == [
        (call["id"], call["function"]["name"], json.loads(call["function"]["arguments"]))
        for call in expected["message"].get("tool_calls", ())
    ]


def test_a_call_without_arguments_is_one_with_an_empty_object() -> None:
    """Their stream says nothing at all then; OpenAI's clients read what they get as JSON."""
    said = events(tool_use("toolu_1"), tool_use("toolu_2", city="Rome"), stop_reason="tool_use")
    bare = [item for item in said if item.get("delta", {}).get("partial_json") not in ("{", "}")]
    calls = [
        (call["index"], call["function"]["arguments"])
        for chunk in documents(fed(relay(), wire(*bare)))
        for choice in chunk["choices"]
        for call in choice["delta"].get("tool_calls", ())
    ]
    found = {index: "".join(text for at, text in calls if at == index) for index in (0, 1)}
    assert {index: json.loads(text) for index, text in found.items()} == {0: {}, 1: {"city": "Rome"}}


def test_an_estimate_counts_what_was_said_and_not_how_it_is_written_down() -> None:
    target = relay()
    target.feed(wire(*events(text("x" * 700), pieces=350)[:-3]))
    target.fail(UpstreamError(status=502, message="gone"))
    assert (target.usage().tokens.completion, target.usage().estimated) == (200, True)


def test_an_error_inside_ends_the_stream() -> None:
    target = relay()
    chunks = documents(fed(target, wire(*events(text())[:4], error("overloaded_error", "Overloaded"))))
    assert chunks[-1]["error"]["message"] == "Overloaded"
    assert target.error is not None and (target.error.status, target.error.retryable) == (529, True)


def test_an_error_before_anything_leaves_the_request_to_be_tried_elsewhere() -> None:
    for target in (relay(), NativeRelay(OPTIONS)):
        fed(target, wire(error("overloaded_error")))
        assert (target.started, target.done) == (False, True)
        assert target.error is not None and target.error.status == 529


def test_a_plain_answer_to_a_request_for_a_stream_is_an_error() -> None:
    for body in (json.dumps(error("api_error", "Oh")).encode(), b"<html>", b'{"id": 1}'):
        for target in (relay(), NativeRelay(OPTIONS)):
            fed(target, body)
            assert target.error is not None
            assert not target.started


def test_a_lost_connection_after_the_end_is_no_error() -> None:
    until_the_end = STREAM[: STREAM.index(b"event: message_stop")]
    for target in (relay(), NativeRelay(OPTIONS)):
        target.feed(until_the_end)
        target.fail(UpstreamError(status=502, message="gone"))
        assert (target.error, target.usage().tokens.completion) == (None, 7)
