"""The pieces that a conversation is made of, read out of the content values of all the formats that are logged.

Never raises: what cannot be read is simply not there.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final, Literal

import msgspec

PartKind = Literal[
    "text", "image", "audio", "file", "tool_call", "tool_result", "reasoning", "refusal", "error"
]

SILENT_KINDS: Final[frozenset[PartKind]] = frozenset({"image", "audio", "file"})
"""Their texts say where or what they are: nobody said them."""
_MEDIA: Final[dict[str, PartKind]] = {
    "image_url": "image",
    "input_image": "image",
    "image": "image",
    "input_audio": "audio",
    "audio": "audio",
    "file": "file",
    "input_file": "file",
    "document": "file",
}
_TEXTS: Final[dict[str, PartKind]] = {
    "thinking": "reasoning",
    "summary_text": "reasoning",
    "reasoning_text": "reasoning",
    "refusal": "refusal",
}
_RESULT: Final = "tool_result"
_LONGEST_PLACE: Final = 2000


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


def parts_of(content: Any, kind: PartKind = "text") -> Iterator[Part]:
    """The parts of a content value: text, a typed part, or a list of these. Token ids are not text."""
    if isinstance(content, str):
        if content:
            yield Part(kind, content)
    elif isinstance(content, dict):
        yield from _typed_part(content, kind)
    elif isinstance(content, list):
        for item in content:
            if isinstance(item, str | dict):
                yield from parts_of(item, kind)


def tool_call(name: Any, arguments: Any) -> Part:
    """`arguments` as JSON text or as the value itself."""
    text = arguments if isinstance(arguments, str) else msgspec.json.encode(arguments).decode()
    return Part("tool_call", text, string(name) or "function")


def media_place(part: dict[str, Any], tag: str) -> str:
    """Where a picture, sound or file is; for one inside the body only its media type (the data may be megabytes)."""
    value = part.get("source", part.get(tag, part))
    if isinstance(value, dict):
        names = ("url", "filename", "file_id", "format", "media_type")
        value = next((value[name] for name in names if value.get(name)), "")
    place = string(value)
    if place.startswith("data:"):
        return place.partition(",")[0].removesuffix(";base64").removeprefix("data:") or "embedded"
    return place[:_LONGEST_PLACE]


def dicts(value: Any) -> list[dict[str, Any]]:
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


def string(value: Any) -> str:
    return value if isinstance(value, str) else ""


def _typed_part(part: dict[str, Any], kind: PartKind) -> Iterator[Part]:
    tag = string(part.get("type"))
    if tag in _MEDIA:
        yield Part(_MEDIA[tag], media_place(part, tag))
    elif tag in {"tool_use", "server_tool_use"}:
        yield tool_call(part.get("name"), part.get("input"))
    elif tag.endswith(_RESULT):
        content = part.get("content")
        for item in content if isinstance(content, list) else [content]:
            if not (
                isinstance(item, dict) and string(item.get("type")).endswith(_RESULT)
            ):  # ends the recursion
                yield from parts_of(item, "tool_result")
    else:
        for name in ("text", "refusal", "thinking", "content"):
            text = part.get(name)
            if isinstance(text, str) and text:
                yield Part(_TEXTS.get(tag, kind), text)
                return
