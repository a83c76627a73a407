"""The wire format of Amazon Bedrock: Converse for chats, each maker's own format for everything else."""

from collections.abc import Mapping
from typing import Final

import msgspec

from services.gateway.providers.bedrock.answer import read_converse
from services.gateway.providers.bedrock.completion_stream import CompletionStream
from services.gateway.providers.bedrock.completions import (
    completion_body,
    guardrail_headers,
    read_completion,
)
from services.gateway.providers.bedrock.counting import ACTION, cannot_count, count_question, read_count
from services.gateway.providers.bedrock.embeddings import (
    TAKEN,
    TOKEN_HEADER,
    embedding_bodies,
    read_embeddings,
)
from services.gateway.providers.bedrock.errors import error_from_response
from services.gateway.providers.bedrock.location import Place, place_of
from services.gateway.providers.bedrock.models import PATH as MODELS_PATH
from services.gateway.providers.bedrock.models import following_path, read_models
from services.gateway.providers.bedrock.pictures import picture_asked, picture_bodies, read_pictures
from services.gateway.providers.bedrock.ranking import ranking_body, read_ranking
from services.gateway.providers.bedrock.request import converse_request, https_addresses
from services.gateway.providers.bedrock.signing import authorised
from services.gateway.providers.bedrock.stream import ConverseStream
from services.gateway.providers.body import JsonBody, ParsedBody
from services.gateway.providers.chat.text_completion import TextWriter
from services.gateway.providers.chat.translate import TranslatedRelay
from services.gateway.providers.errors import Unsupported, UpstreamError
from services.gateway.providers.inbound import InboundRelay
from services.gateway.providers.operations import PICTURES, Operation
from services.gateway.providers.parameters import left_over
from services.gateway.providers.port import (
    NO_HEADERS,
    Answer,
    CountsTokens,
    ListsInParts,
    Prepared,
    Relay,
    RelayOptions,
    Target,
)
from services.gateway.providers.rerank import TAKEN as RANKING_TAKEN
from services.gateway.providers.several import prepared
from services.gateway.upstream.port import UpstreamRequest

_EVENT_STREAM: Final = "application/vnd.amazon.eventstream"


class BedrockAdapter:
    """See Adapter. Its requests are sent by a SigningClient."""

    def needs_bytes(self, operation: Operation, body: ParsedBody) -> tuple[str, ...]:
        if operation is not Operation.CHAT or not isinstance(body, JsonBody):
            return ()
        return https_addresses(body)

    def build(self, operation: Operation, target: Target, body: ParsedBody) -> Prepared:
        if operation.value not in target.type.operations:
            raise _unsupported(operation, target)
        place = place_of(target)
        if operation in PICTURES:
            bodies, dropped = picture_bodies(operation, target, body)
            request = _post(target, place, place.model_url("invoke"), bodies[0])
            return prepared(request, bodies, dropped, picture=picture_asked(target, body))
        if not isinstance(body, JsonBody):
            raise _unsupported(operation, target)
        if operation is Operation.CHAT:
            return _chat(target, place, body)
        if operation is Operation.COMPLETIONS:
            return _completion(target, place, body)
        if operation is Operation.RERANK:
            request = _post(
                target, place, place.url("bedrock-agent-runtime", "/rerank"), ranking_body(place, body)
            )
            return Prepared(request, False, tuple(left_over(body, RANKING_TAKEN)))
        if operation is not Operation.EMBEDDINGS:
            raise _unsupported(operation, target)
        bodies = embedding_bodies(target, body)
        request = _post(target, place, place.model_url("invoke"), bodies[0])
        return prepared(request, bodies, left_over(body, TAKEN), counter=TOKEN_HEADER)

    def read_answer(
        self, operation: Operation, body: ParsedBody, headers: Mapping[str, str], answer: bytes
    ) -> Answer:
        if operation in PICTURES:
            return read_pictures(answer)
        if isinstance(body, JsonBody) and operation is Operation.COMPLETIONS:
            return read_completion(body, headers, answer)
        if isinstance(body, JsonBody) and operation is Operation.EMBEDDINGS:
            return read_embeddings(body, headers, answer)
        if isinstance(body, JsonBody) and operation is Operation.RERANK:
            return read_ranking(body, answer)
        return read_converse(body, answer)

    def relay(self, operation: Operation, options: RelayOptions) -> Relay:
        if operation is Operation.COMPLETIONS:
            return InboundRelay(TranslatedRelay(options, CompletionStream()), TextWriter(options.model))
        return TranslatedRelay(options, ConverseStream(options.model))

    def map_error(self, status: int, headers: Mapping[str, str], body: bytes) -> UpstreamError:
        return error_from_response(status, headers, body)

    def count_request(self, target: Target, chat: JsonBody) -> Prepared | None:
        place, body, dropped = count_question(target, chat)
        request = _post(target, place, place.model_url(ACTION), msgspec.json.encode(body))
        return Prepared(request, streams=False, dropped=dropped)

    def read_count(self, answer: bytes) -> int:
        return read_count(answer)

    def cannot_count(self, target: Target, error: UpstreamError) -> bool:
        return cannot_count(target, error)

    def models_request(self, target: Target) -> UpstreamRequest | None:
        return _list(target, MODELS_PATH)

    def next_models_request(
        self, target: Target, asked: UpstreamRequest, answer: bytes
    ) -> UpstreamRequest | None:
        path = following_path(answer)
        return _list(target, path) if path else None

    def read_models(self, answer: bytes) -> tuple[str, ...]:
        return read_models(answer)


def _chat(target: Target, place: Place, body: JsonBody) -> Prepared:
    request = converse_request(target, body)
    url = place.model_url("converse-stream" if body.stream else "converse")
    accept = _EVENT_STREAM if body.stream else "application/json"
    sent = _post(target, place, url, msgspec.json.encode(request.params), accept=accept)
    return Prepared(sent, body.stream, request.dropped)


def _completion(target: Target, place: Place, body: JsonBody) -> Prepared:
    sent, dropped = completion_body(target, body)
    url = place.model_url("invoke-with-response-stream" if body.stream else "invoke")
    accept = _EVENT_STREAM if body.stream else "application/json"
    request = _post(target, place, url, sent, accept=accept, headers=guardrail_headers(target))
    return Prepared(request, body.stream, dropped)


def _list(target: Target, path: str) -> UpstreamRequest:
    place = place_of(target)
    headers = {"accept": "application/json", **_own_headers(target)}
    return authorised(target, place.region, "GET", place.url("bedrock", path), headers, None)


def _post(
    target: Target,
    place: Place,
    url: str,
    body: bytes,
    *,
    accept: str = "application/json",
    headers: Mapping[str, str] = NO_HEADERS,
) -> UpstreamRequest:
    sent = {"accept": accept, "content-type": "application/json", **_own_headers(target), **headers}
    return authorised(target, place.region, "POST", url, sent, body)


def _own_headers(target: Target) -> dict[str, str]:
    return {name.lower(): value for name, value in target.provider.headers.items()}


def _unsupported(operation: Operation, target: Target) -> Unsupported:
    return Unsupported(
        f"{target.provider.name} ({target.type.name}) does not offer {operation.value.replace('.', ' ')}."
    )


def proves_port(adapter: BedrockAdapter) -> tuple[CountsTokens, ListsInParts]:
    """Makes the type checker prove that the adapter fits its ports."""
    return adapter, adapter
