"""Anthropic's requests as chat completions, judged by OpenAI's SDK types."""

import json
from typing import Any, get_args

import pytest
from anthropic.types import MessageParam, ToolParam, ToolUnionParam
from anthropic.types.beta import BetaContentBlockParam
from anthropic.types.message_create_params import MessageCreateParamsNonStreaming
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from openai.types.chat.completion_create_params import CompletionCreateParams
from pydantic import TypeAdapter
from typing_extensions import get_type_hints, is_typeddict

from services.gateway.providers.body import JsonBody, parse_json
from services.gateway.providers.errors import BadRequest
from services.gateway.providers.messages.format import MessagesFormat
from services.gateway.providers.messages.request import as_chat
from services.gateway.providers.messages.wire import TRACES, Block
from tests.support.providers.anthropic import exhaust, judged
from tests.support.providers.sdk_requests import Types, strings_in, texts_in

_JUDGE: TypeAdapter[Any] = TypeAdapter(CompletionCreateParams)


def chat_of(**fields: Any) -> Any:
    body = {"model": "m", "max_tokens": 9, "messages": [{"role": "user", "content": "Hello"}], **fields}
    chat = json.loads(as_chat(parse_json(json.dumps(body).encode())).raw_body)
    exhaust(_JUDGE.validate_python(chat))
    return chat


def refused(**fields: Any) -> str | None:
    with pytest.raises(BadRequest) as error:
        chat_of(**fields)
    return error.value.param


def test_a_tool_round_with_thoughts() -> None:
    image = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "aGk="}}
    chat = chat_of(
        system=[{"type": "text", "text": "One."}, {"type": "text", "text": "Two."}],
        messages=[
            {"role": "user", "content": "Hello"},
            {
                "role": "assistant",
                "content": [
                    {"type": "thinking", "thinking": "Hm.", "signature": "c2ln"},
                    {"type": "thinking", "thinking": "Not ours.", "signature": ""},
                    {"type": "text", "text": "Looking."},
                    {"type": "tool_use", "id": "t1", "name": "look", "input": {"a": 1}},
                ],
            },
            {
                "role": "user",
                "content": [
                    {
                        "type": "tool_result",
                        "tool_use_id": "t1",
                        "content": [{"type": "text", "text": "x"}, image],
                    },
                    {"type": "text", "text": "And?"},
                ],
            },
        ],
        tools=[{"name": "look", "input_schema": {"type": "object"}}],
        tool_choice={"type": "any", "disable_parallel_tool_use": True},
    )
    system, _, assistant, result, user = chat["messages"]
    assert system == {"role": "system", "content": "One.\nTwo."}
    assert assistant["content"] == "Looking."
    assert assistant["tool_calls"][0]["function"] == {"name": "look", "arguments": '{"a":1}'}
    assert [detail["signature"] for detail in assistant["reasoning_details"]] == ["c2ln"]
    assert (result["role"], result["tool_call_id"], result["content"]) == ("tool", "t1", "x")
    assert [part["type"] for part in user["content"]] == ["image_url", "text"]
    assert (chat["tool_choice"], chat["parallel_tool_calls"]) == ("required", False)


def test_settings() -> None:
    chat = chat_of(
        stream=True,
        stop_sequences=["END"],
        thinking={"type": "enabled", "budget_tokens": 8000},
        metadata={"user_id": "ada"},
        output_config={"format": {"type": "json_schema", "schema": {"type": "object"}}},
    )
    assert chat["stream_options"] == {"include_usage": True}
    assert (chat["stop"], chat["user"]) == (["END"], "ada")
    assert chat["thinking"] == {"type": "enabled", "budget_tokens": 8000}
    assert chat["response_format"]["json_schema"]["schema"] == {"type": "object"}


def test_nothing_is_something_too() -> None:
    chat = chat_of(temperature=0, top_p=0, stop_sequences=[])
    assert (chat["temperature"], chat["top_p"]) == (0, 0)
    assert "stop" not in chat


def test_a_marker_on_the_request_stands_on_its_end() -> None:
    marker = {"type": "ephemeral", "ttl": "1h"}
    assert chat_of(cache_control=marker)["messages"][-1]["cache_control"] == marker


