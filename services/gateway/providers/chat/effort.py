"""Efforts to think, for budgets that other formats give in tokens."""

from typing import Final, Literal

_LOW: Final = 4_096
_MEDIUM: Final = 16_384


def effort_of_budget(tokens: int) -> Literal["low", "medium", "high"]:
    """The effort that stands for about as much thinking."""
    if tokens < _LOW:
        return "low"
    return "medium" if tokens < _MEDIUM else "high"
