"""A stream of chat chunks as the typed events of a response.

Items of the output are open one at a time, but for calls: their arguments may come in any order, so they all stay
open until the answer ends.
"""

from typing import Final

import msgspec

from services.gateway.providers.body import JsonBody
from services.gateway.providers.chat.memory import Memory, ThoughtField
from services.gateway.providers.errors import UpstreamError
from services.gateway.providers.inbound import Chunk, ChunkChoice, ChunkDelta, ToolCallPiece
from services.gateway.providers.responses.envelope import (
    Envelope,
    annotation_of,
    call_item,
    logprob_of,
    message_item,
    refusal_part,
    status_of,
    text_part,
    usage_of,
)
from services.gateway.providers.responses.reading import Json
from services.gateway.providers.responses.reasoning import (
    OUR_PREFIX,
    open_reasoning,
    reasoning_item,
    thought_field,
)
from services.gateway.providers.usage import Usage

_encode: Final = msgspec.json.Encoder().encode


class _Cost(msgspec.Struct):
    cost: msgspec.Raw = msgspec.Raw(b"")


_cost: Final = msgspec.json.Decoder(_Cost)


class _Text:
    """A message that is being written: its text, or its refusal to say any."""

    __slots__ = ("annotations", "field", "index", "item_id", "logprobs", "pieces")

    def __init__(self, index: int, item_id: str, field: str) -> None:
        self.index = index
        self.item_id = item_id
        self.field = field
        """`output_text` or `refusal`."""
        self.pieces: list[str] = []
        self.logprobs: list[Json] = []
        self.annotations: list[Json] = []

    @property
    def text(self) -> str:
        return "".join(self.pieces)

    @property
    def part(self) -> Json:
        if self.field == "refusal":
            return refusal_part(self.text)
        return text_part(self.text, self.logprobs, self.annotations)


class _Thought:
    """Reasoning that is being shown."""

    __slots__ = ("field", "index", "item_id", "pieces")

    def __init__(self, index: int, item_id: str, field: ThoughtField) -> None:
        self.index = index
        self.item_id = item_id
        self.field = field
        """See Memory.thought_in."""
        self.pieces: list[str] = []


class _Call:
    """A call whose arguments are being written."""

    __slots__ = ("call_id", "index", "item_id", "name", "pieces")

    def __init__(self, index: int, item_id: str, call_id: str, name: str) -> None:
        self.index = index
        self.item_id = item_id
        self.call_id = call_id
        self.name = name
        self.pieces: list[str] = []

    def item(self, status: str) -> Json:
        return call_item(self.item_id, self.call_id, self.name, "".join(self.pieces), status)


