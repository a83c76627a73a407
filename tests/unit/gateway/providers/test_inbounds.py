"""Which way a request goes: to the provider as it came, or through chat completions."""

import json
from typing import Any

import pytest

from services.gateway.catalogue import Route
from services.gateway.errors import ClientError
from services.gateway.providers.anthropic.adapter import AnthropicAdapter
from services.gateway.providers.chat.memory import Memory, sealed
from services.gateway.providers.errors import BadRequest
from services.gateway.providers.inbound import InboundAdapter
from services.gateway.providers.inbounds import INBOUNDS, errors_of, route_for, speaks
from services.gateway.providers.openai import OpenAIAdapter
from services.gateway.providers.operations import Operation
from services.gateway.upstream.port import UpstreamTimeouts
from shared.catalogue.provider_types import PROVIDER_TYPES
from shared.governance.model import Provider
from shared.pricing.book import PriceBook
from tests.support.providers.bedrock import CLAUDE
from tests.support.providers.judges import adapter_of, target_of
from tests.support.targets import json_body, target


@pytest.mark.parametrize(
    ("type_name", "base_url", "options", "native"),
    [
        ("openai", "https://api.openai.com/v1", {}, True),
        ("openai", "https://api.openai.com/v1/", {}, True),
        ("openai", "http://localhost:1234/v1", {}, False),
        ("openai", "http://localhost:1234/v1", {"responses": "native"}, True),
        ("xai", "https://api.x.ai/v1", {}, True),
        ("xai", "http://proxy/v1", {}, True),
        ("openrouter", "https://openrouter.ai/api/v1", {}, True),
        ("groq", "https://api.groq.com/openai/v1", {}, False),
        ("groq", "https://api.groq.com/openai/v1", {"responses": "native"}, False),
        ("demo", "demo:", {}, False),
    ],
)
def test_who_answers_responses_itself(
    type_name: str, base_url: str, options: dict[str, str], native: bool
) -> None:
    provider = Provider(name="p", type=type_name, base_url=base_url, options=options)

    assert speaks(provider, PROVIDER_TYPES[type_name], Operation.RESPONSES) is native


HTTP_PICTURE: Any = {"type": "input_image", "image_url": "http://example.org/a.png"}
HTTP_IMAGE: Any = {"type": "image", "source": {"type": "url", "url": "http://example.org/a.png"}}


@pytest.mark.parametrize(
    ("operation", "fields", "param"),
    [
        (Operation.RESPONSES, {"input": [{"role": "user", "content": [HTTP_PICTURE]}]}, "input"),
        (Operation.RESPONSES, {"input": "hi", "top_logprobs": 2}, "include"),
        (Operation.MESSAGES, {"messages": [{"role": "user", "content": [HTTP_IMAGE]}]}, "messages"),
        (
            Operation.MESSAGES,
            {"messages": [{"role": "user", "content": "hi"}], "stop_sequences": [" "]},
            "stop_sequences",
        ),
    ],
)
def test_what_the_provider_cannot_do_is_told_in_the_clients_words(
    operation: Operation, fields: Any, param: str
) -> None:
    body = json_body(json.dumps({"model": "m", "max_tokens": 9, **fields}))
    adapter = InboundAdapter(AnthropicAdapter(), INBOUNDS[operation], body)

    with pytest.raises(BadRequest) as caught:
        adapter.build(operation, target("anthropic", "claude-opus-5"), body)

    assert caught.value.param == param
    assert f"`{param}`" in caught.value.message


@pytest.mark.parametrize(
    ("operation", "fields", "dropped"),
    [
        (Operation.RESPONSES, {"input": "hi", "text": {"verbosity": "low"}}, ("text.verbosity",)),
        (
            Operation.MESSAGES,
            {"messages": [{"role": "user", "content": "hi"}], "temperature": 0, "top_k": 3},
            ("temperature", "top_k"),
        ),
    ],
)
def test_what_was_left_out_is_told_in_the_clients_words(
    operation: Operation, fields: Any, dropped: tuple[str, ...]
) -> None:
    body = json_body(json.dumps({"model": "m", "max_tokens": 9, **fields}))
    adapter = InboundAdapter(AnthropicAdapter(), INBOUNDS[operation], body)

    assert adapter.build(operation, target("anthropic", "claude-opus-5"), body).dropped == dropped


def test_reasoning_that_a_provider_cannot_be_told_is_called_so() -> None:
    thought = {"type": "reasoning.text", "text": "Hm.", "signature": "s", "format": "anthropic-claude-v1"}
    item: Any = {
        "type": "reasoning",
        "id": "rs",
        "summary": [],
        "encrypted_content": sealed(Memory([thought])),
    }
    given = [{"role": "user", "content": "hi"}, item, {"role": "assistant", "content": "Hello."}]
    body = json_body(json.dumps({"model": "m", "input": given}))
    adapter = InboundAdapter(OpenAIAdapter(), INBOUNDS[Operation.RESPONSES], body)

    assert adapter.build(Operation.RESPONSES, target("groq", "m"), body).dropped == ("input.reasoning",)


