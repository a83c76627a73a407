"""How the makers of Bedrock's models are told to think, and what a model that thinks is not told."""

from typing import Any

import msgspec
import pytest

from services.gateway.providers.bedrock.tools import ANSWER_TOOL
from services.gateway.providers.errors import BadRequest
from tests.unit.gateway.providers.bedrock.build import built, chat_body, params, target

NOVA = "amazon.nova-pro-v1:0"
NOVA_2 = "us.amazon.nova-2-lite-v1:0"
OPUS = "global.anthropic.claude-opus-5-5"
LLAMA = "meta.llama3-1-70b-instruct-v1:0"
SCHEMA: Any = {
    "type": "json_schema",
    "json_schema": {"name": "city", "schema": {"type": "object", "properties": {"name": {"type": "string"}}}},
}


def test_a_model_that_thinks_gets_the_schema_without_a_tool() -> None:
    found = params(chat_body(response_format=SCHEMA, thinking={"type": "enabled", "budget_tokens": 2048}))

    assert "toolConfig" not in found
    asked = found["outputConfig"]["textFormat"]["structure"]["jsonSchema"]
    assert asked["name"] == "city"
    assert msgspec.json.decode(asked["schema"])["additionalProperties"] is False
    assert found["additionalModelRequestFields"] == {"thinking": {"type": "enabled", "budget_tokens": 2048}}


@pytest.mark.parametrize(
    ("model", "form"),
    [
        ("anthropic.claude-3-7-sonnet-20250219-v1:0", SCHEMA),
        ("anthropic.claude-sonnet-4-5-v1:0", {"type": "json_object"}),
    ],
)
def test_a_wish_to_think_gives_way_to_an_answer_in_json(model: str, form: Any) -> None:
    found, prepared = built(chat_body(response_format=form, reasoning_effort="low"), target(model))

    assert found["toolConfig"]["toolChoice"] == {"tool": {"name": ANSWER_TOOL}}
    assert "additionalModelRequestFields" not in found
    assert prepared.dropped == ("reasoning_effort",)


@pytest.mark.parametrize(
    ("model", "fields", "expected"),
    [
        ("us.anthropic.claude-sonnet-4-5-v1:0", {"reasoning_effort": "low"}, {"thinking": {"type": "enabled", "budget_tokens": 2048}}),
        ("anthropic.claude-opus-4-7-v1:0", {"reasoning_effort": "high"}, {"thinking": {"type": "adaptive", "display": "summarized"}}),
        (NOVA, {"reasoning_effort": "high"}, None),
        (NOVA_2, {"reasoning_effort": "minimal"}, {"reasoningConfig": {"type": "enabled", "maxReasoningEffort": "low"}}),
        (NOVA_2, {"reasoning_effort": "high"}, {"reasoningConfig": {"type": "enabled", "maxReasoningEffort": "high"}}),
        (NOVA_2, {"reasoning_effort": "high", "max_tokens": 9}, {"reasoningConfig": {"type": "enabled", "maxReasoningEffort": "medium"}}),
        (NOVA_2, {"reasoning_effort": "none"}, None),
        (NOVA_2, {"thinking": {"type": "enabled", "budget_tokens": 2000}}, {"reasoningConfig": {"type": "enabled", "maxReasoningEffort": "low"}}),
        (NOVA_2, {"thinking": {"type": "adaptive"}}, {"reasoningConfig": {"type": "enabled", "maxReasoningEffort": "medium"}}),
        ("us.openai.gpt-5.6-sol", {"reasoning_effort": "xhigh"}, {"reasoning": {"effort": "xhigh"}}),
        ("us.openai.gpt-5.6-sol", {"reasoning_effort": "minimal"}, {"reasoning": {"effort": "low"}}),
        ("us.openai.gpt-5.6-sol", {"reasoning_effort": "none"}, {"reasoning": {"effort": "none"}}),
        (OPUS, {"reasoning_effort": "none"}, {"thinking": {"type": "disabled"}}),
        (OPUS, {"thinking": {"type": "disabled"}}, {"thinking": {"type": "disabled"}}),
        (OPUS, {"reasoning": {"effort": "low", "exclude": True}}, {"thinking": {"type": "adaptive", "display": "omitted"}}),
        (OPUS, {}, None),
        ("openai.gpt-oss-120b-1:0", {"reasoning_effort": "high"}, {"reasoning_effort": "high"}),
        (LLAMA, {"reasoning_effort": "high"}, None),
        ("anthropic.claude-sonnet-4-5-v1:0", {"thinking": {"type": "disabled"}}, None),
        ("anthropic.claude-sonnet-4-5-v1:0", {"reasoning_effort": "high", "max_tokens": 500}, None),
        ("anthropic.claude-sonnet-4-5-v1:0", {"thinking": {"type": "adaptive"}}, {"thinking": {"type": "enabled", "budget_tokens": 1024}}),
        ("anthropic.claude-sonnet-4-5-v1:0", {"thinking": {"type": "adaptive"}, "max_tokens": 500}, None),
    ],
)  # fmt: skip
def test_thinking(model: str, fields: dict[str, Any], expected: Any) -> None:
    assert params(chat_body(**fields), target(model)).get("additionalModelRequestFields") == expected


def test_nova_takes_no_sampling_with_its_highest_effort() -> None:
    low = params(chat_body(reasoning_effort="low", temperature=0.5, max_tokens=9), target(NOVA_2))
    high, prepared = built(chat_body(reasoning_effort="high", temperature=0.5, top_p=0.5), target(NOVA_2))

    assert low["inferenceConfig"] == {"temperature": 0.5, "maxTokens": 9}
    assert "inferenceConfig" not in high
    assert prepared.dropped == ("temperature", "top_p")


