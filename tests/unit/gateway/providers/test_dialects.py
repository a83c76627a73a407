"""What each OpenAI-like provider wants different from what chat clients send."""

import json
from collections.abc import Iterable
from typing import Any

import huggingface_hub
import msgspec
import pydantic
import pytest
from openai.types.chat import ChatCompletionMessageParam, ChatCompletionToolParam

from services.gateway.providers.body import parse_json
from services.gateway.providers.dialects import DIALECTS
from services.gateway.providers.errors import BadRequest
from services.gateway.providers.messages.request import as_chat
from services.gateway.providers.openai import OpenAIAdapter
from services.gateway.providers.operations import Operation
from tests.support.targets import json_body, target

ADAPTER = OpenAIAdapter()
HOSTED = ["groq", "cerebras", "perplexity", "huggingface", "nebius", "parasail"]
LOCAL = ["ollama", "vllm", "sgl"]
LOOK = {"type": "function", "function": {"name": "look", "parameters": {"type": "object", "properties": {}}}}
CONVERSATION: list[dict[str, Any]] = [
    {"role": "developer", "content": [{"type": "text", "text": "Be brief.", "cache_control": {"type": "ephemeral"}}]},
    {"role": "user", "name": "ann", "content": "hi", "cache_control": {"type": "ephemeral"}},
    {
        "role": "assistant",
        "content": None,
        "refusal": None,
        "annotations": [],
        "audio": None,
        "function_call": None,
        "reasoning_content": "Hm.",
        "reasoning": "Hm.",
        "reasoning_details": [{"type": "reasoning.text", "text": "Hm.", "signature": "s"}],
        "tool_calls": [
            {
                "id": "c1",
                "type": "function",
                "function": {"name": "look", "arguments": "{}"},
                "extra_content": {"google": {"thought_signature": "x"}},
            }
        ],
    },
    {"role": "tool", "tool_call_id": "c1", "content": "rain"},
]  # fmt: skip


def built(
    body: dict[str, Any], *, kind: str, model: str = "m", operation: Operation = Operation.CHAT, base_url: str = ""
) -> tuple[dict[str, Any], tuple[str, ...]]:  # fmt: skip
    parsed = json_body(msgspec.json.encode({"model": "asked/for", **body}).decode())
    prepared = ADAPTER.build(operation, target(kind, model, base_url=base_url), parsed)
    assert isinstance(prepared.request.body, bytes)
    return json.loads(prepared.request.body), prepared.dropped


MESSAGES: pydantic.TypeAdapter[Any] = pydantic.TypeAdapter(list[ChatCompletionMessageParam])
TOOLS: pydantic.TypeAdapter[Any] = pydantic.TypeAdapter(list[ChatCompletionToolParam])


def only_openais_fields(sent: dict[str, Any]) -> None:
    """Fails on a field of a message or tool that OpenAI's own types do not have: validation leaves it out."""
    assert read(MESSAGES.validate_python(sent["messages"])) == sent["messages"]
    assert read(TOOLS.validate_python(sent.get("tools", []))) == sent.get("tools", [])


def read(value: Any) -> Any:
    """What was validated; OpenAI's types have iterables, which are validated as they are read."""
    if isinstance(value, dict):
        return {name: read(inner) for name, inner in value.items()}
    if isinstance(value, Iterable) and not isinstance(value, str | bytes):
        return [read(inner) for inner in value]
    return value


def test_openai_gets_no_field_that_it_does_not_know() -> None:
    tools = [{**LOOK, "cache_control": {"type": "ephemeral"}}]
    sent, dropped = built({"messages": CONVERSATION, "tools": tools}, kind="openai", model="gpt-4o")

    only_openais_fields(sent)
    assert sent["messages"][2]["tool_calls"][0]["id"] == "c1"
    assert sent["messages"][0]["role"] == "developer"
    assert dropped == (
        "messages.annotations",
        "messages.cache_control",
        "messages.extra_content",
        "messages.reasoning",
        "messages.reasoning_content",
        "messages.reasoning_details",
        "tools.cache_control",
    )


