"""The events of ConverseStream, cut out of AWS's binary frames."""

import base64
from typing import Any, Final

import msgspec
from botocore.eventstream import EventStreamMessage

from services.gateway.providers.bedrock.answer import (
    TokenUsage,
    citation,
    finish_reason,
    picture,
    redacted,
    signed_text,
    tokens_of,
)
from services.gateway.providers.bedrock.errors import broken_answer
from services.gateway.providers.bedrock.frames import FramedStream, failure_in
from services.gateway.providers.bedrock.tools import ANSWER_TOOL
from services.gateway.providers.chat.completion import new_id
from services.gateway.providers.chat.translate import (
    Delta,
    ExtraDelta,
    FinishDelta,
    ReasoningDelta,
    RoleDelta,
    SignatureDelta,
    TextDelta,
    ToolCallArguments,
    ToolCallStart,
)
from services.gateway.providers.errors import UpstreamError

_COUNTS_CACHED: Final = "openai."


class _ToolStart(msgspec.Struct):
    toolUseId: str
    name: str
    type: str | None = None


class _ImageStart(msgspec.Struct):
    format: str


class _Start(msgspec.Struct):
    toolUse: _ToolStart | None = None
    image: _ImageStart | None = None


class _BlockStart(msgspec.Struct):
    contentBlockIndex: int
    start: _Start = msgspec.field(default_factory=_Start)


class _ToolInput(msgspec.Struct, gc=False):
    input: str = ""


class _ReasoningPiece(msgspec.Struct, gc=False):
    text: str | None = None
    signature: str | None = None
    redactedContent: bytes | None = None


class _ImageSource(msgspec.Struct):
    data: bytes | None = msgspec.field(name="bytes", default=None)


class _ImagePiece(msgspec.Struct):
    source: _ImageSource = msgspec.field(default_factory=_ImageSource)


class _Piece(msgspec.Struct):
    text: str | None = None
    toolUse: _ToolInput | None = None
    reasoningContent: _ReasoningPiece | None = None
    citation: dict[str, Any] | None = None
    image: _ImagePiece | None = None


class _BlockDelta(msgspec.Struct):
    contentBlockIndex: int
    delta: _Piece


class _BlockStop(msgspec.Struct, gc=False):
    contentBlockIndex: int


class _MessageStop(msgspec.Struct, gc=False):
    stopReason: str


class _Metadata(msgspec.Struct):
    usage: TokenUsage | None = None


class _OpenBlock(msgspec.Struct):
    """A content block between its start and its stop."""

    call: int = -1
    """The client's number of the call; -1: it is none."""
    is_answer: bool = False
    is_hidden: bool = False
    """A call that the provider's own servers answer."""
    has_input: bool = False
    reasoning: list[str] = []
    signature: str = ""
    redacted: bytes = b""
    picture: bytes = b""
    picture_format: str = ""


_block_start: Final = msgspec.json.Decoder(_BlockStart)
_block_delta: Final = msgspec.json.Decoder(_BlockDelta)
_block_stop: Final = msgspec.json.Decoder(_BlockStop)
_message_stop: Final = msgspec.json.Decoder(_MessageStop)
_metadata: Final = msgspec.json.Decoder(_Metadata)


class ConverseStream(FramedStream):
    """See StreamTranslator."""

    def __init__(self, model: str) -> None:
        """`model` as the client called it. Streams of OpenAI's models count what is cached in the input already."""
        super().__init__()
        self._includes_cached = _COUNTS_CACHED in model
        self.id = new_id("chatcmpl-")
        self._broken: UpstreamError | None = None
        self._open: dict[int, _OpenBlock] = {}
        self._calls = 0
        self._details = 0

    def end(self) -> list[Delta]:
        deltas = super().end()
        self.error = self.error or self._broken
        return deltas

    def _event(self, message: EventStreamMessage, out: list[Delta]) -> None:
        headers, payload = message.headers, message.payload
        kind = headers.get(":event-type")
        if kind == "contentBlockDelta":
            self._delta(_block_delta.decode(payload), out)
        elif kind == "contentBlockStart":
            self._start(_block_start.decode(payload), out)
        elif kind == "contentBlockStop":
            self._stop(_block_stop.decode(payload).contentBlockIndex, out)
        elif kind == "messageStart":
            out.append(RoleDelta())
        elif kind == "messageStop":
            self._end(_message_stop.decode(payload).stopReason, out)
        elif kind == "metadata":
            usage = _metadata.decode(payload).usage
            if usage is not None:
                self.usage = tokens_of(usage, includes_cached=self._includes_cached)
            self.whole = self.whole or self._broken is not None
            self.ended = self.whole
            self.error = self._broken
        elif kind is None:
            self.error = failure_in(headers, payload)

    def _end(self, reason: str, out: list[Delta]) -> None:
        """The message is over; what it used is still to come."""
        self._broken = broken_answer(reason)
        self.whole = self._broken is None
        if self.whole:
            out.append(FinishDelta(finish_reason(reason, calls=self._calls > 0)))

    def _start(self, event: _BlockStart, out: list[Delta]) -> None:
        block = self._open[event.contentBlockIndex] = _OpenBlock(reasoning=[])
        if event.start.image is not None:
            block.picture_format = event.start.image.format
        use = event.start.toolUse
        if use is None:
            return
        block.is_answer = use.name == ANSWER_TOOL
        block.is_hidden = use.type == "server_tool_use"
        if not block.is_answer and not block.is_hidden:
            block.call = self._calls
            self._calls += 1
            out.append(ToolCallStart(block.call, use.toolUseId, use.name))

    def _delta(self, event: _BlockDelta, out: list[Delta]) -> None:
        piece = event.delta
        if piece.text is not None:
            out.append(TextDelta(piece.text))
            return
        block = self._open.get(event.contentBlockIndex)
        if block is None:  # text and reasoning come without a start
            block = self._open[event.contentBlockIndex] = _OpenBlock(reasoning=[])
        if piece.toolUse is not None:
            self._input(block, piece.toolUse.input, out)
        elif piece.reasoningContent is not None:
            _reason(block, piece.reasoningContent, out)
        elif piece.citation is not None and (shown := citation(piece.citation)) is not None:
            out.append(ExtraDelta({"annotations": [shown]}))
        elif piece.image is not None:
            block.picture += piece.image.source.data or b""

    def _input(self, block: _OpenBlock, text: str, out: list[Delta]) -> None:
        block.has_input = block.has_input or bool(text)
        if block.is_answer:
            out.append(TextDelta(text))
        elif block.call >= 0 and text:
            out.append(ToolCallArguments(block.call, text))

    def _stop(self, index: int, out: list[Delta]) -> None:
        block = self._open.pop(index, None)
        if block is None:
            return
        if not block.has_input:
            self._input(block, "{}", out)
        if block.picture:
            data = base64.b64encode(block.picture).decode()
            out.append(ExtraDelta({"images": [picture(block.picture_format, data)]}))
        if block.redacted:
            out.append(SignatureDelta(redacted(block.redacted, self._details)))
            self._details += 1
        elif block.reasoning or block.signature:
            text = "".join(block.reasoning)
            out.append(SignatureDelta(signed_text(text, block.signature or None, self._details)))
            self._details += 1


def _reason(block: _OpenBlock, piece: _ReasoningPiece, out: list[Delta]) -> None:
    if piece.text is not None:
        block.reasoning.append(piece.text)
        out.append(ReasoningDelta(piece.text))
    if piece.signature is not None:
        block.signature += piece.signature
    if piece.redactedContent is not None:
        block.redacted += piece.redactedContent
