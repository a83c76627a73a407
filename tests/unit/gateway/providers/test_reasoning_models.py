"""What OpenAI's models refuse while they think is left out where that is harmless, and refused by name where not."""

import json
from typing import Any

import msgspec
import pytest

from services.gateway.providers.azure.adapter import AzureAdapter
from services.gateway.providers.errors import BadRequest
from services.gateway.providers.openai import OpenAIAdapter
from services.gateway.providers.operations import Operation
from services.gateway.providers.reasoning_models import highest_effort, is_reasoning_model
from tests.support.providers.openai_models import wrong_for_model
from tests.support.targets import json_body, target

SAMPLING: dict[str, Any] = {
    "temperature": 0.7,
    "top_p": 0.9,
    "presence_penalty": 0.1,
    "frequency_penalty": 0.1,
    "logit_bias": {"50256": -100},
}
ALL = tuple(sorted(SAMPLING))
PENALTIES = ("frequency_penalty", "logit_bias", "presence_penalty")


def built(
    model: str, *, kind: str = "openai", operation: Operation = Operation.CHAT, base_url: str = "", **asked: Any
) -> tuple[dict[str, Any], tuple[str, ...]]:  # fmt: skip
    body = json_body(msgspec.json.encode({"model": "m", **asked}).decode())
    adapter = AzureAdapter() if kind == "azure" else OpenAIAdapter()
    prepared = adapter.build(operation, target(kind, model, base_url=base_url), body)
    assert isinstance(prepared.request.body, bytes)
    sent = json.loads(prepared.request.body)
    if not base_url:
        assert wrong_for_model(operation.path, sent) == []
    return sent, prepared.dropped


@pytest.mark.parametrize(
    ("model", "asked", "dropped"),
    [
        ("o1", {}, ALL),
        ("o3-mini", {}, ALL),
        ("o4-mini-2025-04-16", {"reasoning_effort": "low"}, ALL),
        ("gpt-5", {}, ALL),
        ("gpt-5-mini", {"reasoning_effort": "minimal"}, ALL),
        ("gpt-5.1", {}, PENALTIES),
        ("gpt-5.1", {"reasoning_effort": "none"}, PENALTIES),
        ("gpt-5.1", {"reasoning_effort": "low"}, ALL),
        ("gpt-5.1", {"reasoning": {"effort": "high"}}, ALL),
        ("gpt-5.1-chat-latest", {}, ALL),
        ("gpt-5.2-pro", {}, ALL),
        ("gpt-5.4-mini-2026-03-17", {}, PENALTIES),
        ("gpt-5.5", {}, ALL),
        ("gpt-5.6-terra", {"reasoning_effort": "none"}, PENALTIES),
        ("gpt-6-astra", {}, ALL),
        ("gpt-5-chat-latest", {}, ()),
        ("gpt-4o", {}, ()),
        ("gpt-4.1-mini", {}, ()),
    ],
)
def test_sampling_is_left_out_and_reported(
    model: str, asked: dict[str, Any], dropped: tuple[str, ...]
) -> None:
    sent, left_out = built(model, **SAMPLING, **asked)

    assert left_out == dropped
    assert {name: sent[name] for name in SAMPLING if name in sent} == {
        name: value for name, value in SAMPLING.items() if name not in dropped
    }


def test_azure_has_the_same_models() -> None:
    assert built("gpt-5-mini", kind="azure", base_url="https://acme.openai.azure.com", **SAMPLING)[1] == ALL
    assert built("gpt-5-chat", kind="azure", base_url="https://acme.openai.azure.com", **SAMPLING)[1] == ()


def test_a_server_of_ones_own_gets_what_was_asked() -> None:
    sent, dropped = built("gpt-5", base_url="http://127.0.0.1:9000/v1", **SAMPLING, logprobs=True)

    assert (sent, dropped) == ({"model": "gpt-5", **SAMPLING, "logprobs": True}, ())


def test_what_happens_anyway_goes_without_a_word() -> None:
    usual: dict[str, Any] = {
        "temperature": 1,
        "top_p": 1.0,
        "presence_penalty": 0,
        "frequency_penalty": None,
        "logit_bias": {},
        "logprobs": False,
        "top_logprobs": 0,
    }

    assert built("o3", **usual) == ({"model": "o3"}, ())


