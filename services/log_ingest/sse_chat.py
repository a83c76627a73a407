"""Chat and text completions, pictures and transcriptions, from the events of their streams."""

from dataclasses import dataclass, field
from typing import Any, Final

_HEAD: Final = ("id", "model", "created", "usage", "error")
_TEXT_FIELDS: Final = ("content", "reasoning_content", "reasoning", "refusal")
_MAX_TOOL_CALLS: Final = 1000


@dataclass(slots=True)
class _Choice:
    role: str = "assistant"
    texts: dict[str, list[str]] = field(default_factory=dict)
    calls: dict[int, dict[str, str]] = field(default_factory=dict)
    images: list[Any] = field(default_factory=list)
    finish_reason: str | None = None


class ChatStream:
    """Add its events in order, then take the whole."""

    def __init__(self) -> None:
        self._head: dict[str, Any] = {}
        self._choices: dict[int, _Choice] = {}
        self._pictures: list[dict[str, Any]] = []

    def add(self, event: dict[str, Any]) -> None:
        for name in _HEAD:
            if event.get(name):
                self._head[name] = event[name]
        kind = str(event.get("type", ""))
        if kind == "transcript.text.delta":
            self._take(0, {"delta": {"content": event.get("delta")}})
        elif kind.endswith(".completed") and "b64_json" in event:
            self._pictures.append({"b64_json": event["b64_json"]})
        choices = event.get("choices")
        for choice in choices if isinstance(choices, list) else ():
            if isinstance(choice, dict):
                index = choice.get("index", 0)
                self._take(index if isinstance(index, int) else 0, choice)

    def whole(self) -> dict[str, Any]:
        head = self._head
        if self._pictures:
            head["data"] = self._pictures
        else:
            head["choices"] = [_finished(index, choice) for index, choice in sorted(self._choices.items())]
        return head

    def _take(self, index: int, part: dict[str, Any]) -> None:
        choice = self._choices.setdefault(index, _Choice())
        if isinstance(part.get("finish_reason"), str):
            choice.finish_reason = part["finish_reason"]
        delta = part.get("delta") or part.get("message") or {"content": part.get("text")}
        if isinstance(delta, dict):
            _add_delta(choice, delta)


def _add_delta(choice: _Choice, delta: dict[str, Any]) -> None:
    if isinstance(delta.get("role"), str):
        choice.role = delta["role"]
    for name in _TEXT_FIELDS:
        if isinstance(delta.get(name), str):
            choice.texts.setdefault(name, []).append(delta[name])
    if isinstance(delta.get("images"), list):
        choice.images += delta["images"]
    calls = delta.get("tool_calls")
    for position, call in enumerate(calls if isinstance(calls, list) else ()):
        if isinstance(call, dict):
            _add_call(choice, position, call)


def _add_call(choice: _Choice, position: int, part: dict[str, Any]) -> None:
    index = part.get("index", position)
    if not isinstance(index, int) or (index not in choice.calls and len(choice.calls) >= _MAX_TOOL_CALLS):
        return
    call = choice.calls.setdefault(index, {"id": "", "name": "", "arguments": ""})
    if isinstance(part.get("id"), str):
        call["id"] = part["id"]
    function = part.get("function")
    if isinstance(function, dict):
        for name in ("name", "arguments"):
            if isinstance(function.get(name), str):
                call[name] += function[name]


def _finished(index: int, choice: _Choice) -> dict[str, Any]:
    message: dict[str, Any] = {"role": choice.role, "content": None}
    message |= {name: "".join(parts) for name, parts in choice.texts.items()}
    if choice.calls:
        message["tool_calls"] = [
            {
                "id": call["id"],
                "type": "function",
                "function": {"name": call["name"], "arguments": call["arguments"]},
            }
            for _, call in sorted(choice.calls.items())
        ]
    if choice.images:
        message["images"] = choice.images
    return {"index": index, "message": message, "finish_reason": choice.finish_reason}
