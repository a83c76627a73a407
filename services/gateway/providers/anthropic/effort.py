"""How hard Claude thinks, wherever it runs: a budget of tokens up to 4.5, an effort since."""

from typing import Final

from services.gateway.providers.anthropic.models import Traits

MIN_BUDGET: Final = 1_024
_BUDGETS: Final = {
    "minimal": 1_024,
    "low": 2_048,
    "medium": 8_192,
    "high": 16_384,
    "xhigh": 24_576,
    "max": 24_576,
}


def budget_of(effort: str, limit: int | None) -> int:
    """The tokens to think with; below MIN_BUDGET: not at all.

    An effort is a wish: it gives way to the client's limit on tokens, which holds the thinking and the answer, and leaves
    a quarter of it for the answer.
    """
    budget = _BUDGETS[effort]
    return budget if limit is None else min(budget, limit * 3 // 4)


def is_less(accepted: str, effort: str) -> bool:
    """The model works less hard than it was asked to."""
    return accepted != effort and effort != "minimal"


def accepted_effort(effort: str, traits: Traits, *, thinks: bool) -> str:
    """The nearest that the model knows, in the words of `output_config.effort`. The highest are for one that `thinks`."""
    if effort in ("xhigh", "max") and not thinks:
        return "high"
    if effort == "xhigh" and not traits.works_long:
        return "high"
    return "low" if effort == "minimal" else effort
