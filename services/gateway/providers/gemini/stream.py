"""A stream of `:streamGenerateContent?alt=sse` as deltas of a chat. Each event is a whole answer of its own."""

from typing import Final

import msgspec

from services.gateway.providers.chat.translate import (
    Delta,
    ExtraDelta,
    FinishDelta,
    ReasoningDelta,
    SignatureDelta,
    TextDelta,
    ToolCallArguments,
    ToolCallStart,
)
from services.gateway.providers.errors import UpstreamError
from services.gateway.providers.gemini.answer import block_message, blocked
from services.gateway.providers.gemini.errors import empty_answer, error_in_text, error_inside
from services.gateway.providers.gemini.parts import (
    FAULTS,
    annotations_of,
    call_of,
    image_json,
    signature_detail,
    text_of,
)
from services.gateway.providers.gemini.usage import UNSPECIFIED, finish_reason_of, searches_in, usage_of
from services.gateway.providers.gemini.wire import Candidate, GenerateResponse, Part, generate_response
from services.gateway.providers.sse import EventBuffer, blocks, data_of
from services.gateway.providers.usage import Usage
from services.gateway.providers.wire_errors import unreadable_stream

MAX_EVENT_BYTES: Final = 64 * 1_048_576
MAX_PLAIN_BYTES: Final = 1_048_576
_SSE_STARTS: Final = b":deir\xef"


class GeminiTranslator:
    """See StreamTranslator."""

    __slots__ = (
        "_asked_for", "_buffer", "_calls", "_finished", "_images", "_open", "_plain", "_searches",
        "ended", "error", "id", "model", "usage", "whole",
    )  # fmt: skip

    def __init__(self, model: str = "") -> None:
        """`model`: the one that was asked for, as long as the stream names none."""
        self.id = ""
        self.model = ""
        self.usage: Usage | None = None
        self.error: UpstreamError | None = None
        self.whole = False
        self.ended = False
        self._asked_for = model
        self._buffer = EventBuffer()
        self._open: set[int] = set()
        self._finished: set[int] = set()
        self._calls: dict[int, int] = {}
        self._images: dict[int, int] = {}
        self._searches: dict[int, int] = {}
        self._plain: bool | None = None

    def feed(self, chunk: bytes) -> list[Delta]:
        if self._plain is None and (text := chunk.lstrip()):
            self._plain = text[0] not in _SSE_STARTS
        events = self._buffer.push(chunk)
        if self._buffer.held_bytes > (MAX_PLAIN_BYTES if self._plain else MAX_EVENT_BYTES):
            self.error = unreadable_stream("an event of it is too large")
            return []
        deltas: list[Delta] = []
        if events and not self._plain:
            for block in blocks(events):
                self._block(block, deltas)
        return deltas

    def end(self) -> list[Delta]:
        deltas: list[Delta] = []
        rest = self._buffer.take()
        if self._plain:
            self.error = error_in_text(rest) or unreadable_stream("it sent something else")
        elif rest.strip() and data_of(rest) is not None:
            # The last event may lack its empty line; half an event is a stream that was cut.
            self._block(rest, deltas, last=True)
        return deltas

    def _block(self, block: bytes, deltas: list[Delta], *, last: bool = False) -> None:
        data = data_of(block)
        if not data or self.error is not None:
            return
        try:
            response = generate_response.decode(data)
        except msgspec.DecodeError:
            if not last:
                self.error = unreadable_stream("an event of it cannot be read")
            return
        self._response(response, deltas)

    def _response(self, response: GenerateResponse, deltas: list[Delta]) -> None:
        self.id = self.id or response.response_id
        self.model = self.model or response.model_version
        for candidate in response.candidates:
            self._candidate(candidate, deltas)
        if response.usage_metadata is not None:
            images, searches = sum(self._images.values()), sum(self._searches.values())
            self.usage = usage_of(response.usage_metadata, images=images, searches=searches)
        if not response.candidates and blocked(response.prompt_feedback):
            self._finished.add(0)
            deltas.append(ExtraDelta({"refusal": block_message(response.prompt_feedback)}))
            deltas.append(FinishDelta("content_filter"))
        self.error = self.error or error_inside(bytes(response.error))
        self.whole = bool(self._finished) and not self._open

    def _candidate(self, candidate: Candidate, deltas: list[Delta]) -> None:
        choice, reason = candidate.index, candidate.finish_reason
        if choice not in self._finished:
            self._open.add(choice)
        for part in candidate.content.parts:
            self._part(part, choice, deltas)
        if annotations := annotations_of(candidate.grounding_metadata):
            deltas.append(ExtraDelta({"annotations": annotations}, choice))
        if searches := searches_in(candidate.grounding_metadata, self.model or self._asked_for):
            self._searches[choice] = max(searches, self._searches.get(choice, 0))
        if not reason or reason == UNSPECIFIED or choice in self._finished:
            return
        self._finished.add(choice)
        self._open.discard(choice)
        if reason in FAULTS:
            self.error = empty_answer(reason, candidate.finish_message)
        else:
            deltas.append(FinishDelta(finish_reason_of(reason, calls_tools=choice in self._calls), choice))

    def _part(self, part: Part, choice: int, deltas: list[Delta]) -> None:
        if part.function_call is not None:
            number = self._calls.get(choice, 0)
            self._calls[choice] = number + 1
            call = call_of(part.function_call, part.thought_signature)
            deltas.append(
                ToolCallStart(number, call.id, call.function.name, choice, extra_content=call.extra_content)
            )
            deltas.append(ToolCallArguments(number, call.function.arguments, choice))
            return
        if part.inline_data is not None:
            number = self._images.get(choice, 0)
            self._images[choice] = number + 1
            deltas.append(ExtraDelta({"images": [image_json(part.inline_data, number)]}, choice))
        text = text_of(part)
        if text:
            deltas.append(ReasoningDelta(text, choice) if part.thought else TextDelta(text, choice))
        if part.thought_signature:
            deltas.append(SignatureDelta(signature_detail(part.thought_signature), choice))
