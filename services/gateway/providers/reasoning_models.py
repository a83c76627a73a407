"""OpenAI's reasoning models by their names, and what a model that thinks refuses to be told about sampling."""

import re
from collections.abc import Mapping
from functools import lru_cache
from types import MappingProxyType
from typing import Any, Final, Literal

_NAME: Final = re.compile(
    r"(?:ft:)?(?:o[1-9]|gpt-(?P<major>[5-9])(?:\.(?P<minor>\d+))?(?P<rest>(?![.\d]).*))"
)
_THINK_ONLY_WHEN_ASKED: Final = frozenset({"1", "2", "4"})
"""Of the GPT-5s, those whose effort is `none` unless another one is asked for."""
_THINK_ALWAYS: Final = re.compile(r"-(?:chat|codex|pro|search)\b")

_THINKS_NOT: Final = re.compile(r"(?:ft:)?(?:gpt-[34]|chatgpt-|gpt-5(?:\.\d+)?-chat)")
"""Chat models of 5.1 and later think, but none lets itself be told how hard: they accept `medium` alone."""
_KNOWS_XHIGH: Final = (5, 2)
_KNOWS_MAX: Final = (5, 6)
Highest = Literal["", "high", "xhigh", "max"]
"""The highest effort that a model accepts; empty: it cannot be told any."""

USUAL_SAMPLING: Final[Mapping[str, Any]] = MappingProxyType(
    {
        "temperature": 1,
        "top_p": 1,
        "presence_penalty": 0,
        "frequency_penalty": 0,
        "logit_bias": {},
        "logprobs": False,
        "top_logprobs": 0,
    }
)
"""Parameters that are refused, and what each of them is when nobody says it."""
PROBABILITIES: Final = frozenset({"logprobs", "top_logprobs"})
"""Those of them that are asked for because of what they add to the answer."""
_NEVER: Final = frozenset({"presence_penalty", "frequency_penalty", "logit_bias"})


@lru_cache(maxsize=1024)
def is_reasoning_model(model: str) -> bool:
    """OpenAI's models that refuse `max_tokens`, fine-tuned ones included. `gpt-5-chat` is none, its successors are."""
    match = _NAME.match(model)
    return match is not None and not (match["minor"] is None and (match["rest"] or "").startswith("-chat"))


def sampling_refused(model: str, effort: str | None) -> frozenset[str]:
    """The parameters of sampling that the model refuses, asked to think with this effort; None: it was not said.

    While a model does not think it takes all but the penalties and the bias; those older than GPT-5.1 always think.
    """
    if not is_reasoning_model(model):
        return frozenset()
    thinks = effort != "none" if effort is not None else not _rests(model)
    return frozenset(USUAL_SAMPLING) if thinks else _NEVER


@lru_cache(maxsize=1024)
def highest_effort(model: str) -> Highest:
    """By OpenAI's reference of `reasoning_effort` and its models' own pages. Of other makers' models `high`."""
    if _THINKS_NOT.match(model):
        return ""
    match = _NAME.match(model)
    if match is None or match["major"] is None:
        return "high"
    version = (int(match["major"]), int(match["minor"] or 0))
    if version >= _KNOWS_MAX:
        return "max"
    return "xhigh" if version >= _KNOWS_XHIGH or match["rest"].startswith("-codex-max") else "high"


@lru_cache(maxsize=1024)
def _rests(model: str) -> bool:
    """Does not think unless it is asked to."""
    match = _NAME.match(model)
    return (
        match is not None
        and match["major"] == "5"
        and match["minor"] in _THINK_ONLY_WHEN_ASKED
        and _THINK_ALWAYS.search(match["rest"]) is None
    )
