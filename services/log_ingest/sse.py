"""Put the answer of a stream together from its SSE transcript."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Final

import msgspec

_TEXT_FIELDS: Final = ("content", "reasoning_content", "reasoning", "refusal")
_MAX_TOOL_CALLS: Final = 1000


@dataclass(slots=True)
class _Choice:
    role: str = "assistant"
    texts: dict[str, list[str]] = field(default_factory=dict)
    calls: dict[int, dict[str, str]] = field(default_factory=dict)
    images: list[Any] = field(default_factory=list)
    finish_reason: str | None = None


def assemble(transcript: str) -> dict[str, Any]:
    """The whole answer in the shape of a non-streamed one. Broken or cut events are left out."""
    head: dict[str, Any] = {}
    choices: dict[int, _Choice] = {}
    for event in _events(transcript):
        for name in ("id", "model", "created", "usage", "error"):
            if event.get(name):
                head[name] = event[name]
        for index, delta in _deltas(event):
            _add(choices.setdefault(index, _Choice()), delta)
    head["choices"] = [_finished(index, choice) for index, choice in sorted(choices.items())]
    return head


def _events(transcript: str) -> Iterator[dict[str, Any]]:
    for line in transcript.splitlines():
        if not line.startswith("data:"):
            continue
        try:
            event = msgspec.json.decode(line[5:].strip().encode())
        except (msgspec.DecodeError, RecursionError):
            continue  # [DONE], or the line in which the transcript was cut
        if isinstance(event, dict):
            yield event


def _deltas(event: dict[str, Any]) -> Iterator[tuple[int, dict[str, Any]]]:
    """The increments in one event, each with its choice: chat, plain completions, and the responses shape."""
    if str(event.get("type", "")).endswith("output_text.delta"):
        yield 0, {"delta": {"content": event.get("delta")}}
        return
    choices = event.get("choices")
    for choice in choices if isinstance(choices, list) else ():
        if isinstance(choice, dict):
            index = choice.get("index", 0)
            yield (index if isinstance(index, int) else 0), choice


def _add(choice: _Choice, part: dict[str, Any]) -> None:
    if isinstance(part.get("finish_reason"), str):
        choice.finish_reason = part["finish_reason"]
    delta = part.get("delta") or part.get("message") or {"content": part.get("text")}
    if not isinstance(delta, dict):
        return
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
