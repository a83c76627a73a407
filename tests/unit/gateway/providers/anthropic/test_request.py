"""Chat requests as Anthropic's: judged by the request types of its SDK."""

import json
from typing import Any

import pytest
from anthropic import transform_schema
from hypothesis import given
from hypothesis import strategies as st

from services.gateway.providers.anthropic.models import traits_of
from services.gateway.providers.anthropic.request import messages_body
from services.gateway.providers.anthropic.schema import accepted_schema
from services.gateway.providers.body import parse_json
from services.gateway.providers.chat.request import read_chat
from services.gateway.providers.errors import BadRequest
from tests.support.providers.anthropic import judged

NEW, OLD = "claude-opus-5", "claude-sonnet-4-5"
PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
TOOL: Any = {"type": "function", "function": {"name": "look", "parameters": {"type": "object"}}}
SCHEMA: Any = {"type": "object", "properties": {"a": {"type": "string"}}, "required": ["a"]}


FORCED: Any = {"tools": [TOOL], "tool_choice": "required"}
CALLED: Any = [
    {"role": "user", "content": "Hello"},
    {
        "role": "assistant",
        "content": None,
        "tool_calls": [{"id": "c", "type": "function", "function": {"name": "look", "arguments": "{}"}}],
    },
]
UNSIGNED: Any = [*CALLED, {"role": "tool", "tool_call_id": "c", "content": "x"}]
SIGNED: Any = [
    CALLED[0],
    {**CALLED[1], "reasoning_details": [{"type": "reasoning.text", "text": "Hm.", "signature": "c2ln"}]},
    UNSIGNED[-1],
]
GONE_ON: Any = [
    {
        "role": "assistant",
        "content": None,
        "tool_calls": [{"id": "d", "type": "function", "function": {"name": "look", "arguments": "{}"}}],
    },
    {"role": "tool", "tool_call_id": "d", "content": "y"},
]
"""Another call in the same loop, without thoughts of its own."""
ANSWERED: Any = [{"role": "assistant", "content": "Nice."}, {"role": "user", "content": "And?"}]


def built(model: str = NEW, /, **fields: Any) -> tuple[dict[str, Any], tuple[str, ...]]:
    """The request's body, which the SDK's types allow, and what was left out."""
    body = {"model": "m", "messages": [{"role": "user", "content": "Hello"}], **fields}
    said = messages_body(read_chat(parse_json(json.dumps(body).encode())), model, {})
    judged("/v1/messages", {"model": model, **said.fields})
    return said.fields, said.dropped


def content(*parts: Any) -> Any:
    fields, _ = built(messages=[{"role": "user", "content": list(parts)}])
    return fields["messages"][0]["content"]


def refused(model: str = NEW, /, **fields: Any) -> str | None:
    with pytest.raises(BadRequest) as error:
        built(model, **fields)
    return error.value.param


def test_turns_of_one_role_become_one_and_the_system_prompt_is_lifted() -> None:
    call = {"id": "call:1", "type": "function", "function": {"name": "look", "arguments": '{"a": 1}'}}
    fields, _ = built(
        messages=[
            {"role": "system", "content": "One."},
            {"role": "user", "content": "Hello"},
            {"role": "assistant", "content": None, "tool_calls": [call, {**call, "id": "call:2"}]},
            {"role": "tool", "tool_call_id": "call:1", "content": "first"},
            {"role": "tool", "tool_call_id": "call:2", "content": [{"type": "text", "text": "second"}]},
            {"role": "developer", "content": [{"type": "text", "text": "Two."}]},
            {"role": "user", "content": "And?"},
        ],
        tools=[TOOL],
    )
    assert [block["text"] for block in fields["system"]] == ["One.", "Two."]
    assert [turn["role"] for turn in fields["messages"]] == ["user", "assistant", "user"]
    used, results = fields["messages"][1]["content"], fields["messages"][2]["content"]
    assert [block["id"] for block in used] == ["call_1", "call_2"]
    assert used[0]["input"] == {"a": 1}
    assert [block["type"] for block in results] == ["tool_result", "tool_result", "text"]
    assert results[0]["tool_use_id"] == "call_1"


def test_pictures_and_documents() -> None:
    wrongly_named = {"type": "image_url", "image_url": {"url": f"data:image/jpg;base64,{PIXEL}"}}
    linked = {"type": "image_url", "image_url": {"url": "https://example.org/a.png", "detail": "high"}}
    pdf = {"type": "file", "file": {"file_data": "data:application/pdf;base64,JVBERi0xLjQK", "filename": "a"}}
    plain = {"type": "file", "file": {"file_data": "data:text/plain;base64,aGVsbG8="}}
    first, second, third, fourth = content(wrongly_named, linked, pdf, plain)
    assert first["source"] == {"type": "base64", "media_type": "image/png", "data": PIXEL}
    assert second["source"] == {"type": "url", "url": "https://example.org/a.png"}
    assert (third["source"]["media_type"], third["title"]) == ("application/pdf", "a")
    assert fourth["source"]["data"] == "hello"