@pytest.mark.parametrize(
    ("model", "options", "spoken"),
    [
        ("gpt-5", {}, {"responses"}),
        ("gpt-5", {"responses": "chat"}, set()),
        ("claude-sonnet-4-5", {}, {"messages", "messages.count_tokens"}),
        ("Claude-Opus-5", {"responses": "chat"}, {"messages", "messages.count_tokens"}),
    ],
)
def test_at_azure_the_model_decides(model: str, options: dict[str, str], spoken: set[str]) -> None:
    provider = Provider(name="p", type="azure", base_url="https://x.test", options=options)
    formats = (Operation.RESPONSES, Operation.MESSAGES, Operation.COUNT_TOKENS)

    assert {
        operation.value
        for operation in formats
        if speaks(provider, PROVIDER_TYPES["azure"], operation, model)
    } == spoken
    assert speaks(provider, PROVIDER_TYPES["azure"], Operation.CHAT, model)


@pytest.mark.parametrize(
    ("model", "options", "native"),
    [
        ("claude-sonnet-4-5@20250929", {}, True),
        ("publishers/anthropic/models/claude-opus-5", {}, True),
        ("claude-opus-5", {"messages": "chat"}, False),
        ("gemini-2.5-flash", {}, False),
        ("mistral-small-2503", {}, False),
        ("meta/llama-4-maverick-17b-128e-instruct-maas", {}, False),
    ],
)
def test_at_vertex_claude_alone_speaks_anthropics_format(
    model: str, options: dict[str, str], native: bool
) -> None:
    provider = Provider(name="p", type="vertex", base_url="https://x.test", options=options)

    assert speaks(provider, PROVIDER_TYPES["vertex"], Operation.MESSAGES, model) is native


def test_each_format_tells_errors_its_own_way() -> None:
    error = ClientError("provider_error", "It failed.")

    assert errors_of(Operation.CHAT).error_event(error).endswith(b"data: [DONE]\n\n")
    assert json.loads(errors_of(Operation.CHAT).error_body(error))["error"]["message"] == "It failed."
    event = errors_of(Operation.RESPONSES).error_event(error)
    assert event.startswith(b"event: error\ndata: ")
    told = json.loads(event.partition(b"data: ")[2])
    assert (told["type"], told["code"], told["message"]) == ("error", "provider_error", "It failed.")


@pytest.mark.parametrize(
    ("kind", "model", "sent", "dropped"),
    [
        ("openai", "gpt-5", "high", ("output_config.effort",)),
        ("openai", "gpt-5.6", "max", ()),
        ("openai", "gpt-4o-mini", None, ("output_config.effort", "thinking")),
        ("groq", "openai/gpt-oss-120b", "high", ("output_config.effort",)),
        ("mistral", "mistral-medium-3", "high", ("output_config.effort",)),
    ],
)
def test_anthropics_clients_ask_no_model_for_an_effort_that_it_does_not_know(
    kind: str, model: str, sent: str | None, dropped: tuple[str, ...]
) -> None:
    asked: Any = {
        "model": "m",
        "max_tokens": 9,
        "messages": [{"role": "user", "content": "hi"}],
        "thinking": {"type": "adaptive"},
        "output_config": {"effort": "max"},
    }
    body, to = json_body(json.dumps(asked)), target_of(kind, model)
    route = Route(f"{kind}/m", model, to.provider, to.type, adapter_of(kind), UpstreamTimeouts(), PriceBook())

    prepared = route_for(route, Operation.MESSAGES, body).adapter.build(Operation.MESSAGES, to, body)

    assert isinstance(prepared.request.body, bytes)
    fields = json.loads(prepared.request.body)
    assert (fields.get("reasoning_effort"), prepared.dropped) == (sent, dropped)
    assert "thinking" not in fields


UNTYPED: Any = {"type": "object", "properties": {"a": {}}, "required": ["a"], "additionalProperties": False}
STRICT: Any = {"name": "look", "strict": True}


@pytest.mark.parametrize(
    ("kind", "operation", "fields", "place"),
    [
        (
            "bedrock",
            Operation.MESSAGES,
            {
                "messages": [{"role": "user", "content": "hi"}],
                "tools": [{"name": "a", "input_schema": {}}, {**STRICT, "input_schema": UNTYPED}],
            },
            "tools[1].input_schema",
        ),
        (
            "anthropic",
            Operation.MESSAGES,
            {
                "messages": [{"role": "user", "content": "hi"}],
                "output_config": {"format": {"type": "json_schema", "schema": UNTYPED}},
            },
            "output_config.format.schema",
        ),
        (
            "bedrock",
            Operation.RESPONSES,
            {"input": "hi", "tools": [{"type": "function", **STRICT, "parameters": UNTYPED}]},
            "tools[0].parameters",
        ),
        (
            "anthropic",
            Operation.RESPONSES,
            {
                "input": "hi",
                "text": {"format": {"type": "json_schema", "name": "a", "strict": True, "schema": UNTYPED}},
            },
            "text.format.schema",
        ),
    ],
)
def test_a_schema_that_is_refused_is_named_as_the_client_has_it(
    kind: str, operation: Operation, fields: Any, place: str
) -> None:
    body = json_body(json.dumps({"model": "m", "max_tokens": 9, **fields}))
    to = target_of(kind, {"bedrock": CLAUDE, "anthropic": "claude-opus-5"}[kind])

    with pytest.raises(BadRequest) as caught:
        InboundAdapter(adapter_of(kind), INBOUNDS[operation], body).build(operation, to, body)

    said = f"{caught.value.param} {caught.value.message}"
    assert said.count(place) == 2
    assert not any(word in said for word in ("function", "json_schema", "response_format"))
