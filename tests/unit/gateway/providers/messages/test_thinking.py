"""How hard to think, from Anthropic's words to those that a server knows."""

import json
from typing import Any

import pytest
from anthropic.types import OutputConfigParam, ThinkingConfigParam
from openai.types.shared import ReasoningEffort
from pydantic import TypeAdapter

from services.gateway.providers.body import parse_json
from services.gateway.providers.inbounds import way_of
from services.gateway.providers.messages.format import MessagesFormat
from services.gateway.providers.messages.thinking import Way, Words
from shared.catalogue.provider_types import PROVIDER_TYPES
from shared.governance.model import Provider

_THEIRS: TypeAdapter[Any] = TypeAdapter(ThinkingConfigParam)
_CONFIG: TypeAdapter[Any] = TypeAdapter(OutputConfigParam)
_EFFORT: TypeAdapter[Any] = TypeAdapter(ReasoningEffort)
BUDGET = {"type": "enabled", "budget_tokens": 10_000}
ADAPTIVE = {"type": "adaptive"}
OFF = {"type": "disabled"}


def said(way: Words | Way, thinking: Any = None, effort: str | None = None) -> tuple[Any, tuple[str, ...]]:
    """The fields of the chat that speak of thinking, and what is told to be left out."""
    fields: Any = {"model": "m", "max_tokens": 9, "messages": [{"role": "user", "content": "Hi"}]}
    if thinking is not None:
        fields["thinking"] = _THEIRS.validate_python(thinking)
    if effort is not None:
        fields["output_config"] = _CONFIG.validate_python({"effort": effort})
    form, body = (
        MessagesFormat(way if isinstance(way, Way) else Way(way)),
        parse_json(json.dumps(fields).encode()),
    )
    chat = json.loads(form.to_chat(body).raw_body)
    if "reasoning_effort" in chat:
        _EFFORT.validate_python(chat["reasoning_effort"])
    return {
        name: chat[name] for name in ("thinking", "reasoning", "reasoning_effort") if name in chat
    }, form.dropped(body)


@pytest.mark.parametrize(
    ("thinking", "effort", "fields", "lost"),
    [
        (None, None, {}, ()),
        (BUDGET, None, {"thinking": BUDGET}, ()),
        (ADAPTIVE, None, {"thinking": ADAPTIVE}, ()),
        (OFF, None, {"thinking": OFF}, ()),
        (None, "max", {"reasoning_effort": "max"}, ()),
        (ADAPTIVE, "xhigh", {"reasoning_effort": "xhigh"}, ()),
        (BUDGET, "low", {"thinking": BUDGET, "reasoning_effort": "low"}, ()),
        (OFF, "high", {"thinking": OFF}, ("output_config.effort",)),
        ({"type": "between_tools"}, None, {}, ("thinking",)),
        ({"type": "between_tools"}, "high", {"reasoning_effort": "high"}, ("thinking",)),
        (BUDGET | {"display": "summarized"}, None, {"thinking": BUDGET}, ()),
        (BUDGET | {"display": "omitted"}, None, {"thinking": BUDGET, "reasoning": {"exclude": True}}, ()),
        (
            ADAPTIVE | {"display": "omitted"},
            "high",
            {"reasoning_effort": "high", "reasoning": {"exclude": True}},
            (),
        ),
    ],
)
def test_whoever_knows_anthropics_words_gets_them(thinking: Any, effort: Any, fields: Any, lost: Any) -> None:
    assert said("thinking", thinking, effort) == (fields, lost)


@pytest.mark.parametrize(
    ("thinking", "effort", "reasoning", "lost"),
    [
        (BUDGET, None, {"max_tokens": 10_000}, ()),
        (ADAPTIVE, None, {"enabled": True}, ()),
        (OFF, None, {"enabled": False}, ()),
        (None, "max", {"effort": "max"}, ()),
        (ADAPTIVE, "low", {"effort": "low"}, ()),
        (BUDGET, "low", {"effort": "low"}, ("thinking.budget_tokens",)),
        (OFF, "high", {"enabled": False}, ("output_config.effort",)),
        (BUDGET | {"display": "omitted"}, None, {"max_tokens": 10_000, "exclude": True}, ()),
    ],
)
def test_openrouter_has_one_object_for_it_all(thinking: Any, effort: Any, reasoning: Any, lost: Any) -> None:
    assert said("reasoning", thinking, effort) == ({"reasoning": reasoning}, lost)