class ResponseEvents:
    """See ChunkTranslator."""

    __slots__ = (
        "_body", "_calls", "_cost", "_delta_head", "_envelope", "_finish_reason", "_memory", "_open", "_out",
        "_output", "_sequence", "_service_tier",
    )  # fmt: skip

    def __init__(self, body: JsonBody) -> None:
        self._body = body
        self._envelope: Envelope | None = None
        self._sequence = 0
        self._out: list[bytes] = []
        self._open: _Text | _Thought | None = None
        self._calls: dict[int, _Call] = {}
        self._output: list[Json] = []
        """Finished items, and null objects for those that are still open."""
        self._memory = Memory()
        self._finish_reason = ""
        self._service_tier: str | None = None
        self._cost: msgspec.Raw | None = None
        self._delta_head = b""

    def chunk(self, chunk: Chunk) -> bytes:
        if self._envelope is None:
            self._begin(chunk)
        self._service_tier = chunk.service_tier or self._service_tier
        for choice in chunk.choices:
            if choice.index == 0:
                self._choice(choice)
        if not chunk.choices:
            self._cost = _cost_in(bytes(chunk.usage))
        return self._taken()

    def finish(self, usage: Usage) -> bytes:
        if self._envelope is None:
            self._begin(Chunk())
        reason = self._finish_reason
        status = status_of(reason)
        self._close(status)
        for at, call in enumerate(self._calls.values(), 1):
            # Only what was written last can be cut off.
            self._close_call(call, status if at == len(self._calls) else "completed")
        self._tell(self._memory)
        document = self._document(status, usage_of(usage, self._cost))
        self._event(f"response.{status}", {"response": document})
        return self._taken()

    def fail(self, error: UpstreamError) -> bytes:
        code = error.upstream_code or error.code
        self._event("error", {"code": code, "message": error.message, "param": error.param})
        return self._taken()

    def _begin(self, chunk: Chunk) -> None:
        self._envelope = Envelope(self._body, chat_id=chunk.id, model=chunk.model, created=chunk.created)
        document = self._document("in_progress", None)
        self._event("response.created", {"response": document})
        self._event("response.in_progress", {"response": document})

    def _document(self, status: str, usage: Json | None) -> Json:
        if self._envelope is None:
            return {}
        return self._envelope.document(
            status, self._output, usage, finish_reason=self._finish_reason, service_tier=self._service_tier
        )

    def _choice(self, choice: ChunkChoice) -> None:
        delta = choice.delta
        if delta is not None:
            self._delta(delta, choice)
        if choice.finish_reason:
            self._finish_reason = choice.finish_reason

    def _delta(self, delta: ChunkDelta, choice: ChunkChoice) -> None:
        if thought := delta.thought:
            self._think(thought, thought_field(delta))
        if text := delta.text:
            odds = (choice.logprobs.content if choice.logprobs is not None else None) or ()
            self._say(text, [logprob_of(odd) for odd in odds])
        if delta.refusal:
            self._refuse(delta.refusal)
        if delta.annotations:
            self._annotate(delta.annotations)
        if delta.reasoning_details:
            self._memory.details.extend(delta.reasoning_details)
        for piece in delta.tool_calls or ():
            self._call(piece)

    def _think(self, text: str, field: ThoughtField) -> None:
        thought = self._open
        if not isinstance(thought, _Thought):
            self._close("completed")
            index, item_id = self._place(OUR_PREFIX)
            thought = self._open = _Thought(index, item_id, field)
            self._item_event("added", index, open_reasoning(item_id))
            part = {"type": "summary_text", "text": ""}
            self._summary_event("part.added", thought, {"part": part})
        thought.pieces.append(text)
        self._summary_event("text.delta", thought, {"delta": text})

    def _say(self, text: str, logprobs: list[Json]) -> None:
        """The one event that there are many of: written around what all of them have in common."""
        message = self._open
        if not isinstance(message, _Text) or message.field != "output_text":
            message = self._open_message("output_text")
            head = _encode({"item_id": message.item_id, "output_index": message.index, "content_index": 0})
            self._delta_head = head[1:-1]
        message.pieces.append(text)
        message.logprobs += logprobs
        self._out.append(
            b'event: response.output_text.delta\ndata: {"type":"response.output_text.delta","sequence_number":%d,'
            b'%b,"delta":%b,"logprobs":%b}\n\n'
            % (self._sequence, self._delta_head, _encode(text), _encode(logprobs) if logprobs else b"[]")
        )
        self._sequence += 1

    def _refuse(self, text: str) -> None:
        message = self._open
        if not isinstance(message, _Text) or message.field != "refusal":
            message = self._open_message("refusal")
        message.pieces.append(text)
        self._event("response.refusal.delta", {**_part_place(message), "delta": text})

    def _annotate(self, annotations: list[Json]) -> None:
        """Sources of the text that is being written."""
        message = self._open
        if not isinstance(message, _Text) or message.field != "output_text":
            return
        for at, annotation in enumerate(map(annotation_of, annotations), len(message.annotations)):
            message.annotations.append(annotation)
            told = {"annotation_index": at, "annotation": annotation}
            self._event("response.output_text.annotation.added", {**_part_place(message), **told})

    def _open_message(self, field: str) -> _Text:
        self._close("completed")
        self._tell_details()
        index, item_id = self._place("msg")
        message = self._open = _Text(index, item_id, field)
        self._item_event("added", index, message_item(item_id, [], "in_progress"))
        self._event("response.content_part.added", {**_part_place(message), "part": message.part})
        return message

    def _call(self, piece: ToolCallPiece) -> None:
        at = piece.index or 0
        function = piece.function
        call = self._calls.get(at)
        if call is None:
            self._close("completed")
            self._tell_details()
            index, item_id = self._place("fc")
            name = function.name if function is not None and function.name else ""
            call = self._calls[at] = _Call(index, item_id, piece.id or item_id, name)
            self._item_event("added", index, call.item("in_progress"))
        if piece.extra_content is not None:
            self._memory.calls[call.call_id] = piece.extra_content
        if function is not None and function.arguments:
            call.pieces.append(function.arguments)
            place = {"item_id": call.item_id, "output_index": call.index}
            self._event("response.function_call_arguments.delta", {**place, "delta": function.arguments})

    def _close(self, status: str) -> None:
        """The item that is open is whole."""
        item, self._open = self._open, None
        if isinstance(item, _Text):
            spoken: Json = {"text": item.text, "logprobs": item.logprobs}
            told = {"refusal": item.text} if item.field == "refusal" else spoken
            self._event(f"response.{item.field}.done", {**_part_place(item), **told})
            self._event("response.content_part.done", {**_part_place(item), "part": item.part})
            self._done(item.index, message_item(item.item_id, [item.part], status))
        elif isinstance(item, _Thought):
            text = "".join(item.pieces)
            self._summary_event("text.done", item, {"text": text})
            self._summary_event("part.done", item, {"part": {"type": "summary_text", "text": text}})
            details, self._memory.details = self._memory.details, []
            memory = Memory(details) if details else Memory(thought_in=item.field)
            self._done(item.index, reasoning_item(item.item_id, text, memory))

    def _close_call(self, call: _Call, status: str) -> None:
        place = {"item_id": call.item_id, "output_index": call.index}
        arguments = "".join(call.pieces)
        self._event("response.function_call_arguments.done", {**place, "arguments": arguments})
        self._done(call.index, call.item(status))

    def _tell_details(self) -> None:
        """Reasoning of which nothing is shown stands before what it led to, like all reasoning."""
        details, self._memory.details = self._memory.details, []
        self._tell(Memory(details))

    def _tell(self, memory: Memory) -> None:
        """An item of nothing but what the provider wants back."""
        if memory == Memory():
            return
        index, item_id = self._place(OUR_PREFIX)
        self._item_event("added", index, open_reasoning(item_id))
        self._done(index, reasoning_item(item_id, "", memory))

    def _place(self, prefix: str) -> tuple[int, str]:
        """Index and id of the next item of the output."""
        index = len(self._output)
        self._output.append({})
        return index, self._envelope.item_id(prefix, index) if self._envelope is not None else ""

    def _done(self, index: int, item: Json) -> None:
        self._output[index] = item
        self._item_event("done", index, item)

    def _item_event(self, what: str, index: int, item: Json) -> None:
        self._event(f"response.output_item.{what}", {"output_index": index, "item": item})

    def _summary_event(self, what: str, thought: _Thought, told: Json) -> None:
        place = {"item_id": thought.item_id, "output_index": thought.index, "summary_index": 0}
        self._event(f"response.reasoning_summary_{what}", {**place, **told})

    def _event(self, kind: str, told: Json) -> None:
        data = _encode({"type": kind, "sequence_number": self._sequence, **told})
        self._out.append(b"event: %b\ndata: %b\n\n" % (kind.encode(), data))
        self._sequence += 1

    def _taken(self) -> bytes:
        out, self._out = self._out, []
        return b"".join(out)


def _part_place(message: _Text) -> Json:
    return {"item_id": message.item_id, "output_index": message.index, "content_index": 0}


def _cost_in(usage: bytes) -> msgspec.Raw | None:
    try:
        cost = _cost.decode(usage).cost
    except msgspec.DecodeError:
        return None  # a usage of another shape says no cost
    return cost if bytes(cost) else None
