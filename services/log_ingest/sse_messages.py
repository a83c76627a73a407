"""A message of Anthropic's format, from the events of its stream."""

from typing import Any, Final

import msgspec

_GROWING: Final = {"text_delta": "text", "thinking_delta": "thinking", "signature_delta": "signature"}
"""Kind of delta -> the field that it carries a piece of."""
_MAX_BLOCKS: Final = 1000


class MessagesStream:
    """Add its events in order, then take the whole."""

    def __init__(self) -> None:
        self._message: dict[str, Any] = {"type": "message", "role": "assistant"}
        self._blocks: dict[int, dict[str, Any]] = {}
        self._pieces: dict[tuple[int, str], list[str]] = {}
        self._usage: dict[str, Any] = {}

    def add(self, event: dict[str, Any]) -> None:
        match event:
            case {"type": "message_start", "message": dict(message)}:
                self._message |= message
                self._note_usage(message)
            case {"type": "content_block_start", "index": int(index), "content_block": dict(block)}:
                if len(self._blocks) < _MAX_BLOCKS:
                    self._blocks[index] = block
            case {"type": "content_block_delta", "index": int(index), "delta": dict(delta)}:
                self._grow(index, delta)
            case {"type": "message_delta", "delta": dict(delta)}:
                self._message |= delta
                self._note_usage(event)
            case {"type": "error", "error": error}:
                self._message["error"] = error

    def whole(self) -> dict[str, Any]:
        blocks = {index: dict(block) for index, block in self._blocks.items()}
        for (index, name), pieces in self._pieces.items():
            text = "".join(pieces)
            blocks[index][name] = _value(text) if name == "input" else text
        content = [block for _, block in sorted(blocks.items())]
        return self._message | {"type": "message", "content": content, "usage": self._usage}

    def _grow(self, index: int, delta: dict[str, Any]) -> None:
        kind = delta.get("type")
        if kind == "input_json_delta":
            name, piece = "input", delta.get("partial_json")
        else:
            name = _GROWING.get(str(kind), "")
            piece = delta.get(name)
        if name and isinstance(piece, str) and index in self._blocks:
            self._pieces.setdefault((index, name), []).append(piece)

    def _note_usage(self, place: dict[str, Any]) -> None:
        usage = place.get("usage")
        if isinstance(usage, dict):
            self._usage |= usage


def _value(text: str) -> Any:
    """The input of a tool; as text where the stream was cut in the middle of it."""
    try:
        return msgspec.json.decode(text or "{}")
    except (msgspec.DecodeError, RecursionError):
        return text
