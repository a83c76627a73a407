"""What OpenAI's SDK lets people send, read and fitted to a provider that has little."""

import json
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from openai.types.chat.completion_create_params import CompletionCreateParams
from pydantic import TypeAdapter

from services.gateway.providers.anthropic.request import messages_body
from services.gateway.providers.body import parse_json
from services.gateway.providers.chat.images import data_url, media_type_of
from services.gateway.providers.chat.policy import Policy, fit
from services.gateway.providers.chat.request import ChatRequest, read_chat
from services.gateway.providers.errors import BadRequest
from tests.support.providers.anthropic import exhaust, judged
from tests.support.providers.chat_requests import allowed_by_openai, sdk_chat_requests
from tests.support.providers.sdk_requests import strings_in, texts_in

_JUDGE: TypeAdapter[Any] = TypeAdapter(CompletionCreateParams)
PNG = "data:image/png;base64,iVBORw0KGgo="


def read(**fields: Any) -> ChatRequest:
    body = {"model": "m", "messages": [{"role": "user", "content": "Hello"}], **fields}
    return read_chat(parse_json(json.dumps(body).encode()))


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"messages": [{"role": "king", "content": "x"}]}, "messages[0].role"),
        ({"messages": [{"role": "user", "content": 3}]}, "messages[0].content"),
        ({"messages": [{"role": "user", "content": [{"type": "zip"}]}]}, "messages[0].content[0].type"),
        ({"messages": [{"role": "tool", "content": "x"}]}, "messages[0].tool_call_id"),
        ({"messages": []}, "messages"),
        ({"messages": None}, "messages"),
        ({"temperature": "hot"}, "temperature"),
        ({"tools": [{"type": "function"}]}, "tools[0]"),
        ({"tools": [{"type": "custom", "custom": {"name": "f"}}]}, "tools[0].type"),
        ({"messages": [{"role": "function", "name": "f", "content": "x"}]}, "messages[0].role"),
        (
            {
                "messages": [
                    {"role": "assistant", "tool_calls": [{"id": "c", "type": "custom", "custom": {}}]}
                ]
            },
            "messages[0].tool_calls[0].type",
        ),
        ({"reasoning_effort": "huge"}, "reasoning_effort"),
    ],
)
def test_what_is_wrong_is_named(fields: Any, param: str) -> None:
    with pytest.raises(BadRequest) as error:
        read(**fields)
    assert error.value.param == param


def test_a_policy_keeps_drops_and_refuses() -> None:
    policy = Policy("Nobody", frozenset({"stop"}))
    chat = read(stop="x", seed=1, n=1, logprobs=False, response_format={"type": "text"}, surprise=3)
    assert fit(policy, chat).dropped == ("seed", "surprise")
    for refused in ({"n": 2}, {"response_format": {"type": "json_object"}}, {"max_tokens": 3}):
        with pytest.raises(BadRequest) as error:
            fit(policy, read(**refused))
        assert error.value.param == next(iter(refused))


def test_caching_markers_are_left_out_by_name_wherever_they_stand() -> None:
    marker = {"type": "ephemeral"}
    part = {"type": "text", "text": "Long.", "cache_control": marker}
    tool = {"type": "function", "function": {"name": "f"}, "cache_control": marker}
    for fields in (
        {"messages": [{"role": "user", "content": [part]}]},
        {"messages": [{"role": "user", "content": "Long.", "cache_control": marker}]},
        {"tools": [tool]},
        {"cache_control": marker},
    ):
        assert fit(Policy("Nobody", frozenset({"tools"})), read(**fields)).dropped == ("cache_control",)
        assert fit(Policy("Somebody", frozenset({"tools", "cache_control"})), read(**fields)).dropped == ()


def test_budgets_and_efforts_under_all_their_names() -> None:
    assert read(reasoning={"effort": "high"}).effort == "high"
    assert read(reasoning={"enabled": False}).thinking_budget == 0
    assert read(thinking={"type": "enabled"}).thinking_budget == -1
    assert read(thinking={"type": "disabled"}).thinking_budget == 0
    assert read(reasoning={"max_tokens": 5}).thinking_budget == 5


def test_data_urls() -> None:
    assert data_url(PNG, "x") == ("image/png", b"\x89PNG\r\n\x1a\n")
    assert media_type_of(b"RIFF\0\0\0\0WEBPVP8 ") == "image/webp"
    for wrong in ("https://example.org", "data:image/png,abc", "data:image/png;base64,%%%"):
        with pytest.raises(BadRequest) as error:
            data_url(wrong, "messages[0].content[0].image_url.url")
        assert error.value.param == "messages[0].content[0].image_url.url"


