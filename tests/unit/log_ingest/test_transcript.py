"""Reading conversations out of logged bodies."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.log_ingest.parts import Part, Turn
from services.log_ingest.transcript import read_conversation

TYPES = [
    "message", "reasoning", "function_call", "function_call_output", "tool_use", "tool_result", "thinking", "image",
    "message_start", "content_block_start", "content_block_delta", "text_delta", "response.created",
    "response.completed", "response.output_item.added", "response.output_text.delta", "error",
]  # fmt: skip
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8) | st.sampled_from(TYPES),
    lambda inner: st.lists(inner, max_size=4)
    | st.dictionaries(
        st.sampled_from(
            ["messages", "content", "role", "type", "text", "input", "prompt", "choices", "message", "delta",
             "tool_calls", "function", "arguments", "name", "error", "data", "url", "image_url", "index", "output",
             "response", "item", "output_index", "content_block", "summary", "source"]
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


CALLED_TOOL = {
    "system": [{"type": "text", "text": "plan trips"}],
    "messages": [
        {
            "role": "user",
            "content": [
                {"type": "text", "text": "where?"},
                {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "AAAA"}},
                {"type": "document", "source": {"type": "url", "url": "https://example.com/a.pdf"}},
            ],
        },
        {
            "role": "assistant",
            "content": [
                {"type": "thinking", "thinking": "let me look", "signature": "x"},
                {"type": "tool_use", "id": "t1", "name": "lookup", "input": {"city": "Bergen"}},
            ],
        },
        {
            "role": "user",
            "content": [
                {"type": "tool_result", "tool_use_id": "t1", "content": [{"type": "text", "text": "rain"}]}
            ],
        },
    ],
}


def test_a_request_of_the_messages_format_is_read_with_thoughts_tools_and_media() -> None:
    talk = read_conversation(json.dumps(CALLED_TOOL), "", "none")

    assert talk.turns == (
        Turn("system", (Part("text", "plan trips"),)),
        Turn(
            "user",
            (Part("text", "where?"), Part("image", "image/png"), Part("file", "https://example.com/a.pdf")),
        ),
        Turn(
            "assistant",
            (Part("reasoning", "let me look"), Part("tool_call", '{"city":"Bergen"}', "lookup")),
        ),
        Turn("tool", (Part("tool_result", "rain"),)),
    )


def test_a_message_and_its_stream_say_the_same() -> None:
    content = [
        {"type": "thinking", "thinking": "hmm yes", "signature": "sig"},
        {"type": "text", "text": "It is 12°"},
        {"type": "tool_use", "id": "t1", "name": "look", "input": {"a": 1}},
    ]
    message = {
        "type": "message",
        "id": "m1",
        "role": "assistant",
        "content": content,
        "stop_reason": "tool_use",
    }
    started = {
        "type": "message",
        "id": "m1",
        "role": "assistant",
        "content": [],
        "usage": {"input_tokens": 9},
    }

    def grown(index: int, **delta: str) -> dict[str, Any]:
        return {"type": "content_block_delta", "index": index, "delta": delta}

    def opened(index: int, **block: Any) -> dict[str, Any]:
        return {"type": "content_block_start", "index": index, "content_block": block}

    transcript = sse(
        {"type": "message_start", "message": started},
        opened(0, type="thinking", thinking="", signature=""),
        grown(0, type="thinking_delta", thinking="hmm "),
        grown(0, type="thinking_delta", thinking="yes"),
        grown(0, type="signature_delta", signature="sig"),
        opened(1, type="text", text=""),
        grown(1, type="text_delta", text="It is "),
        {"type": "ping"},
        grown(1, type="text_delta", text="12°"),
        opened(2, type="tool_use", id="t1", name="look", input={}),
        grown(2, type="input_json_delta", partial_json='{"a"'),
        grown(2, type="input_json_delta", partial_json=": 1}"),
        {"type": "message_delta", "delta": {"stop_reason": "tool_use"}, "usage": {"output_tokens": 5}},
        {"type": "message_stop"},
    )

    whole, streamed = (
        read_conversation("", json.dumps(message), "json"),
        read_conversation("", transcript, "sse"),
    )

    assert streamed.answers == whole.answers
    assert streamed.answer_text == 'hmm yes\nIt is 12°\nlook\n{"a":1}'
    assert streamed.finish_reason == whole.finish_reason == "tool_use"
    assert streamed.message["usage"] == {"input_tokens": 9, "output_tokens": 5}
    assert streamed.message["content"] == content


RESPONSE = {
    "id": "r1",
    "output": [
        {"type": "reasoning", "summary": [{"type": "summary_text", "text": "hmm yes"}]},
        {
            "type": "message",
            "role": "assistant",
            "content": [{"type": "output_text", "text": "It is 12°"}],
        },
        {"type": "function_call", "name": "look", "arguments": '{"a":1}'},
        {"type": "web_search_call", "action": {"query": "weather"}},
    ],
}
RESPONSE_EVENTS = [
    {"type": "response.created", "response": {"id": "r1", "output": []}},
    {"type": "response.output_item.added", "output_index": 0, "item": {"type": "reasoning", "summary": []}},
    {"type": "response.reasoning_summary_text.delta", "output_index": 0, "delta": "hmm "},
    {"type": "response.reasoning_summary_text.delta", "output_index": 0, "delta": "yes"},
    {"type": "response.output_item.added", "output_index": 1, "item": {"type": "message", "content": []}},
    {"type": "response.output_text.delta", "output_index": 1, "content_index": 0, "delta": "It is "},
    {"type": "response.output_text.delta", "output_index": 1, "content_index": 0, "delta": "12°"},
    {
        "type": "response.output_item.added",
        "output_index": 2,
        "item": {"type": "function_call", "name": "look"},
    },
    {"type": "response.function_call_arguments.delta", "output_index": 2, "delta": '{"a":'},
    {"type": "response.function_call_arguments.delta", "output_index": 2, "delta": "1}"},
    {"type": "response.output_item.done", "output_index": 3, "item": RESPONSE["output"][3]},
]


@pytest.mark.parametrize("ends", [True, False])
def test_a_response_and_its_stream_say_the_same_also_when_its_end_is_missing(ends: bool) -> None:
    events = [*RESPONSE_EVENTS, {"type": "response.completed", "response": RESPONSE}]

    whole = read_conversation("", json.dumps(RESPONSE), "json")
    streamed = read_conversation("", sse(*(events if ends else RESPONSE_EVENTS)), "sse")

    assert streamed.answer_text == whole.answer_text
    assert whole.answer_text == 'hmm yes\nIt is 12°\nlook\n{"a":1}\nweb_search\n{"query":"weather"}'


def test_the_items_of_a_responses_request_are_turns() -> None:
    items = [
        {"role": "user", "content": [{"type": "input_text", "text": "where?"}]},
        {"type": "function_call", "call_id": "c1", "name": "lookup", "arguments": '{"q":"giraffe"}'},
        {"type": "function_call_output", "call_id": "c1", "output": "in the zoo"},
    ]

    talk = read_conversation(json.dumps({"input": items}), "", "none")

    assert [(turn.role, turn.parts[0].kind) for turn in talk.turns] == [
        ("user", "text"),
        ("assistant", "tool_call"),
        ("tool", "tool_result"),
    ]
    assert talk.prompt_text == 'where?\nlookup\n{"q":"giraffe"}\nin the zoo'


@pytest.mark.parametrize("separator", ["\u2028", "\x85", "\x0b"])
def test_only_what_ends_a_line_in_sse_ends_an_event(separator: str) -> None:
    event = json.dumps(chunk({"content": f"one{separator}two"}), ensure_ascii=False)

    talk = read_conversation("", json.dumps(f"data: {event}\r\n\r\ndata: [DONE]\r\n\r\n"), "sse")

    assert talk.answer_text == f"one{separator}two"


def test_sound_is_shown_as_a_file_that_says_nothing() -> None:
    talk = read_conversation("", json.dumps("[15012 bytes of binary data]"), "binary")

    assert talk.answers == (Turn("assistant", (Part("file", "15012 bytes of binary data"),)),)
    assert talk.answer_text == ""


def test_values_inside_values_without_end_say_nothing() -> None:
    nested = '{"messages":[{"content":[' + '{"type":"tool_result","content":[' * 400 + "]}" * 400 + "]}]}"

    assert read_conversation(nested, nested, "json").prompt_text == ""


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
