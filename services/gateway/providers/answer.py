"""Reads a whole answer in OpenAI's format: its usage, why it ended, and where the cost goes."""

from collections.abc import Mapping
from typing import Final

import msgspec

from services.gateway.providers.body import JsonBody, ParsedBody
from services.gateway.providers.errors import UpstreamError
from services.gateway.providers.estimate import estimate_answer
from services.gateway.providers.operations import PICTURES, TRANSCRIPTS, Operation
from services.gateway.providers.rerank import read_total
from services.gateway.providers.usage import (
    Usage,
    at_tier,
    read_duration_ms,
    read_usage,
    usage_json,
    with_cost,
    with_picture,
)
from services.gateway.providers.wire_errors import error_in, unreadable_answer
from shared.events import Tokens

_COUNTED: Final = frozenset({Operation.CHAT, Operation.COMPLETIONS, Operation.EMBEDDINGS})
"""What is counted in tokens of texts alone, so that an estimate says all that a usage would."""
_TEXT_FORMATS: Final = frozenset({"text", "srt", "vtt"})


class _Finish(msgspec.Struct):
    finish_reason: str | None = None


_fields: Final = msgspec.json.Decoder(dict[str, msgspec.Raw])
_finishes: Final = msgspec.json.Decoder(list[_Finish])
_items: Final = msgspec.json.Decoder(list[msgspec.Raw])


class OpenAIAnswer:
    """See Answer."""

    __slots__ = ("_fields", "body", "content_type", "error", "finish_reason", "usage")

    def __init__(
        self,
        body: bytes,
        content_type: str,
        usage: Usage,
        *,
        fields: dict[str, msgspec.Raw] | None = None,
        finish_reason: str = "",
        error: UpstreamError | None = None,
    ) -> None:
        self.body = body
        self.content_type = content_type
        self.usage = usage
        self.finish_reason = finish_reason
        self.error = error
        self._fields = fields

    def with_cost(self, cost_usd: str) -> bytes:
        if self._fields is None:
            return self.body
        raw = bytes(self._fields.get("usage", b"null"))
        if not raw.startswith(b"{"):
            raw = msgspec.json.encode(usage_json(self.usage, images=self.usage.tokens.images > 0))
        fields = dict(self._fields)
        fields["usage"] = with_cost(raw, cost_usd)
        return msgspec.json.encode(fields)


def read_openai_answer(
    operation: Operation, request: ParsedBody, headers: Mapping[str, str], answer: bytes
) -> OpenAIAnswer:
    """Never raises: an answer that cannot be read has its `error` set."""
    content_type = headers.get("content-type", "application/json")
    if operation is Operation.SPEECH or _is_plain_transcript(operation, request):
        usage = estimate_answer(operation, request, answer)
        return OpenAIAnswer(answer, content_type, usage, error=_error_in_its_place(content_type, answer))
    try:
        fields = _fields.decode(answer)
    except msgspec.DecodeError:
        return OpenAIAnswer(answer, content_type, Usage(Tokens(), estimated=True), error=unreadable_answer())
    images = _count(fields.get("data")) if operation in PICTURES else 0
    usage = _usage(operation, request, fields, answer, images)
    if images:
        usage = with_picture(usage, fields)
    if usage.estimated and operation in _COUNTED and bytes(fields.get("usage", b"")).startswith(b"{"):
        # What cannot be read, or cannot be true, is not passed on either.
        fields["usage"] = msgspec.Raw(msgspec.json.encode(usage_json(usage)))
        answer = msgspec.json.encode(fields)
    finish_reason = _finish_reason(fields.get("choices"))
    suspect = "error" in fields or "choices" not in fields or finish_reason == "error"
    return OpenAIAnswer(
        answer,
        content_type,
        usage,
        fields=fields,
        finish_reason=finish_reason,
        error=error_in(fields, named=False) if suspect else None,
    )


def _error_in_its_place(content_type: str, answer: bytes) -> UpstreamError | None:
    """What came with a 200 where a sound or a plain text should: an error object, or a proxy's web page."""
    if "html" in content_type:
        return unreadable_answer()
    if "json" not in content_type:
        return None
    try:
        return error_in(_fields.decode(answer), named=False)
    except msgspec.DecodeError:
        return None  # whatever it is, it is no error object


def _usage(
    operation: Operation, request: ParsedBody, fields: Mapping[str, msgspec.Raw], answer: bytes, images: int
) -> Usage:
    raw = fields.get("usage")
    reported = read_usage(bytes(raw), images=images) if raw is not None else None
    reported = at_tier(reported, fields.get("service_tier"))
    if reported is not None:
        return reported
    if operation is Operation.RERANK and raw is not None and (total := read_total(bytes(raw))) is not None:
        return total
    if operation is Operation.MODERATIONS:
        return Usage(Tokens())
    if images:
        # Priced by the picture: the number of pictures is the usage, and it is known.
        return Usage(Tokens(images=images))
    if operation in TRANSCRIPTS and "duration" in fields:
        length_ms = read_duration_ms(bytes(fields["duration"]))
        if length_ms:
            return Usage(Tokens(audio_ms=length_ms))
    return estimate_answer(operation, request, answer)


def _is_plain_transcript(operation: Operation, request: ParsedBody) -> bool:
    if operation not in TRANSCRIPTS or isinstance(request, JsonBody):
        return False
    return (request.text("response_format") or "json") in _TEXT_FORMATS


def _finish_reason(choices: msgspec.Raw | None) -> str:
    if choices is None:
        return ""
    try:
        finishes = _finishes.decode(choices)
    except msgspec.DecodeError:
        return ""  # choices of another shape carry no reason
    return (finishes[0].finish_reason or "") if finishes else ""


def _count(data: msgspec.Raw | None) -> int:
    if data is None:
        return 0
    try:
        return len(_items.decode(data))
    except msgspec.DecodeError:
        return 0  # no list: no pictures