def test_caching_markers() -> None:
    marked = {"type": "text", "text": "a", "cache_control": {"type": "ephemeral", "ttl": "1h"}}
    assert content(marked)[0]["cache_control"] == {"type": "ephemeral", "ttl": "1h"}
    assert content({**marked, "cache_control": {"ttl": "24h"}})[0]["cache_control"] == {"type": "ephemeral"}
    tool = {**TOOL, "cache_control": {"type": "ephemeral"}}
    assert built(tools=[tool])[0]["tools"][0]["cache_control"] == {"type": "ephemeral"}


def test_a_marker_inside_a_result_stands_on_the_result() -> None:
    parts = [{"type": "text", "text": "a", "cache_control": {"type": "ephemeral"}}]
    marked = {"role": "tool", "tool_call_id": "c", "content": parts}
    on_message = {
        "role": "tool",
        "tool_call_id": "c",
        "content": [{"type": "text", "text": "a"}],
        "cache_control": {"type": "ephemeral"},
    }
    for result in (marked, on_message):
        fields, _ = built(messages=[*CALLED, result])
        (block,) = fields["messages"][-1]["content"]
        assert block["cache_control"] == {"type": "ephemeral"}
        assert block["content"] == [{"type": "text", "text": "a"}]


def test_blank_texts_are_left_out_as_they_would_be_refused() -> None:
    call = {"id": "c", "type": "function", "function": {"name": "look", "arguments": "{}"}}
    fields, _ = built(
        messages=[
            {"role": "system", "content": " \n"},
            {"role": "user", "content": [{"type": "text", "text": "\t"}, {"type": "text", "text": "Hi"}]},
            {"role": "assistant", "content": "\n\n", "tool_calls": [call]},
            {"role": "tool", "tool_call_id": "c", "content": "x"},
        ],
        tools=[TOOL],
    )
    assert "system" not in fields
    user, assistant, _ = fields["messages"]
    assert [block["text"] for block in user["content"]] == ["Hi"]
    assert [block["type"] for block in assistant["content"]] == ["tool_use"]


def test_tools_of_the_conversation_are_named_where_the_request_brings_none() -> None:
    fields, _ = built(messages=[*CALLED, {"role": "tool", "tool_call_id": "c", "content": "x"}])
    assert [tool["name"] for tool in fields["tools"]] == ["look"]
    assert fields["tool_choice"] == {"type": "none"}


def test_only_thoughts_of_its_own_go_back() -> None:
    details = [
        {"type": "reasoning.text", "text": "a", "signature": "s", "format": "anthropic-claude-v1"},
        {"type": "reasoning.encrypted", "data": "b", "format": "bedrock-converse-v1"},
        {"type": "reasoning.encrypted", "data": "c"},
        {"type": "reasoning.encrypted", "data": "d", "format": "google-gemini-v1"},
        {"type": "reasoning.text", "text": "e", "signature": "s", "format": "openai-responses-v1"},
    ]
    said = {"role": "assistant", "content": "Hm.", "reasoning_details": details}
    fields, _ = built(messages=[{"role": "user", "content": "Hello"}, said, {"role": "user", "content": "?"}])
    thoughts, redacted, unnamed, text = fields["messages"][1]["content"]
    assert (thoughts["thinking"], redacted["data"], unnamed["data"]) == ("a", "b", "c")
    assert text["type"] == "text"


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({}, None),
        ({"tool_choice": "auto"}, {"type": "auto"}),
        ({"tool_choice": "none", "parallel_tool_calls": False}, {"type": "none"}),
        ({"tool_choice": "required"}, {"type": "any"}),
        (
            {"tool_choice": {"type": "function", "function": {"name": "look"}}},
            {"type": "tool", "name": "look"},
        ),
        ({"parallel_tool_calls": False}, {"type": "auto", "disable_parallel_tool_use": True}),
    ],
)
def test_the_choice_of_tools(asked: Any, said: Any) -> None:
    assert built(tools=[TOOL], **asked)[0].get("tool_choice") == said


