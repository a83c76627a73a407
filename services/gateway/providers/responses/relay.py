"""Relays a provider's own stream of a response: typed events, of which only the last is read."""

import re
from typing import Final

import msgspec

from services.gateway.providers.errors import UpstreamError
from services.gateway.providers.port import RelayOptions
from services.gateway.providers.relay import MAX_EVENT_BYTES
from services.gateway.providers.responses.native import (
    error_of,
    final_event,
    outcome_decoder,
    text_bytes_in,
)
from services.gateway.providers.sse import EventBuffer, blocks, data_of, event_name
from services.gateway.providers.usage import Usage
from services.gateway.providers.wire_errors import error_in, stream_cut, unreadable_stream
from shared.events import Tokens
from shared.pricing.estimate import estimate_tokens

_LAST: Final = re.compile(rb'"type"\s*:\s*"(?:response\.(?:completed|incomplete|failed)|error)"')
_ERROR_NAME: Final = re.compile(rb"^event:\s*error", re.MULTILINE)
_SEQUENCE: Final = re.compile(rb'"sequence_number"\s*:\s*(\d+)')
_fields: Final = msgspec.json.Decoder(dict[str, msgspec.Raw])


class ResponsesRelay:
    """See Relay. It ends with the response's last event: `[DONE]` is not part of this format."""

    __slots__ = (
        "_buffer", "_kept", "_options", "_reported", "_sequence", "_text_bytes", "_transcript",
        "done", "error", "finish_reason", "received_bytes", "started",
    )  # fmt: skip

    def __init__(self, options: RelayOptions) -> None:
        self.done = False
        self.started = False
        self.error: UpstreamError | None = None
        self.finish_reason = ""
        self.received_bytes = 0
        self._options = options
        self._buffer = EventBuffer()
        self._reported: Usage | None = None
        self._text_bytes = 0
        self._sequence = -1
        self._transcript: list[bytes] = []
        self._kept = 0

    def feed(self, chunk: bytes) -> bytes:
        self.received_bytes += len(chunk)
        if self._kept < self._options.transcript_limit:
            self._transcript.append(chunk)
            self._kept += len(chunk)
        if self.done:
            return b""
        events = self._buffer.push(chunk)
        if self._buffer.held_bytes > MAX_EVENT_BYTES:
            return self._stop(unreadable_stream("an event of it is too large"))
        return self._relayed(events) if events else b""

    def end(self) -> bytes:
        if self.done:
            return b""
        rest = self._buffer.take()
        if not self.started and rest.lstrip()[:1] in (b"{", b"<"):
            return self._stop(_plain_error(rest))
        # The last event may lack its empty line; half of an event is of no use to anybody.
        out = self._relayed(rest.rstrip(b"\r\n") + b"\n\n") if _is_whole(rest) else b""
        return out if self.done else out + self._stop(stream_cut())

    def fail(self, error: UpstreamError) -> bytes:
        return b"" if self.done else self._stop(error)

    def usage(self) -> Usage:
        if self._reported is not None:
            return self._reported
        completion = estimate_tokens(self._text_bytes) if self._text_bytes else 0
        return Usage(Tokens(prompt=self._options.prompt_estimate, completion=completion), estimated=True)

    @property
    def transcript(self) -> bytes:
        return b"".join(self._transcript)[: self._options.transcript_limit]

    def _relayed(self, events: bytes) -> bytes:
        if self.started and not _may_end(events):
            self._note(events)
            return events
        out = []
        for block in blocks(events):
            if self.done:
                break
            out.append(self._block(block))
        return b"".join(out)

    def _note(self, events: bytes) -> None:
        self._text_bytes += text_bytes_in(events)
        for number in _SEQUENCE.findall(events[-2_000:]):
            self._sequence = max(self._sequence, int(number))

    def _block(self, block: bytes) -> bytes:
        data = data_of(block)
        if data is None:
            return block if self.started else b""
        if data.strip() == b"[DONE]":
            return b""  # some servers add it; whether the answer is whole is told by its last event
        if not _may_end(block):
            self._note(block)
            self.started = True
            return block
        try:
            fields = _fields.decode(data)
        except msgspec.DecodeError:
            self.started = True
            return block  # nothing that we could read or repair
        return self._read(block, fields)

    def _read(self, block: bytes, fields: dict[str, msgspec.Raw]) -> bytes:
        kind = bytes(fields.get("type", b"")).strip(b'"')
        told = bytes(fields.get("error", b"null")) != b"null"
        if event_name(block) == b"error" or kind == b"error" or told:
            return self._stop(error_of(fields) or unreadable_stream("it told an error without saying which"))
        if kind not in (b"response.completed", b"response.incomplete", b"response.failed"):
            self._note(block)
            self.started = True
            return block  # the words stood somewhere inside
        return self._last(kind, fields)

    def _last(self, kind: bytes, fields: dict[str, msgspec.Raw]) -> bytes:
        response = bytes(fields.get("response", b"{}"))
        try:
            outcome = outcome_decoder.decode(response)
        except msgspec.DecodeError:
            return self._stop(unreadable_stream("its last event is none"))
        self._reported = outcome.reported
        self.finish_reason = outcome.finish_reason
        self._text_bytes = max(self._text_bytes, outcome.text_bytes)
        if kind == b"response.failed":
            self.error = error_of(_fields.decode(response))
        cost = self._options.cost_of(self.usage())
        fields["response"] = msgspec.Raw(final_event(response, cost))
        self.done = self.started = True
        return b"event: " + kind + b"\ndata: " + msgspec.json.encode(fields) + b"\n\n"

    def _stop(self, error: UpstreamError) -> bytes:
        self.error = error
        self.done = True
        told = {
            "type": "error",
            "sequence_number": self._sequence + 1,
            "code": error.upstream_code or error.code,
            "message": error.message,
            "param": error.param,
        }
        return b"event: error\ndata: " + msgspec.json.encode(told) + b"\n\n"


def _may_end(events: bytes) -> bool:
    """Whether one of these events may be the last, by searches that cost next to nothing."""
    return _LAST.search(events) is not None or (
        b'"error"' in events or b"[DONE]" in events or _ERROR_NAME.search(events) is not None
    )


def _is_whole(block: bytes) -> bool:
    try:
        _fields.decode(data_of(block) or b"")
    except msgspec.DecodeError:
        return False
    return True


def _plain_error(text: bytes) -> UpstreamError:
    """The body was no stream at all."""
    try:
        return error_in(_fields.decode(text), named=False) or unreadable_stream("it sent a plain JSON answer")
    except msgspec.DecodeError:
        return unreadable_stream("it sent something else")
