"""What people said to a model and what it answered, read out of the bodies of a request.

Works on whatever was logged: OpenAI's chat, completions, embeddings, images, audio, rerank and responses shapes, SSE
transcripts, bodies cut in the middle, and nonsense. Never raises: what cannot be read is simply not there.
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Final, Literal

import msgspec

from services.log_ingest.sse import assemble

PartKind = Literal[
    "text", "image", "audio", "file", "tool_call", "tool_result", "reasoning", "refusal", "error"
]

_CUT_TEXT: Final = re.compile(
    r'"(?:content|text|prompt|input|query|instructions)"\s*:\s*"((?:[^"\\]|\\.)*)', re.DOTALL
)
_SILENT_PARTS: Final[frozenset[PartKind]] = frozenset({"image", "audio", "file"})
_MEDIA: Final[dict[str, PartKind]] = {
    "image_url": "image",
    "input_image": "image",
    "image": "image",
    "input_audio": "audio",
    "audio": "audio",
    "file": "file",
    "input_file": "file",
}


@dataclass(frozen=True, slots=True)
class Part:
    """A piece of a turn. `text` is what it says; for media, where it is or what it is; for a tool call, its arguments."""

    kind: PartKind
    text: str
    name: str = ""


@dataclass(frozen=True, slots=True)
class Turn:
    role: str
    parts: tuple[Part, ...]


@dataclass(frozen=True, slots=True)
class Conversation:
    turns: tuple[Turn, ...] = ()
    answers: tuple[Turn, ...] = ()
    finish_reason: str = ""
    message: Any = None
    """The answer of a stream put together, in the shape that the same request without `stream` would have got."""

    @property
    def prompt_text(self) -> str:
        return _spoken(self.turns)

    @property
    def answer_text(self) -> str:
        return _spoken(self.answers)


def read_conversation(request: str, response: str, response_kind: str) -> Conversation:
    """`request` and `response` are JSON texts (a JSON string where the body was no JSON or was cut), or empty."""
    turns = tuple(turn for turn in _request_turns(_parsed(request)) if turn.parts)
    body = _parsed(response)
    assembled = assemble(body) if response_kind == "sse" and isinstance(body, str) else None
    answer = body if assembled is None else assembled
    answers = tuple(turn for turn in _answer_turns(answer, response_kind) if turn.parts)
    return Conversation(turns, answers, _finish_reason(answer), assembled)


def _spoken(turns: Iterable[Turn]) -> str:
    lines = []
    for turn in turns:
        for part in turn.parts:
            if part.name:
                lines.append(part.name)
            if part.kind not in _SILENT_PARTS and part.text:
                lines.append(part.text)
    return "\n".join(lines)


def _parsed(text: str) -> Any:
    if not text:
        return None
    try:
        return msgspec.json.decode(text.encode())
    except (msgspec.DecodeError, RecursionError):
        return text


def _request_turns(body: Any) -> Iterator[Turn]:
    if isinstance(body, str):
        yield Turn("user", tuple(_cut_body(body)))
        return
    if not isinstance(body, dict):
        return
    for name in ("system", "instructions"):
        yield Turn("system", tuple(_parts(body.get(name))))
    messages = body.get("messages")
    for message in messages if isinstance(messages, list) else ():
        yield _turn(message)
    for name in ("input", "prompt", "query", "documents"):
        yield from _inputs(body.get(name))


def _inputs(value: Any) -> Iterator[Turn]:
    """Plain texts become one turn; a list of items with roles (the responses shape), a turn each."""
    if isinstance(value, list) and any(isinstance(item, dict) and "role" in item for item in value):
        for item in value:
            yield _turn(item)
    else:
        yield Turn("user", tuple(_parts(value)))


def _answer_turns(body: Any, kind: str) -> Iterator[Turn]:
    if isinstance(body, str):
        yield Turn("assistant", (Part("text", body),) if kind != "json" else tuple(_cut_body(body)))
        return
    if not isinstance(body, dict):
        return
    for choice in _dicts(body.get("choices")):
        if isinstance(choice.get("message"), dict):
            yield _turn(choice["message"], default_role="assistant")
        else:
            yield Turn("assistant", tuple(_parts(choice.get("text"))))
    for item in _dicts(body.get("output")):
        yield _turn(item, default_role="assistant")
    for item in _dicts(body.get("data")):
        if "url" in item or "b64_json" in item:
            where = _string(item.get("url")) or "image data"
            yield Turn("assistant", (Part("image", where), *_parts(item.get("revised_prompt"))))
    yield Turn("assistant", tuple(_parts(body.get("text"))))
    error = body.get("error")
    message = error.get("message") if isinstance(error, dict) else error
    if isinstance(message, str):
        yield Turn("error", (Part("error", message),))


def _turn(message: Any, default_role: str = "user") -> Turn:
    if not isinstance(message, dict):
        return Turn(default_role, tuple(_parts(message)))
    role = _string(message.get("role")) or default_role
    parts: list[Part] = []
    for name in ("reasoning_content", "reasoning"):
        if text := _string(message.get(name)):
            parts.append(Part("reasoning", text))
            break
    kind: PartKind = "tool_result" if role in {"tool", "function"} else "text"
    parts += _parts(message.get("content"), kind)
    if text := _string(message.get("refusal")):
        parts.append(Part("refusal", text))
    calls = [call.get("function") for call in _dicts(message.get("tool_calls"))]
    for function in [*calls, message.get("function_call")]:
        if isinstance(function, dict):
            parts.append(_tool_call(function))
    for image in _dicts(message.get("images")):
        parts.append(Part("image", _media_place(image, "image_url")))
    return Turn(role, tuple(parts))


def _tool_call(function: dict[str, Any]) -> Part:
    arguments = function.get("arguments")
    text = arguments if isinstance(arguments, str) else msgspec.json.encode(arguments).decode()
    return Part("tool_call", text, _string(function.get("name")) or "function")


def _parts(content: Any, kind: PartKind = "text") -> Iterator[Part]:
    """The parts of a content value: text, a list of texts, or a list of typed parts. Token ids are not text."""
    if isinstance(content, str):
        if content:
            yield Part(kind, content)
    elif isinstance(content, dict):
        yield from _typed_part(content, kind)
    elif isinstance(content, list):
        for item in content:
            if isinstance(item, str | dict):
                yield from _parts(item, kind)


def _typed_part(part: dict[str, Any], kind: PartKind) -> Iterator[Part]:
    tag = _string(part.get("type"))
    media = _MEDIA.get(tag)
    if media is not None:
        yield Part(media, _media_place(part, tag))
        return
    for name in ("text", "refusal", "content"):
        text = part.get(name)
        if isinstance(text, str) and text:
            yield Part("refusal" if name == "refusal" else kind, text)
            return


def _media_place(part: dict[str, Any], tag: str) -> str:
    """Where a picture, sound or file is; for one inside the body only its media type (the data may be megabytes)."""
    value = part.get(tag, part)
    if isinstance(value, dict):
        value = value.get("url") or value.get("filename") or value.get("file_id") or value.get("format")
    place = _string(value)
    if place.startswith("data:"):
        return place.partition(",")[0].removesuffix(";base64").removeprefix("data:") or "embedded"
    return place[:2000]


def _cut_body(text: str) -> Iterator[Part]:
    """Texts inside a JSON body that was cut; a body that is no JSON at all is one text."""
    if not text.lstrip().startswith(("{", "[")):
        if text:
            yield Part("text", text)
        return
    for match in _CUT_TEXT.finditer(text):
        try:
            found = msgspec.json.decode(f'"{match[1]}"'.encode())
        except msgspec.DecodeError:
            found = match[1]
        if isinstance(found, str) and found:
            yield Part("text", found)


def _finish_reason(body: Any) -> str:
    if not isinstance(body, dict):
        return ""
    for choice in _dicts(body.get("choices")):
        if reason := _string(choice.get("finish_reason")):
            return reason
    return ""


def _dicts(value: Any) -> list[dict[str, Any]]:
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


def _string(value: Any) -> str:
    return value if isinstance(value, str) else ""
