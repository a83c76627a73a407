"""Reading conversations out of logged bodies."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.log_ingest.transcript import Part, read_conversation

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4)
    | st.dictionaries(
        st.sampled_from(
            ["messages", "content", "role", "type", "text", "input", "prompt", "choices", "message", "delta",
             "tool_calls", "function", "arguments", "name", "error", "data", "url", "image_url", "index"]
        ),
        inner,
        max_size=5,
    ),
    max_leaves=25,
)  # fmt: skip


def sse(*events: Any) -> str:
    lines = [f"data: {json.dumps(event)}\n\n" for event in events]
    return json.dumps("".join(lines) + "data: [DONE]\n\n")


def chunk(delta: dict[str, Any], finish: str | None = None, index: int = 0) -> dict[str, Any]:
    return {"id": "c1", "choices": [{"index": index, "delta": delta, "finish_reason": finish}]}


def test_all_roles_of_a_chat_are_prompt_and_the_choice_is_the_answer() -> None:
    request = {
        "messages": [
            {"role": "system", "content": "be brief"},
            {"role": "user", "content": [{"type": "text", "text": "what is this?"}]},
            {"role": "tool", "content": "12 degrees"},
        ]
    }
    response = {"choices": [{"message": {"role": "assistant", "content": "a cat"}, "finish_reason": "stop"}]}

    talk = read_conversation(json.dumps(request), json.dumps(response), "json")

    assert talk.prompt_text == "be brief\nwhat is this?\n12 degrees"
    assert talk.answer_text == "a cat"
    assert talk.finish_reason == "stop"


def test_images_are_marked_but_their_bytes_are_not_text() -> None:
    url = "data:image/png;base64," + "A" * 5000
    content = [{"type": "image_url", "image_url": {"url": url}}]

    talk = read_conversation(json.dumps({"messages": [{"role": "user", "content": content}]}), "", "none")

    assert talk.turns[0].parts == (Part("image", "image/png"),)
    assert talk.prompt_text == ""


def test_tool_calls_are_searchable_by_name_and_arguments() -> None:
    call = {"function": {"name": "lookup", "arguments": '{"city": "Hamburg"}'}}
    response = {
        "choices": [{"message": {"content": None, "tool_calls": [call]}, "finish_reason": "tool_calls"}]
    }

    talk = read_conversation("", json.dumps(response), "json")

    assert talk.answer_text == 'lookup\n{"city": "Hamburg"}'


@pytest.mark.parametrize(
    ("request_body", "text"),
    [
        ({"input": "embed me"}, "embed me"),
        ({"input": ["one", "two"]}, "one\ntwo"),
        ({"input": [1, 2, 3]}, ""),
        ({"prompt": "a red house"}, "a red house"),
        ({"instructions": "slowly", "input": "read this aloud"}, "slowly\nread this aloud"),
        ({"input": [{"role": "user", "content": [{"type": "input_text", "text": "hi"}]}]}, "hi"),
        ({"query": "best?", "documents": ["a", {"text": "b"}]}, "best?\na\nb"),
    ],
)
def test_inputs_of_the_other_endpoints(request_body: dict[str, Any], text: str) -> None:
    assert read_conversation(json.dumps(request_body), "", "none").prompt_text == text


def test_a_stream_is_put_together_per_choice_with_reasoning_and_tool_calls() -> None:
    transcript = sse(
        chunk({"role": "assistant", "reasoning_content": "hmm "}),
        chunk({"reasoning_content": "yes"}),
        chunk({"content": "It is "}),
        chunk({"content": "12°"}),
        chunk({"tool_calls": [{"index": 0, "id": "t1", "function": {"name": "look", "arguments": '{"a"'}}]}),
        chunk({"tool_calls": [{"index": 0, "function": {"arguments": ":1}"}}]}),
        chunk({"content": "other"}, index=1),
        chunk({}, finish="stop"),
        {"choices": [], "usage": {"total_tokens": 9}},
    )

    talk = read_conversation("", transcript, "sse")

    first = talk.message["choices"][0]
    assert first["message"]["content"] == "It is 12°"
    assert first["message"]["tool_calls"][0]["function"] == {"name": "look", "arguments": '{"a":1}'}
    assert talk.answer_text == 'hmm yes\nIt is 12°\nlook\n{"a":1}\nother'
    assert talk.finish_reason == "stop"
    assert talk.message["usage"] == {"total_tokens": 9}


def test_a_transcript_cut_in_the_middle_keeps_what_came_before() -> None:
    whole = json.loads(sse(chunk({"content": "kept "}), chunk({"content": "lost"})))

    talk = read_conversation("", json.dumps(whole[: whole.index("lost")]), "sse")

    assert talk.answer_text == "kept "


def test_a_request_cut_in_the_middle_still_shows_its_texts() -> None:
    whole = json.dumps(
        {"messages": [{"role": "user", "content": 'gr\u00fc\u00dfe "an" alle'}, {"content": "and mo"}]}
    )

    talk = read_conversation(json.dumps(whole[: whole.index("and mo") + 6]), "", "none")

    assert talk.prompt_text == 'grüße "an" alle\nand mo'


def test_an_error_answer_is_searchable() -> None:
    talk = read_conversation("", json.dumps({"error": {"message": "budget is spent"}}), "json")

    assert talk.answers[0].role == "error"
    assert talk.answer_text == "budget is spent"


@given(request=JSON, response=JSON, kind=st.sampled_from(["json", "sse", "text", "binary", "none"]))
def test_any_json_can_be_read(request: Any, response: Any, kind: str) -> None:
    talk = read_conversation(json.dumps(request), json.dumps(response), kind)

    assert isinstance(talk.prompt_text + talk.answer_text + talk.finish_reason, str)


@given(text=st.text(max_size=200), kind=st.sampled_from(["json", "sse", "text"]))
def test_any_text_can_be_read(text: str, kind: str) -> None:
    talk = read_conversation(text, text, kind)

    assert isinstance(talk.prompt_text + talk.answer_text, str)


@given(pieces=st.lists(st.text(max_size=10), max_size=10))
def test_a_stream_reads_the_same_as_the_whole_answer(pieces: list[str]) -> None:
    streamed = read_conversation("", sse(*[chunk({"content": piece}) for piece in pieces]), "sse")
    whole = read_conversation(
        "", json.dumps({"choices": [{"message": {"content": "".join(pieces)}}]}), "json"
    )

    assert streamed.answer_text == whole.answer_text
