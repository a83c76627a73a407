"""Cohere's stream of a chat, event by event."""

from typing import Final

import msgspec

from services.gateway.providers.chat.translate import (
    Delta,
    FinishDelta,
    ReasoningDelta,
    RoleDelta,
    TextDelta,
    ToolCallArguments,
    ToolCallStart,
)
from services.gateway.providers.cohere.wire import FINISH, Call, Content, Used, failure, read_error, read_used
from services.gateway.providers.errors import UpstreamError
from services.gateway.providers.sse import EventBuffer, blocks, data_of
from services.gateway.providers.usage import Usage
from services.gateway.providers.wire_errors import unreadable_stream

MAX_EVENT_BYTES: Final = 16 * 1_048_576


class _Message(msgspec.Struct):
    content: Content | None = None
    tool_plan: str | None = None
    tool_calls: Call | None = None


class _Delta(msgspec.Struct):
    message: _Message | None = None
    error: str | None = None
    finish_reason: str | None = None
    usage: Used | None = None


class _Event(msgspec.Struct):
    """Citations are not decoded: their events have a type that is passed over."""

    type: str
    id: str | None = None
    index: int | None = None
    delta: msgspec.Raw = msgspec.Raw(b"null")


_event: Final = msgspec.json.Decoder(_Event)
_delta: Final = msgspec.json.Decoder(_Delta | None)
_MEANT: Final = frozenset(
    {
        "message-start",
        "content-start",
        "content-delta",
        "tool-plan-delta",
        "tool-call-start",
        "tool-call-delta",
        "message-end",
    }
)


class CohereStream:
    """See StreamTranslator."""

    def __init__(self) -> None:
        self.id = ""
        self.model = ""
        self.usage: Usage | None = None
        self.error: UpstreamError | None = None
        self.whole = False
        self.ended = False
        self._buffer = EventBuffer()
        self._calls: dict[int, int] = {}
        self._seen = False

    def feed(self, chunk: bytes) -> list[Delta]:
        if self.error is not None or self.ended:
            return []
        events = self._buffer.push(chunk)
        if self._buffer.held_bytes > MAX_EVENT_BYTES:
            self.error = unreadable_stream("an event of it is too large")
            return []
        return self._read(events) if events else []

    def end(self) -> list[Delta]:
        if self.error is not None or self.ended:
            return []
        rest = self._buffer.take()
        if not self._seen and rest.lstrip()[:1] == b"{":
            self.error = read_error(rest) or unreadable_stream("it sent a plain JSON answer")
            return []
        return self._read(rest)

    def _read(self, events: bytes) -> list[Delta]:
        deltas: list[Delta] = []
        for block in blocks(events):
            data = data_of(block)
            if data is None or data.strip() == b"[DONE]":
                continue
            self._seen = True
            self._take(data, deltas)
            if self.error is not None or self.ended:
                break
        return deltas

    def _take(self, data: bytes, deltas: list[Delta]) -> None:
        try:
            event = _event.decode(data)
            delta = _delta.decode(event.delta) if event.type in _MEANT else None
        except msgspec.DecodeError:
            self.error = read_error(data) or unreadable_stream("an event of it is of another format")
            return
        if event.type == "message-start":
            self.id = event.id or ""
            deltas.append(RoleDelta())
        elif event.type == "message-end":
            self._end(delta or _Delta(), deltas)
        elif delta is not None and delta.message is not None:
            self._said(event, delta.message, deltas)

    def _said(self, event: _Event, message: _Message, deltas: list[Delta]) -> None:
        if message.content is not None:
            if message.content.thinking:
                deltas.append(ReasoningDelta(message.content.thinking))
            if message.content.text:
                deltas.append(TextDelta(message.content.text))
        if message.tool_plan:
            deltas.append(TextDelta(message.tool_plan))
        if message.tool_calls is None:
            return
        function, place = message.tool_calls.function, event.index or 0
        if event.type == "tool-call-start":
            self._calls[place] = len(self._calls)
            name = function.name if function is not None else None
            deltas.append(ToolCallStart(self._calls[place], message.tool_calls.id, name or ""))
        if function is not None and function.arguments:
            deltas.append(ToolCallArguments(self._calls.get(place, 0), function.arguments))

    def _end(self, delta: _Delta, deltas: list[Delta]) -> None:
        self.usage = read_used(delta.usage)
        reason = delta.finish_reason or ""
        finish = FINISH.get(reason)
        if delta.error or finish is None:
            self.error = failure(delta.error or f"The model ended with {reason or 'no reason'}.")
            return
        deltas.append(FinishDelta(finish))
        self.whole = self.ended = True