def test_a_request_of_anthropics_format_reaches_openai_in_openais() -> None:
    marker = {"type": "ephemeral"}
    asked = {
        "model": "openai/gpt-4o",
        "max_tokens": 100,
        "system": [{"type": "text", "text": "Be brief.", "cache_control": marker}],
        "tools": [{"name": "look", "input_schema": {"type": "object"}, "cache_control": marker}],
        "messages": [
            {"role": "user", "content": "hi"},
            {
                "role": "assistant",
                "content": [
                    {"type": "thinking", "thinking": "Hm.", "signature": "s"},
                    {"type": "tool_use", "id": "t1", "name": "look", "input": {}},
                ],
            },
            {
                "role": "user",
                "content": [
                    {"type": "tool_result", "tool_use_id": "t1", "content": "rain", "cache_control": marker},
                    {"type": "text", "text": "So?", "cache_control": marker},
                ],
            },
        ],
    }
    chat = as_chat(parse_json(json.dumps(asked).encode()))
    prepared = ADAPTER.build(Operation.CHAT, target(model="gpt-4o"), chat)
    assert isinstance(prepared.request.body, bytes)

    only_openais_fields(json.loads(prepared.request.body))


def test_who_knows_the_fields_keeps_them() -> None:
    for kind, base_url in (("openrouter", ""), ("openai", "http://127.0.0.1:9000/v1")):
        sent, dropped = built({"messages": CONVERSATION, "tools": [LOOK]}, kind=kind, base_url=base_url)
        assert (sent["messages"], dropped) == (CONVERSATION, ())


@pytest.mark.parametrize("kind", LOCAL)
def test_models_of_ones_own_get_their_reasoning_back(kind: str) -> None:
    sent, _ = built({"messages": CONVERSATION}, kind=kind)

    assert sent["messages"][2]["reasoning_content"] == "Hm."
    assert "cache_control" not in str(sent)


@pytest.mark.parametrize("kind", ["groq", "cerebras"])
def test_strict_servers_get_no_empty_fields_of_answers(kind: str) -> None:
    sent, _ = built({"messages": CONVERSATION}, kind=kind)

    assert set(sent["messages"][2]) == {"role", "content", "reasoning", "tool_calls"}
    assert ("name" in sent["messages"][1]) == (kind == "cerebras")


@pytest.mark.parametrize("kind", [*HOSTED, *LOCAL])
def test_instructions_are_the_systems_where_nobody_knows_developers(kind: str) -> None:
    assert built({"messages": CONVERSATION}, kind=kind)[0]["messages"][0]["role"] == "system"


def test_the_answer_of_a_function_keeps_the_name_that_it_answers_for() -> None:
    said = [
        {"role": "user", "name": "ann", "content": "hi"},
        {"role": "function", "name": "look", "content": "rain"},
    ]
    sent, _ = built({"messages": said}, kind="groq")

    assert [message.get("name") for message in sent["messages"]] == [None, "look"]


@pytest.mark.parametrize("name", ["models", "preset"])
@pytest.mark.parametrize(
    "operation", [Operation.CHAT, Operation.COMPLETIONS, Operation.EMBEDDINGS, Operation.RESPONSES]
)
@pytest.mark.parametrize(("kind", "base_url"), [("openrouter", ""), ("openai", "http://127.0.0.1:9000/v1")])
def test_no_field_leads_a_provider_to_a_model_that_the_key_was_not_checked_for(
    kind: str, base_url: str, operation: Operation, name: str
) -> None:
    with pytest.raises(BadRequest) as refused:
        built({name: ["openai/o1-pro"]}, kind=kind, base_url=base_url, operation=operation)

    assert refused.value.param == name
    assert "fallbacks" in refused.value.message


