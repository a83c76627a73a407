"""The answers to tasks as OpenAI's: of Hugging Face's own inference, or in OpenAI's format already."""

import base64
from collections.abc import Mapping
from typing import Any, Final

import msgspec

from services.gateway.providers.answer import OpenAIAnswer
from services.gateway.providers.body import JsonBody, ParsedBody
from services.gateway.providers.chat.completion import failed_answer, unix_now
from services.gateway.providers.embeddings import embeddings_answer
from services.gateway.providers.estimate import estimate_answer
from services.gateway.providers.huggingface.talk import JSON
from services.gateway.providers.operations import PICTURES, Operation
from services.gateway.providers.usage import Usage, read_usage
from services.gateway.providers.wire_errors import error_in, unreadable_answer
from shared.events import Tokens

_BYTES: Final = ("audio/", "application/octet-stream")


class _Transcript(msgspec.Struct):
    text: str


class _Vector(msgspec.Struct):
    embedding: list[float]
    index: int = 0


class _Vectors(msgspec.Struct):
    data: list[_Vector]
    usage: msgspec.Raw = msgspec.Raw(b"null")


class _Pictures(msgspec.Struct):
    data: list[dict[str, msgspec.Raw]]


_own_vectors: Final = msgspec.json.Decoder(list[list[float]])
_vectors: Final = msgspec.json.Decoder(_Vectors)
_pictures: Final = msgspec.json.Decoder(_Pictures)
_transcript: Final = msgspec.json.Decoder(_Transcript)
_fields: Final = msgspec.json.Decoder(dict[str, msgspec.Raw])


def read_task(
    operation: Operation, request: ParsedBody, headers: Mapping[str, str], raw: bytes
) -> OpenAIAnswer:
    """Never raises: an answer that cannot be read has its `error` set."""
    kind = headers.get("content-type", "")
    if operation is Operation.EMBEDDINGS and isinstance(request, JsonBody):
        return _read_vectors(request, raw)
    if operation is Operation.SPEECH:
        if not kind.startswith(_BYTES):
            return _unreadable(raw)
        kind = kind if kind.startswith("audio/") else "audio/mpeg"
        return OpenAIAnswer(raw, kind, estimate_answer(operation, request, raw))
    if operation is Operation.TRANSCRIPTIONS:
        return _read_transcript(request, raw)
    if operation in PICTURES and not kind.startswith("image/"):
        return _read_pictures(raw)
    document = {"created": unix_now(), "data": [{"b64_json": base64.b64encode(raw).decode()}]}
    return _answer(document, Usage(Tokens(images=1)))


def _read_vectors(request: JsonBody, raw: bytes) -> OpenAIAnswer:
    try:
        if raw.lstrip()[:1] == b"[":
            return embeddings_answer(request, _own_vectors.decode(raw), _estimated(request, raw))
        found = _vectors.decode(raw)
    except msgspec.DecodeError:
        return _unreadable(raw)
    vectors = [item.embedding for item in sorted(found.data, key=lambda item: item.index)]
    usage = read_usage(bytes(found.usage)) or _estimated(request, raw)
    return embeddings_answer(request, vectors, usage)


def _estimated(request: JsonBody, raw: bytes) -> Usage:
    return estimate_answer(Operation.EMBEDDINGS, request, raw)


def _read_pictures(raw: bytes) -> OpenAIAnswer:
    """In OpenAI's format. Priced by the picture, whatever else is counted."""
    try:
        found = _pictures.decode(raw).data
    except msgspec.DecodeError:
        return _unreadable(raw)
    if not all("url" in one or "b64_json" in one for one in found):
        return _unreadable(raw)
    data = [{name: one[name] for name in ("url", "b64_json") if _is_there(one.get(name))} for one in found]
    return _answer({"created": unix_now(), "data": data}, Usage(Tokens(images=len(data))))


def _is_there(value: msgspec.Raw | None) -> bool:
    return value is not None and bytes(value) != b"null"


def _read_transcript(request: ParsedBody, raw: bytes) -> OpenAIAnswer:
    try:
        text = _transcript.decode(raw).text
    except msgspec.DecodeError:
        return _unreadable(raw)
    usage = estimate_answer(Operation.TRANSCRIPTIONS, request, raw)
    if request.text("response_format") == "text":
        return OpenAIAnswer(text.encode(), "text/plain; charset=utf-8", usage)
    return _answer({"text": text}, usage)


def _unreadable(raw: bytes) -> OpenAIAnswer:
    """Most often an error with a good status, in a shape of the provider's own."""
    try:
        fields = _fields.decode(raw)
    except msgspec.DecodeError:
        return failed_answer(raw, unreadable_answer())
    told = any(_is_there(fields.get(name)) for name in ("error", "message", "detail", "msg"))
    return failed_answer(raw, (error_in(fields, named=True) if told else None) or unreadable_answer())


def _answer(document: dict[str, Any], usage: Usage) -> OpenAIAnswer:
    fields = {name: msgspec.Raw(msgspec.json.encode(value)) for name, value in document.items()}
    return OpenAIAnswer(msgspec.json.encode(fields), JSON, usage, fields=fields)
