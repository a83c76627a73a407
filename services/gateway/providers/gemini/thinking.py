"""How hard to think, in the words of each generation of Gemini: a level since 3, a budget before."""

import re
from typing import Any, Final

from services.gateway.providers.chat.policy import Fit
from services.gateway.providers.chat.request import ChatRequest

_GENERATION: Final = re.compile(r"gemini-(\d+(?:\.\d+)?)")
_BUDGETS: Final = {"none": 0, "minimal": 1_024, "low": 1_024, "medium": 8_192, "high": 24_576, "xhigh": 24_576, "max": 24_576}  # fmt: skip
_LEVELS: Final = {"none": "MINIMAL", "minimal": "MINIMAL", "low": "LOW", "medium": "MEDIUM", "high": "HIGH", "xhigh": "HIGH", "max": "HIGH"}  # fmt: skip
_PRO_MINIMUM: Final = 128
"""A Pro model always thinks."""


def generation_of(model: str) -> float:
    """3.0 for `gemini-3-pro`; for a name without a number, such as `gemini-flash-latest`, the newest."""
    match = _GENERATION.search(model)
    if match is not None:
        return float(match[1])
    return 3.0 if model.startswith("gemini-") and "latest" in model else 0.0


def thinking_config(chat: ChatRequest, model: str, fit: Fit) -> dict[str, Any] | None:
    """The `thinkingConfig`; None when the client did not say, or the model does not think."""
    budget, effort = chat.thinking_budget, chat.effort
    if budget is None and effort is None:
        return None
    generation = generation_of(model)
    if generation < 2.5:
        for name in ("reasoning_effort", "reasoning", "thinking"):
            if name in chat.names and effort != "none" and budget != 0:
                fit.drop(name)
        return None
    pro = "pro" in model
    config: dict[str, Any] = {}
    if effort is not None and budget is None:
        if generation >= 3:
            config["thinkingLevel"] = "LOW" if pro and effort in ("none", "minimal") else _LEVELS[effort]
        else:
            budget = _BUDGETS[effort]
    if budget is not None:
        if budget < -1:
            fit.refuse("thinking", "a budget of tokens is 0 or more, or -1")
        config["thinkingBudget"] = _PRO_MINIMUM if pro and 0 <= budget < _PRO_MINIMUM else budget
    hidden = chat.reasoning is not None and chat.reasoning.exclude is True
    config["includeThoughts"] = not hidden and budget != 0 and effort != "none"
    return config
