"""Relays a stream of another format as OpenAI's chunks. A translator per format says what its events mean."""

from typing import Any, Final, Protocol

import msgspec

from services.gateway.providers.chat.completion import chat_usage, new_id, unix_now
from services.gateway.providers.chat.request import ReasoningDetail
from services.gateway.providers.errors import UpstreamError
from services.gateway.providers.port import RelayOptions
from services.gateway.providers.sse import DONE_EVENT, event
from services.gateway.providers.usage import Usage
from services.gateway.providers.wire_errors import error_body, stream_cut
from shared.events import Tokens
from shared.pricing.estimate import estimate_tokens

_encode: Final = msgspec.json.Encoder().encode


class RoleDelta(msgspec.Struct, gc=False):
    """The answer begins. Optional: the first of the other deltas begins it too."""

    choice: int = 0


class TextDelta(msgspec.Struct, gc=False):
    text: str
    choice: int = 0


class ReasoningDelta(msgspec.Struct, gc=False):
    text: str
    choice: int = 0


class SignatureDelta(msgspec.Struct):
    """A block of reasoning is whole: with its text and what its provider wants back with it."""

    detail: ReasoningDetail
    choice: int = 0


class ToolCallStart(msgspec.Struct):
    """`call` counts the calls of a choice from 0. An empty id gets one."""

    call: int
    id: str
    name: str
    choice: int = 0
    extra_content: dict[str, Any] | None = None


class ToolCallArguments(msgspec.Struct, gc=False):
    call: int
    arguments: str
    choice: int = 0


class ExtraDelta(msgspec.Struct):
    """More fields of a delta, such as `annotations` or `images`."""

    fields: dict[str, Any]
    choice: int = 0


class FinishDelta(msgspec.Struct, gc=False):
    """OpenAI's word for why the choice ended."""

    reason: str
    choice: int = 0


Delta = (
    RoleDelta
    | TextDelta
    | ReasoningDelta
    | SignatureDelta
    | ToolCallStart
    | ToolCallArguments
    | ExtraDelta
    | FinishDelta
)


class StreamTranslator(Protocol):
    """Reads one stream of its format. It does no I/O; it may be cut anywhere."""

    id: str
    """The answer's id, as soon as it is known; empty: the relay makes one."""
    model: str
    """The model that answers, as soon as it is known; empty: the one that was asked for."""
    usage: Usage | None
    """What was reported so far."""
    error: UpstreamError | None
    """The provider reported an error; what is fed later is ignored."""
    whole: bool
    """Nothing of the answer itself is missing, whatever happens to the connection now."""
    ended: bool
    """Nothing more can come: not the usage either."""

    def feed(self, chunk: bytes) -> list[Delta]: ...

    def end(self) -> list[Delta]:
        """The body has ended: what the rest of it means."""
        ...


def usage_so_far(translator: StreamTranslator, seen_bytes: int, prompt_estimate: int) -> Usage:
    """What was reported. What a broken answer has produced beyond that is estimated from its text."""
    reported = translator.usage
    if reported is not None and translator.whole:
        return reported
    seen = estimate_tokens(seen_bytes) if seen_bytes else 0
    if reported is None:
        return Usage(Tokens(prompt=prompt_estimate, completion=seen), estimated=True)
    if reported.tokens.completion >= seen:
        return reported
    tokens = msgspec.structs.replace(reported.tokens, completion=seen)
    return msgspec.structs.replace(reported, tokens=tokens, estimated=True)


