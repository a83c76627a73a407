"""What becomes of the parameters that a provider does not have: left out and reported, or refused.

A parameter is left out when the answer stays what the client asked for (a seed, a penalty). It is refused when
without it the client would get something else (several answers, a schema, tools).
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Final, NoReturn

from services.gateway.providers.chat.request import ChatRequest, TextFormat
from services.gateway.providers.errors import BadRequest

_GATEWAYS_OWN: Final = frozenset({"model", "messages", "stream", "stream_options", "user", "fallbacks"})
_WITHOUT_EFFECT: Final[Mapping[str, tuple[Any, ...]]] = MappingProxyType(
    {
        "n": (1,),
        "logprobs": (False,),
        "top_logprobs": (0,),
        "store": (False,),
        "presence_penalty": (0,),
        "frequency_penalty": (0,),
        "parallel_tool_calls": (True,),
        "modalities": (["text"],),
        "tools": ([],),
        "logit_bias": ({},),
        "metadata": ({},),
        "stop": ([], ""),
        "service_tier": ("auto", "default"),
        "reasoning_effort": ("none",),
    }
)
"""Values that say what happens anyway."""

CACHING: Final = "cache_control"
CHANGES_MEANING: Final = frozenset(
    {
        "n",
        "logprobs",
        "top_logprobs",
        "response_format",
        "tools",
        "tool_choice",
        "functions",
        "function_call",
        "modalities",
        "moderation",
        "audio",
        "web_search_options",
        "stop",
        "max_tokens",
        "max_completion_tokens",
    }
)


@dataclass(frozen=True, slots=True)
class Policy:
    """What one wire format has."""

    provider: str
    """How people call it, for messages."""
    keeps: frozenset[str]
    """Fields that the adapter itself takes care of."""
    refuses: frozenset[str] = CHANGES_MEANING
    """Of the others those that are refused; the rest is left out."""


@dataclass(slots=True)
class Fit:
    """Collects what did not fit while one request is built."""

    provider: str
    _dropped: set[str] = field(default_factory=set)

    def drop(self, name: str) -> None:
        """Harmless: the request goes out without it, and the client is told."""
        self._dropped.add(name)

    def refuse(self, name: str, why: str = "") -> NoReturn:
        """Raises BadRequest naming the parameter."""
        reason = why or f"{self.provider} has nothing like it"
        raise BadRequest(f"`{name}` cannot be used with this model: {reason}.", param=name)

    @property
    def dropped(self) -> tuple[str, ...]:
        return tuple(sorted(self._dropped))


def fit(policy: Policy, chat: ChatRequest) -> Fit:
    """Go through what the client sent. Raises BadRequest for the first parameter that has to be refused."""
    result = Fit(policy.provider)
    for name in sorted(chat.names - _GATEWAYS_OWN - policy.keeps):
        value = getattr(chat, name, None)
        if value is not None and value in _WITHOUT_EFFECT.get(name, ()):
            continue
        if isinstance(value, TextFormat):
            continue
        if name in policy.refuses:
            result.refuse(name)
        result.drop(name)
    if any(message.name for message in chat.messages if message.role != "tool"):
        result.drop("messages.name")
    if CACHING not in policy.keeps and _is_marked(chat):
        result.drop(CACHING)  # such a provider caches by itself, or not at all
    return result


def _is_marked(chat: ChatRequest) -> bool:
    """Something in it carries a caching marker; one on the request itself is a parameter like any other."""
    return any(
        message.cache_control is not None
        or any(getattr(part, CACHING, None) is not None for part in message.parts)
        for message in chat.messages
    ) or any(tool.cache_control is not None for tool in chat.tools or ())
