"""Anthropic's count of tokens for models of other providers: counted by those that can, else estimated."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

import msgspec

from services.gateway.providers.answer import OpenAIAnswer
from services.gateway.providers.body import JsonBody, ParsedBody
from services.gateway.providers.chat.completion import failed_answer
from services.gateway.providers.errors import BadRequest, UpstreamError
from services.gateway.providers.estimate import estimate_prompt
from services.gateway.providers.inbound import InboundAdapter
from services.gateway.providers.messages.format import MessagesFormat
from services.gateway.providers.messages.request import as_chat
from services.gateway.providers.operations import Operation
from services.gateway.providers.port import (
    Adapter,
    Answer,
    Converse,
    CountsTokens,
    Prepared,
    Relay,
    RelayOptions,
    Target,
)
from services.gateway.providers.usage import Usage
from services.gateway.upstream.port import UpstreamClient, UpstreamRequest, UpstreamResponse
from services.gateway.upstream.whole import JSON, WholeResponse
from shared.events import Tokens

_MAX_ERROR_BYTES: Final = 262_144
_MAY_SAY_NO: Final = frozenset({400, 403, 404, 405, 501})
"""The statuses of a provider that does not count."""
_ESTIMATE: Final = "x-finops-estimate"
_OF_OURS: Final[Mapping[str, str]] = MappingProxyType({**JSON, _ESTIMATE: "1"})


class CountFormat(MessagesFormat):
    """See Inbound. A request of which only the tokens are asked for."""

    def to_chat(self, body: JsonBody) -> JsonBody:
        return as_chat(body, counting=True)


COUNT: Final = CountFormat()


class EstimateAdapter:
    """See Adapter. Estimates the tokens of a request whose provider does not count them; it calls nobody."""

    def __init__(self, adapter: Adapter) -> None:
        self._adapter = adapter

    def needs_bytes(self, operation: Operation, body: ParsedBody) -> tuple[str, ...]:
        return ()

    def build(self, operation: Operation, target: Target, body: ParsedBody) -> Prepared:
        return _estimated(target, body)

    def read_answer(
        self, operation: Operation, body: ParsedBody, headers: Mapping[str, str], answer: bytes
    ) -> Answer:
        return _told(answer)

    def relay(self, operation: Operation, options: RelayOptions) -> Relay:
        return self._adapter.relay(operation, options)

    def map_error(self, status: int, headers: Mapping[str, str], body: bytes) -> UpstreamError:
        return self._adapter.map_error(status, headers, body)

    def models_request(self, target: Target) -> UpstreamRequest | None:
        return self._adapter.models_request(target)

    def read_models(self, answer: bytes) -> tuple[str, ...]:
        return self._adapter.read_models(answer)


class CountAdapter(InboundAdapter):
    """See InboundAdapter. Asks the provider to count what it would be sent, and estimates where it does not count, or
    would not be sent this at all: a count refuses nothing that only the chat must."""

    def __init__(self, counter: CountsTokens, body: JsonBody) -> None:
        super().__init__(counter, COUNT, body)
        self._counter = counter

    def needs_bytes(self, operation: Operation, body: ParsedBody) -> tuple[str, ...]:
        try:
            return super().needs_bytes(operation, body)
        except BadRequest:
            return ()  # it will be estimated

    def build(self, operation: Operation, target: Target, body: ParsedBody) -> Prepared:
        try:
            question = self._counter.count_request(target, self._chat())
        except BadRequest:
            question = None
        if question is None:
            return _estimated(target, body)
        converse = _or_estimated(self._counter, target, body)
        return msgspec.structs.replace(question, converse=converse, dropped=self._dropped(question))

    def read_answer(
        self, operation: Operation, body: ParsedBody, headers: Mapping[str, str], answer: bytes
    ) -> Answer:
        if headers.get(_ESTIMATE):
            return _told(answer)
        try:
            return _told(_counted(self._counter.read_count(answer)))
        except UpstreamError as error:
            return failed_answer(answer, error)


class NativeCountAdapter(CountAdapter):
    """See CountAdapter. Of a model that is asked in Anthropic's own format: the question is built from it, too."""

    def needs_bytes(self, operation: Operation, body: ParsedBody) -> tuple[str, ...]:
        return self._counter.needs_bytes(operation, body)

    def build(self, operation: Operation, target: Target, body: ParsedBody) -> Prepared:
        question = self._counter.build(operation, target, body)
        return msgspec.structs.replace(question, converse=_or_estimated(self._counter, target, body))


def _estimated(target: Target, body: ParsedBody) -> Prepared:
    async def estimate(client: UpstreamClient, request: UpstreamRequest) -> UpstreamResponse:
        return _estimate_of(body)

    request = UpstreamRequest("POST", target.provider.base_url, {}, None, target.timeouts)
    return Prepared(request, streams=False, converse=estimate)


def _or_estimated(counter: CountsTokens, target: Target, body: ParsedBody) -> Converse:
    async def converse(client: UpstreamClient, request: UpstreamRequest) -> UpstreamResponse:
        response = await client.send(request)
        if response.status not in _MAY_SAY_NO:
            return response
        try:
            said = await response.read(_MAX_ERROR_BYTES)
        finally:
            response.close()
        if counter.cannot_count(target, counter.map_error(response.status, response.headers, said)):
            return _estimate_of(body)
        return WholeResponse(said, response.status, response.headers)

    return converse


def _estimate_of(body: ParsedBody) -> WholeResponse:
    tokens = estimate_prompt(Operation.CHAT, body).prompt
    return WholeResponse(_counted(max(1, tokens)), headers=_OF_OURS)


def _counted(tokens: int) -> bytes:
    return msgspec.json.encode({"input_tokens": tokens})


def _told(answer: bytes) -> OpenAIAnswer:
    return OpenAIAnswer(answer, "application/json", Usage(Tokens()))


def proves_port(estimates: EstimateAdapter, counts: CountAdapter) -> tuple[Adapter, Adapter]:
    """Makes the type checker prove that the adapters fit their port."""
    return estimates, counts
