"""Relays OpenAI's event streams: untouched as long as an event means nothing to us, which a byte search tells."""

import re
from typing import Final

import msgspec

from services.gateway.providers.errors import UpstreamError
from services.gateway.providers.estimate import completion_tokens_seen
from services.gateway.providers.port import RelayOptions
from services.gateway.providers.sse import DONE_EVENT, EventBuffer, blocks, data_of, event, event_name
from services.gateway.providers.usage import (
    Usage,
    at_tier,
    read_usage,
    usage_json,
    with_cost,
    with_picture,
)
from services.gateway.providers.whole_completion import chunk_of
from services.gateway.providers.wire_errors import error_body, error_in, stream_cut, unreadable_stream
from shared.events import Tokens

SAMPLE_BYTES: Final = 65_536
"""Kept of each stream, even when the log keeps none, to estimate what a provider does not report."""
MAX_EVENT_BYTES: Final = 64 * 1_048_576
MAX_PLAIN_BYTES: Final = 1_048_576

_USAGE: Final = re.compile(rb'"usage"\s*:\s*\{')
_ERROR: Final = re.compile(
    rb'^event:\s*error|"error"\s*:\s*[^\sn]|"finish_reason"\s*:\s*"error"', re.MULTILINE
)
_FINISH: Final = re.compile(rb'"finish_reason"\s*:\s*"([^"]+)"')
_LAST_TYPE: Final = re.compile(rb'"type"\s*:\s*"[a-z_.]+\.(?:completed|done)"')
_SSE_STARTS: Final = b":deir\xef"
_fields: Final = msgspec.json.Decoder(dict[str, msgspec.Raw])
_NO_CHOICES: Final = (b"", b"[]", b"null")


