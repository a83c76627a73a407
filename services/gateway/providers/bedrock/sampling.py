"""OpenAI's limits and scales as Bedrock takes them, whatever the operation."""

from services.gateway.providers.chat.policy import Fit
from services.gateway.providers.chat.request import ChatRequest


def limit_of(chat: ChatRequest, fitted: Fit) -> int | None:
    """The most tokens that may be written; None: as many as the model likes. Raises BadRequest."""
    if chat.limit is not None and chat.limit < 1:
        name = "max_tokens" if chat.max_completion_tokens is None else "max_completion_tokens"
        fitted.refuse(name, "it must be at least 1")
    return chat.limit


def unit(value: float, name: str, fitted: Fit) -> float:
    """OpenAI's scales end at 2; here they end at 1. Raises BadRequest."""
    if value < 0:
        fitted.refuse(name, "it must not be negative")
    if value > 1:
        fitted.drop(name)
    return min(value, 1.0)