def test_a_model_behind_an_alias_is_known_by_the_name_that_tells() -> None:
    arn = "arn:aws:bedrock:us-east-1:123456789012:application-inference-profile/abc"
    asked = chat_body(reasoning_effort="low", temperature=0.5)

    behind_id = params(asked, target("mine", alias="us.anthropic.claude-sonnet-4-5-v1:0"))
    behind_arn = params(asked, target("claude-sonnet-4-5", alias=arn))

    assert behind_id["additionalModelRequestFields"] == behind_arn["additionalModelRequestFields"]
    assert behind_id["additionalModelRequestFields"]["thinking"]["type"] == "enabled"


def test_an_effort_guides_a_model_that_thinks_by_itself() -> None:
    to = target("us.anthropic.claude-opus-4-6-v1:0")

    hard, prepared = built(chat_body(reasoning_effort="xhigh"), to)
    assert (hard["outputConfig"], prepared.dropped) == ({"effort": "high"}, ("reasoning_effort",))
    assert params(chat_body(reasoning_effort="xhigh"), target(OPUS))["outputConfig"] == {"effort": "xhigh"}
    budget, prepared = built(chat_body(thinking={"type": "enabled", "budget_tokens": 2000}), to)
    assert budget["outputConfig"] == {"effort": "low"}
    assert prepared.dropped == ("thinking",)


@pytest.mark.parametrize(
    ("asked", "effort", "dropped"),
    [
        ({"reasoning_effort": "low"}, "low", ()),
        ({"reasoning_effort": "max"}, "high", ("reasoning_effort",)),
        ({"thinking": {"type": "enabled", "budget_tokens": 9_000}}, None, ("thinking",)),
    ],
)
def test_a_call_that_must_be_made_is_made_with_the_effort_asked_for(
    asked: dict[str, Any], effort: str | None, dropped: tuple[str, ...]
) -> None:
    tool = {"type": "function", "function": {"name": "look", "parameters": {"type": "object"}}}

    found, prepared = built(chat_body(tools=[tool], tool_choice="required", **asked), target(OPUS))

    assert found.get("outputConfig", {}).get("effort") == effort
    assert "additionalModelRequestFields" not in found
    assert prepared.dropped == dropped


@pytest.mark.parametrize(("limit", "budget"), [(4_096, 3_072), (16_385, 12_288), (32_000, 16_384)])
def test_an_effort_leaves_room_for_the_answer(limit: int, budget: int) -> None:
    found = params(chat_body(reasoning_effort="high", max_tokens=limit))

    assert found["additionalModelRequestFields"]["thinking"]["budget_tokens"] == budget


@pytest.mark.parametrize("limit", [2_000, 2_048])
def test_a_budget_must_leave_room_for_the_answer(limit: int) -> None:
    with pytest.raises(BadRequest) as refused:
        params(chat_body(thinking={"type": "enabled", "budget_tokens": 2_048}, max_tokens=limit))

    assert refused.value.param == "thinking"


USE: Any = {"id": "t1", "type": "function", "function": {"name": "look", "arguments": "{}"}}
SIGNED: Any = [
    {"type": "reasoning.text", "text": "Hm.", "signature": "c2ln", "format": "anthropic-claude-v1"}
]
TOOLS: Any = [{"type": "function", "function": {"name": "look", "parameters": {"type": "object"}}}]


def loop(*, signed: bool) -> list[dict[str, Any]]:
    called = {"role": "assistant", "content": None, "tool_calls": [USE]}
    return [
        {"role": "user", "content": "Hi"},
        called | ({"reasoning_details": SIGNED} if signed else {"reasoning_content": "Hm."}),
        {"role": "tool", "tool_call_id": "t1", "content": "1"},
    ]


@pytest.mark.parametrize(
    "asked", [{"thinking": {"type": "enabled", "budget_tokens": 2048}}, {"reasoning_effort": "low"}]
)
def test_a_loop_of_tools_that_another_model_began_goes_on_without_thinking(asked: dict[str, Any]) -> None:
    thought, _ = built(chat_body(*loop(signed=True), tools=TOOLS, **asked))
    unthought, prepared = built(chat_body(*loop(signed=False), tools=TOOLS, **asked))
    by_itself, _ = built(chat_body(*loop(signed=False), tools=TOOLS, **asked), target(OPUS))

    assert thought["additionalModelRequestFields"]["thinking"]["budget_tokens"] == 2048
    assert "additionalModelRequestFields" not in unthought
    assert prepared.dropped == tuple(asked)
    assert by_itself["additionalModelRequestFields"]["thinking"]["type"] == "adaptive"


def betas(*names: str) -> Any:
    return {"passed_headers": {"anthropic-beta": ", ".join(names)}}


def test_betas_that_mean_something_there_go_along() -> None:
    known = ["context-1m-2025-08-07", "interleaved-thinking-2025-05-14"]
    found, prepared = built(chat_body(), target(**betas(*known)))
    some, told = built(
        chat_body(), target(**betas("claude-code-20250219", known[0], "prompt-caching-scope-2026-01-05"))
    )
    own, _ = built(
        chat_body(additionalModelRequestFields={"anthropic_beta": ["effort-2025-11-24"]}),
        target(**betas(*known)),
    )
    others, silent = built(chat_body(), target(NOVA, **betas(*known)))

    assert found["additionalModelRequestFields"] == {"anthropic_beta": known}
    assert prepared.dropped == ()
    assert some["additionalModelRequestFields"] == {"anthropic_beta": known[:1]}
    assert told.dropped == ("anthropic-beta",)
    assert own["additionalModelRequestFields"] == {"anthropic_beta": ["effort-2025-11-24"]}
    assert "additionalModelRequestFields" not in others and silent.dropped == ()
