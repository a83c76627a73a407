"""A Responses request as a chat request: what comes out is what OpenAI's own types call a chat completion."""

import json
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from openai.types.chat.completion_create_params import CompletionCreateParamsNonStreaming
from openai.types.responses import (
    EasyInputMessageParam,
    FunctionToolParam,
    Response,
    ResponseFunctionToolCallParam,
    ResponseInputItemParam,
    ResponseOutputMessageParam,
    ResponseReasoningItemParam,
    ToolParam,
)
from openai.types.responses.response_create_params import ResponseCreateParamsNonStreaming
from openai.types.responses.response_input_item_param import FunctionCallOutput
from typing_extensions import get_type_hints

from services.gateway.providers.body import JsonBody, parse_json
from services.gateway.providers.chat.memory import Memory, sealed
from services.gateway.providers.errors import BadRequest
from services.gateway.providers.responses.format import ResponsesFormat
from services.gateway.providers.responses.request import left_out, to_chat
from services.gateway.providers.usage import Usage
from shared.events import Tokens
from tests.support.providers.anthropic import exhaust
from tests.support.providers.responses_requests import CHAT, RESPONSES, TRACES, body_of, chat_of
from tests.support.providers.sdk_requests import Types, strings_in, texts_in

WEATHER = {"type": "object", "properties": {"city": {"type": "string"}}}


def test_a_text_is_what_the_user_says_and_instructions_come_first() -> None:
    chat = chat_of(
        "hello", instructions="Be brief.", max_output_tokens=9, temperature=0.5, user="u", store=False
    )

    assert chat == {
        "model": "m",
        "messages": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "hello"}],
        "max_tokens": 9,
        "temperature": 0.5,
        "user": "u",
    }


def test_words_and_calls_of_one_turn_become_one_message() -> None:
    chat = chat_of(
        [
            {"role": "user", "content": [{"type": "input_text", "text": "Oslo and Rome?"}]},
            {"type": "reasoning", "id": "rs_1", "summary": []},
            {
                "type": "message",
                "id": "msg_1",
                "role": "assistant",
                "status": "completed",
                "content": [{"type": "output_text", "text": "I look.", "annotations": []}],
            },
            {"type": "function_call", "call_id": "a", "name": "weather", "arguments": '{"city":"Oslo"}'},
            {"type": "function_call", "call_id": "b", "name": "weather", "arguments": '{"city":"Rome"}'},
            {"type": "function_call_output", "call_id": "a", "output": "cold"},
            {
                "type": "function_call_output",
                "call_id": "b",
                "output": [{"type": "input_text", "text": "warm"}],
            },
            {"role": "assistant", "content": "Cold and warm."},
            {"role": "user", "content": "Thanks"},
        ]
    )

    said = chat["messages"]
    assert [message["role"] for message in said] == ["user", "assistant", "tool", "tool", "assistant", "user"]
    assert said[1]["content"] == "I look."
    assert [call["id"] for call in said[1]["tool_calls"]] == ["a", "b"]
    assert said[1]["tool_calls"][0]["function"] == {"name": "weather", "arguments": '{"city":"Oslo"}'}
    assert [message["content"] for message in said[2:4]] == ["cold", "warm"]


def test_what_a_provider_wants_back_returns_to_its_turn() -> None:
    details = [{"type": "reasoning.text", "text": "hm", "signature": "s1"}]
    chat = chat_of(
        [
            {"role": "user", "content": "hi"},
            {
                "type": "reasoning",
                "id": "rs_0",
                "summary": [{"type": "summary_text", "text": "hm"}],
                "encrypted_content": sealed(Memory(details)),
            },
            {"type": "function_call", "call_id": "a", "name": "f", "arguments": "{}"},
            {
                "type": "reasoning",
                "id": "rs_1",
                "summary": [],
                "encrypted_content": sealed(Memory(calls={"a": {"google": {"thought_signature": "t"}}})),
            },
            {"type": "function_call_output", "call_id": "a", "output": "1"},
            {"type": "reasoning", "id": "rs_2", "summary": [], "encrypted_content": "gAAAA-not-ours"},
        ]
    )

    assert chat["messages"][1]["reasoning_details"] == details
    assert chat["messages"][1]["tool_calls"][0]["extra_content"] == {"google": {"thought_signature": "t"}}