@pytest.mark.parametrize("asked", [{"logprobs": True}, {"logprobs": True, "top_logprobs": 3}])
def test_probabilities_of_a_model_that_thinks_are_refused(asked: dict[str, Any]) -> None:
    with pytest.raises(BadRequest) as refused:
        built("gpt-5.1", reasoning_effort="low", **asked)

    assert refused.value.param == "logprobs"
    assert built("gpt-5.1", **asked) == ({"model": "gpt-5.1", **asked}, ())


@pytest.mark.parametrize(
    ("model", "asked", "dropped"),
    [
        ("gpt-5.1", {"reasoning": {"effort": "low"}}, ("temperature", "top_p")),
        ("gpt-5.1", {"reasoning": {"summary": "auto"}}, ()),
        ("gpt-5.4", {"reasoning_effort": "high"}, ("temperature", "top_p")),
        ("o4-mini", {}, ("temperature", "top_p")),
        ("gpt-4o", {}, ()),
    ],
)
def test_responses_are_asked_for_likewise(
    model: str, asked: dict[str, Any], dropped: tuple[str, ...]
) -> None:
    chosen: dict[str, Any] = {"temperature": 0.7, "top_p": 0.9}

    sent, left_out = built(model, operation=Operation.RESPONSES, input="hi", **chosen, **asked)

    assert left_out == dropped
    assert (sent.keys() & chosen.keys()) == chosen.keys() - set(dropped)


@pytest.mark.parametrize("wrong", ["high", {"effort": 5}, [], 1])
def test_a_reasoning_that_cannot_be_read_is_for_openai_to_judge(wrong: Any) -> None:
    body = json_body(json.dumps({"model": "m", "input": "hi", "temperature": 0.7, "reasoning": wrong}))

    prepared = OpenAIAdapter().build(Operation.RESPONSES, target("openai", "gpt-5.1"), body)

    assert isinstance(prepared.request.body, bytes)
    sent = json.loads(prepared.request.body)
    assert (sent["reasoning"], sent["temperature"], prepared.dropped) == (wrong, 0.7, ())


def test_probabilities_in_a_response_are_refused() -> None:
    with pytest.raises(BadRequest) as refused:
        built("o3", operation=Operation.RESPONSES, input="hi", top_logprobs=2)

    assert refused.value.param == "top_logprobs"


@pytest.mark.parametrize(
    ("model", "reasons"),
    [
        ("o1", True),
        ("ft:o4-mini:acme::x", True),
        ("gpt-5", True),
        ("gpt-5-2025-08-07", True),
        ("gpt-5.1-chat-latest", True),
        ("gpt-6.1-sol", True),
        ("gpt-5-chat-latest", False),
        ("gpt-5-chat", False),
        ("gpt-4.1", False),
        ("gpt-35-turbo", False),
        ("gpt-50", False),
        ("oracle", False),
    ],
)
def test_reasoning_models_are_known_by_their_names(model: str, reasons: bool) -> None:
    assert is_reasoning_model(model) is reasons


@pytest.mark.parametrize(
    ("model", "highest"),
    [
        ("o3", "high"),
        ("gpt-5", "high"),
        ("gpt-5-codex", "high"),
        ("gpt-5.1", "high"),
        ("gpt-5.1-codex", "high"),
        ("gpt-5.1-codex-max", "xhigh"),
        ("gpt-5.2", "xhigh"),
        ("gpt-5.3-codex", "xhigh"),
        ("gpt-5.4-mini-2026-03-17", "xhigh"),
        ("gpt-5.6-terra", "max"),
        ("gpt-6-astra", "max"),
        ("gpt-oss-120b", "high"),
        ("DeepSeek-R1", "high"),
        ("gpt-5-chat-latest", ""),
        ("gpt-5.2-chat-latest", ""),
        ("gpt-4o", ""),
        ("ft:gpt-4.1-mini:acme::x", ""),
        ("gpt-35-turbo", ""),
        ("chatgpt-4o-latest", ""),
    ],
)
def test_the_highest_effort_is_known_by_the_model(model: str, highest: str) -> None:
    assert highest_effort(model) == highest
