"""Client formats other than OpenAI's chat completions, spoken to any provider through its chat completions.

A format is an `Inbound`: it turns a client's request into a chat request, and a chat answer or stream back. It
knows nothing of providers. `InboundAdapter` stacks one over the adapter of any wire:

    client's body --Inbound.to_chat--> chat body --Adapter.build--> provider
    client's answer <--Inbound.answer-- chat answer <--Adapter.read_answer-- provider
    client's events <--ChunkTranslator-- chat chunks <--Adapter.relay-- provider

So metering, errors before the answer, and cut streams stay the business of the adapter below.
"""

import re
from collections.abc import Mapping
from typing import Any, Final, Protocol

import msgspec

from services.gateway.errors import ClientError
from services.gateway.providers.answer import OpenAIAnswer
from services.gateway.providers.body import JsonBody, ParsedBody
from services.gateway.providers.errors import BadRequest, Unsupported, UpstreamError
from services.gateway.providers.operations import Operation
from services.gateway.providers.port import Adapter, Answer, Prepared, Relay, RelayOptions, Target
from services.gateway.providers.sse import blocks, data_of
from services.gateway.providers.usage import Usage
from services.gateway.providers.wire_errors import unreadable_answer
from services.gateway.upstream.port import UpstreamRequest

_NULL: Final = msgspec.Raw(b"null")
_fields: Final = msgspec.json.Decoder(dict[str, msgspec.Raw])
_QUOTED: Final = re.compile(r"`([^`]+)`")
_FIELD: Final = re.compile(r"\w*")


class FunctionPiece(msgspec.Struct):
    """A piece of a call: the name comes once, the arguments in pieces of one JSON text."""

    name: str | None = None
    arguments: str | None = None


class ToolCallPiece(msgspec.Struct):
    """Pieces with the same index belong to one call."""

    index: int | None = None
    id: str | None = None
    function: FunctionPiece | None = None
    extra_content: dict[str, Any] | None = None
    """What the provider needs back with the call."""


class ContentPiece(msgspec.Struct):
    """Some providers (Mistral) stream content as a list of parts."""

    type: str = "text"
    text: str = ""
    thinking: list["ContentPiece"] = []


class ChunkDelta(msgspec.Struct):
    """What one chunk adds to one choice."""

    content: str | list[ContentPiece] | None = None
    reasoning_content: str | None = None
    reasoning: str | None = None
    refusal: str | None = None
    tool_calls: list[ToolCallPiece] | None = None
    reasoning_details: list[dict[str, Any]] | None = None
    """What the provider needs back with its reasoning in the next turn."""
    annotations: list[dict[str, Any]] | None = None

    @property
    def text(self) -> str:
        """The visible text in it."""
        if isinstance(self.content, list):
            return "".join([piece.text for piece in self.content])
        return self.content or ""

    @property
    def thought(self) -> str:
        """The reasoning in it, under whichever name."""
        if isinstance(self.content, list):
            return "".join([inner.text for piece in self.content for inner in piece.thinking])
        return self.reasoning_content or self.reasoning or ""


class ChunkLogprobs(msgspec.Struct):
    content: list[dict[str, Any]] | None = None


class ChunkChoice(msgspec.Struct):
    delta: ChunkDelta | None = None
    finish_reason: str | None = None
    index: int = 0
    logprobs: ChunkLogprobs | None = None


class Chunk(msgspec.Struct):
    """One chunk of a chat completion. `usage` is the raw usage object, `cost` in it included; null in most."""

    choices: list[ChunkChoice] = []
    usage: msgspec.Raw = _NULL
    id: str | None = None
    created: int | None = None
    model: str | None = None
    service_tier: str | None = None


_chunk: Final = msgspec.json.Decoder(Chunk, strict=False)


class ChunkTranslator(Protocol):
    """Writes one stream in the client's format. It gives back whole events, or nothing."""

    def chunk(self, chunk: Chunk) -> bytes:
        """One chunk of the answer. The usage chunk is the last one, and has no choices."""
        ...

    def finish(self, usage: Usage) -> bytes:
        """The answer is whole."""
        ...

    def fail(self, error: UpstreamError) -> bytes:
        """The answer ends here with an error."""
        ...


class ErrorFormat(Protocol):
    """How a format tells errors that the gateway itself has to tell."""

    def error_body(self, error: ClientError) -> bytes:
        """The body of an answer with an error status."""
        ...

    def error_event(self, error: ClientError) -> bytes:
        """The last events of a stream that broke before the provider's first event but after our first byte."""
        ...


class Inbound(ErrorFormat, Protocol):
    """One client format. No I/O and no state between requests."""

    own_names: Mapping[str, str]
    """Field of a chat request, or a place in one -> what the client calls it, where that is something else."""
    own_places: tuple[tuple[re.Pattern[str], str], ...]
    """(Beginning of a place in a chat request, what stands for it in the client's, whose inside is the same)."""

    def to_chat(self, body: JsonBody) -> JsonBody:
        """The same request as a chat completion; it streams if `body` does. Raises BadRequest naming the field."""
        ...

    def dropped(self, body: JsonBody) -> tuple[str, ...]:
        """Names of fields of the client's `body` that no chat completion has and that were left out, to be told."""
        ...

    def answer(self, body: JsonBody, chat: Mapping[str, msgspec.Raw], usage: Usage) -> bytes:
        """A chat completion as this format's JSON object, whose `usage` is an object at its top.

        `body` is the client's. Raises msgspec.DecodeError when `chat` is no chat completion.
        """
        ...

    def translator(self, body: JsonBody) -> ChunkTranslator:
        """For the stream that answers the client's `body`."""
        ...


