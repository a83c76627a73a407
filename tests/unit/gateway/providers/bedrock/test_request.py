"""What a chat becomes at Bedrock."""

import base64
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.gateway.providers.bedrock.adapter import BedrockAdapter
from services.gateway.providers.bedrock.tools import ANSWER_TOOL
from services.gateway.providers.chat.images import Fetched
from services.gateway.providers.errors import BadRequest
from services.gateway.providers.operations import Operation
from tests.support.providers.bedrock import CLAUDE
from tests.unit.gateway.providers.bedrock.build import built, chat_body, params, target

PNG = b"\x89PNG\r\n\x1a\n" + bytes(8)
PDF = b"%PDF-1.7 ..."
NOVA = "amazon.nova-pro-v1:0"
NOVA_2 = "us.amazon.nova-2-lite-v1:0"
OPUS = "global.anthropic.claude-opus-5-5"
LLAMA = "meta.llama3-1-70b-instruct-v1:0"
WEATHER: Any = {
    "type": "function",
    "function": {
        "name": "weather",
        "description": "Weather.",
        "parameters": {"type": "object", "properties": {}},
    },
}
USER = {"role": "user", "content": "Hi"}
CALL: Any = {
    "role": "assistant",
    "tool_calls": [
        {"id": "t1", "type": "function", "function": {"name": "weather", "arguments": '{"city":"Oslo"}'}},
        {"id": "t2", "type": "function", "function": {"name": "weather", "arguments": ""}},
    ],
}
RESULTS: Any = [
    {"role": "tool", "tool_call_id": "t1", "content": "sun"},
    {"role": "tool", "tool_call_id": "t2", "content": ""},
]
SCHEMA: Any = {
    "type": "json_schema",
    "json_schema": {"name": "city", "schema": {"type": "object", "properties": {"name": {"type": "string"}}}},
}


def url(media_type: str, data: bytes) -> str:
    return f"data:{media_type};base64,{base64.b64encode(data).decode()}"


def test_system_messages_stand_apart_and_the_same_speaker_goes_on() -> None:
    found = params(
        chat_body(
            {"role": "system", "content": "Be brief."},
            {"role": "developer", "content": "Be kind."},
            USER,
            {"role": "user", "content": [{"type": "text", "text": "there"}, {"type": "text", "text": "  "}]},
            {"role": "assistant", "content": "Hello"},
            USER,
        )
    )

    assert found["system"] == [{"text": "Be brief."}, {"text": "Be kind."}]
    assert found["messages"] == [
        {"role": "user", "content": [{"text": "Hi"}, {"text": "there"}]},
        {"role": "assistant", "content": [{"text": "Hello"}]},
        {"role": "user", "content": [{"text": "Hi"}]},
    ]


def test_the_parameters_that_converse_has() -> None:
    found, prepared = built(
        chat_body(
            max_completion_tokens=50,
            temperature=1.5,
            top_p=0.5,
            top_k=40,
            stop=["END", ""],
            seed=1,
            service_tier="priority",
            metadata={"team": "a-1"},
            user="u",
        ),
        target(NOVA),
    )

    assert found["inferenceConfig"] == {
        "maxTokens": 50,
        "temperature": 1.0,
        "topP": 0.5,
        "stopSequences": ["END"],
    }
    assert found["additionalModelRequestFields"] == {"inferenceConfig": {"topK": 40}}
    assert found["serviceTier"] == {"type": "priority"}
    assert found["requestMetadata"] == {"team": "a-1"}
    assert prepared.dropped == ("seed", "stop", "temperature")


def test_claude_takes_one_of_temperature_and_top_p() -> None:
    found, prepared = built(chat_body(temperature=0.2, top_p=0.5, top_k=3))

    assert found["inferenceConfig"] == {"temperature": 0.2}
    assert found["additionalModelRequestFields"] == {"top_k": 3}
    assert prepared.dropped == ("top_p",)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("n", 2),
        ("logprobs", True),
        ("web_search_options", {}),
        ("modalities", ["audio"]),
        ("temperature", -1),
    ],
)
def test_what_would_change_the_answer_is_refused(name: str, value: Any) -> None:
    with pytest.raises(BadRequest) as refused:
        params(chat_body(**{name: value}))

    assert refused.value.param == name


