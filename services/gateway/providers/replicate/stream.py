"""A prediction's stream: pieces of text, then how it ended, then what the gateway adds about it."""

from typing import Final

import msgspec

from services.gateway.providers.chat.translate import Delta, FinishDelta, TextDelta
from services.gateway.providers.errors import UpstreamError
from services.gateway.providers.replicate.predictions import PREDICTION_EVENT
from services.gateway.providers.replicate.wire import prediction_decoder
from services.gateway.providers.sse import EventBuffer, blocks, data_of, event_name
from services.gateway.providers.usage import Usage
from services.gateway.providers.wire_errors import unreadable_stream

MAX_EVENT_BYTES: Final = 16 * 1_048_576


class _Done(msgspec.Struct):
    reason: str | None = None


class _Error(msgspec.Struct):
    detail: str | None = None
    message: str | None = None


_done: Final = msgspec.json.Decoder(_Done)
_error: Final = msgspec.json.Decoder(_Error)


class ReplicateStream:
    """See StreamTranslator."""

    def __init__(self) -> None:
        self.id = ""
        self.model = ""
        self.usage: Usage | None = None
        self.error: UpstreamError | None = None
        self.whole = False
        self.ended = False
        self._buffer = EventBuffer()
        self._seen = False

    def feed(self, chunk: bytes) -> list[Delta]:
        if self.error is not None or self.ended:
            return []
        events = self._buffer.push(chunk)
        if self._buffer.held_bytes > MAX_EVENT_BYTES:
            self.error = unreadable_stream("an event of it is too large")
            return []
        return self._read(events)

    def end(self) -> list[Delta]:
        if self.error is not None or self.ended:
            return []
        rest = self._buffer.take()
        if not self._seen and rest.lstrip()[:1] == b"{":
            return self._plain(rest)
        # Of a text nobody can tell whether it is whole.
        return [] if event_name(rest) == b"output" else self._read(rest)

    def _read(self, events: bytes) -> list[Delta]:
        deltas: list[Delta] = []
        for block in blocks(events):
            name, data = event_name(block), data_of(block)
            if not name:
                continue
            self._seen = True
            if name == b"output":
                if data and not self.whole:
                    deltas.append(TextDelta(data.decode("utf-8", "replace")))
            elif name == b"error":
                self.error = _failure(data or b"")
            elif name == b"done":
                self._done(data or b"{}", deltas)
            elif name == PREDICTION_EVENT:
                self._finished(data or b"")
            if self.error is not None or self.ended:
                break
        return deltas

    def _done(self, data: bytes, deltas: list[Delta]) -> None:
        try:
            reason = _done.decode(data).reason
        except msgspec.DecodeError:
            reason = None  # it is over in any case
        if reason:
            self.error = UpstreamError(
                status=502,
                message=f"The prediction ended early: {reason}.",
                code=f"prediction_{reason}",
                retryable=True,
            )
            return
        deltas.append(FinishDelta("stop"))
        self.whole = True

    def _finished(self, data: bytes) -> None:
        try:
            made = prediction_decoder.decode(data)
        except msgspec.DecodeError:
            return  # our own event, cut: what was used is estimated
        self.usage = made.usage
        if not self.whole:
            self.error = made.failure
        self.ended = self.whole

    def _plain(self, text: bytes) -> list[Delta]:
        """The finished prediction of a model that does not stream."""
        try:
            made = prediction_decoder.decode(text)
        except msgspec.DecodeError:
            self.error = unreadable_stream("it sent something else")
            return []
        self.id, self.usage = made.id, made.usage
        self.error = unreadable_stream("it is not finished") if made.running else made.failure
        if self.error is not None:
            return []
        self.whole = self.ended = True
        return [TextDelta("".join(made.outputs)), FinishDelta("stop")]


def _failure(data: bytes) -> UpstreamError:
    try:
        error = _error.decode(data)
        text = error.detail or error.message or ""
    except msgspec.DecodeError:
        text = data.decode("utf-8", "replace")
    return UpstreamError(
        status=502, message=text or "The model failed to answer.", code="prediction_failed", retryable=True
    )