def test_pictures_files_and_sounds_become_parts() -> None:
    chat = chat_of(
        [
            {
                "role": "user",
                "content": [
                    {"type": "input_text", "text": "What is this?"},
                    {"type": "input_image", "image_url": "data:image/png;base64,AA==", "detail": "low"},
                    {
                        "type": "input_file",
                        "file_data": "data:application/pdf;base64,AA==",
                        "filename": "a.pdf",
                    },
                ],
            }
        ]
    )

    assert chat["messages"][0]["content"] == [
        {"type": "text", "text": "What is this?"},
        {"type": "image_url", "image_url": {"url": "data:image/png;base64,AA==", "detail": "low"}},
        {"type": "file", "file": {"file_data": "data:application/pdf;base64,AA==", "filename": "a.pdf"}},
    ]


@pytest.mark.parametrize(
    ("choice", "expected"),
    [
        ("auto", "auto"),
        ("required", "required"),
        ({"type": "function", "name": "g"}, {"type": "function", "function": {"name": "g"}}),
    ],
)
def test_tools_and_their_choice_are_nested_for_a_chat(choice: Any, expected: Any) -> None:
    tools = [
        {"type": "function", "name": name, "description": "d", "parameters": WEATHER, "strict": True}
        for name in "fg"
    ]
    chat = chat_of(tools=tools, tool_choice=choice, parallel_tool_calls=False)

    function = {"name": "f", "description": "d", "parameters": WEATHER, "strict": True}
    assert chat["tools"][0] == {"type": "function", "function": function}
    assert chat["tool_choice"] == expected
    assert chat["parallel_tool_calls"] is False


def test_a_function_that_may_be_called_beside_others_needs_functions() -> None:
    assert "parallel_tool_calls" not in chat_of(parallel_tool_calls=True)


def test_what_belongs_to_responses_alone_does_not_reach_a_chat_and_what_nobody_knows_does() -> None:
    own = {"client_metadata": {"x-codex-installation-id": "z"}, "truncation": "auto", "max_tool_calls": 3}
    chat = json.loads(to_chat(body_of(**own, top_k=3, min_p=0.1, chat_template_kwargs={"a": 1})).raw_body)

    assert chat.keys() == {"model", "messages", "top_k", "min_p", "chat_template_kwargs"}
    assert left_out(body_of(**own)) == ("client_metadata", "max_tool_calls", "truncation")
    assert left_out(body_of(client_metadata={})) == ()


OF_RESPONSES_ALONE = sorted(
    get_type_hints(ResponseCreateParamsNonStreaming).keys()
    - get_type_hints(CompletionCreateParamsNonStreaming).keys()
)


@pytest.mark.parametrize("name", OF_RESPONSES_ALONE)
def test_no_field_of_the_published_format_that_chats_lack_reaches_one(name: str) -> None:
    try:
        chat = json.loads(to_chat(_with_input({"input": "hi", name: {"a": 1}})).raw_body)
    except BadRequest as refused:
        assert refused.param is not None and refused.param.startswith(name)
    else:
        assert name not in chat


def test_allowed_tools_are_the_only_ones_that_are_offered() -> None:
    tools = [{"type": "function", "name": name, "parameters": WEATHER, "strict": None} for name in "fg"]
    allowed = {"type": "allowed_tools", "mode": "required", "tools": [{"type": "function", "name": "g"}]}
    chat = chat_of(tools=tools, tool_choice=allowed)

    assert [tool["function"]["name"] for tool in chat["tools"]] == ["g"]
    assert chat["tool_choice"] == "required"


def test_the_form_of_the_answer_and_the_effort() -> None:
    form = {"type": "json_schema", "name": "w", "schema": WEATHER, "strict": True}
    chat = chat_of(
        text={"format": form, "verbosity": "low"},
        reasoning={"effort": "low", "summary": "auto"},
        include=["message.output_text.logprobs"],
        top_logprobs=2,
        truncation="auto",
        metadata={"a": "b"},
    )

    schema = {"name": "w", "schema": WEATHER, "strict": True}
    assert chat["response_format"] == {"type": "json_schema", "json_schema": schema}
    assert (chat["verbosity"], chat["reasoning_effort"]) == ("low", "low")
    assert (chat["logprobs"], chat["top_logprobs"]) == (True, 2)
    assert "truncation" not in chat and "metadata" not in chat and "text" not in chat
    assert left_out(body_of(truncation="auto")) == ("truncation",)
    assert left_out(body_of(truncation="disabled")) == ()
    assert left_out(body_of(store=True)) == ("store",)
    assert left_out(body_of(store=False)) == ()
    assert left_out(body_of(service_tier="ultrafast")) == ("service_tier",)
    assert "service_tier" not in chat_of(service_tier="ultrafast")
    assert chat_of(service_tier="flex")["service_tier"] == "flex"