def test_what_is_left_out_is_told() -> None:
    asked = {"model": "m", "max_tokens": 9, "messages": [], "top_k": 5, "speed": None, "surprise": 1}
    body = parse_json(json.dumps({**asked, "stream": True, "thinking": {"type": "disabled"}}).encode())
    assert MessagesFormat().dropped(body) == ("surprise",)
    assert json.loads(as_chat(body).raw_body)["top_k"] == 5


def test_what_has_no_counterpart_is_refused_by_name() -> None:
    assert refused(mcp_servers=[{"type": "url", "name": "x", "url": "https://x"}]) == "mcp_servers"
    assert refused(container={"skills": []}) == "container"
    assert refused(inference_geo="us") == "inference_geo"
    assert "inference_geo" not in chat_of(mcp_servers=[], container=None, inference_geo="global")
    assert refused(tools=[{"type": "web_search_20250305", "name": "web_search"}]) == "tools[0].type"
    assert refused(messages=[{"role": "user", "content": [{"type": "zip"}]}]) == "messages[0].content[0].type"
    thoughts = {"type": "thinking", "thinking": "Hm.", "signature": "x"}
    assert refused(messages=[{"role": "user", "content": [thoughts]}]) == "messages[0].content[0].type"
    assert refused(messages=3) == "messages"
    assert refused(tools=[{"type": "computer_toolset_20260801"}]) == "tools[0].type"
    assert refused(tools=[{"input_schema": {}}]) == "tools[0].name"


def test_thoughts_that_nobody_signed_go_back_in_the_loop_of_tools_that_they_began() -> None:
    def thought(text: str, *blocks: Any) -> Any:
        unsigned = [{"type": "thinking", "thinking": part, "signature": ""} for part in text.split("|")]
        return {"role": "assistant", "content": [*unsigned, *blocks]}

    use = {"type": "tool_use", "id": "t1", "name": "f", "input": {}}
    result = {"type": "tool_result", "tool_use_id": "t1", "content": "1"}
    ask = {"role": "user", "content": "Hi"}
    answer = {"role": "user", "content": [result, {"type": "text", "text": "Remember."}]}

    def reasoning(*messages: Any) -> list[str]:
        chat = chat_of(messages=list(messages))
        return [
            message["reasoning_content"] for message in chat["messages"] if "reasoning_content" in message
        ]

    assert reasoning(ask, thought("a", use), answer, thought("b|c", use), answer) == ["a", "b\n\nc"]
    assert reasoning(ask, thought("a", use), answer, thought("b"), ask, thought("c", use), answer) == ["c"]
    assert reasoning(ask, thought("a", use), answer, thought("b"), ask) == []
    assert reasoning(ask, thought("a", use)) == []
    assert chat_of(messages=[ask, thought("a"), ask])["messages"] == [ask, ask]


FOUND: Any = {
    "type": "search_result",
    "source": "https://example.org/a",
    "title": "About a",
    "content": [{"type": "text", "text": "It is"}, {"type": "text", "text": "a letter."}],
}
FOUND_TEXT = "About a\nhttps://example.org/a\n\nIt is\n\na letter."


def test_what_a_client_found_is_told_as_a_text() -> None:
    marker = {"type": "ephemeral"}
    names = [{"type": "tool_reference", "tool_name": name} for name in ("look", "listen")]
    chat = chat_of(
        messages=[
            {"role": "user", "content": [FOUND | {"cache_control": marker}, {"type": "text", "text": "So?"}]},
            {"role": "assistant", "content": [{"type": "tool_use", "id": "t1", "name": "find", "input": {}}]},
            {
                "role": "user",
                "content": [{"type": "tool_result", "tool_use_id": "t1", "content": [FOUND, *names]}],
            },
        ]
    )
    asked, _, result = chat["messages"]
    assert asked["content"][0] == {"type": "text", "text": FOUND_TEXT, "cache_control": marker}
    assert result["content"] == f"{FOUND_TEXT}\nlook\nlisten"


