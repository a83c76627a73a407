"""How hard to think in the words of OpenAI's `reasoning_effort`, for what other formats say otherwise."""

from typing import Final, Literal

import msgspec

from services.gateway.providers.errors import BadRequest


class _Reasoning(msgspec.Struct):
    """OpenRouter's object."""

    effort: str | None = None
    max_tokens: int | None = None


class _Thinking(msgspec.Struct):
    """Anthropic's object."""

    type: str = ""
    budget_tokens: int | None = None


_reasoning: Final = msgspec.json.Decoder(_Reasoning)
_thinking: Final = msgspec.json.Decoder(_Thinking)
_LOW: Final = 4_096
_MEDIUM: Final = 16_384


def effort_of_budget(tokens: int) -> Literal["low", "medium", "high"]:
    """The effort that stands for about as much thinking."""
    if tokens < _LOW:
        return "low"
    return "medium" if tokens < _MEDIUM else "high"


def effort_of_reasoning(raw: bytes) -> str | None:
    """The effort in OpenRouter's object, or in a response's; None where it says none. Raises BadRequest."""
    try:
        asked = _reasoning.decode(raw)
    except msgspec.DecodeError as error:
        raise BadRequest(
            "`reasoning` must be an object with `effort` or `max_tokens`.", param="reasoning"
        ) from error
    if asked.effort is None and asked.max_tokens is not None:
        return effort_of_budget(asked.max_tokens)
    return asked.effort


def effort_of_thinking(raw: bytes) -> str | None:
    """The effort for the budget in Anthropic's object; None where it has none. Raises BadRequest."""
    try:
        asked = _thinking.decode(raw)
    except msgspec.DecodeError as error:
        raise BadRequest("`thinking` must be an object with a `type`.", param="thinking") from error
    if asked.type != "enabled" or asked.budget_tokens is None:
        return None
    return effort_of_budget(asked.budget_tokens)


def effort_in(raw: bytes) -> str:
    """The effort as it stands in a body; empty when it is no word: that is not ours to judge."""
    value = msgspec.json.decode(raw)
    return value if isinstance(value, str) else ""