def test_a_round_of_tools() -> None:
    found = params(chat_body(USER, CALL, *RESULTS, {"role": "user", "content": "Thanks"}, tools=[WEATHER]))

    assert found["messages"][1]["content"] == [
        {"toolUse": {"toolUseId": "t1", "name": "weather", "input": {"city": "Oslo"}}},
        {"toolUse": {"toolUseId": "t2", "name": "weather", "input": {}}},
    ]
    assert found["messages"][2]["content"] == [
        {"toolResult": {"toolUseId": "t1", "content": [{"text": "sun"}]}},
        {"toolResult": {"toolUseId": "t2", "content": []}},
        {"text": "Thanks"},
    ]
    assert [tool["toolSpec"]["name"] for tool in found["toolConfig"]["tools"]] == ["weather"]
    assert "toolChoice" not in found["toolConfig"]


def test_the_input_of_a_tool_is_an_object_even_when_its_schema_does_not_say_so() -> None:
    tool = {"type": "function", "function": {"name": "f", "parameters": {"properties": {"a": {}}}}}

    spec = params(chat_body(tools=[tool]))["toolConfig"]["tools"][0]["toolSpec"]

    assert spec["inputSchema"]["json"] == {"type": "object", "properties": {"a": {}}}


def test_tools_of_the_past_are_declared_even_when_the_request_has_none() -> None:
    found = params(chat_body(USER, CALL, *RESULTS))

    assert [tool["toolSpec"]["name"] for tool in found["toolConfig"]["tools"]] == ["weather"]


@pytest.mark.parametrize(
    ("choice", "expected"),
    [
        ("auto", None),
        ("required", {"any": {}}),
        ({"type": "function", "function": {"name": "weather"}}, {"tool": {"name": "weather"}}),
    ],
)
def test_the_choice_of_tools(choice: Any, expected: Any) -> None:
    assert params(chat_body(tools=[WEATHER], tool_choice=choice))["toolConfig"].get("toolChoice") == expected


def test_no_tools_are_shown_when_none_may_be_called() -> None:
    assert "toolConfig" not in params(chat_body(tools=[WEATHER], tool_choice="none"))
    with pytest.raises(BadRequest) as refused:
        params(chat_body(USER, CALL, *RESULTS, tools=[WEATHER], tool_choice="none"))
    assert refused.value.param == "tool_choice"


def test_only_the_allowed_tools_are_shown() -> None:
    other = {"type": "function", "function": {"name": "other"}}
    allowed = {"mode": "required", "tools": [{"type": "function", "function": {"name": "other"}}]}

    config = params(
        chat_body(tools=[WEATHER, other], tool_choice={"type": "allowed_tools", "allowed_tools": allowed})
    )["toolConfig"]

    assert [tool["toolSpec"]["name"] for tool in config["tools"]] == ["other"]
    assert config["toolChoice"] == {"any": {}}


def test_ids_that_converse_would_refuse_are_changed_on_both_sides() -> None:
    call = {**CALL, "tool_calls": [{**CALL["tool_calls"][0], "id": "x" * 80}]}
    result = {**RESULTS[0], "tool_call_id": "x" * 80}

    found = params(chat_body(USER, call, result, tools=[WEATHER]))["messages"]

    used = found[1]["content"][0]["toolUse"]["toolUseId"]
    assert len(used) <= 64
    assert found[2]["content"][0]["toolResult"]["toolUseId"] == used


