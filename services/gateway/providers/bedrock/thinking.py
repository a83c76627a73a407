"""Reasoning: each maker has its own fields for it, which Converse passes through."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from services.gateway.providers.anthropic.effort import (
    MIN_BUDGET,
    accepted_effort,
    budget_of,
    is_less,
)
from services.gateway.providers.anthropic.models import Traits, traits_of
from services.gateway.providers.anthropic.tool_loop import LoopTurn, lacks_thoughts
from services.gateway.providers.bedrock.families import Family
from services.gateway.providers.bedrock.tools import forces_tool, wants_structure
from services.gateway.providers.chat.effort import effort_of_budget
from services.gateway.providers.chat.policy import Fit
from services.gateway.providers.chat.request import ChatRequest, Effort, JsonSchemaFormat

_THREE: Final[dict[Effort, str]] = {
    "minimal": "low", "low": "low", "medium": "medium", "high": "high", "xhigh": "high", "max": "high",
}  # fmt: skip
_NAMES: Final = ("reasoning_effort", "reasoning", "thinking")
OFF: Final = {"type": "disabled"}


def thinking(
    chat: ChatRequest, family: Family, model: str, fit: Fit, messages: Sequence[Mapping[str, Any]]
) -> dict[str, Any]:
    """Further fields of the model that make it think, or not; empty: as it likes. Raises BadRequest.

    `messages` are Converse's.
    """
    effort, budget = chat.effort, chat.thinking_budget
    if effort is None and budget is None:
        return {}
    if budget == 0 or (effort == "none" and budget is None):
        return _off(family, model)
    if family == "anthropic":
        return _claude(chat, effort, budget, model, fit, messages)
    if effort is None and budget is not None and budget > 0:
        effort = effort_of_budget(budget)
    level = _THREE.get(effort or "medium", "medium")
    if family == "nova-2":
        # The highest takes no limit on tokens: the client's counts for more than its wish.
        level = "medium" if level == "high" and chat.limit is not None else level
        return {"reasoningConfig": {"type": "enabled", "maxReasoningEffort": level}}
    if family == "gpt-oss":
        return {"reasoning_effort": level}
    if family == "openai":
        return {"reasoning": {"effort": "low" if effort == "minimal" else effort or "medium"}}
    _drop(chat, fit)
    return {}


def thinks_hard(extra: Mapping[str, Any]) -> bool:
    """With the highest effort Nova takes no sampling."""
    return bool(extra.get("reasoningConfig", {}).get("maxReasoningEffort") == "high")


def _off(family: Family, model: str) -> dict[str, Any]:
    """For models that think unless they are told not to."""
    if family == "openai":
        return {"reasoning": {"effort": "none"}}
    return {"thinking": OFF} if family == "anthropic" and traits_of(model).adaptive else {}


def adaptive_effort(chat: ChatRequest, family: Family, model: str, fit: Fit, *, thinks: bool) -> str:
    """`outputConfig.effort`, for those models that take one; empty for the others.

    An effort holds for all that the model does, also where it `thinks` not, because it is made to call a tool.
    """
    traits = traits_of(model)
    if family != "anthropic" or not traits.adaptive or chat.effort == "none":
        return ""
    effort, budget = chat.effort, chat.thinking_budget
    if effort is None:
        # These models take no budget of tokens; the effort that stands for about as much is said instead.
        return effort_of_budget(budget) if thinks and budget is not None and budget > 0 else ""
    accepted = accepted_effort(effort, traits, thinks=thinks)
    if is_less(accepted, effort):
        _drop(chat, fit)
    return accepted


def _claude(
    chat: ChatRequest,
    effort: Effort | None,
    budget: int | None,
    model: str,
    fit: Fit,
    messages: Sequence[Mapping[str, Any]],
) -> dict[str, Any]:
    traits = traits_of(model)
    if forces_tool(chat) or not traits.thinks or (budget is None and _needs_answer_tool(chat, traits)):
        # Claude does not think when it is made to call a tool; the tool is what the client cannot do without.
        if effort is None or not traits.adaptive:
            _drop(chat, fit)
        return {}
    asked = next(name for name in ("thinking", "reasoning", "reasoning_effort") if name in chat.names)
    if traits.adaptive:
        if budget is not None and budget > 0:
            fit.drop(asked)
        hidden = chat.reasoning is not None and chat.reasoning.exclude
        return {"thinking": {"type": "adaptive", "display": "omitted" if hidden else "summarized"}}
    if lacks_thoughts(_backwards(messages)):
        _drop(chat, fit)
        return {}
    if budget is None or budget < 0:
        return _within_limit(chat, (effort or "medium") if budget is None else "minimal", fit)
    if budget < MIN_BUDGET:
        fit.refuse(asked, f"the least budget to think with is {MIN_BUDGET} tokens")
    if chat.limit is not None and budget >= chat.limit:
        fit.refuse(asked, "the budget to think with must be below the limit on completion tokens")
    return _enabled(budget)


def _backwards(messages: Sequence[Mapping[str, Any]]) -> Iterator[LoopTurn]:
    for message in reversed(messages):
        content = message["content"]
        yield LoopTurn(
            of_user=message["role"] == "user",
            answers=any("toolResult" in block for block in content),
            thought="reasoningContent" in content[0],
        )


def _needs_answer_tool(chat: ChatRequest, traits: Traits) -> bool:
    """The answer must be JSON, and only a tool that must be called makes it so."""
    if isinstance(chat.response_format, JsonSchemaFormat):
        return not traits.schemas
    return wants_structure(chat)


def _within_limit(chat: ChatRequest, effort: Effort, fit: Fit) -> dict[str, Any]:
    """Without a budget it is a wish."""
    budget = budget_of(effort, chat.limit)
    if budget < MIN_BUDGET:
        _drop(chat, fit)
        return {}
    return _enabled(budget)


def _enabled(budget: int) -> dict[str, Any]:
    return {"thinking": {"type": "enabled", "budget_tokens": budget}}


def _drop(chat: ChatRequest, fit: Fit) -> None:
    for name in _NAMES:
        if name in chat.names:
            fit.drop(name)