def test_a_document_of_parts_is_its_parts() -> None:
    picture = {"type": "image", "source": {"type": "url", "url": "https://example.org/a.png"}}
    marker = {"type": "ephemeral"}

    def of(content: Any, **fields: Any) -> Any:
        document = {"type": "document", "source": {"type": "content", "content": content}, **fields}
        return chat_of(messages=[{"role": "user", "content": [document]}])["messages"]

    (whole,) = of([{"type": "text", "text": "One."}, picture], title="Two", cache_control=marker)
    assert [part.get("text", part["type"]) for part in whole["content"]] == ["Two", "One.", "image_url"]
    assert whole["content"][-1]["cache_control"] == marker
    assert of("All of it.")[0]["content"] == [{"type": "text", "text": "All of it."}]
    assert of([]) == []


SEARCHED: Any = [
    {"type": "server_tool_use", "id": "srvtoolu_1", "name": "web_search", "input": {"query": "x"}},
    {
        "type": "web_search_tool_result",
        "tool_use_id": "srvtoolu_1",
        "content": [{"type": "web_search_result", "url": "u", "title": "t", "encrypted_content": "e"}],
    },
]


def test_the_traces_of_what_servers_did_are_left_out_and_told() -> None:
    state = {"type": "browser_state", "tabs": []}
    said = [*SEARCHED, {"type": "text", "text": "It is so."}]
    result = {"type": "tool_result", "tool_use_id": "t1", "content": [{"type": "text", "text": "a"}, state]}
    messages = [
        {"role": "user", "content": "Is it?"},
        {"role": "assistant", "content": said},
        {"role": "assistant", "content": SEARCHED},
        {"role": "assistant", "content": [{"type": "tool_use", "id": "t1", "name": "f", "input": {}}]},
        {"role": "user", "content": [result]},
    ]
    judged("/v1/messages", {"model": "m", "max_tokens": 9, "messages": messages})

    chat = chat_of(messages=messages)

    assert [message.get("content") for message in chat["messages"]] == ["Is it?", "It is so.", None, "a"]
    assert MessagesFormat().dropped(sent({"messages": messages})) == (
        "messages.browser_state",
        "messages.server_tool_use",
        "messages.web_search_tool_result",
    )


def test_a_trace_that_is_only_quoted_is_no_trace() -> None:
    quoted = json.dumps(SEARCHED)
    used = {"type": "tool_use", "id": "t1", "name": "f", "input": {"block": SEARCHED[0]}}
    messages = [{"role": "user", "content": quoted}, {"role": "assistant", "content": [used]}]

    assert MessagesFormat().dropped(sent({"messages": messages})) == ()


def test_a_summary_of_what_was_said_is_said() -> None:
    summary = {"type": "compaction", "content": "They greeted each other.", "signature": "x"}
    chat = chat_of(messages=[{"role": "assistant", "content": [summary, {"type": "text", "text": "So?"}]}])
    assert chat["messages"][0]["content"] == "They greeted each other.\n\nSo?"
    assert (
        chat_of(messages=[{"role": "assistant", "content": [summary | {"content": None}]}])["messages"] == []
    )
    changed = summary | {
        "tool_changes": [{"type": "tool_removal", "tool": {"type": "tool_reference", "name": "f"}}]
    }
    param = "messages[0].content[0].tool_changes"
    assert refused(messages=[{"role": "assistant", "content": [changed]}]) == param


@pytest.mark.parametrize("role", ["user", "assistant"])
def test_what_another_model_would_have_to_read_is_refused(role: str) -> None:
    upload = {"type": "container_upload", "file_id": "f"}
    assert refused(messages=[{"role": role, "content": [upload]}]) == "messages[0].content[0].type"
    misplaced = SEARCHED[0] if role == "user" else FOUND
    assert refused(messages=[{"role": role, "content": [misplaced]}]) == "messages[0].content[0].type"


def test_every_block_of_a_server_that_their_types_know_is_one() -> None:
    """Else a conversation that came with it could go on with no other model."""
    kinds = [get_type_hints(kind)["type"] for kind in get_args(BetaContentBlockParam) if is_typeddict(kind)]
    known = {name for kind in kinds for name in get_args(kind)}
    translated = {str(kind.__struct_config__.tag) for kind in get_args(Block)}

    assert known - translated == {"container_upload", "tool_addition", "tool_removal"}
    assert translated <= known


