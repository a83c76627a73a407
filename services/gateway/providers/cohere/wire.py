"""What Cohere's answers and events hold, as far as the gateway reads it."""

from collections.abc import Mapping
from typing import Final

import msgspec

from services.gateway.providers.errors import UpstreamError
from services.gateway.providers.usage import Usage
from services.gateway.providers.wire_errors import error_in
from shared.events import Tokens

FINISH: Final[Mapping[str, str]] = {
    "COMPLETE": "stop",
    "STOP_SEQUENCE": "stop",
    "MAX_TOKENS": "length",
    "ERROR_LIMIT": "length",
    "TOOL_CALL": "tool_calls",
    "ERROR_TOXIC": "content_filter",
}
"""Cohere's words for why an answer ended, in OpenAI's. What is not here is a failure."""


_fields: Final = msgspec.json.Decoder(dict[str, msgspec.Raw])


class Counts(msgspec.Struct):
    """Numbers come as floats."""

    input_tokens: float | None = None
    output_tokens: float | None = None
    image_tokens: float | None = None
    search_units: float | None = None


class Used(msgspec.Struct):
    """`usage` of a chat, `meta` of everything else."""

    billed_units: Counts | None = None
    tokens: Counts | None = None
    cached_tokens: float | None = None


class Function(msgspec.Struct):
    name: str | None = None
    arguments: str | None = None


class Call(msgspec.Struct):
    id: str = ""
    function: Function | None = None


class Content(msgspec.Struct):
    type: str | None = None
    text: str | None = None
    thinking: str | None = None


def read_used(used: Used | None) -> Usage | None:
    """What Cohere bills, which leaves out the tokens that it added itself; None when it says nothing."""
    if used is None:
        return None
    billed, counted = used.billed_units or Counts(), used.tokens or Counts()
    prompt = billed.input_tokens if billed.input_tokens is not None else counted.input_tokens
    completion = billed.output_tokens if billed.output_tokens is not None else counted.output_tokens
    if prompt is None and completion is None and billed.search_units is None and billed.image_tokens is None:
        return None
    whole = _count(prompt) + _count(billed.image_tokens)
    return Usage(
        Tokens(
            prompt=whole,
            completion=_count(completion),
            cached_read=min(_count(used.cached_tokens), whole),
            search_units=_count(billed.search_units),
        )
    )


def failure(message: str) -> UpstreamError:
    """The model ended with an error after the answer had begun."""
    return UpstreamError(status=502, message=message, retryable=True)


def read_error(raw: bytes) -> UpstreamError | None:
    """The error that stands where something else was expected; None when there is none either."""
    try:
        fields = _fields.decode(raw)
    except msgspec.DecodeError:
        return None  # no JSON object: the caller says what it misses
    return error_in(fields, named=bytes(fields.get("message", b"")).startswith(b'"'))


def _count(value: float | None) -> int:
    return int(value) if value is not None and value > 0 else 0
