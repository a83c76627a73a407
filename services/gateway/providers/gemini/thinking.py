"""How hard to think, in the words of each generation of Gemini: a level since 3, a budget before."""

import re
from typing import Any, Final

from services.gateway.providers.chat.policy import Fit
from services.gateway.providers.chat.request import ChatRequest, Effort

_GENERATION: Final = re.compile(r"gemini-(\d+(?:\.\d+)?)")
_THINKS_UNASKED: Final = re.compile(r"-(?:image|tts)\b")
"""Models that draw or speak: what thinking they do cannot be set, or not by these words."""
_BUDGETS: Final = {"none": 0, "minimal": 1_024, "low": 1_024, "medium": 8_192, "high": 24_576, "xhigh": 24_576, "max": 24_576}  # fmt: skip
_LEVELS: Final = {"none": "MINIMAL", "minimal": "MINIMAL", "low": "LOW", "medium": "MEDIUM", "high": "HIGH", "xhigh": "HIGH", "max": "HIGH"}  # fmt: skip
_PRO: Final = (128, 32_768)
_FLASH: Final = (1, 24_576)
_LITE: Final = (512, 24_576)
"""The least and the largest budget of a model that thinks. A Pro model always does."""


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
    if generation < 2.5 or _THINKS_UNASKED.search(model):
        for name in ("reasoning_effort", "reasoning", "thinking"):
            if name in chat.names and effort != "none" and budget != 0:
                fit.drop(name)
        return None
    if budget == -1 and (effort is not None or generation >= 3):
        budget = None  # as it likes: an effort says more, and where there are levels nothing need be said
    elif budget == 0 and generation >= 3:
        effort, budget = "none", None
    if budget is None and effort is not None and generation < 3:
        budget = _BUDGETS[effort]
    config: dict[str, Any] = {}
    if budget is not None:
        config["thinkingBudget"] = _budget(chat, budget, model, fit)
    elif effort is not None:
        config["thinkingLevel"] = _level(effort, generation, model)
    hidden = chat.reasoning is not None and chat.reasoning.exclude is True
    config["includeThoughts"] = not hidden and budget != 0 and effort != "none"
    return config


def _level(effort: Effort, generation: float, model: str) -> str:
    """The nearest that the model has: all have the low one and the high one."""
    level = _LEVELS[effort]
    if level == "MINIMAL" and not _has_minimal(generation, model):
        return "LOW"
    if level == "MEDIUM" and "pro" in model and generation == 3:
        return "HIGH"
    return level


def _has_minimal(generation: float, model: str) -> bool:
    if "-lite" in model:
        return True
    return "-flash" in model and generation in (3, 3.5) and "latest" not in model


def _budget(chat: ChatRequest, budget: int, model: str, fit: Fit) -> int:
    """What the client wants, within what the model takes."""
    if budget < -1:
        fit.refuse("thinking", "a budget of tokens is 0 or more, or -1")
    is_pro = "pro" in model
    if budget == -1 or (budget == 0 and not is_pro):
        return budget
    least, largest = _PRO if is_pro else _LITE if "-lite" in model else _FLASH
    taken = min(max(budget, least), largest)
    if taken < budget:
        fit.drop("thinking.budget_tokens" if chat.thinking is not None else "reasoning.max_tokens")
    return taken
