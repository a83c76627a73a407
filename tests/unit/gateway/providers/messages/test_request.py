"""Anthropic's requests as chat completions, judged by OpenAI's SDK types."""

import json
from typing import Any

import pytest
from anthropic.types import MessageParam, ToolParam, ToolUnionParam
from anthropic.types.message_create_params import MessageCreateParamsNonStreaming
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from openai.types.chat.completion_create_params import CompletionCreateParams
from pydantic import TypeAdapter

from services.gateway.providers.body import parse_json
from services.gateway.providers.errors import BadRequest
from services.gateway.providers.messages.format import MessagesFormat
from services.gateway.providers.messages.request import as_chat
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
    st.just({"type": "container_upload", "file_id": "f"}),
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
    """What somebody says in a request and nobody in the chat."""
    written = strings_in(chat["messages"])
    said = texts_in({name: request.get(name) for name in ("system", "messages")}, "text", "content", "system")
    return [text for text in said if not any(text in whole for whole in written)]


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