def test_a_chat_clients_way_to_say_effort_and_tools_is_understood() -> None:
    nested = {"type": "function", "function": {"name": "f", "parameters": WEATHER}}
    chat = json.loads(to_chat(body_of(reasoning_effort="high", tools=[nested], seed=3)).raw_body)

    assert chat["reasoning_effort"] == "high"
    assert chat["tools"] == [nested]
    assert chat["seed"] == 3


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"previous_response_id": "resp_1"}, "previous_response_id"),
        ({"conversation": "conv_1"}, "conversation"),
        ({"prompt": {"id": "p"}}, "prompt"),
        ({"background": True}, "background"),
        ({"tools": [{"type": "web_search"}]}, "tools[0].type"),
        ({"tools": [{"type": "function", "parameters": {}}]}, "tools[0].name"),
        ({"tools": {}}, "tools"),
        ({"tool_choice": {"type": "web_search"}}, "tool_choice.type"),
        ({"tool_choice": "required"}, "tool_choice"),
        ({"tool_choice": {"type": "function", "name": "f"}}, "tool_choice"),
        ({"text": {"format": {"type": "grammar"}}}, "text.format.type"),
        ({"text": {"format": {"type": 3}}}, "text.format.type"),
        ({"input": None}, "input"),
        ({"input": []}, "input"),
        ({"input": [{"type": "item_reference", "id": "x"}]}, "input[0].type"),
        ({"input": [{"type": "computer_call_output"}]}, "input[0].type"),
        ({"input": [{"type": "compaction", "encrypted_content": "x"}]}, "input[0].type"),
        ({"input": [{"role": "user", "content": "x"}, {"type": "mcp_approval_response", "approval_request_id": "r", "approve": True}]}, "input[1].type"),
        ({"input": [{"type": "web_search_call", "id": "ws_1"}]}, "input"),
        ({"input": [{"type": "shell_call", "call_id": "a"}]}, "input[0].action"),
        ({"input": [{"type": "shell_call", "action": {"commands": []}}]}, "input[0].call_id"),
        ({"input": [{"type": "local_shell_call_output", "output": "x"}]}, "input[0].id"),
        ({"input": [{"type": "custom_tool_call", "call_id": "a", "input": "x"}]}, "input[0].name"),
        ({"input": [{"type": "function_call_output", "call_id": "a"}]}, "input[0].output"),
        ({"input": [{"type": "function_call_output", "call_id": "a", "output": 4}]}, "input[0].output"),
        ({"input": [{"type": "function_call_output", "call_id": "a", "output": [{"type": "input_image", "file_id": "f"}]}]}, "input[0].output[0].image_url"),
        ({"input": [{"role": "king", "content": "x"}]}, "input[0].role"),
        ({"input": [{"role": "user"}]}, "input[0].content"),
        ({"input": [{"role": "system", "content": [{"type": "input_image", "image_url": "https://x/y"}]}]}, "input[0].content[0].type"),
        ({"input": [{"role": "developer", "content": [{"type": "input_text", "text": "a"}, {"type": "input_file", "file_data": "x"}]}]}, "input[0].content[1].type"),
        ({"input": [{"role": "user", "content": 4}]}, "input[0].content"),
        ({"input": [{"type": "function_call", "name": "f"}]}, "input[0].call_id"),
        ({"input": [{"type": "function_call_output", "output": "f"}]}, "input[0].call_id"),
        ({"input": [{"role": "user", "content": [{"type": "input_image", "file_id": "f"}]}]}, "input[0].content[0].image_url"),
        ({"input": [{"role": "user", "content": [{"type": "input_file", "file_id": "f"}]}]}, "input[0].content[0].file_data"),
    ],
)  # fmt: skip
def test_what_no_chat_has_is_refused_by_name(fields: dict[str, Any], param: str) -> None:
    with pytest.raises(BadRequest) as caught:
        to_chat(body_of(**{"given_input": "x", **fields}) if "input" not in fields else _with_input(fields))

    assert caught.value.param == param
    assert param in caught.value.message


def _with_input(fields: dict[str, Any]) -> JsonBody:
    return parse_json(json.dumps({"model": "m", **fields}).encode())