class TranslatedRelay:
    """See Relay."""

    __slots__ = (
        "_begun", "_head", "_kept", "_mute", "_options", "_seen_bytes", "_transcript", "_translator",
        "done", "error", "finish_reason", "received_bytes", "started",
    )  # fmt: skip

    def __init__(self, options: RelayOptions, translator: StreamTranslator) -> None:
        self.done = False
        self.started = False
        self.error: UpstreamError | None = None
        self.finish_reason = ""
        self.received_bytes = 0
        self._options = options
        self._translator = translator
        self._begun: set[int] = set()
        self._mute: dict[tuple[int, int], None] = {}
        """(choice, call) of the calls that nothing was said of but their name."""
        self._head = b""
        self._seen_bytes = 0
        self._transcript: list[bytes] = []
        self._kept = 0

    def feed(self, chunk: bytes) -> bytes:
        self.received_bytes += len(chunk)
        if self.done:
            return b""
        out = self._rendered(self._translator.feed(chunk))
        if self._translator.error is not None:
            return out + self._stop(self._translator.error)
        return out + self._finish() if self._translator.ended else out

    def end(self) -> bytes:
        if self.done:
            return b""
        out = self._rendered(self._translator.end())
        if self._translator.error is not None:
            return out + self._stop(self._translator.error)
        return out + (self._finish() if self._translator.whole else self._stop(stream_cut()))

    def fail(self, error: UpstreamError) -> bytes:
        if self.done:
            return b""
        return self._finish() if self._translator.whole else self._stop(error)

    def usage(self) -> Usage:
        return usage_so_far(self._translator, self._seen_bytes, self._options.prompt_estimate)

    @property
    def transcript(self) -> bytes:
        return b"".join(self._transcript)[: self._options.transcript_limit]

    def _rendered(self, deltas: list[Delta]) -> bytes:
        if not deltas:
            return b""
        self.started = True
        out: list[bytes] = []
        for delta in deltas:
            if delta.choice not in self._begun:
                self._begun.add(delta.choice)
                out.append(self._chunk(b'{"role":"assistant","content":""}', delta.choice))
            self._render(delta, out)
        return self._keep(b"".join(out))

    def _render(self, delta: Delta, out: list[bytes]) -> None:
        if isinstance(delta, TextDelta):
            out.append(self._chunk(b'{"content":' + self._seen(delta.text) + b"}", delta.choice))
        elif isinstance(delta, ReasoningDelta):
            out.append(self._chunk(b'{"reasoning_content":' + self._seen(delta.text) + b"}", delta.choice))
        elif isinstance(delta, ToolCallArguments):
            if delta.arguments:
                self._mute.pop((delta.choice, delta.call), None)
            out.append(self._arguments(delta))
        elif isinstance(delta, FinishDelta):
            self.finish_reason = self.finish_reason or delta.reason
            # A call without arguments is one with an empty object: clients read what they get as JSON.
            for choice, call in [mute for mute in self._mute if mute[0] == delta.choice]:
                del self._mute[choice, call]
                out.append(self._arguments(ToolCallArguments(call, "{}", choice)))
            out.append(self._chunk(b"{}", delta.choice, _encode(delta.reason)))
        elif not isinstance(delta, RoleDelta):
            if isinstance(delta, ToolCallStart):
                self._mute[delta.choice, delta.call] = None
            out.append(self._chunk(_encode(_rare(delta)), delta.choice))

    def _arguments(self, delta: ToolCallArguments) -> bytes:
        head = b'{"tool_calls":[{"index":%d,"function":{"arguments":' % delta.call
        return self._chunk(head + self._seen(delta.arguments) + b"}}]}", delta.choice)

    def _seen(self, text: str) -> bytes:
        """What the model wrote as JSON; it counts as used, without the quotes around it."""
        written = _encode(text)
        self._seen_bytes += len(written) - 2
        return written

    def _chunk(self, delta: bytes, choice: int, finish: bytes = b"null") -> bytes:
        head = self._head or self._make_head()
        tail = b',"logprobs":null,"finish_reason":' + finish + b"}]}\n\n"
        return head + b'[{"index":%d,"delta":' % choice + delta + tail

    def _make_head(self) -> bytes:
        """All that the chunks have in common; fixed with the first of them."""
        fields = {
            "id": self._translator.id or new_id("chatcmpl-"),
            "object": "chat.completion.chunk",
            "created": unix_now(),
            "model": self._translator.model or self._options.model,
        }
        self._head = b"data: " + _encode(fields)[:-1] + b',"choices":'
        return self._head

    def _finish(self) -> bytes:
        self.done = True
        return self._usage_event() + DONE_EVENT

    def _usage_event(self) -> bytes:
        usage = self.usage()
        if not self._options.send_usage:
            return b""
        fields = chat_usage(usage)
        cost = self._options.cost_of(usage)
        if cost is not None:
            fields["cost"] = msgspec.Raw(cost.encode())
        head = self._head or self._make_head()
        return self._keep(head + b'[],"usage":' + _encode(fields) + b"}\n\n")

    def _stop(self, error: UpstreamError) -> bytes:
        self.error = self._options.tell(error)
        self.done = True
        return self._keep(event(error_body(self.error))) + DONE_EVENT

    def _keep(self, events: bytes) -> bytes:
        if self._kept < self._options.transcript_limit:
            self._transcript.append(events)
            self._kept += len(events)
        return events


def _rare(delta: SignatureDelta | ToolCallStart | ExtraDelta) -> dict[str, Any]:
    if isinstance(delta, SignatureDelta):
        return {"reasoning_details": [delta.detail]}
    if isinstance(delta, ExtraDelta):
        return delta.fields
    call: dict[str, Any] = {
        "index": delta.call,
        "id": delta.id or new_id("call_"),
        "type": "function",
        "function": {"name": delta.name, "arguments": ""},
    }
    if delta.extra_content is not None:
        call["extra_content"] = delta.extra_content
    return {"tool_calls": [call]}