@pytest.mark.parametrize(
    ("model", "asked", "thinking", "config", "dropped"),
    [
        (NEW, {"reasoning_effort": "minimal"}, "adaptive", {"effort": "low"}, ()),
        (NEW, {"reasoning_effort": "none"}, "disabled", None, ()),
        (
            NEW,
            {"thinking": {"type": "enabled", "budget_tokens": 9000}},
            "adaptive",
            {"effort": "medium"},
            ("thinking.budget_tokens",),
        ),
        (NEW, {"reasoning": {"max_tokens": 4_095}}, "adaptive", {"effort": "low"}, ("reasoning.max_tokens",)),
        (NEW, {"reasoning": {"max_tokens": 16_384}}, "adaptive", {"effort": "high"}, ("reasoning.max_tokens",)),
        (OLD, {"reasoning_effort": "high"}, 16_384, None, ()),
        (OLD, {"reasoning": {"max_tokens": 3000}}, 3_000, None, ()),
        (OLD, {"thinking": {"type": "enabled", "budget_tokens": -1}}, 1_024, None, ()),
        (OLD, {"reasoning_effort": "high", "max_tokens": 2_000}, 1_500, None, ()),
        (OLD, {"reasoning_effort": "high", "max_tokens": 4_096}, 3_072, None, ()),
        (OLD, {"reasoning_effort": "high", "max_tokens": 16_385}, 12_288, None, ()),
        (OLD, {"reasoning_effort": "high", "max_tokens": 32_000}, 16_384, None, ()),
        (OLD, {"thinking": {"type": "enabled", "budget_tokens": 4_000}, "max_tokens": 4_096}, 4_000, None, ()),
        (NEW, {"reasoning_effort": "xhigh"}, "adaptive", {"effort": "xhigh"}, ()),
        ("claude-opus-4-7", {"reasoning_effort": "xhigh"}, "adaptive", {"effort": "xhigh"}, ()),
        ("claude-opus-4-6", {"reasoning_effort": "xhigh"}, "adaptive", {"effort": "high"}, ("reasoning_effort",)),
        ("claude-sonnet-4-6", {"reasoning_effort": "max"}, "adaptive", {"effort": "max"}, ()),
        (OLD, {"reasoning_effort": "high", "max_tokens": 500}, None, None, ("reasoning_effort",)),
        ("claude-3-haiku-20240307", {"reasoning_effort": "low"}, None, None, ("reasoning_effort",)),
        (OLD, {"reasoning": {"enabled": True}}, 1_024, None, ()),
        (OLD, {"reasoning_effort": "low", **FORCED}, None, None, ("reasoning_effort",)),
        (NEW, {"reasoning_effort": "low", **FORCED}, None, {"effort": "low"}, ()),
        (NEW, {"reasoning_effort": "xhigh", **FORCED}, None, {"effort": "high"}, ("reasoning_effort",)),
        (NEW, {"thinking": {"type": "enabled", "budget_tokens": 9_000}, **FORCED}, None, None, ("thinking",)),
        (OLD, {"reasoning_effort": "low", "tools": [TOOL], "messages": UNSIGNED}, None, None, ("reasoning_effort",)),
        (NEW, {"reasoning_effort": "low", "tools": [TOOL], "messages": UNSIGNED}, "adaptive", {"effort": "low"}, ()),
        (OLD, {"reasoning_effort": "low", "tools": [TOOL], "messages": SIGNED}, 2_048, None, ()),
        (OLD, {"reasoning_effort": "low", "tools": [TOOL], "messages": [*SIGNED, *GONE_ON]}, 2_048, None, ()),
        (OLD, {"reasoning_effort": "low", "messages": [*UNSIGNED, *GONE_ON]}, None, None, ("reasoning_effort",)),
        (OLD, {"reasoning_effort": "low", "messages": [*UNSIGNED, *ANSWERED]}, 2_048, None, ()),
    ],
)  # fmt: skip
def test_thinking(model: str, asked: Any, thinking: Any, config: Any, dropped: Any) -> None:
    fields, left_out = built(model, **asked)
    found = fields.get("thinking", {})
    assert (found.get("budget_tokens") or found.get("type")) == thinking
    assert (fields.get("output_config"), left_out) == (config, dropped)
    assert fields["max_tokens"] > found.get("budget_tokens", 0)


def test_a_limit_of_nothing_fills_the_cache() -> None:
    assert built(max_tokens=0)[0]["max_tokens"] == 0
    assert built(OLD, max_completion_tokens=0, reasoning_effort="low") == (
        {**built(OLD)[0], "max_tokens": 0},
        ("reasoning_effort",),
    )


