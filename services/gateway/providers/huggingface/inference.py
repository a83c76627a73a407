"""Hugging Face's own inference: a task per model, asked in JSON or with a file alone, and answered with what it made."""

import base64
from collections.abc import Mapping
from dataclasses import dataclass
from email.parser import BytesHeaderParser
from typing import Any, Final

import msgspec

from services.gateway.providers.answer import OpenAIAnswer
from services.gateway.providers.body import JsonBody, ParsedBody
from services.gateway.providers.chat.completion import failed_answer, unix_now
from services.gateway.providers.embeddings import embeddings_answer
from services.gateway.providers.errors import BadRequest
from services.gateway.providers.estimate import estimate_answer
from services.gateway.providers.multipart import MultipartBody, Part
from services.gateway.providers.operations import Operation
from services.gateway.providers.parameters import left_over
from services.gateway.providers.pictures import dimensions
from services.gateway.providers.usage import Usage
from services.gateway.providers.wire_errors import unreadable_answer
from shared.events import Tokens

JSON: Final = "application/json"
_EMBED_OWN: Final = ("normalize", "prompt_name", "truncate", "truncation_direction")
_IMAGE_OWN: Final = ("negative_prompt", "num_inference_steps", "guidance_scale", "scheduler", "seed")
_EMBEDDING: Final = frozenset({"input", "encoding_format", *_EMBED_OWN})
_IMAGE: Final = frozenset(
    {"prompt", "n", "size", "response_format", "stream", "image", "image[]", *_IMAGE_OWN}
)
_SPEECH: Final = frozenset({"input", "stream_format"})
_TRANSCRIPT: Final = frozenset({"file", "response_format", "stream"})
"""What the tasks do something with; the rest is left out."""
_SOUNDS: Final = (
    (b"RIFF", "audio/wav"),
    (b"fLaC", "audio/flac"),
    (b"OggS", "audio/ogg"),
    (b"\x1aE\xdf\xa3", "audio/webm"),
)
_OTHER_SOUND: Final = "audio/mpeg"


class _Transcript(msgspec.Struct):
    text: str


_inputs: Final = msgspec.json.Decoder(str | list[str])
_vectors: Final = msgspec.json.Decoder(list[list[float]])
_transcript: Final = msgspec.json.Decoder(_Transcript)


@dataclass(frozen=True, slots=True)
class Task:
    """What is sent to a model."""

    body: bytes
    content_type: str = JSON
    accept: str = JSON
    path: str = ""
    """Below the model's address."""
    dropped: tuple[str, ...] = ()


def task_of(operation: Operation, body: ParsedBody) -> Task | None:
    """None for an operation that is none of its tasks. Raises BadRequest."""
    if isinstance(body, JsonBody):
        if operation is Operation.EMBEDDINGS:
            return Task(
                msgspec.json.encode(_embedding(body)),
                path="/pipeline/feature-extraction",
                dropped=tuple(left_over(body, _EMBEDDING)),
            )
        if operation is Operation.IMAGES:
            sent = {"inputs": _prompt(body)} | _parameters(body)
            return Task(msgspec.json.encode(sent), accept="image/png", dropped=tuple(left_over(body, _IMAGE)))
        if operation is Operation.SPEECH:
            return _speech(body)
        return None
    if operation is Operation.IMAGE_EDITS:
        return _edit(body)
    return _recording(body) if operation is Operation.TRANSCRIPTIONS else None


def read_task(
    operation: Operation, request: ParsedBody, headers: Mapping[str, str], raw: bytes
) -> OpenAIAnswer:
    """Never raises: an answer that cannot be read has its `error` set."""
    if operation is Operation.EMBEDDINGS and isinstance(request, JsonBody):
        return _read_vectors(request, raw)
    kind = headers.get("content-type", "")
    if operation is Operation.SPEECH:
        if not kind.startswith("audio/"):
            return failed_answer(raw, unreadable_answer())
        return OpenAIAnswer(raw, kind, estimate_answer(operation, request, raw))
    if operation is Operation.TRANSCRIPTIONS:
        return _read_transcript(request, raw)
    if not kind.startswith("image/"):
        return failed_answer(raw, unreadable_answer())
    document = {"created": unix_now(), "data": [{"b64_json": base64.b64encode(raw).decode()}]}
    return _answer(document, Usage(Tokens(images=1)))


def _embedding(body: JsonBody) -> dict[str, Any]:
    try:
        given = _inputs.decode(body.raw("input") or b"[]")
    except msgspec.DecodeError as error:
        raise BadRequest(
            "`input` must be a text or a list of texts with Hugging Face.", param="input"
        ) from error
    if not given:
        raise BadRequest("You must send an input.", param="input")
    if "dimensions" in body:
        raise BadRequest("`dimensions` cannot be chosen with Hugging Face.", param="dimensions")
    own = {name: msgspec.Raw(raw) for name in _EMBED_OWN if (raw := body.raw(name)) is not None}
    return {"inputs": [given] if isinstance(given, str) else given} | own