blocks = st.one_of(
    st.builds(lambda text: {"type": "text", "text": text}, st.text(max_size=5)),
    st.just({"type": "image", "source": {"type": "url", "url": "https://example.org/a.png"}}),
    st.just(
        {
            "type": "document",
            "source": {"type": "base64", "media_type": "application/pdf", "data": "JVBERi0x"},
        }
    ),
    st.just({"type": "document", "source": {"type": "text", "media_type": "text/plain", "data": "x"}}),
    st.just({"type": "tool_use", "id": "t", "name": "n", "input": {}}),
    st.just({"type": "tool_result", "tool_use_id": "t", "content": "x", "is_error": True}),
    st.just({"type": "tool_result", "tool_use_id": "t"}),
    st.just({"type": "thinking", "thinking": "x", "signature": "y"}),
    st.just({"type": "redacted_thinking", "data": "x"}),
    st.just({"type": "search_result", "source": "s", "title": "t", "content": []}),
    st.just(
        {"type": "document", "source": {"type": "content", "content": [{"type": "text", "text": "doc"}]}}
    ),
    st.just({"type": "container_upload", "file_id": "f"}),
    st.just({"type": "server_tool_use", "id": "s", "name": "web_search", "input": {"query": "q"}}),
)
turns = st.builds(
    lambda role, content: {"role": role, "content": content},
    st.sampled_from(["user", "assistant"]),
    st.one_of(st.text(max_size=5), st.lists(blocks, max_size=4)),
)


@given(st.lists(turns, min_size=1, max_size=4))
def test_whatever_their_types_allow_is_translated_or_refused_by_name(messages: list[Any]) -> None:
    judged("/v1/messages", {"model": "m", "max_tokens": 9, "messages": messages})
    try:
        chat = chat_of(messages=messages)
    except BadRequest as error:
        assert error.param is not None and error.param.startswith("messages[")
    else:
        assert lost({"messages": messages}, chat) == []


def lost(request: Any, chat: Any) -> list[str]:
    """What somebody says in a request and nobody in the chat, but for what is told to be left out."""
    written = strings_in(chat["messages"])
    told = {name.removeprefix("messages.") for name in MessagesFormat().dropped(sent(request))}
    kept = without(told & TRACES, {name: request.get(name) for name in ("system", "messages")})
    said = texts_in(kept, "text", "content", "system")
    return [text for text in said if not any(text in whole for whole in written)]


def sent(request: Any) -> JsonBody:
    return parse_json(json.dumps({"model": "m", "max_tokens": 9, **request}).encode())


def without(types: set[str], value: Any) -> Any:
    """A JSON value without the objects of these types."""
    if isinstance(value, list):
        found = [without(types, inner) for inner in value]
        return [
            inner
            for inner, was in zip(found, value, strict=True)
            if not isinstance(was, dict) or was.get("type") not in types
        ]
    if isinstance(value, dict):
        return {name: without(types, inner) for name, inner in value.items()}
    return value


SDK = Types()
ANY_REQUEST = SDK.objects(
    MessageCreateParamsNonStreaming,
    model=st.just("m"),
    messages=st.lists(SDK.of(MessageParam), min_size=1, max_size=3),
    tools=st.lists(SDK.of(ToolParam), max_size=2) | st.lists(SDK.of(ToolUnionParam), max_size=2),
)


def test_whatever_the_sdk_lets_people_send_becomes_a_chat_or_is_refused_by_name() -> None:
    translated = []

    @settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.too_slow])
    @given(request=ANY_REQUEST)
    def check(request: dict[str, Any]) -> None:
        body = parse_json(json.dumps(request).encode())
        try:
            chat = json.loads(as_chat(body).raw_body)
        except BadRequest as refused:
            assert refused.param
            assert refused.param.split("[")[0].split(".")[0] in request
            return
        exhaust(_JUDGE.validate_python(chat))
        assert lost(request, chat) == []
        translated.append(chat)

    check()
    assert len(translated) > 40
