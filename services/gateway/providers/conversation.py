"""Fits messages and tools to a provider: the role of instructions, and fields that only other providers know.

A conversation may have begun at another model, or come from a client of another format: what that one's provider
needs with a message would be an error here. Nothing is decoded that a byte search does not point to.
"""

from functools import lru_cache
from typing import Final

import msgspec

from services.gateway.providers.errors import BadRequest
from services.gateway.providers.stretches import searchable

SYSTEM: Final = b'"system"'
DEVELOPER: Final = b'"developer"'
CACHING: Final = frozenset({"cache_control"})
"""Anthropic's markers, on messages, their parts and tools."""
_FUNCTION: Final = b'"function"'
_NAME: Final = frozenset({"name"})
"""Of the message of a function it is all that tells which one answers."""
_EMPTY_FIELDS: Final = frozenset({"refusal", "annotations", "audio", "function_call", "tool_calls"})
"""What a message of an answer has even when it has none of it."""
_EMPTY: Final = (b"null", b"[]", b'""')
_objects: Final = msgspec.json.Decoder(list[dict[str, msgspec.Raw]])

Object = dict[str, msgspec.Raw]


def fit_messages(
    raw: bytes, unwanted: frozenset[str], *, strict: bool, instructions: bytes | None
) -> tuple[bytes, set[str]] | None:
    """The messages without the unwanted fields, and the names of those; None when they may stay as they are.

    `instructions`: the role of instructions, SYSTEM or DEVELOPER; None leaves it as it is. `strict`: fields of
    answers go where they are empty. Raises BadRequest.
    """
    other = {SYSTEM: DEVELOPER, DEVELOPER: SYSTEM}.get(instructions or b"", b"")
    sought = searchable(raw)
    if not (
        (other and other in sought)
        or _names_one(sought, unwanted)
        or (strict and _names_one(sought, _EMPTY_FIELDS))
    ):
        return None
    messages = _decoded(raw, "messages")
    removed: set[str] = set()
    changed = False
    for message in messages:
        if other and bytes(message.get("role", b"")) == other:
            message["role"] = msgspec.Raw(instructions or b"")
            changed = True
        if strict:
            changed |= _without_empty(message)
        of_function = bytes(message.get("role", b"")) == _FUNCTION
        removed |= _without(message, unwanted - _NAME if of_function else unwanted)
        for name in ("content", "tool_calls"):
            removed |= _inside(message, name, unwanted)
    if not changed and not removed:
        return None
    return msgspec.json.encode(messages), {f"messages.{name}" for name in removed}


def fit_tools(raw: bytes, unwanted: frozenset[str]) -> tuple[bytes, set[str]] | None:
    """The same for the tools that the client offers, where only markers of caching may be unwanted."""
    unwanted &= CACHING
    if not _names_one(raw, unwanted):
        return None
    tools = _decoded(raw, "tools")
    removed: set[str] = set()
    for tool in tools:
        removed |= _without(tool, unwanted)
    return (msgspec.json.encode(tools), {f"tools.{name}" for name in removed}) if removed else None


def _decoded(raw: bytes, name: str) -> list[Object]:
    try:
        return _objects.decode(raw)
    except msgspec.DecodeError as error:
        raise BadRequest(f"`{name}` must be a list of objects.", param=name) from error


def _without(fields: Object, unwanted: frozenset[str]) -> set[str]:
    found = unwanted & fields.keys()
    for name in found:
        del fields[name]
    return set(found)


def _without_empty(message: Object) -> bool:
    empty = [name for name in _EMPTY_FIELDS & message.keys() if bytes(message[name]) in _EMPTY]
    for name in empty:
        del message[name]
    return bool(empty)


def _inside(message: Object, name: str, unwanted: frozenset[str]) -> set[str]:
    """Unwanted fields of the objects in a list of the message."""
    raw = bytes(message.get(name, b""))
    if not raw.startswith(b"[") or not _names_one(raw, unwanted):
        return set()
    items = _decoded(raw, "messages")
    removed: set[str] = set()
    for item in items:
        removed |= _without(item, unwanted)
    if removed:
        message[name] = msgspec.Raw(msgspec.json.encode(items))
    return removed


def _names_one(raw: bytes, names: frozenset[str]) -> bool:
    """Whether one of the names may stand in there. Tools alone are 25 KB of most chats: each search counts."""
    return any(mark in raw for mark in _marks(names))


@lru_cache(maxsize=64)
def _marks(names: frozenset[str]) -> tuple[bytes, ...]:
    """As few as find every name: one that begins another stands for both."""
    marks: list[str] = []
    for name in sorted(names):
        if not marks or not name.startswith(marks[-1]):
            marks.append(name)
    return tuple(f'"{mark}'.encode() for mark in marks)
