"""What Anthropic's own clients ask of whoever speaks their format: it goes out as it came, but for what that would refuse
because another model had a part in the conversation."""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Final

import msgspec

from services.gateway.providers.anthropic.tool_loop import LoopTurn, lacks_thoughts, loop_turn
from services.gateway.providers.body import JsonBody
from services.gateway.providers.chat.memory import MARK

_turns: Final = msgspec.json.Decoder(list[dict[str, Any]])
_raw_turns: Final = msgspec.json.Decoder(list[msgspec.Raw])
_object: Final = msgspec.json.Decoder(dict[str, Any])
_FOREIGN: Final = re.compile(rb'"signature"\s*:\s*""|"' + re.escape(MARK.encode()))
_RESULT: Final = re.compile(rb'"type"\s*:\s*"tool_result"')
_CONTEXT: Final = "context_management"
_CLEARS_THOUGHTS: Final = "clear_thinking"
"""Begins the name of an edit that may only be asked for together with thinking."""


@dataclass(slots=True)
class NativeRequest:
    """Fields to set and to leave out, and the names of those to tell."""

    changes: dict[str, bytes] = field(default_factory=dict)
    drop: set[str] = field(default_factory=lambda: {"fallbacks"})
    dropped: tuple[str, ...] = ()


def native_request(body: JsonBody) -> NativeRequest:
    """What must become of a client's body.

    Thoughts that Anthropic did not sign are left out: they are another model's, and would be refused. Where a loop of
    tools was begun with such thoughts or with none, Claude goes on without thinking until it has ended.
    """
    result = NativeRequest()
    messages = body.raw("messages")
    if messages is None:
        return result
    if _FOREIGN.search(messages) is not None:
        messages = result.changes["messages"] = _without_foreign_thoughts(messages)
    if _thinks_by_budget(body) and _RESULT.search(messages) and lacks_thoughts(_backwards(messages)):
        _stop_thinking(body, result)
    return result


def _without_foreign_thoughts(messages: bytes) -> bytes:
    try:
        turns = _turns.decode(messages)
    except msgspec.DecodeError:
        return messages  # no messages at all: Anthropic says best what is wrong with them
    kept = []
    for turn in turns:
        content = turn.get("content")
        if isinstance(content, list):
            turn["content"] = [block for block in content if not _is_foreign(block)]
        if turn.get("content") or not content:
            kept.append(turn)
    return msgspec.json.encode(kept)


def _is_foreign(block: Any) -> bool:
    if not isinstance(block, dict):
        return False
    if block.get("type") == "thinking":
        return not block.get("signature")
    return block.get("type") == "redacted_thinking" and str(block.get("data")).startswith(MARK)


def _thinks_by_budget(body: JsonBody) -> bool:
    """Models that decide themselves how much to think need no thoughts before."""
    raw = body.raw("thinking")
    return raw is not None and b'"enabled"' in raw


def _backwards(messages: bytes) -> Iterator[LoopTurn]:
    """The turns from the last one on, each decoded when it is asked for; none where they are no turns."""
    try:
        for raw in reversed(_raw_turns.decode(messages)):
            yield loop_turn(_object.decode(raw))
    except msgspec.DecodeError:
        return  # Anthropic says best what is wrong with them


def _stop_thinking(body: JsonBody, result: NativeRequest) -> None:
    result.drop.add("thinking")
    result.dropped = ("thinking",)
    raw = body.raw(_CONTEXT)
    if raw is None or _CLEARS_THOUGHTS.encode() not in raw:
        return
    try:
        asked = _object.decode(raw)
    except msgspec.DecodeError:
        return
    edits = asked.get("edits")
    if not isinstance(edits, list):
        return
    asked["edits"] = [
        edit
        for edit in edits
        if not (isinstance(edit, dict) and str(edit.get("type")).startswith(_CLEARS_THOUGHTS))
    ]
    result.dropped = (f"{_CONTEXT}.edits", "thinking")
    if asked["edits"]:
        result.changes[_CONTEXT] = msgspec.json.encode(asked)
    else:
        result.drop.add(_CONTEXT)
