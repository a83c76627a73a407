"""Any chat becomes a body that Google's types read, or a complaint that names the field."""

import base64
import json
from typing import Any

import msgspec
import pytest
from google.genai import types
from hypothesis import given, settings
from hypothesis import strategies as st

from services.gateway.providers.body import parse_json
from services.gateway.providers.chat.images import Fetched
from services.gateway.providers.chat.request import read_chat
from services.gateway.providers.errors import BadRequest
from services.gateway.providers.gemini.contents import NO_SIGNATURE, addresses_in
from services.gateway.providers.gemini.request import chat_body
from tests.support.providers.gemini import PNG, check_model, checked

FLASH, PRO3, FLASH3 = "gemini-2.5-flash", "gemini-3-pro-preview", "gemini-3-flash"
DATA_URL = "data:image/png;base64," + base64.b64encode(PNG).decode()
LOOK = {"type": "function", "function": {"name": "look", "parameters": {"type": "object"}}}


def built(
    model: str = FLASH, fetched: dict[str, Fetched] | None = None, **fields: Any
) -> tuple[dict[str, Any], Any]:
    asked = {"model": model, "messages": [{"role": "user", "content": "Hi"}], **fields}
    body, dropped = chat_body(read_chat(parse_json(msgspec.json.encode(asked))), model, fetched or {})
    check_model(model, checked(json.loads(msgspec.json.encode(body))))
    return body, dropped


def config(**fields: Any) -> Any:
    return built(**fields)[0].get("generationConfig")


def test_roles_and_instructions() -> None:
    body, _ = built(
        messages=[
            {"role": "system", "content": "Be brief."},
            {"role": "user", "content": "Hi"},
            {"role": "assistant", "content": "Yes?"},
            {"role": "developer", "content": "In French."},
            {"role": "user", "content": "One"},
            {"role": "user", "content": "Two"},
        ]
    )

    assert body["systemInstruction"] == {"parts": [{"text": "Be brief."}, {"text": "In French."}]}
    assert [(one["role"], len(one["parts"])) for one in body["contents"]] == [
        ("user", 1),
        ("model", 1),
        ("user", 2),
    ]


def test_instructions_alone_are_the_question() -> None:
    body, _ = built(messages=[{"role": "system", "content": "Say hi."}])

    assert body == {"contents": [{"role": "user", "parts": [{"text": "Say hi."}]}]}


def test_pictures_recordings_and_documents() -> None:
    page = "https://example.com/a.png"
    body, _ = built(
        fetched={page: Fetched("application/octet-stream", PNG)},
        messages=[
            {
                "role": "user",
                "content": [
                    {"type": "image_url", "image_url": {"url": DATA_URL}},
                    {"type": "image_url", "image_url": {"url": page}},
                    {"type": "image_url", "image_url": {"url": "gs://bucket/cat.jpg"}},
                    {"type": "input_audio", "input_audio": {"data": "AAAA", "format": "wav"}},
                    {"type": "file", "file": {"file_data": "data:application/pdf;base64,AAAA"}},
                ],
            }
        ],
    )

    parts = body["contents"][0]["parts"]
    assert (
        parts[0]
        == parts[1]
        == {"inlineData": {"mimeType": "image/png", "data": base64.b64encode(PNG).decode()}}
    )
    assert parts[2] == {"fileData": {"fileUri": "gs://bucket/cat.jpg", "mimeType": "image/jpeg"}}
    assert [part["inlineData"]["mimeType"] for part in parts[3:]] == ["audio/wav", "application/pdf"]


def test_a_recording_that_is_no_base64_is_refused_by_its_place() -> None:
    broken = {"type": "input_audio", "input_audio": {"data": "%", "format": "wav"}}
    with pytest.raises(BadRequest) as refused:
        built(messages=[{"role": "user", "content": [broken]}])

    assert refused.value.param == "messages[0].content[0].input_audio.data"


def test_only_what_google_does_not_read_itself_is_fetched() -> None:
    urls = ["https://example.com/a.png", "gs://b/c.png", DATA_URL, "https://youtu.be/x"]
    content = [{"type": "image_url", "image_url": {"url": url}} for url in urls]
    chat = read_chat(
        parse_json(msgspec.json.encode({"model": "m", "messages": [{"role": "user", "content": content}]}))
    )

    assert addresses_in(chat) == ("https://example.com/a.png",)