def test_messages_that_are_none_are_refused() -> None:
    with pytest.raises(BadRequest) as refused:
        built({"messages": ["developer"]}, kind="groq")

    assert refused.value.param == "messages"


@pytest.mark.parametrize(
    ("given", "effort", "dropped"),
    [
        ({"reasoning": {"effort": "low"}}, "low", ()),
        ({"reasoning": {"max_tokens": 20_000}}, "high", ()),
        ({"reasoning": {"effort": "low"}, "reasoning_effort": "high"}, "high", ()),
        ({"reasoning": {"enabled": True}}, None, ("reasoning",)),
        ({"reasoning": None}, None, ()),
        ({"thinking": {"type": "enabled", "budget_tokens": 2_000}}, "low", ()),
        ({"thinking": {"type": "disabled"}}, None, ("thinking",)),
    ],
)
def test_the_objects_of_others_say_the_effort_in_openais_way(
    given: dict[str, Any], effort: str | None, dropped: tuple[str, ...]
) -> None:
    sent, told = built(given, kind="openai", model="gpt-5")

    assert (sent.get("reasoning_effort"), told) == (effort, dropped)
    assert not {"reasoning", "thinking"} & set(sent)
    assert built(given, kind="openrouter")[0] == {"model": "m", **given}


@pytest.mark.parametrize("given", [{"reasoning": "low"}, {"thinking": [1]}])
def test_an_object_of_a_wrong_type_is_refused_by_name(given: dict[str, Any]) -> None:
    with pytest.raises(BadRequest) as refused:
        built(given, kind="openai")

    assert refused.value.param in given


@pytest.mark.parametrize("kind", ["perplexity", "groq", "cerebras", "nebius", "parasail", *LOCAL])
@pytest.mark.parametrize(
    ("asked", "sent"), [("minimal", "low"), ("low", "low"), ("xhigh", "high"), ("max", "high")]
)
def test_efforts_are_the_nearest_that_there_are(kind: str, asked: str, sent: str) -> None:
    body, dropped = built({"reasoning_effort": asked}, kind=kind)

    assert body["reasoning_effort"] == sent
    assert dropped == (() if asked == sent else ("reasoning_effort",))


@pytest.mark.parametrize(
    ("model", "kept"),
    [
        ("grok-3-mini", {"reasoning_effort"}),
        ("grok-3-mini-fast", {"reasoning_effort"}),
        ("grok-3", {"frequency_penalty"}),
        ("grok-4", set()),
        ("grok-4-0709", set()),
        ("grok-4-fast-reasoning", set()),
        ("grok-4-fast-non-reasoning", {"frequency_penalty", "presence_penalty"}),
        ("grok-4-1-fast-reasoning", set()),
        ("grok-4.20-0309-reasoning", set()),
        ("grok-4.20-multi-agent-0309", {"reasoning_effort"}),
        ("grok-4.3", {"reasoning_effort"}),
        ("grok-code-fast-1", set()),
        ("grok-2-1212", {"frequency_penalty", "presence_penalty"}),
    ],
)
def test_grok_models_are_told_only_what_they_take(model: str, kept: set[str]) -> None:
    asked = {"reasoning_effort": "low", "frequency_penalty": 0.5, "presence_penalty": 0.5}

    sent, dropped = built(asked, kind="xai", model=model)

    assert set(sent) - {"model"} == kept
    assert set(dropped) == set(asked) - kept
    assert "reasoning" not in built({"reasoning": {"effort": "low"}}, kind="xai", model=model)[0]


@pytest.mark.parametrize(("model", "takes"), [("grok-3", True), ("grok-2-1212", True), ("grok-4", False)])
def test_grok_models_that_cannot_stop_say_so(model: str, takes: bool) -> None:
    if takes:
        assert built({"stop": ["END"]}, kind="xai", model=model)[0]["stop"] == ["END"]
        return
    with pytest.raises(BadRequest) as refused:
        built({"stop": ["END"]}, kind="xai", model=model)
    assert refused.value.param == "stop"
    assert built({"stop": []}, kind="xai", model=model) == ({"model": model}, ())