class OpenAIRelay:
    """See Relay. For streams of chat and text completions (`chunks`) and of typed events (images, audio)."""

    __slots__ = (
        "_buffer", "_completed", "_images", "_first", "_options", "_plain", "_relayed", "_reported",
        "_sample", "_sample_limit", "_sampled", "_template", "_typed", "_usage_fields", "done", "error", "finish_reason", "received_bytes", "started",
    )  # fmt: skip

    def __init__(self, options: RelayOptions, *, typed: bool = False, images: int = 0) -> None:
        """`images` is what the last of the typed events stands for, when the stream is one of pictures."""
        self.done = False
        self.started = False
        self.error: UpstreamError | None = None
        self.finish_reason = ""
        self.received_bytes = 0
        self._options = options
        self._typed = typed
        self._images = images
        self._buffer = EventBuffer()
        self._sample: list[bytes] = []
        self._sampled = 0
        self._sample_limit = max(options.transcript_limit, SAMPLE_BYTES)
        self._relayed = 0
        self._plain: bool | None = None
        self._completed = False
        self._first = b""
        self._reported: Usage | None = None
        self._usage_fields: dict[str, msgspec.Raw] = {}
        self._template: dict[str, msgspec.Raw] = {}

    def feed(self, chunk: bytes) -> bytes:
        self.received_bytes += len(chunk)
        if self._sampled < self._sample_limit:
            self._sample.append(chunk)
            self._sampled += len(chunk)
        if self.done:
            return b""
        if self._plain is None:
            self._recognise(chunk)
        if self._plain:
            return self._hold_plain(chunk)
        events = self._buffer.push(chunk)
        if not events:
            is_too_large = self._buffer.held_bytes > MAX_EVENT_BYTES
            return self._stop(unreadable_stream("an event of it is too large")) if is_too_large else b""
        if self.started and not self._means_something(events):
            self._relayed += len(events)
            self._note_finish(events)
            return events
        return b"".join([self._any_block(block) for block in blocks(events)])

    def end(self) -> bytes:
        if self.done:
            return b""
        rest = self._buffer.take()
        if self._plain:
            return self._whole_answer(rest)
        out = self._any_block(_last_event(rest))
        if self.done:
            return out
        if not self._whole:
            return out + self._stop(stream_cut())
        return out + self._finish()

    def fail(self, error: UpstreamError) -> bytes:
        if self.done:
            return b""
        return self._finish() if self._whole else self._stop(error)

    def usage(self) -> Usage:
        if self._reported is not None:
            return self._reported
        seen = b"".join(self._sample)[: self._relayed]
        completion = completion_tokens_seen(seen)
        if len(seen) < self._relayed:
            completion = completion * self._relayed // len(seen)
        return Usage(Tokens(prompt=self._options.prompt_estimate, completion=completion), estimated=True)

    @property
    def transcript(self) -> bytes:
        return b"".join(self._sample)[: self._options.transcript_limit]

    @property
    def _whole(self) -> bool:
        """Nothing of the answer itself is missing, whatever happens to the connection now."""
        return bool(self.finish_reason) or self._completed

    def _recognise(self, chunk: bytes) -> None:
        text = chunk.lstrip()
        if text:
            self._plain = text[0] not in _SSE_STARTS

    def _hold_plain(self, chunk: bytes) -> bytes:
        self._buffer.hold(chunk)
        if self._buffer.held_bytes > MAX_PLAIN_BYTES:
            return self._stop(unreadable_stream("it sent something else"))
        return b""

    def _means_something(self, events: bytes) -> bool:
        """Whether any of these events is to be read, by searches that cost next to nothing."""
        return (
            (b'"usage"' in events and _USAGE.search(events) is not None)
            or (b"error" in events and _ERROR.search(events) is not None)
            or b"[DONE]" in events
            or (self._typed and _LAST_TYPE.search(events) is not None)
        )

    def _note_finish(self, events: bytes) -> None:
        if not self.finish_reason and (match := _FINISH.search(events)):
            self.finish_reason = match[1].decode("utf-8", "replace")

    def _any_block(self, block: bytes) -> bytes:
        """Superfluous empty lines go out as they are, so that it makes no difference where the network cut."""
        if self.done:
            return b""
        self._relayed += len(block)
        content = block.lstrip(b"\r\n")
        blank = block[: len(block) - len(content)] if self.started else b""
        return blank + self._block(content) if content else blank

    def _block(self, block: bytes) -> bytes:
        """One event on its way; what of it the client gets."""
        data = data_of(block)
        if data is None:
            return block if self.started else b""
        if data.strip() == b"[DONE]":
            return self._finish()
        if not self._means_something(block):
            return self._give(block, block)
        try:
            fields = _fields.decode(data)
        except msgspec.DecodeError:
            return self._give(block, block)  # not a JSON object: nothing that we could read or repair
        error = error_in(fields, named=event_name(block) == b"error")
        if error is not None:
            return self._stop(error)
        return self._give(
            block, self._typed_event(block, fields) if self._typed else self._chunk(block, fields)
        )

    def _give(self, block: bytes, out: bytes) -> bytes:
        """`out` goes to the client for this block of the provider's."""
        if not self.started:
            self.started = True
            self._first = block
        self._note_finish(block)
        return out

    def _chunk(self, block: bytes, fields: dict[str, msgspec.Raw]) -> bytes:
        """A piece of a completion. Its usage is kept back: some servers send it again and again."""
        raw = bytes(fields.get("usage", b""))
        if not raw.startswith(b"{"):
            return block
        reported = read_usage(raw)
        if reported is not None:  # else it says nothing, or nothing that can be true
            self._reported = at_tier(reported, fields.get("service_tier"))
            self._usage_fields = _fields.decode(raw)
        del fields["usage"]
        self._template = fields
        if bytes(fields.get("choices", b"")).replace(b" ", b"") in _NO_CHOICES:
            return b""
        return event(msgspec.json.encode(fields))

    def _typed_event(self, block: bytes, fields: dict[str, msgspec.Raw]) -> bytes:
        """A typed event. Only the last one has usage; it stays where it is and gets the cost."""
        self._completed = self._completed or _LAST_TYPE.search(block) is not None
        raw = bytes(fields.get("usage", b""))
        reported = read_usage(raw, images=self._images) if raw.startswith(b"{") else None
        if reported is None:
            return block
        self._reported = reported = with_picture(reported, fields) if self._images else reported
        cost = self._options.cost_of(reported)
        if cost is None:
            return block
        fields["usage"] = with_cost(raw, cost)
        name = event_name(block)
        head = b"event: " + name + b"\n" if name else b""
        return head + event(msgspec.json.encode(fields))

    def _finish(self) -> bytes:
        self.done = True
        if self._typed:
            return b""
        return self._usage_event() + DONE_EVENT

    def _usage_event(self) -> bytes:
        if not self._options.send_usage:
            return b""
        usage = self.usage()
        counts = dict(self._usage_fields) or usage_json(usage)
        cost = self._options.cost_of(usage)
        if cost is not None:
            counts["cost"] = msgspec.Raw(cost.encode())
        fields = self._template or self._fields_of_first()
        fields["choices"] = msgspec.Raw(b"[]")
        fields["usage"] = msgspec.Raw(msgspec.json.encode(counts))
        return event(msgspec.json.encode(fields))

    def _fields_of_first(self) -> dict[str, msgspec.Raw]:
        """Id, model and so on, for the usage chunk of a provider that sent none."""
        try:
            fields = _fields.decode(data_of(self._first) or b"")
        except msgspec.DecodeError:
            return {}  # a usage chunk needs none of them
        fields.pop("usage", None)
        return fields

    def _stop(self, error: UpstreamError) -> bytes:
        self.error = self._options.tell(error)
        self.done = True
        return event(error_body(self.error)) + DONE_EVENT

    def _whole_answer(self, text: bytes) -> bytes:
        """The body was no stream at all. A whole completion says the same; what else it was is still counted."""
        try:
            fields = _fields.decode(text)
        except msgspec.DecodeError:
            return self._stop(unreadable_stream("it sent something else"))
        raw = bytes(fields.get("usage", b""))
        self._reported = at_tier(read_usage(raw), fields.get("service_tier"))
        error = error_in(fields, named=False)
        chunk = chunk_of(fields) if error is None and not self._typed else None
        if chunk is None:
            return self._stop(error or unreadable_stream("it sent a plain JSON answer"))
        block = event(chunk)
        if self._reported is not None:
            self._usage_fields = _fields.decode(raw)
        else:
            seen = Tokens(prompt=self._options.prompt_estimate, completion=completion_tokens_seen(block))
            self._reported = Usage(seen, estimated=True)
        return self._give(block, block) + self._finish()


def _last_event(rest: bytes) -> bytes:
    """What came after the last whole event. It may lack its empty line; one that was cut in its middle is nothing."""
    data = data_of(rest)
    if data is None:
        return b"" if rest.strip() else rest
    return rest.rstrip(b"\r\n") + b"\n\n" if data.strip() == b"[DONE]" or _is_json(data) else b""


def _is_json(data: bytes) -> bool:
    try:
        msgspec.json.decode(data)
    except msgspec.DecodeError:
        return False
    return True