def test_what_cannot_be_said_is_refused_by_name() -> None:
    assert refused(n=2) == "n"
    assert refused(logprobs=True) == "logprobs"
    assert refused(modalities=["text", "audio"], audio={"voice": "x", "format": "wav"}) == "audio"
    assert refused(OLD, thinking={"type": "enabled", "budget_tokens": 500}) == "thinking"
    assert refused(tool_choice="required") == "tool_choice"
    audio = {"type": "input_audio", "input_audio": {"data": "", "format": "wav"}}
    assert refused(messages=[{"role": "user", "content": [audio]}]) == "messages[0].content[0]"
    file = {"type": "file", "file": {"file_id": "file-1"}}
    assert refused(messages=[{"role": "user", "content": [file]}]) == "messages[0].content[0].file.file_id"
    insecure = {"type": "image_url", "image_url": {"url": "http://example.org/a.png"}}
    assert refused(messages=[{"role": "user", "content": [insecure]}]) == (
        "messages[0].content[0].image_url.url"
    )
    assert refused(stop=["END", "\n"]) == "stop"
    assert refused(moderation={"model": "omni-moderation-latest"}) == "moderation"
    heard = {"role": "assistant", "audio": {"id": "audio_1"}}
    assert refused(messages=[heard]) == "messages[0].audio"
    called = {"role": "assistant", "function_call": {"name": "look", "arguments": "{}"}}
    assert refused(messages=[called]) == "messages[0].function_call"
    broken = {"id": "1", "type": "function", "function": {"name": "look", "arguments": "{"}}
    assert refused(messages=[{"role": "assistant", "tool_calls": [broken]}]) == (
        "messages[0].tool_calls[0].function.arguments"
    )


def test_what_does_no_harm_is_left_out() -> None:
    _, dropped = built(seed=1, presence_penalty=0.5, temperature=0.2, n=1, logprobs=False, store=False)
    assert dropped == ("presence_penalty", "seed", "temperature")
    _, dropped = built(messages=[{"role": "user", "name": "ada", "content": "Hello"}])
    assert dropped == ("messages.name",)


def test_reasoning_that_is_not_to_be_seen_is_not_asked_for() -> None:
    for model in (NEW, OLD):
        for asked in (
            {"reasoning": {"effort": "low", "exclude": True}},
            {"thinking": {"type": "enabled", "budget_tokens": 2_000, "display": "omitted"}},
        ):
            assert built(model, **asked)[0]["thinking"]["display"] == "omitted"


def test_json_without_a_schema() -> None:
    alone, _ = built(response_format={"type": "json_object"})
    assert alone["tool_choice"] == {"type": "tool", "name": "answer_in_json"}
    with_tools, _ = built(response_format={"type": "json_object"}, tools=[TOOL])
    assert "JSON" in with_tools["system"][-1]["text"]


def test_a_wish_to_think_gives_way_to_a_schema_where_only_a_tool_keeps_to_it() -> None:
    older = "claude-sonnet-4-20250514"
    form = {"type": "json_schema", "json_schema": {"name": "a", "schema": SCHEMA}}
    fields, dropped = built(older, response_format=form, reasoning_effort="low")
    assert fields["tool_choice"] == {"type": "tool", "name": "answer_in_json"}
    assert ("thinking" in fields, dropped) == (False, ("reasoning_effort",))
    assert built(OLD, response_format=form, reasoning_effort="low")[0]["thinking"]["type"] == "enabled"
    budget = {"type": "enabled", "budget_tokens": 2_000}
    assert refused(older, response_format=form, thinking=budget) == "response_format"


@pytest.mark.parametrize(
    ("model", "adaptive", "schemas"),
    [
        ("claude-opus-5", True, True),
        ("claude-opus-4-6", True, True),
        ("claude-sonnet-4-5@20250929", False, True),
        ("anthropic.claude-sonnet-4-20250514-v1:0", False, False),
        ("claude-3-5-sonnet-20241022", False, False),
        ("claude-mythos-preview", True, True),
    ],
)
def test_what_a_models_name_says(model: str, adaptive: bool, schemas: bool) -> None:
    traits = traits_of(model)
    assert (traits.adaptive, traits.schemas) == (adaptive, schemas)


leaves = st.sampled_from(
    [
        {"type": "string"},
        {"type": "string", "format": "date"},
        {"type": "string", "enum": ["a", "b"]},
        {"type": "integer"},
        {"type": "boolean", "description": "yes?"},
        {"$ref": "#/$defs/x"},
        {"const": "x"},
    ]
)
schemas = st.recursive(
    leaves,
    lambda inner: st.one_of(
        st.builds(lambda items: {"type": "array", "items": items}, inner),
        st.builds(lambda options: {"anyOf": options}, st.lists(inner, min_size=1, max_size=2)),
        st.builds(
            lambda properties: {
                "type": "object",
                "properties": properties,
                "required": sorted(properties),
                "additionalProperties": True,
            },
            st.dictionaries(st.sampled_from(["a", "b", "c"]), inner, max_size=3),
        ),
    ),
    max_leaves=8,
)