TEXT = st.text(max_size=8)
PARTS = st.one_of(
    st.builds(lambda text: {"type": "input_text", "text": text}, TEXT),
    st.just({"type": "input_image", "image_url": "https://x/y.png", "detail": "auto"}),
    st.just({"type": "input_file", "file_id": "f"}),
)
ITEMS = st.one_of(
    st.builds(
        lambda role, content: {"role": role, "content": content},
        st.sampled_from(["user", "system", "developer", "assistant"]),
        st.one_of(TEXT, st.lists(PARTS, min_size=1, max_size=3)),
    ),
    st.builds(lambda name: {"type": "function_call", "call_id": "c", "name": name, "arguments": "{}"}, TEXT),
    st.builds(lambda text: {"type": "function_call_output", "call_id": "c", "output": text}, TEXT),
    st.just({"type": "reasoning", "id": "r", "summary": []}),
    st.just({"type": "local_shell_call_output", "id": "r", "output": "x"}),
)
REQUESTS = st.fixed_dictionaries(
    {"input": st.one_of(TEXT, st.lists(ITEMS, max_size=6))},
    optional={
        "instructions": TEXT,
        "max_output_tokens": st.integers(0, 9),
        "tool_choice": st.sampled_from(
            ["auto", "none", {"type": "function", "name": "f"}, {"type": "shell"}]
        ),
        "tools": st.lists(
            st.sampled_from(
                [
                    {"type": "function", "name": "f", "parameters": {}, "strict": True},
                    {"type": "web_search"},
                    {"type": "custom", "name": "c"},
                ]
            ),
            max_size=2,
        ),
        "text": st.sampled_from([{"format": {"type": "text"}}, {"verbosity": "low"}, {}]),
        "reasoning": st.sampled_from([{"effort": "low"}, {"summary": "auto"}, {}]),
        "previous_response_id": st.one_of(st.none(), TEXT),
    },
)


@given(request=REQUESTS)
def test_any_request_becomes_a_chat_or_is_refused_by_name(request: dict[str, Any]) -> None:
    RESPONSES.validate_python(request | {"model": "m"})
    try:
        chat = to_chat(_with_input(request))
    except BadRequest as refused:
        assert refused.param
        assert refused.param.split("[")[0].split(".")[0] in request
    else:
        CHAT.validate_json(chat.raw_body)
        assert msgspec.json.decode(chat.raw_body)["messages"]


SDK = Types()
SPOKEN_ITEMS = st.one_of(
    [
        SDK.of(kind)
        for kind in (
            EasyInputMessageParam,
            ResponseFunctionToolCallParam,
            ResponseOutputMessageParam,
            ResponseReasoningItemParam,
            FunctionCallOutput,
        )
    ]
)


def requests_of(items: st.SearchStrategy[Any], tools: Any) -> st.SearchStrategy[Any]:
    return SDK.objects(
        ResponseCreateParamsNonStreaming,
        model=st.just("m"),
        input=TEXT | st.lists(items, max_size=4),
        tools=st.lists(SDK.of(tools), max_size=2),
    )


ANY_REQUEST = requests_of(SDK.of(ResponseInputItemParam), ToolParam) | requests_of(
    SPOKEN_ITEMS, FunctionToolParam
)


COMPLETION = {"choices": msgspec.Raw(b'[{"message":{"content":"Hi"},"finish_reason":"stop"}]')}


def test_whatever_the_sdk_lets_people_send_becomes_a_chat_or_is_refused_by_name() -> None:
    translated = []

    @settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.too_slow])
    @given(request=ANY_REQUEST)
    def check(request: dict[str, Any]) -> None:
        exhaust(RESPONSES.validate_python(request))
        body = _with_input(request)
        try:
            chat = json.loads(to_chat(body).raw_body)
        except BadRequest as refused:
            assert refused.param
            assert refused.param.split("[")[0].split(".")[0] in request
            return
        exhaust(CHAT.validate_python(chat))
        items = request["input"] if isinstance(request["input"], list) else []
        silent = {"reasoning", *(trace["type"] for trace in TRACES)}
        said = texts_in(
            [item for item in items if item.get("type") not in silent], "text", "refusal", "output"
        )
        written = strings_in(chat["messages"])
        assert [text for text in said if not any(text in whole for whole in written)] == []
        Response.model_validate_json(ResponsesFormat().answer(body, COMPLETION, Usage(Tokens())))
        translated.append(chat)

    check()
    assert len(translated) > 20
