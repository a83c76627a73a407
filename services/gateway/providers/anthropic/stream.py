"""Translates Anthropic's event stream."""

from typing import Final

import msgspec

from services.gateway.providers.anthropic.answer import (
    ContentBlock,
    MessageBody,
    finish_reason_of,
    thinking_detail,
)
from services.gateway.providers.anthropic.errors import Detail, error_inside
from services.gateway.providers.anthropic.request import JSON_TOOL
from services.gateway.providers.anthropic.usage import Counts
from services.gateway.providers.chat.translate import (
    Delta,
    FinishDelta,
    ReasoningDelta,
    RoleDelta,
    SignatureDelta,
    TextDelta,
    ToolCallArguments,
    ToolCallStart,
)
from services.gateway.providers.errors import UpstreamError
from services.gateway.providers.sse import EventBuffer, blocks, data_of
from services.gateway.providers.usage import Usage
from services.gateway.providers.wire_errors import unreadable_stream

MAX_EVENT_BYTES: Final = 64 * 1_048_576
_SSE_STARTS: Final = b":deir\xef"


class BlockDelta(msgspec.Struct):
    """The delta of a block, or of the message."""

    type: str = ""
    text: str = ""
    thinking: str = ""
    signature: str = ""
    partial_json: str = ""
    stop_reason: str | None = None


class StreamEvent(msgspec.Struct):
    """An event of any type."""

    type: str = ""
    index: int = 0
    delta: BlockDelta | None = None
    content_block: ContentBlock | None = None
    message: MessageBody | None = None
    usage: Counts | None = None
    error: Detail | None = None


event_decoder: Final = msgspec.json.Decoder(StreamEvent)


class MessagesTranslator:
    """See StreamTranslator."""

    def __init__(self) -> None:
        self.id = ""
        self.model = ""
        self.usage: Usage | None = None
        self.error: UpstreamError | None = None
        self.whole = False
        self.ended = False
        self._buffer = EventBuffer()
        self.plain = False
        """The body is no stream of events."""
        self._recognised = False
        self._counts = Counts()
        self._open: dict[int, ContentBlock] = {}
        self._calls = 0
        self._details = 0
        self._forced = False
        self._call_of: dict[int, int] = {}

    def feed(self, chunk: bytes) -> list[Delta]:
        self.recognise(chunk)
        events = self._buffer.push(chunk)
        if self._buffer.held_bytes > MAX_EVENT_BYTES:
            self.error = unreadable_stream("an event of it is too large")
        return self.read(events) if events and not self.plain else []

    def end(self) -> list[Delta]:
        rest = self._buffer.take().strip()
        if self.plain:
            self.error = self.plain_error(rest)
            return []
        return self.read(rest) if rest else []

    def recognise(self, chunk: bytes) -> None:
        """See by its first character whether the body is a stream of events at all."""
        if self._recognised or not (text := chunk.lstrip()):
            return
        self._recognised = True
        self.plain = text[0] not in _SSE_STARTS

    def plain_error(self, text: bytes) -> UpstreamError:
        """What a body says that was no stream."""
        try:
            event = event_decoder.decode(text)
        except msgspec.DecodeError:
            return unreadable_stream("it sent something else")
        if event.error is None:
            return unreadable_stream("it sent a plain JSON answer")
        return error_inside(event.error)

    def read(self, events: bytes) -> list[Delta]:
        """What whole events mean."""
        out: list[Delta] = []
        for block in blocks(events):
            data = data_of(block)
            if data is None or self.error is not None or self.ended:
                continue
            try:
                event = event_decoder.decode(data)
            except msgspec.DecodeError:
                continue  # half an event at a cut, or one of a shape that is not known yet
            self._event(event, out)
        return out

    def _event(self, event: StreamEvent, out: list[Delta]) -> None:
        kind = event.type
        if kind == "content_block_delta":
            if event.delta is not None:
                self._delta(event.index, event.delta, out)
        elif kind == "content_block_start":
            if event.content_block is not None:
                self._start(event.index, event.content_block, out)
        elif kind == "content_block_stop":
            self._stop(event.index, out)
        elif kind == "message_start":
            if event.message is not None:
                self.id, self.model = event.message.id, event.message.model
                self._count(event.message.usage)
            out.append(RoleDelta())
        elif kind == "message_delta":
            self._count(event.usage)
            if event.delta is not None and event.delta.stop_reason:
                reason = finish_reason_of(event.delta.stop_reason)
                self.whole = True
                out.append(FinishDelta("stop" if self._forced and reason == "tool_calls" else reason))
        elif kind == "message_stop":
            self.ended = self.whole = True
        elif kind == "error":
            self.error = error_inside(event.error or Detail())

    def _delta(self, index: int, delta: BlockDelta, out: list[Delta]) -> None:
        if delta.type == "text_delta":
            out.append(TextDelta(delta.text))
        elif delta.type == "input_json_delta":
            call = self._call_of.get(index)
            if call is not None and delta.partial_json:
                out.append(ToolCallArguments(call, delta.partial_json))
            elif index in self._open and self._open[index].name == JSON_TOOL:
                out.append(TextDelta(delta.partial_json))
        elif index in self._open and delta.type == "thinking_delta":
            self._open[index].thinking += delta.thinking
            out.append(ReasoningDelta(delta.thinking))
        elif index in self._open and delta.type == "signature_delta":
            self._open[index].signature += delta.signature

    def _start(self, index: int, block: ContentBlock, out: list[Delta]) -> None:
        self._open[index] = block
        if block.type == "text" and block.text:
            out.append(TextDelta(block.text))
        elif block.type == "thinking" and block.thinking:
            out.append(ReasoningDelta(block.thinking))
        elif block.type == "tool_use" and block.name == JSON_TOOL:
            self._forced = True
        elif block.type == "tool_use":
            self._call_of[index] = self._calls
            out.append(ToolCallStart(self._calls, block.id, block.name))
            self._calls += 1

    def _stop(self, index: int, out: list[Delta]) -> None:
        block = self._open.pop(index, None)
        if block is not None and block.type in ("thinking", "redacted_thinking"):
            out.append(SignatureDelta(thinking_detail(block, self._details)))
            self._details += 1

    def _count(self, counts: Counts | None) -> None:
        if counts is not None:
            self._counts = self._counts.updated(counts)
            self.usage = self._counts.usage()