@given(schemas)
def test_schemas_become_what_their_sdk_makes_of_them(schema: Any) -> None:
    assert accepted_schema(schema) == transform_schema(schema)


def test_constraints_outside_the_subset_are_told_in_words() -> None:
    schema = {"type": "integer", "minimum": 1, "maximum": 9, "description": "A number"}
    accepted = accepted_schema(schema)
    assert (accepted["type"], "minimum" in accepted) == ("integer", False)
    assert accepted["description"].startswith("A number\n\n{")


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "object", "properties": 3},
        {"type": "object", "properties": None, "required": 1},
        {"type": "string", "format": ["date"]},
        {"type": "array", "items": [True], "minItems": []},
        {"anyOf": 1, "$defs": [], "definitions": None},
    ],
)
def test_a_schema_that_is_none_is_left_to_the_provider_to_refuse(schema: dict[str, Any]) -> None:
    assert isinstance(accepted_schema(schema), dict)


TAGS: Any = {"type": "object", "additionalProperties": {"type": "string"}}
OPEN: Any = [
    TAGS,
    {"type": "object"},
    {"type": "object", "properties": {"tags": TAGS}},
    {"type": "object", "properties": {"a": {}}},
    {"type": "object", "properties": {"a": True}},
    {"type": "object", "properties": {"a": {"type": "array", "items": {"type": "object"}}}},
    {"type": "object", "properties": {"a": {"anyOf": [{"type": "null"}, TAGS]}}},
    {"type": "object", "properties": {"a": {"type": ["object", "null"], "additionalProperties": True}}},
    {"$ref": "#/$defs/a", "$defs": {"a": TAGS}},
]


@pytest.mark.parametrize("schema", OPEN)
def test_a_schema_that_leaves_something_open_is_told_in_words(schema: Any) -> None:
    form = {"type": "json_schema", "json_schema": {"name": "a", "schema": schema}}

    fields, dropped = built(response_format=form, tools=[TOOL])

    (said,) = fields["system"]
    assert json.loads(said["text"].partition("schema:\n")[2]) == schema
    assert ("output_config" in fields, dropped) == (False, ("response_format",))


@pytest.mark.parametrize("schema", OPEN)
def test_a_model_that_must_be_held_to_such_a_schema_is_not_asked(schema: Any) -> None:
    form = {"type": "json_schema", "json_schema": {"name": "a", "schema": schema, "strict": True}}
    held = {"type": "function", "function": {"name": "b", "parameters": schema, "strict": True}}

    assert refused(response_format=form) == "response_format.json_schema.schema"
    if schema == {"type": "object"}:  # a tool that names no parameters has none
        assert built(tools=[held])[0]["tools"][0]["input_schema"]["properties"] == {}
    else:
        assert refused(tools=[TOOL, held]) == "tools[1].function.parameters"


@pytest.mark.parametrize("schema", OPEN)
def test_a_tool_that_need_not_be_strict_keeps_its_schema(schema: Any) -> None:
    tool = {"type": "function", "function": {"name": "b", "parameters": schema}}

    assert built(tools=[tool])[0]["tools"][0]["input_schema"] == {"type": "object", **schema}


@pytest.mark.parametrize(
    "schema",
    [
        SCHEMA,
        {"type": "object", "properties": {}},
        {"type": "object", "properties": {"a": {"enum": [1]}}, "additionalProperties": False},
        {"$ref": "#/$defs/a", "$defs": {"a": SCHEMA}},
    ],
)
def test_a_schema_that_says_all_is_kept_to(schema: Any) -> None:
    form = {"type": "json_schema", "json_schema": {"name": "a", "schema": schema, "strict": True}}

    fields, dropped = built(response_format=form)

    assert (fields["output_config"]["format"]["schema"], dropped) == (transform_schema(schema), ())


@pytest.mark.parametrize(("deep", "fits"), [(60, True), (900, False)])
def test_a_schema_nested_without_end_is_refused_by_name(deep: int, fits: bool) -> None:
    schema: dict[str, Any] = {"type": "string"}
    for _ in range(deep):
        schema = {"type": "object", "properties": {"a": schema}}

    if fits:
        assert accepted_schema(schema)["additionalProperties"] is False
    else:
        with pytest.raises(BadRequest, match="tools"):
            accepted_schema(schema, "tools")
