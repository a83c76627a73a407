"""How many tokens a chat has: CountTokens of Bedrock's runtime, which is there for some models only."""

import re
from dataclasses import replace
from typing import Any, Final

import msgspec

from services.gateway.providers.bedrock.errors import fault_in
from services.gateway.providers.bedrock.location import Place, place_of
from services.gateway.providers.bedrock.request import converse_request
from services.gateway.providers.body import JsonBody
from services.gateway.providers.errors import UpstreamError
from services.gateway.providers.port import Target
from services.gateway.providers.wire_errors import knows_no_address, unreadable_answer

ACTION: Final = "count-tokens"
_FIELDS: Final = ("messages", "system", "toolConfig", "additionalModelRequestFields")
"""Of a chat's parameters those that are counted."""
_PROFILE: Final = re.compile(r"(?:arn:[^/]+:inference-profile/)?[a-z-]+\.(?=[a-z0-9-]+\.[a-z])")
"""Where a profile of AWS's own routes to, before the model that it routes to."""
_NOT_COUNTED: Final = ("support counting tokens", "bedrock:counttokens")
"""The model has no counter, or who asks may chat but not count."""
_NOT_ALONE: Final = frozenset({"AccessDeniedException", "ResourceNotFoundException"})
_NOT_ALONE_WORDS: Final = ("model identifier is invalid", "on-demand throughput")


class _Count(msgspec.Struct):
    inputTokens: int


_count: Final = msgspec.json.Decoder(_Count)


def count_question(target: Target, chat: JsonBody) -> tuple[Place, dict[str, Any], tuple[str, ...]]:
    """Where the question goes, its body, and what was left out. Raises BadRequest."""
    place = place_of(target)
    asked = converse_request(target, chat)
    counted = {name: asked.params[name] for name in _FIELDS if name in asked.params}
    return replace(place, model=_behind(place.model)), {"input": {"converse": counted}}, asked.dropped


def read_count(answer: bytes) -> int:
    """Raises UpstreamError when the answer is something else."""
    try:
        return _count.decode(answer).inputTokens
    except msgspec.DecodeError as error:
        raise fault_in(answer) or unreadable_answer() from error


def cannot_count(target: Target, error: UpstreamError) -> bool:
    """See CountsTokens."""
    message, code = error.message.lower(), error.upstream_code
    if any(words in message for words in _NOT_COUNTED):
        return True
    if code == "UnknownOperationException" or knows_no_address(error):
        return True
    model = place_of(target).model
    # The model behind a profile may not be there without it.
    return _behind(model) != model and (
        code in _NOT_ALONE or any(word in message for word in _NOT_ALONE_WORDS)
    )


def _behind(model: str) -> str:
    """The model that a profile stands for: by the profile's name nothing is counted."""
    return _PROFILE.sub("", model, count=1) if _PROFILE.match(model) else model