class InboundRelay:
    """See Relay. The relay below decides what is an error and when the stream is over."""

    __slots__ = ("_chat", "_translator", "done", "error", "finish_reason", "started")

    def __init__(self, chat: Relay, translator: ChunkTranslator) -> None:
        self.done = False
        self.started = False
        self.error: UpstreamError | None = None
        self.finish_reason = ""
        self._chat = chat
        self._translator = translator

    @property
    def transcript(self) -> bytes:
        return self._chat.transcript

    @property
    def received_bytes(self) -> int:
        return self._chat.received_bytes

    def usage(self) -> Usage:
        return self._chat.usage()

    def feed(self, chunk: bytes) -> bytes:
        return self._translated(self._chat.feed(chunk))

    def end(self) -> bytes:
        return self._translated(self._chat.end())

    def fail(self, error: UpstreamError) -> bytes:
        return self._translated(self._chat.fail(error))

    def _translated(self, events: bytes) -> bytes:
        chat = self._chat
        self.started, self.done = chat.started, chat.done
        self.error, self.finish_reason = chat.error, chat.finish_reason
        if not events:
            return b""
        return b"".join([self._block(block) for block in blocks(events)])

    def _block(self, block: bytes) -> bytes:
        data = data_of(block)
        if data is None:
            return b""  # a comment
        if data.strip() == b"[DONE]":
            if self.error is not None:
                return self._translator.fail(self.error)
            return self._translator.finish(self._chat.usage())
        try:
            chunk = _chunk.decode(data)
        except msgspec.DecodeError:
            return b""  # nothing of a chat completion that could be said in another format
        if not chunk.choices and bytes(chunk.usage) == b"null":
            return b""  # the error that `[DONE]` follows, or a provider's own news
        return self._translator.chunk(chunk)


class InboundAdapter:
    """See Adapter. Made for one request: an `Inbound` over the adapter of the provider's wire.

    Operations it is called with are the client's; below it everything is a chat completion.
    """

    def __init__(self, adapter: Adapter, inbound: Inbound, body: JsonBody) -> None:
        self._adapter = adapter
        self._inbound = inbound
        self._body = body
        self._chat_body: JsonBody | None = None

    def needs_bytes(self, operation: Operation, body: ParsedBody) -> tuple[str, ...]:
        chat = self._chat()
        try:
            return self._adapter.needs_bytes(Operation.CHAT, chat)
        except BadRequest as error:
            raise self._in_own_words(error) from error

    def build(self, operation: Operation, target: Target, body: ParsedBody) -> Prepared:
        if Operation.CHAT.value not in target.type.operations:
            raise Unsupported(
                f"{target.provider.name} ({target.type.name}) does not offer {operation.value}."
            )
        chat = self._chat()
        try:
            prepared = self._adapter.build(Operation.CHAT, target, chat)
        except BadRequest as error:
            raise self._in_own_words(error) from error
        return msgspec.structs.replace(prepared, dropped=self._dropped(prepared))

    def read_answer(
        self, operation: Operation, body: ParsedBody, headers: Mapping[str, str], answer: bytes
    ) -> Answer:
        chat = self._adapter.read_answer(Operation.CHAT, self._chat(), headers, answer)
        if chat.error is not None:
            return chat
        try:
            fields = _fields.decode(chat.body)
            translated = self._inbound.answer(self._body, fields, chat.usage)
        except msgspec.DecodeError:
            return OpenAIAnswer(chat.body, chat.content_type, chat.usage, error=unreadable_answer())
        return OpenAIAnswer(
            translated,
            "application/json",
            chat.usage,
            fields=_fields.decode(translated),
            finish_reason=chat.finish_reason,
        )

    def relay(self, operation: Operation, options: RelayOptions) -> Relay:
        # The client's format has usage in its last events, whatever the client asked for.
        chat = self._adapter.relay(Operation.CHAT, msgspec.structs.replace(options, send_usage=True))
        return InboundRelay(chat, self._inbound.translator(self._body))

    def map_error(self, status: int, headers: Mapping[str, str], body: bytes) -> UpstreamError:
        return self._adapter.map_error(status, headers, body)

    def models_request(self, target: Target) -> UpstreamRequest | None:
        return self._adapter.models_request(target)

    def read_models(self, answer: bytes) -> tuple[str, ...]:
        return self._adapter.read_models(answer)

    def _dropped(self, prepared: Prepared) -> tuple[str, ...]:
        """What was left out on the whole way, as the client calls it."""
        return tuple(sorted({*map(self._own_name, prepared.dropped), *self._inbound.dropped(self._body)}))

    def _in_own_words(self, error: BadRequest) -> BadRequest:
        """An error about the chat request, of which the client knows nothing."""
        message = _QUOTED.sub(lambda found: f"`{self._own_name(found[1])}`", error.message)
        return BadRequest(message, param=self._own_name(error.param) if error.param else None)

    def _own_name(self, place: str) -> str:
        """The client's name for a field; of places inside of it only the field, where the insides differ."""
        names = self._inbound.own_names
        for beginning, own in self._inbound.own_places:
            if (found := beginning.match(place)) is not None:
                return found.expand(own) + place[found.end() :]
        field = _FIELD.match(place)
        return names.get(place) or (names.get(field[0], place) if field else place)

    def _chat(self) -> JsonBody:
        """Translated once, also when several credentials are tried."""
        if self._chat_body is None:
            self._chat_body = self._inbound.to_chat(self._body)
        return self._chat_body


def proves_port(adapter: InboundAdapter) -> Adapter:
    """Makes the type checker prove that the adapter fits its port."""
    return adapter
