"""How many tokens a chat with a model of Vertex AI has. Google counts for its own models and for Claude."""

from dataclasses import replace
from typing import Any, Final

import msgspec

from services.gateway.providers.anthropic.adapter import API_VERSION
from services.gateway.providers.anthropic.request import messages_body
from services.gateway.providers.body import JsonBody
from services.gateway.providers.chat.request import read_chat
from services.gateway.providers.errors import UpstreamError
from services.gateway.providers.gemini.counting import METHOD, not_counted, read_total, vertex_count_body
from services.gateway.providers.gemini.request import chat_body
from services.gateway.providers.port import Target
from services.gateway.providers.vertex.claude import COUNTED, native_count_of_claude
from services.gateway.providers.vertex.location import Place, publisher_of

CLAUDES_COUNTER: Final = "count-tokens"
"""Stands where the model does in the address; the model itself is named in the body."""
_NOT_COUNTED: Final = "is not supported for token counting"
_UNNAMED_VERSION: Final = "@default"
"""The counter does not know a model by this, which is the same as saying none."""


class _Claudes(msgspec.Struct):
    input_tokens: int


_claudes: Final = msgspec.json.Decoder(_Claudes)


def count_question(
    place: Place, target: Target, chat: JsonBody
) -> tuple[str, dict[str, Any], tuple[str, ...]] | None:
    """Address, body and what was left out; None where nobody counts. Raises BadRequest."""
    if place.publisher in ("google", "endpoint"):
        wire, dropped = chat_body(read_chat(chat), place.model, target.fetched)
        return place.url(METHOD), vertex_count_body(wire), dropped
    if place.publisher != "anthropic":
        return None
    said = messages_body(read_chat(chat), place.model, target.fetched)
    fields = {name: value for name, value in said.fields.items() if name in COUNTED}
    body: dict[str, Any] = {"anthropic_version": API_VERSION, "model": _counted_name(place), **fields}
    return _counters_url(place), body, said.dropped


def native_question(place: Place, target: Target, body: JsonBody) -> tuple[str, bytes, tuple[str, ...]]:
    """See count_question. Of Claude, for a request in Anthropic's own format. Raises BadRequest."""
    data, dropped = native_count_of_claude(target, body, _counted_name(place))
    return _counters_url(place), data, dropped


def _counters_url(place: Place) -> str:
    return replace(place, model=CLAUDES_COUNTER).url("rawPredict")


def _counted_name(place: Place) -> str:
    return place.model.removesuffix(_UNNAMED_VERSION)


def read_count(answer: bytes) -> int:
    """Whoever counted. Raises UpstreamError when the answer is something else."""
    try:
        return _claudes.decode(answer).input_tokens
    except msgspec.DecodeError:
        return read_total(answer)


def cannot_count(target: Target, error: UpstreamError) -> bool:
    """See CountsTokens."""
    if publisher_of(target.model_on_wire)[0] != "anthropic":
        return not_counted(error)
    # Not all locations have the counter, and what is missing at its address is never the model.
    missing = error.status == 404 and error.upstream_code == "NOT_FOUND"
    return missing or _NOT_COUNTED in error.message or not_counted(error)