def test_results_of_parallel_calls_stand_together() -> None:
    calls = [
        {"id": f"c{at}", "type": "function", "function": {"name": f"tool{at}", "arguments": "{}"}}
        for at in range(2)
    ]
    body, _ = built(
        PRO3,
        messages=[
            {"role": "user", "content": "Hi"},
            {"role": "assistant", "tool_calls": calls},
            {"role": "tool", "tool_call_id": "c0", "content": '{"a": 1}'},
            {"role": "tool", "tool_call_id": "c1", "content": "plain"},
        ],
    )

    called, results = body["contents"][1]["parts"], body["contents"][2]["parts"]
    assert [part.get("thoughtSignature") for part in called] == [NO_SIGNATURE, None]
    assert [part["functionResponse"] for part in results] == [
        {"id": "c0", "name": "tool0", "response": {"a": 1}},
        {"id": "c1", "name": "tool1", "response": {"result": "plain"}},
    ]


@pytest.mark.parametrize(
    ("choice", "expected"),
    [
        ("none", {"mode": "NONE"}),
        ("auto", {"mode": "AUTO"}),
        ("required", {"mode": "ANY"}),
        (
            {"type": "function", "function": {"name": "look"}},
            {"mode": "ANY", "allowedFunctionNames": ["look"]},
        ),
        (
            {"type": "allowed_tools", "allowed_tools": {"mode": "auto", "tools": [LOOK]}},
            {"mode": "VALIDATED", "allowedFunctionNames": ["look"]},
        ),
    ],
)
def test_tool_choice(choice: Any, expected: Any) -> None:
    body, _ = built(tools=[LOOK], tool_choice=choice)

    assert body["toolConfig"] == {"functionCallingConfig": expected}


@pytest.mark.parametrize(
    ("model", "asked", "expected"),
    [
        (FLASH, {"reasoning_effort": "none"}, {"thinkingBudget": 0, "includeThoughts": False}),
        (FLASH, {"reasoning_effort": "high"}, {"thinkingBudget": 24_576, "includeThoughts": True}),
        ("gemini-2.5-pro", {"reasoning_effort": "none"}, {"thinkingBudget": 128, "includeThoughts": False}),
        (FLASH3, {"reasoning_effort": "medium"}, {"thinkingLevel": "MEDIUM", "includeThoughts": True}),
        (FLASH3, {"reasoning_effort": "minimal"}, {"thinkingLevel": "MINIMAL", "includeThoughts": True}),
        (
            "gemini-3.8-flash",
            {"reasoning_effort": "minimal"},
            {"thinkingLevel": "LOW", "includeThoughts": True},
        ),
        (
            "gemini-3.8-flash",
            {"reasoning_effort": "none"},
            {"thinkingLevel": "LOW", "includeThoughts": False},
        ),
        (
            "gemini-3.5-flash-lite",
            {"reasoning_effort": "none"},
            {"thinkingLevel": "MINIMAL", "includeThoughts": False},
        ),
        (PRO3, {"reasoning_effort": "minimal"}, {"thinkingLevel": "LOW", "includeThoughts": True}),
        (PRO3, {"reasoning_effort": "medium"}, {"thinkingLevel": "HIGH", "includeThoughts": True}),
        (
            "gemini-3.1-pro-preview",
            {"reasoning_effort": "medium"},
            {"thinkingLevel": "MEDIUM", "includeThoughts": True},
        ),
        (
            "gemini-2.5-flash-lite",
            {"reasoning": {"max_tokens": 100}},
            {"thinkingBudget": 512, "includeThoughts": True},
        ),
        (
            "gemini-2.5-pro",
            {"reasoning": {"max_tokens": 30_000}},
            {"thinkingBudget": 30_000, "includeThoughts": True},
        ),
        (FLASH3, {"thinking": {"type": "disabled"}}, {"thinkingLevel": "MINIMAL", "includeThoughts": False}),
        (PRO3, {"thinking": {"type": "adaptive"}}, {"includeThoughts": True}),
        (
            PRO3,
            {"thinking": {"type": "enabled", "budget_tokens": 9_000}},
            {"thinkingBudget": 9_000, "includeThoughts": True},
        ),
        (
            PRO3,
            {"thinking": {"type": "adaptive"}, "reasoning_effort": "low"},
            {"thinkingLevel": "LOW", "includeThoughts": True},
        ),
        (
            FLASH,
            {"thinking": {"type": "adaptive"}, "reasoning_effort": "low"},
            {"thinkingBudget": 1_024, "includeThoughts": True},
        ),
        (FLASH, {"thinking": {"type": "adaptive"}}, {"thinkingBudget": -1, "includeThoughts": True}),
        (
            FLASH,
            {"thinking": {"type": "enabled", "budget_tokens": 2_000}},
            {"thinkingBudget": 2_000, "includeThoughts": True},
        ),
        (
            FLASH,
            {"reasoning": {"max_tokens": 500, "exclude": True}},
            {"thinkingBudget": 500, "includeThoughts": False},
        ),
        (
            "gemini-flash-latest",
            {"reasoning_effort": "low"},
            {"thinkingLevel": "LOW", "includeThoughts": True},
        ),
    ],
)
def test_reasoning(model: str, asked: Any, expected: Any) -> None:
    assert config(model=model, **asked) == {"thinkingConfig": expected}