def test_a_schema_is_asked_for_as_the_input_of_a_forced_tool() -> None:
    config = params(chat_body(response_format=SCHEMA))["toolConfig"]

    assert config["toolChoice"] == {"tool": {"name": ANSWER_TOOL}}
    assert config["tools"][0]["toolSpec"]["inputSchema"]["json"] == SCHEMA["json_schema"]["schema"]
    with_tools = params(chat_body(response_format={"type": "json_object"}, tools=[WEATHER]))["toolConfig"]
    assert with_tools["toolChoice"] == {"any": {}}
    assert [tool["toolSpec"]["name"] for tool in with_tools["tools"]] == ["weather", ANSWER_TOOL]


@pytest.mark.parametrize("model", ["openai.gpt-oss-120b-1:0", "us.openai.gpt-5.6-sol", "qwen.qwen3-32b-v1:0"])
def test_a_model_that_no_tool_can_be_forced_upon_is_held_to_the_format(model: str) -> None:
    schema = params(chat_body(response_format=SCHEMA), target(model))
    plain = params(chat_body(response_format={"type": "json_object"}), target(model))
    with_tools = params(chat_body(response_format=SCHEMA, tools=[WEATHER]), target(model))

    assert "toolConfig" not in schema
    assert schema["outputConfig"] == with_tools["outputConfig"]
    assert schema["outputConfig"]["textFormat"]["structure"]["jsonSchema"]["name"] == "city"
    assert [tool["toolSpec"]["name"] for tool in with_tools["toolConfig"]["tools"]] == ["weather"]
    assert "JSON object" in plain["system"][0]["text"]
    assert plain.keys() == {"messages", "system"}


def test_pictures_documents_and_recordings() -> None:
    parts = [
        {"type": "image_url", "image_url": {"url": url("image/jpeg", PNG)}},
        {"type": "file", "file": {"file_data": url("application/pdf", PDF), "filename": "Q3 – report.pdf"}},
        {"type": "file", "file": {"file_data": url("application/pdf", PDF), "filename": "Q3 – report.pdf"}},
        {"type": "input_audio", "input_audio": {"data": "AAAA", "format": "wav"}},
        {"type": "text", "text": "What is this?"},
    ]

    content = params(chat_body({"role": "user", "content": parts}))["messages"][0]["content"]

    assert content[0] == {"image": {"format": "png", "source": {"bytes": PNG}}}
    assert content[1] == {"document": {"format": "pdf", "name": "Q3 report", "source": {"bytes": PDF}}}
    assert content[2]["document"]["name"] == "Q3 report 2"
    assert content[3] == {"audio": {"format": "wav", "source": {"bytes": bytes(3)}}}


def test_pictures_by_address_are_fetched_first() -> None:
    address = "https://example.com/cat.png"
    body = chat_body({"role": "user", "content": [{"type": "image_url", "image_url": {"url": address}}]})

    assert BedrockAdapter().needs_bytes(Operation.CHAT, body) == (address,)
    assert BedrockAdapter().needs_bytes(Operation.CHAT, chat_body()) == ()
    to = target(fetched={address: Fetched("image/png", PNG)})
    assert params(body, to)["messages"][0]["content"][0]["image"]["source"]["bytes"] == PNG
    with pytest.raises(BadRequest, match="messages\\[0\\].content\\[0\\].image_url.url"):
        params(body)


def test_caching_markers_become_cache_points() -> None:
    marked = {"type": "text", "text": "Long.", "cache_control": {"type": "ephemeral", "ttl": "1h"}}
    tool = {**WEATHER, "cache_control": {"type": "ephemeral"}}
    body = chat_body(
        {"role": "system", "content": [marked]}, USER, tools=[tool], cache_control={"type": "ephemeral"}
    )

    found = params(body)

    assert found["system"][1] == {"cachePoint": {"type": "default", "ttl": "1h"}}
    assert found["toolConfig"]["tools"][1] == {"cachePoint": {"type": "default"}}
    assert found["messages"][-1]["content"][-1] == {"cachePoint": {"type": "default"}}
    without, prepared = built(body, target(LLAMA))
    assert without["system"] == [{"text": "Long."}]
    assert prepared.dropped == ("cache_control",)
    nova, prepared = built(body, target(NOVA))
    assert nova["system"][1] == {"cachePoint": {"type": "default"}}
    assert len(nova["toolConfig"]["tools"]) == 1
    assert prepared.dropped == ("cache_control", "cache_control.ttl")


