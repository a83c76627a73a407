"""What people said to a model and what it answered, read out of the bodies of a request.

Works on whatever was logged: chat, Anthropic's messages, responses, completions, embeddings, images, audio and rerank,
their SSE transcripts, bodies cut in the middle, and nonsense. Never raises: what cannot be read is simply not there.
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Final

import msgspec

from services.log_ingest.parts import (
    SILENT_KINDS,
    Part,
    PartKind,
    Turn,
    dicts,
    media_place,
    parts_of,
    string,
    tool_call,
)
from services.log_ingest.sse import assemble

_CUT_TEXT: Final = re.compile(
    r'"(?:content|text|prompt|input|query|instructions|system|thinking|arguments|output)"\s*:\s*"((?:[^"\\]|\\.)*)',
    re.DOTALL,
)


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
    try:
        return _read(request, response, response_kind)
    except RecursionError:
        return Conversation()  # values inside values without end: nothing that anybody said


def _read(request: str, response: str, response_kind: str) -> Conversation:
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
            if part.kind not in SILENT_KINDS and part.text:
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
        yield Turn("system", tuple(parts_of(body.get(name))))
    messages = body.get("messages")
    for message in messages if isinstance(messages, list) else ():
        yield _turn(message)
    for name in ("input", "prompt", "query", "documents"):
        yield from _inputs(body.get(name))


def _inputs(value: Any) -> Iterator[Turn]:
    """Plain texts become one turn; the items of the responses format, a turn each."""
    if isinstance(value, list) and any(isinstance(item, dict) and _is_item(item) for item in value):
        for item in value:
            yield _item(item, default_role="user")
    else:
        yield Turn("user", tuple(parts_of(value)))


def _answer_turns(body: Any, kind: str) -> Iterator[Turn]:
    if isinstance(body, str):
        yield Turn("assistant", tuple(_unread_answer(body, kind)))
        return
    if not isinstance(body, dict):
        return
    for choice in dicts(body.get("choices")):
        if isinstance(choice.get("message"), dict):
            yield _turn(choice["message"], default_role="assistant")
        else:
            yield Turn("assistant", tuple(parts_of(choice.get("text"))))
    if body.get("type") == "message":
        yield _turn(body, default_role="assistant")
    for item in dicts(body.get("output")):
        yield _item(item, default_role="assistant")
    for item in dicts(body.get("data")):
        if "url" in item or "b64_json" in item:
            where = string(item.get("url")) or "image data"
            yield Turn("assistant", (Part("image", where), *parts_of(item.get("revised_prompt"))))
    yield Turn("assistant", tuple(parts_of(body.get("text"))))
    error = body.get("error")
    message = error.get("message") if isinstance(error, dict) else error
    if isinstance(message, str):
        yield Turn("error", (Part("error", message),))


def _turn(message: Any, default_role: str = "user") -> Turn:
    if not isinstance(message, dict):
        return Turn(default_role, tuple(parts_of(message)))
    role = string(message.get("role")) or default_role
    parts: list[Part] = []
    for name in ("reasoning_content", "reasoning"):
        if text := string(message.get(name)):
            parts.append(Part("reasoning", text))
            break
    kind: PartKind = "tool_result" if role in {"tool", "function"} else "text"
    parts += parts_of(message.get("content"), kind)
    if text := string(message.get("refusal")):
        parts.append(Part("refusal", text))
    calls = [call.get("function") for call in dicts(message.get("tool_calls"))]
    for function in [*calls, message.get("function_call")]:
        if isinstance(function, dict):
            parts.append(tool_call(function.get("name"), function.get("arguments")))
    for image in dicts(message.get("images")):
        parts.append(Part("image", media_place(image, "image_url")))
    kinds = {part.kind for part in parts} - SILENT_KINDS
    if kinds == {"tool_result"}:
        role = "tool"  # in the messages format the user hands over what a tool said
    return Turn(role, tuple(parts))


def _is_item(value: dict[str, Any]) -> bool:
    tag = string(value.get("type"))
    return "role" in value or tag == "reasoning" or tag.endswith(("_call", "_call_output"))


def _item(item: Any, default_role: str) -> Turn:
    """An item of the responses format: a message, thoughts, a call of a tool, or what the tool said."""
    tag = string(item.get("type")) if isinstance(item, dict) else ""
    if tag == "reasoning":
        return Turn(
            "assistant", (*parts_of(item.get("summary"), "reasoning"), *parts_of(item.get("content")))
        )
    if tag.endswith("_call"):
        said = next((item[name] for name in ("arguments", "input", "code", "action") if item.get(name)), "")
        return Turn("assistant", (tool_call(item.get("name") or tag.removesuffix("_call"), said),))
    if tag.endswith("_call_output"):
        return Turn("tool", tuple(parts_of(item.get("output"), "tool_result")))
    return _turn(item, default_role)


def _unread_answer(text: str, kind: str) -> Iterator[Part]:
    """An answer that is no JSON: text, cut JSON, or what stands for bytes that are neither."""
    if kind == "json":
        yield from _cut_body(text)
    elif text:
        yield Part("file", text.strip("[]")) if kind == "binary" else Part("text", text)


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
    for choice in dicts(body.get("choices")):
        if reason := string(choice.get("finish_reason")):
            return reason
    return string(body.get("stop_reason"))