def test_a_budget_beyond_the_model_is_cut_and_told() -> None:
    body, dropped = built(thinking={"type": "enabled", "budget_tokens": 31_999})

    assert body["generationConfig"]["thinkingConfig"]["thinkingBudget"] == 24_576
    assert dropped == ("thinking.budget_tokens",)


@pytest.mark.parametrize(
    "model", ["gemini-2.0-flash", "gemini-2.5-flash-image", "gemini-2.5-flash-preview-tts"]
)
def test_a_model_that_does_not_think_is_not_told_to(model: str) -> None:
    assert built(model, reasoning_effort="high") == (
        {"contents": [{"role": "user", "parts": [{"text": "Hi"}]}]},
        ("reasoning_effort",),
    )


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"messages": [{"role": "tool", "tool_call_id": "x", "content": "1"}]}, "messages[0].tool_call_id"),
        ({"messages": [{"role": "user", "content": ""}]}, "messages"),
        (
            {
                "messages": [
                    {"role": "user", "content": [{"type": "image_url", "image_url": {"url": "ftp://x"}}]}
                ]
            },
            "messages[0].content[0].image_url.url",
        ),
        (
            {"messages": [{"role": "user", "content": [{"type": "file", "file": {"file_id": "file-1"}}]}]},
            "messages[0].content[0].file.file_id",
        ),
        ({"tool_choice": "required"}, "tool_choice"),
        ({"tools": [LOOK], "tool_choice": {"type": "function", "function": {"name": "x"}}}, "tool_choice"),
        ({"stop": list("abcdef")}, "stop"),
        ({"logprobs": True, "stream": True}, "logprobs"),
        ({"modalities": ["audio"]}, "modalities"),
        ({"audio": {"voice": "alloy"}}, "audio"),
        ({"thinking": {"type": "enabled", "budget_tokens": -5}}, "thinking"),
    ],
)
def test_what_changes_the_meaning_is_refused_by_name(fields: Any, param: str) -> None:
    with pytest.raises(BadRequest) as caught:
        built(**fields)
    assert caught.value.param == param


def test_what_is_harmless_is_left_out_and_reported() -> None:
    body, dropped = built(logit_bias={"1": 5}, verbosity="low", store=True, service_tier="scale")

    assert body.keys() == {"contents"}
    assert dropped == ("logit_bias", "service_tier", "store", "verbosity")


MARK = {"type": "ephemeral"}


@pytest.mark.parametrize(
    "fields",
    [
        {"cache_control": MARK},
        {"messages": [{"role": "user", "content": "Hi", "cache_control": MARK}]},
        {"messages": [{"role": "user", "content": [{"type": "text", "text": "Hi", "cache_control": MARK}]}]},
        {"tools": [{**LOOK, "cache_control": MARK}]},
    ],
)
def test_caching_markers_are_reported_wherever_they_stand(fields: Any) -> None:
    assert built(**fields)[1] == ("cache_control",)