def _speech(body: JsonBody) -> Task:
    text = body.text("input")
    if not text:
        raise BadRequest("You must send an input.", param="input")
    if body.text("stream_format") == "sse":
        raise BadRequest("`stream_format` cannot be used with this model.", param="stream_format")
    sent = msgspec.json.encode({"inputs": text, "parameters": {}})
    return Task(sent, accept="audio/*", dropped=tuple(left_over(body, _SPEECH)))


def _edit(body: MultipartBody) -> Task:
    pictures = [part for part in body.files if part.name in ("image", "image[]")]
    if len(pictures) != 1:
        raise BadRequest("You must send one image.", param="image")
    if any(part.name == "mask" for part in body.files):
        raise BadRequest("`mask` cannot be used with Hugging Face.", param="mask")
    prompt, asked = _prompt(body), _parameters(body)
    parameters = {"prompt": prompt} | asked.get("parameters", {})
    if "width" in parameters:
        sides = {name: parameters.pop(name) for name in ("width", "height")}
        parameters["target_size"] = sides
    picture = base64.b64encode(body.content_of(pictures[0])).decode()
    sent = msgspec.json.encode({"inputs": picture, "parameters": parameters})
    return Task(sent, accept="image/png", dropped=tuple(left_over(body, _IMAGE)))


def _recording(body: MultipartBody) -> Task:
    form = body.text("response_format") or "json"
    if form not in ("json", "text"):
        raise BadRequest(
            "`response_format` must be `json` or `text` with Hugging Face.", param="response_format"
        )
    if body.stream:
        raise BadRequest("`stream` cannot be used with this model.", param="stream")
    if len(body.files) != 1:
        raise BadRequest("You must send one file.", param="file")
    (part,) = body.files
    data = body.content_of(part)
    return Task(data, content_type=_sound_type(part, data), dropped=tuple(left_over(body, _TRANSCRIPT)))


def _sound_type(part: Part, data: bytes) -> str:
    """What the client says that its file is, else what its first bytes say: nothing else tells the model."""
    said = BytesHeaderParser().parsebytes(part.head).get_content_type()
    if said.startswith(("audio/", "video/")):
        return said
    return next((kind for start, kind in _SOUNDS if data.startswith(start)), _OTHER_SOUND)


def _prompt(body: ParsedBody) -> str:
    prompt = body.text("prompt")
    if not prompt:
        raise BadRequest("You must send a prompt.", param="prompt")
    if body.n > 1:
        raise BadRequest("`n` must be 1 with Hugging Face.", param="n")
    if body.text("response_format") == "url":
        raise BadRequest("`response_format` must be `b64_json` with Hugging Face.", param="response_format")
    if body.stream:
        raise BadRequest("`stream` cannot be used with this model.", param="stream")
    return prompt


def _parameters(body: ParsedBody) -> dict[str, Any]:
    parameters: dict[str, Any] = {}
    for name in _IMAGE_OWN:
        raw = body.raw(name) if isinstance(body, JsonBody) else None
        text = body.text(name) if isinstance(body, MultipartBody) else None
        if raw is not None:
            parameters[name] = msgspec.Raw(raw)
        elif text is not None:
            parameters[name] = _number(text)
    size = body.text("size")
    if size and size != "auto":
        sides = dimensions(size)
        if sides is None:
            raise BadRequest("`size` must be WIDTHxHEIGHT.", param="size")
        parameters |= {"width": sides[0], "height": sides[1]}
    return {"parameters": parameters} if parameters else {}


def _number(text: str) -> Any:
    """A field of a form as the number that it writes, if it writes one."""
    try:
        return msgspec.json.decode(text, type=int | float)
    except msgspec.DecodeError:
        return text


def _read_vectors(request: JsonBody, raw: bytes) -> OpenAIAnswer:
    try:
        vectors = _vectors.decode(raw)
    except msgspec.DecodeError:
        return failed_answer(raw, unreadable_answer())
    return embeddings_answer(request, vectors, estimate_answer(Operation.EMBEDDINGS, request, raw))


def _read_transcript(request: ParsedBody, raw: bytes) -> OpenAIAnswer:
    try:
        text = _transcript.decode(raw).text
    except msgspec.DecodeError:
        return failed_answer(raw, unreadable_answer())
    usage = estimate_answer(Operation.TRANSCRIPTIONS, request, raw)
    if request.text("response_format") == "text":
        return OpenAIAnswer(text.encode(), "text/plain; charset=utf-8", usage)
    return _answer({"text": text}, usage)


def _answer(document: dict[str, Any], usage: Usage) -> OpenAIAnswer:
    fields = {name: msgspec.Raw(msgspec.json.encode(value)) for name, value in document.items()}
    return OpenAIAnswer(msgspec.json.encode(fields), JSON, usage, fields=fields)