def test_five_minutes_are_what_happens_anyway() -> None:
    marked = {"type": "text", "text": "Long.", "cache_control": {"type": "ephemeral", "ttl": "5m"}}

    found, prepared = built(chat_body({"role": "user", "content": [marked]}))

    assert found["messages"][0]["content"][1] == {"cachePoint": {"type": "default"}}
    assert prepared.dropped == ()


def test_a_tool_is_kept_to_its_schema_where_the_model_can_be() -> None:
    schema = {"type": "object", "properties": {"n": {"type": "integer", "minimum": 1}}, "required": ["n"]}
    tool = {"type": "function", "function": {"name": "count", "strict": True, "parameters": schema}}

    spec = params(chat_body(tools=[tool]))["toolConfig"]["tools"][0]["toolSpec"]
    other, prepared = built(chat_body(tools=[tool]), target(NOVA))

    assert spec["strict"] is True
    assert spec["inputSchema"]["json"]["additionalProperties"] is False
    assert "minimum" not in spec["inputSchema"]["json"]["properties"]["n"]
    assert other["toolConfig"]["tools"][0]["toolSpec"] == {"name": "count", "inputSchema": {"json": schema}}
    assert prepared.dropped == ("strict",)


def test_signed_reasoning_goes_back_and_no_other() -> None:
    details = [
        {"type": "reasoning.text", "text": "Hmm", "signature": "c2ln", "format": "bedrock-converse-v1"},
        {"type": "reasoning.encrypted", "data": "AAAA"},
        {"type": "reasoning.text", "text": "unsigned"},
        {"type": "reasoning.text", "text": "other", "signature": "x", "format": "google-gemini-v1"},
    ]
    said = {"role": "assistant", "content": "Yes", "reasoning_details": details}

    content = params(chat_body(USER, said, USER))["messages"][1]["content"]
    elsewhere = params(chat_body(USER, said, USER), target(NOVA))["messages"][1]["content"]

    assert elsewhere == [{"text": "Yes"}]
    assert content == [
        {"reasoningContent": {"reasoningText": {"text": "Hmm", "signature": "c2ln"}}},
        {"reasoningContent": {"redactedContent": bytes(3)}},
        {"text": "Yes"},
    ]


def test_the_operators_guardrail_is_not_the_clients_to_change() -> None:
    own = {"guardrailIdentifier": "abc", "guardrailVersion": "1"}
    body = chat_body(guardrailConfig=own, performanceConfig={"latency": "optimized"})

    assert params(body)["guardrailConfig"] == own
    assert params(body)["performanceConfig"] == {"latency": "optimized"}
    governed = target(options={"guardrail_identifier": "xyz", "guardrail_version": "2"})
    assert params(body, governed)["guardrailConfig"] == {
        "guardrailIdentifier": "xyz",
        "guardrailVersion": "2",
    }


@pytest.mark.parametrize("text", ["", "  "])
def test_a_conversation_in_which_nobody_speaks_is_refused(text: str) -> None:
    with pytest.raises(BadRequest) as refused:
        params(chat_body({"role": "user", "content": text}, {"role": "system", "content": "x"}))

    assert refused.value.param == "messages"


