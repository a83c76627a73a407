"""What Anthropic's own clients are answered by whoever speaks their format: nothing is translated, only metered."""

from typing import Final

import msgspec

from services.gateway.providers.answer import OpenAIAnswer
from services.gateway.providers.anthropic.answer import finish_reason_of
from services.gateway.providers.anthropic.errors import Detail, error_inside, error_json
from services.gateway.providers.anthropic.stream import MessagesTranslator
from services.gateway.providers.anthropic.usage import Counts
from services.gateway.providers.chat.completion import failed_answer
from services.gateway.providers.chat.translate import (
    FinishDelta,
    ReasoningDelta,
    TextDelta,
    ToolCallArguments,
    usage_so_far,
)
from services.gateway.providers.errors import UpstreamError
from services.gateway.providers.port import RelayOptions
from services.gateway.providers.sse import EventBuffer, blocks, data_of
from services.gateway.providers.usage import Usage
from services.gateway.providers.wire_errors import stream_cut, unreadable_answer, unreadable_stream
from shared.events import Tokens

MAX_EVENT_BYTES: Final = 64 * 1_048_576


class _Message(msgspec.Struct):
    usage: Counts | None = None
    stop_reason: str | None = None
    error: Detail | None = None


class _Counted(msgspec.Struct):
    input_tokens: int


_message: Final = msgspec.json.Decoder(_Message)
_counted: Final = msgspec.json.Decoder(_Counted)
_fields: Final = msgspec.json.Decoder(dict[str, msgspec.Raw])


def read_native_message(answer: bytes) -> OpenAIAnswer:
    """Never raises: an answer that cannot be read has its `error` set."""
    try:
        message = _message.decode(answer)
        fields = _fields.decode(answer)
    except msgspec.DecodeError:
        return failed_answer(answer, unreadable_answer())
    if message.error is not None:
        return failed_answer(answer, error_inside(message.error))
    if message.usage is None:
        return failed_answer(answer, unreadable_answer())
    return OpenAIAnswer(
        answer,
        "application/json",
        message.usage.usage(),
        fields=fields,
        finish_reason=finish_reason_of(message.stop_reason),
    )


def read_native_count(answer: bytes) -> OpenAIAnswer:
    """The answer to a count of tokens, which costs nothing. Never raises."""
    try:
        _counted.decode(answer)
    except msgspec.DecodeError:
        return failed_answer(answer, unreadable_answer())
    return OpenAIAnswer(answer, "application/json", Usage(Tokens()))


class NativeRelay:
    """See Relay. Events go out as they came; a translator reads along to know what they cost."""

    __slots__ = (
        "_buffer", "_kept", "_meter", "_options", "_seen_bytes", "_transcript",
        "done", "error", "finish_reason", "received_bytes", "started",
    )  # fmt: skip

    def __init__(self, options: RelayOptions) -> None:
        self.done = False
        self.started = False
        self.error: UpstreamError | None = None
        self.finish_reason = ""
        self.received_bytes = 0
        self._options = options
        self._meter = MessagesTranslator()
        self._buffer = EventBuffer()
        self._seen_bytes = 0
        self._transcript: list[bytes] = []
        self._kept = 0

    def feed(self, chunk: bytes) -> bytes:
        self.received_bytes += len(chunk)
        if self.done:
            return b""
        self._meter.recognise(chunk)
        events = self._buffer.push(chunk)
        if self._buffer.held_bytes > MAX_EVENT_BYTES:
            return self._stop(unreadable_stream("an event of it is too large"))
        return self._passed(events) if events and not self._meter.plain else b""

    def end(self) -> bytes:
        if self.done:
            return b""
        rest = self._buffer.take()
        if self._meter.plain:
            return self._stop(self._meter.plain_error(rest))
        # The last event may lack its empty line; half an event is nothing that a client could read.
        out = self._passed(rest.rstrip(b"\r\n") + b"\n\n") if _is_event(rest) else b""
        if self.done:
            return out
        if not self._meter.whole:
            return out + self._stop(stream_cut())
        return out + self._missing_end()

    def fail(self, error: UpstreamError) -> bytes:
        if self.done:
            return b""
        return self._missing_end() if self._meter.whole else self._stop(error)

    def usage(self) -> Usage:
        return usage_so_far(self._meter, self._seen_bytes, self._options.prompt_estimate)

    @property
    def transcript(self) -> bytes:
        return b"".join(self._transcript)[: self._options.transcript_limit]

    def _passed(self, events: bytes) -> bytes:
        out: list[bytes] = []
        for block in blocks(events):
            meter = self._meter
            for delta in meter.read(block):
                self.started = True
                if isinstance(delta, TextDelta | ReasoningDelta):
                    self._seen_bytes += len(delta.text.encode())
                elif isinstance(delta, ToolCallArguments):
                    self._seen_bytes += len(delta.arguments)
                elif isinstance(delta, FinishDelta):
                    self.finish_reason = delta.reason
            if meter.error is not None:
                out.append(self._stop(meter.error))
                break
            if self.started:
                out.append(self._keep(block))
            if meter.ended:
                self.done = True
                break
        return b"".join(out)

    def _missing_end(self) -> bytes:
        """The answer is whole, but its last event got lost: clients wait for it."""
        self.done = True
        return self._keep(b'event: message_stop\ndata: {"type":"message_stop"}\n\n')

    def _stop(self, error: UpstreamError) -> bytes:
        self.error = error
        self.done = True
        return self._keep(
            b"event: error\ndata: " + error_json(error.status, error.message, error.type) + b"\n\n"
        )

    def _keep(self, events: bytes) -> bytes:
        if self._kept < self._options.transcript_limit:
            self._transcript.append(events)
            self._kept += len(events)
        return events


def _is_event(block: bytes) -> bool:
    try:
        _fields.decode(data_of(block) or b"")
    except msgspec.DecodeError:
        return False
    return True