texts = st.text(max_size=6)
parts = st.one_of(
    st.builds(lambda text: {"type": "text", "text": text}, texts),
    st.just({"type": "image_url", "image_url": {"url": PNG, "detail": "low"}}),
    st.just({"type": "image_url", "image_url": {"url": "https://example.org/a.png"}}),
    st.just({"type": "input_audio", "input_audio": {"data": "aGk=", "format": "wav"}}),
    st.just({"type": "file", "file": {"file_data": "data:application/pdf;base64,JVBERi0x"}}),
    st.just({"type": "file", "file": {"file_id": "file-1"}}),
)
call = st.builds(
    lambda arguments: {"id": "c", "type": "function", "function": {"name": "f", "arguments": arguments}},
    st.sampled_from(["{}", '{"a": [1]}', "", "{", "[1]"]),
)
messages = st.one_of(
    st.builds(
        lambda role, text: {"role": role, "content": text}, st.sampled_from(["system", "developer"]), texts
    ),
    st.builds(lambda content: {"role": "user", "content": content}, st.one_of(texts, st.lists(parts))),
    st.builds(
        lambda text, calls: {
            "role": "assistant",
            "content": text,
            **({"tool_calls": calls} if calls else {}),
        },
        st.one_of(st.none(), texts),
        st.lists(call, max_size=2),
    ),
    st.builds(lambda text: {"role": "tool", "tool_call_id": "c", "content": text}, texts),
)
TOOL = {"type": "function", "function": {"name": "f", "parameters": {"type": "object"}, "strict": True}}
options: Any = st.fixed_dictionaries(
    {},
    optional={
        "temperature": st.floats(0, 2),
        "top_p": st.floats(0, 1),
        "n": st.integers(1, 2),
        "stop": st.one_of(st.none(), texts, st.lists(texts, max_size=3)),
        "max_tokens": st.one_of(st.none(), st.integers(1, 9000)),
        "max_completion_tokens": st.integers(1, 9000),
        "seed": st.integers(0, 9),
        "logprobs": st.booleans(),
        "logit_bias": st.just({"5": 1}),
        "user": texts,
        "tools": st.sampled_from([[], [TOOL]]),
        "tool_choice": st.sampled_from(
            ["none", "auto", "required", {"type": "function", "function": {"name": "f"}}]
        ),
        "parallel_tool_calls": st.booleans(),
        "response_format": st.sampled_from(
            [
                {"type": "text"},
                {"type": "json_object"},
                {"type": "json_schema", "json_schema": {"name": "x", "schema": {"type": "object"}}},
            ]
        ),
        "reasoning_effort": st.sampled_from(["none", "minimal", "low", "medium", "high", "xhigh"]),
        "service_tier": st.sampled_from(["auto", "default", "flex", "priority"]),
        "modalities": st.sampled_from([["text"], ["text", "audio"]]),
        "metadata": st.just({"a": "b"}),
        "verbosity": st.just("low"),
        "prediction": st.just({"type": "content", "content": "x"}),
        "web_search_options": st.just({}),
        "store": st.booleans(),
    },
)


@given(
    st.lists(messages, min_size=1, max_size=5),
    options,
    st.sampled_from(["claude-opus-5", "claude-sonnet-4-5", "claude-3-haiku-20240307"]),
)
def test_whatever_the_sdk_allows_is_translated_or_refused_by_name(
    turns: Any, fields: Any, model: str
) -> None:
    body = {"model": "m", "messages": turns, **fields}
    exhaust(_JUDGE.validate_python(body))
    try:
        said = messages_body(read_chat(parse_json(json.dumps(body).encode())), model, {})
    except BadRequest as error:
        assert error.param
    else:
        judged("/v1/messages", {"model": model, **said.fields})
        assert lost(turns, said.fields) == []


def lost(turns: Any, said: Any) -> list[str]:
    """What somebody says in a chat and nobody in its translation."""
    written = strings_in(said)
    return [text for text in texts_in(turns, "text", "content", "refusal") if text not in written]


def test_nothing_that_the_sdk_lets_people_say_is_lost_unsaid() -> None:
    translated = []

    @settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.too_slow])
    @given(
        sdk_chat_requests, st.sampled_from(["claude-opus-5", "claude-sonnet-4-5", "claude-3-haiku-20240307"])
    )
    def check(request: dict[str, Any], model: str) -> None:
        allowed_by_openai(request)
        try:
            said = messages_body(read_chat(parse_json(json.dumps(request).encode())), model, {})
        except BadRequest as error:
            assert error.param
            assert error.param.split("[")[0].split(".")[0] in request
            return
        judged("/v1/messages", {"model": model, **said.fields})
        assert lost(request["messages"], said.fields) == []
        assert _without_counterpart(request) <= set(said.dropped)
        translated.append(said)

    check()
    assert len(translated) > 40


def _without_counterpart(request: dict[str, Any]) -> set[str]:
    """Fields of the request that Claude knows nothing like, and that ask for something."""
    names = {
        "seed",
        "prediction",
        "prompt_cache_key",
        "prompt_cache_retention",
        "temperature",
        "top_p",
        "verbosity",
    }
    return {name for name in names if request.get(name) is not None}