_text = st.text(max_size=12)
_part = st.one_of(
    st.builds(lambda text: {"type": "text", "text": text}, _text),
    st.builds(lambda data: {"type": "image_url", "image_url": {"url": url("image/png", data)}}, st.binary(max_size=9)),
    st.builds(
        lambda data, name: {"type": "file", "file": {"file_data": url("application/pdf", data), "filename": name}},
        st.binary(max_size=9), _text,
    ),
)  # fmt: skip
_message = st.one_of(
    st.builds(
        lambda role, content: {"role": role, "content": content},
        st.sampled_from(["system", "developer", "user"]),
        st.one_of(_text, st.lists(_part, max_size=3)),
    ),
    st.builds(lambda text: {**CALL, "content": text}, _text),
    st.builds(lambda id, text: {"role": "tool", "tool_call_id": id, "content": text}, _text, _text),
)
_fields = st.fixed_dictionaries(
    {},
    optional={
        "temperature": st.floats(-1, 3),
        "top_p": st.floats(0, 1),
        "max_tokens": st.integers(0, 10_000),
        "stop": st.one_of(_text, st.lists(_text, max_size=4)),
        "tools": st.lists(st.just(WEATHER), max_size=2),
        "tool_choice": st.sampled_from(["auto", "none", "required"]),
        "response_format": st.sampled_from([SCHEMA, {"type": "json_object"}, {"type": "text"}]),
        "reasoning_effort": st.sampled_from(["none", "minimal", "low", "medium", "high", "xhigh", "max"]),
        "thinking": st.builds(
            lambda budget: {"type": "enabled", "budget_tokens": budget}, st.integers(-1, 4096)
        ),
        "metadata": st.dictionaries(_text, _text, max_size=3),
        "service_tier": st.sampled_from(["auto", "default", "flex", "scale"]),
        "n": st.integers(1, 2),
        "stream": st.booleans(),
    },
)


@settings(max_examples=150, deadline=None)
@given(
    st.lists(_message, min_size=1, max_size=5),
    _fields,
    st.sampled_from([target(), target(NOVA), target(NOVA_2), target(LLAMA), target(OPUS)]),
)
def test_any_request_fits_the_service_or_names_what_does_not(
    messages: list[dict[str, Any]], fields: dict[str, Any], to: Any
) -> None:
    try:
        built(chat_body(*messages, **fields), to)
    except BadRequest as refused:
        assert refused.param


TAGS: Any = {"type": "object", "properties": {"tags": {"type": "object", "additionalProperties": True}}}


@pytest.mark.parametrize(
    ("model", "asked"),
    [
        ("openai.gpt-oss-120b-1:0", {}),
        ("meta.llama3-1-70b-instruct-v1:0", {}),
        (CLAUDE, {"thinking": {"type": "enabled", "budget_tokens": 2_048}}),
    ],
)
def test_a_schema_that_leaves_something_open_is_told_in_words(model: str, asked: dict[str, Any]) -> None:
    form: Any = {"type": "json_schema", "json_schema": {"name": "a", "schema": TAGS}}

    found, prepared = built(chat_body(response_format=form, **asked), target(model))

    assert msgspec.json.decode(found["system"][-1]["text"].partition("schema:\n")[2]) == TAGS
    assert "outputConfig" not in found
    assert prepared.dropped == ("response_format",)
    form["json_schema"]["strict"] = True
    with pytest.raises(BadRequest) as refused:
        built(chat_body(response_format=form, **asked), target(model))
    assert refused.value.param == "response_format.json_schema.schema"


def test_a_tool_cannot_be_held_to_a_schema_that_leaves_something_open() -> None:
    tool = {"type": "function", "function": {"name": "a", "parameters": TAGS, "strict": True}}

    with pytest.raises(BadRequest) as refused:
        built(chat_body(tools=[tool]))

    assert refused.value.param == "tools[0].function.parameters"


@pytest.mark.parametrize(("count", "text"), [(1, "The document:"), (2, "The documents:")])
def test_documents_alone_get_the_text_that_must_stand_beside_them(count: int, text: str) -> None:
    pdf = "data:application/pdf;base64," + base64.b64encode(b"%PDF-1.4 x").decode()
    parts = [{"type": "file", "file": {"file_data": pdf, "filename": "a.pdf"}}] * count

    content = params(chat_body({"role": "user", "content": parts}))["messages"][0]["content"]

    assert content[0] == {"text": text}
    assert [list(block) for block in content[1:]] == [["document"]] * count