@pytest.mark.parametrize(
    ("thinking", "effort", "told", "lost"),
    [
        (BUDGET, None, "medium", ()),
        ({"type": "enabled", "budget_tokens": 32_000}, None, "high", ()),
        (ADAPTIVE, None, None, ("thinking",)),
        (OFF, None, None, ("thinking",)),
        (None, "medium", "medium", ()),
        (ADAPTIVE, "max", "high", ("output_config.effort",)),
        (BUDGET, "low", "low", ("thinking.budget_tokens",)),
        (OFF, "high", None, ("output_config.effort", "thinking")),
    ],
)
def test_a_server_of_which_nothing_is_known_gets_openais_words_alone(
    thinking: Any, effort: Any, told: str | None, lost: Any
) -> None:
    assert said("effort", thinking, effort) == ({} if told is None else {"reasoning_effort": told}, lost)


@pytest.mark.parametrize(
    ("highest", "thinking", "effort", "told", "lost"),
    [
        ("max", ADAPTIVE, "max", "max", ()),
        ("xhigh", None, "max", "xhigh", ("output_config.effort",)),
        ("xhigh", None, "xhigh", "xhigh", ()),
        ("high", None, "xhigh", "high", ("output_config.effort",)),
        ("max", None, "low", "low", ()),
        ("", ADAPTIVE, "low", None, ("output_config.effort", "thinking")),
        ("", BUDGET, None, None, ("thinking",)),
        ("", None, None, None, ()),
    ],
)
def test_a_model_is_told_the_nearest_effort_that_it_knows(
    highest: Any, thinking: Any, effort: Any, told: str | None, lost: Any
) -> None:
    fields = {} if told is None else {"reasoning_effort": told}
    assert said(Way("effort", highest), thinking, effort) == (fields, lost)


OPENAI, LLAMA = "https://api.openai.com/v1", "meta/llama-4-scout-maas"


@pytest.mark.parametrize(
    ("type_name", "base_url", "model", "way"),
    [
        ("bedrock", "", "openai.gpt-oss-120b-1:0", Way()),
        ("gemini", "", "gemini-3-pro", Way()),
        ("openai", OPENAI, "gpt-5", Way("effort", "high")),
        ("openai", OPENAI, "gpt-5.2", Way("effort", "xhigh")),
        ("openai", OPENAI, "gpt-4o-mini", Way("effort", "")),
        ("openai", "http://localhost:1234/v1", "gpt-5.6", Way("effort")),
        ("azure", "https://acme.openai.azure.com", "gpt-4o", Way("effort", "")),
        ("azure", "https://acme.openai.azure.com", "gpt-5.6", Way("effort", "max")),
        ("azure", "https://acme.openai.azure.com", "claude-opus-4-6", Way()),
        ("vllm", "http://localhost:8000/v1", "m", Way()),
        ("openrouter", "https://openrouter.ai/api/v1", "openai/gpt-5", Way("reasoning")),
        ("replicate", "", "openai/gpt-5", Way("effort")),
        ("huggingface", "", "openai/gpt-oss-120b", Way("effort")),
        ("mistral", "", "mistral-medium-3", Way("effort")),
        ("vertex", "", "mistral-medium-3", Way("effort")),
        ("vertex", "", LLAMA, Way("effort", top_k=False)),
        ("vertex", "", "gemini-3-pro", Way()),
        ("vertex", "", "claude-opus-4-6", Way()),
    ],
)
def test_each_provider_is_told_in_words_that_it_knows(
    type_name: str, base_url: str, model: str, way: Way
) -> None:
    provider = Provider(name="p", type=type_name, base_url=base_url or PROVIDER_TYPES[type_name].base_url)
    assert way_of(provider, PROVIDER_TYPES[type_name], model) == way


def test_a_server_that_has_no_top_k_is_not_told_one() -> None:
    form = MessagesFormat(Way("effort", top_k=False))
    asked = {"model": "m", "max_tokens": 9, "messages": [{"role": "user", "content": "Hi"}], "top_k": 4}
    body = parse_json(json.dumps(asked).encode())

    assert "top_k" not in form.to_chat(body)
    assert form.dropped(body) == ("top_k",)
    assert MessagesFormat().to_chat(body).number("top_k") == 4