def test_groq_has_no_probabilities() -> None:
    with pytest.raises(BadRequest) as refused:
        built({"logprobs": True}, kind="groq")

    assert refused.value.param == "logprobs"
    assert built({"logprobs": False, "top_logprobs": 0}, kind="groq") == ({"model": "m"}, ())


@pytest.mark.parametrize("kind", ["ollama", "huggingface", "perplexity"])
def test_a_limit_holds_also_where_only_its_older_name_is_known(kind: str) -> None:
    assert built({"max_completion_tokens": 7}, kind=kind)[0] == {"model": "m", "max_tokens": 7}


def test_hugging_face_gets_the_fields_that_its_library_has() -> None:
    known = huggingface_hub.ChatCompletionInput.__dataclass_fields__
    body = {
        "messages": [], "max_completion_tokens": 5, "temperature": 0.1, "top_k": 4, "store": True, "verbosity": "low",
        "prompt_cache_key": "k", "seed": 1, "stop": ["x"], "logprobs": True, "n": 2, "stream": True,
    }  # fmt: skip

    assert set(built(body, kind="huggingface")[0]) <= set(known)


@pytest.mark.parametrize("kind", sorted(set(DIALECTS) & {"openai", "azure", "openrouter", *HOSTED, *LOCAL}))
def test_a_plain_chat_passes_as_it_is(kind: str) -> None:
    body = {
        "messages": [{"role": "system", "content": "be"}, {"role": "user", "content": "hi"}],
        "tools": [LOOK],
        "tool_choice": "required",
        "temperature": 0.1,
    }

    assert built(body, kind=kind if kind != "azure" else "openai", model="gpt-4o") == (
        {"model": "gpt-4o", **body},
        (),
    )


def picture(kind: str, model: str, **body: Any) -> tuple[dict[str, Any], tuple[str, ...]]:
    sent, dropped = built({"prompt": "p", **body}, kind=kind, model=model, operation=Operation.IMAGES)
    del sent["prompt"], sent["model"]
    return sent, dropped


def test_nebius_wants_both_sides_apart() -> None:
    own = {"guidance_scale": 3, "loras": [{"url": "u", "scale": 1}], "seed": 1}

    assert picture(
        "nebius", "flux", size="512x256", output_format="jpeg", response_format="b64_json", quality="hd", **own
    ) == (
        {"width": 512, "height": 256, "response_extension": "jpg", "response_format": "b64_json", **own},
        ("quality",),
    )  # fmt: skip
    assert picture("nebius", "flux", size="auto") == ({}, ())
    assert picture("nebius", "flux", size="large") == ({}, ("size",))


@pytest.mark.parametrize(
    ("model", "size", "shape"),
    [
        ("grok-imagine-image", "512x512", "1:1"),
        ("grok-imagine-image", "1792x1024", "16:9"),
        ("grok-imagine-image", "1024x1536", "2:3"),
        ("grok-2-image-1212", "512x512", None),
        ("grok-imagine-image", "large", None),
    ],
)
def test_xai_makes_shapes_not_sizes(model: str, size: str, shape: str | None) -> None:
    sent, dropped = picture("xai", model, size=size, n=1, response_format="b64_json")

    assert sent == {"n": 1, "response_format": "b64_json"} | ({"aspect_ratio": shape} if shape else {})
    assert dropped == ("size",)


def test_xai_keeps_what_it_has_of_its_own() -> None:
    assert picture("xai", "grok-imagine-image", size="auto", quality="hd", style="vivid") == (
        {},
        ("quality", "style"),
    )
    own = {"aspect_ratio": "20:9", "resolution": "2k", "quality": "low"}
    assert picture("xai", "grok-imagine-image", size="512x512", **own) == (own, ("size",))
