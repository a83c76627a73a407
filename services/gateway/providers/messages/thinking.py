"""How hard a client of Anthropic's wants a model to think, in the words of a chat."""

from typing import Any, Final, Literal, NamedTuple

from services.gateway.providers.chat.effort import effort_of_budget
from services.gateway.providers.messages.wire import Thinking
from services.gateway.providers.reasoning_models import Highest

Json = dict[str, Any]
Words = Literal["thinking", "reasoning", "effort"]
"""That a server knows: Anthropic's object as well, OpenRouter's object, or OpenAI's efforts alone."""


class Way(NamedTuple):
    """How a server is told what Anthropic's clients say."""

    words: Words = "thinking"
    highest: Highest = "high"
    """Of the efforts, where they are all that it knows. Elsewhere the dialect finds the nearest."""
    top_k: bool = True
    """It knows this as well."""


USUAL_WAY: Final = Way()

EFFORT: Final = "output_config.effort"
_THINKING: Final = "thinking"
_BUDGET: Final = "thinking.budget_tokens"
_EFFORTS: Final = ("low", "medium", "high", "xhigh", "max")


def thinking_fields(asked: Thinking | None, effort: str | None, way: Way) -> tuple[Json, tuple[str, ...]]:
    """The fields of a chat, and what of the client's own they do not say."""
    lost: list[str] = []
    if asked is not None and asked.type == "between_tools":
        asked = None
        lost.append(_THINKING)
    if asked is not None and asked.type == "disabled":
        if effort is not None:
            lost.append(EFFORT)  # elsewhere it is an effort to think
        if way.words == "effort":
            lost.append(_THINKING)
        return _OFF[way.words], tuple(lost)
    if way.words == "effort":
        return _as_effort(asked, effort, way.highest, lost), tuple(lost)
    if way.words == "reasoning":
        return _as_reasoning(asked, effort, lost), tuple(lost)
    return _as_thinking(asked, effort), tuple(lost)


_OFF: Final[dict[Words, Json]] = {
    "thinking": {"thinking": {"type": "disabled"}},
    "reasoning": {"reasoning": {"enabled": False}},
    "effort": {},
}


def _as_thinking(asked: Thinking | None, effort: str | None) -> Json:
    fields: Json = {} if effort is None else {"reasoning_effort": effort}
    if asked is None:
        return fields
    # As much as the model likes, guided by an effort, is what an effort means.
    if asked.type == "enabled":
        fields["thinking"] = {"type": asked.type, "budget_tokens": asked.budget_tokens}
    elif effort is None:
        fields["thinking"] = {"type": asked.type}
    if asked.display == "omitted":
        fields["reasoning"] = {"exclude": True}
    return fields


def _as_reasoning(asked: Thinking | None, effort: str | None, lost: list[str]) -> Json:
    """An effort or a budget: together they are refused."""
    reasoning: Json = {}
    if effort is not None:
        reasoning["effort"] = effort
    elif asked is not None and asked.type == "adaptive":
        reasoning["enabled"] = True
    if asked is not None and asked.type == "enabled":
        if effort is None:
            reasoning["max_tokens"] = asked.budget_tokens
        else:
            lost.append(_BUDGET)
    if asked is not None and asked.display == "omitted":
        reasoning["exclude"] = True
    return {"reasoning": reasoning} if reasoning else {}


def _as_effort(asked: Thinking | None, effort: str | None, highest: Highest, lost: list[str]) -> Json:
    if not highest:
        lost += [name for name, said in ((EFFORT, effort), (_THINKING, asked)) if said is not None]
        return {}
    if effort is not None:
        nearest = min(effort, highest, key=_EFFORTS.index)
        if nearest != effort:
            lost.append(EFFORT)
        if asked is not None and asked.type == "enabled":
            lost.append(_BUDGET)
        return {"reasoning_effort": nearest}
    if asked is not None and asked.type == "enabled":
        return {"reasoning_effort": effort_of_budget(asked.budget_tokens or 0)}
    if asked is not None:
        lost.append(_THINKING)
    return {}