texts = st.text(max_size=8)
part = st.one_of(
    st.builds(lambda text: {"type": "text", "text": text}, texts),
    st.builds(
        lambda url: {"type": "image_url", "image_url": {"url": url}},
        st.sampled_from([DATA_URL, "x", "gs://a"]),
    ),
    st.just({"type": "input_audio", "input_audio": {"data": "AAAA", "format": "mp3"}}),
    st.builds(
        lambda name: {"type": "file", "file": {name: DATA_URL}},
        st.sampled_from(["file_data", "file_id", "x"]),
    ),
)
call = st.builds(
    lambda id, arguments: {
        "id": id,
        "type": "function",
        "function": {"name": "look", "arguments": arguments},
    },
    st.sampled_from(["a", "b"]),
    st.sampled_from(["", "{}", '{"x": 1}', "[]", "{"]),
)
message = st.one_of(
    st.fixed_dictionaries(
        {
            "role": st.sampled_from(["system", "user", "developer"]),
            "content": texts | st.lists(part, max_size=3),
        }
    ),
    st.fixed_dictionaries(
        {"role": st.just("assistant"), "content": st.none() | texts},
        optional={"tool_calls": st.lists(call, max_size=2), "refusal": texts},
    ),
    st.fixed_dictionaries(
        {"role": st.just("tool"), "content": texts, "tool_call_id": st.sampled_from(["a", "b", "c"])}
    ),
)
leaf = st.sampled_from(
    [
        {"type": "string"},
        {"type": ["integer", "null"]},
        {"const": 1},
        {"$ref": "#/definitions/a"},
        {"allOf": 1, "definitions": None},
        {"definitions": {"a": {"type": "null"}}, "$defs": 1},
        True,
    ]
)
schema = st.recursive(
    leaf,
    lambda inner: st.one_of(
        st.builds(
            lambda one: {"type": "object", "properties": {"a": one}, "required": ["a"], "x-y": 1}, inner
        ),
        st.builds(lambda one: {"type": "array", "items": one, "uniqueItems": True}, inner),
        st.builds(lambda many: {"allOf": many}, st.lists(inner, max_size=2)),
        st.builds(
            lambda many: {"oneOf": many, "definitions": {"a": {"type": "null"}}}, st.lists(inner, max_size=2)
        ),
    ),
    max_leaves=5,
)
objects = schema.filter(lambda one: isinstance(one, dict))
tool = st.builds(lambda one: {"type": "function", "function": {"name": "look", "parameters": one}}, objects)
request = st.fixed_dictionaries(
    {"messages": st.lists(message, min_size=1, max_size=5)},
    optional={
        "tools": st.lists(tool, max_size=2),
        "tool_choice": st.sampled_from(["none", "auto", "required", LOOK]),
        "response_format": st.builds(
            lambda one: {"type": "json_schema", "json_schema": {"name": "a", "schema": one}}, objects
        ),
        "n": st.integers(1, 3),
        "stop": texts | st.lists(texts, max_size=6),
        "seed": st.integers(),
        "temperature": st.floats(0, 2),
        "logprobs": st.booleans(),
        "top_logprobs": st.integers(0, 20),
        "reasoning_effort": st.sampled_from(["none", "minimal", "low", "medium", "high", "xhigh"]),
        "modalities": st.lists(st.sampled_from(["text", "image", "audio"]), max_size=2),
        "service_tier": st.sampled_from(["auto", "default", "flex", "priority", "scale"]),
        "web_search_options": st.just({}),
        "stream": st.booleans(),
        "user": texts,
        "logit_bias": st.just({"5": 1}),
    },
)


@given(asked=request, model=st.sampled_from([FLASH, PRO3, FLASH3, "gemini-2.0-flash"]))
@settings(max_examples=300, deadline=None)
def test_any_request_translates_or_names_its_field(asked: dict[str, Any], model: str) -> None:
    try:
        built(model, **asked)
    except BadRequest as error:
        assert error.param


def test_the_judge_refuses_what_google_does_not_know() -> None:
    with pytest.raises(ValueError, match="unknown"):
        checked({"contents": [], "max_tokens": 1})
    with pytest.raises(ValueError):
        types.GenerateContentConfig.model_validate({"maxTokens": 1})
