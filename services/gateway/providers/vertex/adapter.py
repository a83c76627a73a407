"""Vertex AI: Google's models by `generateContent`, Claude and Mistral in their own formats, the rest in OpenAI's; and
the ranking service beside it."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final

import msgspec

from services.gateway.providers.answer import read_openai_answer
from services.gateway.providers.anthropic.answer import read_message
from services.gateway.providers.anthropic.errors import error_from_messages
from services.gateway.providers.anthropic.native import NativeRelay, read_native_message
from services.gateway.providers.body import JsonBody, ParsedBody
from services.gateway.providers.chat.request import read_chat
from services.gateway.providers.dialects import COMPATIBLE
from services.gateway.providers.errors import Unsupported, UpstreamError
from services.gateway.providers.gemini.adapter import (
    GENERATE,
    STREAM,
    linked,
    read_gemini_answer,
    refuse_unknown,
)
from services.gateway.providers.gemini.audio import speech_body, transcript_body
from services.gateway.providers.gemini.embeddings import TAKEN, predict_bodies, vertex_embed_bodies
from services.gateway.providers.gemini.errors import error_of_answer
from services.gateway.providers.gemini.images import picture_body, times_to_ask
from services.gateway.providers.gemini.request import chat_body
from services.gateway.providers.multipart import MultipartBody
from services.gateway.providers.operations import Operation
from services.gateway.providers.parameters import adjust, left_over
from services.gateway.providers.port import (
    Answer,
    CountsTokens,
    HasSeveralLists,
    ListsInParts,
    Prepared,
    Relay,
    RelayOptions,
    Target,
)
from services.gateway.providers.rerank import TAKEN as RANKING_TAKEN
from services.gateway.providers.several import prepared
from services.gateway.providers.token_client import with_token
from services.gateway.providers.vertex.claude import chat_of_claude, native_of_claude
from services.gateway.providers.vertex.counting import (
    cannot_count,
    count_question,
    native_question,
    read_count,
)
from services.gateway.providers.vertex.location import Place, place_of, root_of
from services.gateway.providers.vertex.models import PUBLISHERS, following_url, list_path, read_models
from services.gateway.providers.vertex.ranking import ranking_body, ranking_url, read_ranking
from services.gateway.providers.vertex.relay import VertexRelay, format_of
from services.gateway.upstream.port import UpstreamRequest

_ACCESS_TOKEN: Final = "ya29."
_CHATS: Final = frozenset({Operation.CHAT})
_STREAMED: Final = _CHATS | {Operation.MESSAGES}
_CLAUDES: Final = _STREAMED | {Operation.COUNT_TOKENS}
"""What Claude answers."""
_Built = tuple[str, list[bytes], tuple[str, ...]]
"""Address, a body for each call, and what was left out."""


class VertexAdapter:
    """See Adapter. Its requests go through a TokenClient."""

    def needs_bytes(self, operation: Operation, body: ParsedBody) -> tuple[str, ...]:
        return linked(operation, body)

    def build(self, operation: Operation, target: Target, body: ParsedBody) -> Prepared:
        refuse_unknown(operation, target)
        place = place_of(target, by_api_key=_is_api_key(target.secret))
        url, bodies, dropped = _built(operation, place, target, body)
        request = UpstreamRequest("POST", url, _headers(target), bodies[0], target.timeouts)
        streams = body.stream and operation in _STREAMED
        return msgspec.structs.replace(
            prepared(_authorised(request, target.secret), bodies, dropped), streams=streams
        )

    def read_answer(
        self, operation: Operation, body: ParsedBody, headers: Mapping[str, str], answer: bytes
    ) -> Answer:
        if operation is Operation.RERANK and isinstance(body, JsonBody):
            return read_ranking(body, answer)
        if operation is Operation.MESSAGES:
            return read_native_message(answer)
        found = format_of(answer) if operation is Operation.CHAT else "google"
        if found == "anthropic":
            return read_message(answer)
        if found == "openai":
            return read_openai_answer(operation, body, headers, answer)
        return read_gemini_answer(operation, body, answer)

    def relay(self, operation: Operation, options: RelayOptions) -> Relay:
        return NativeRelay(options) if operation is Operation.MESSAGES else VertexRelay(options)

    def map_error(self, status: int, headers: Mapping[str, str], body: bytes) -> UpstreamError:
        if format_of(body) == "anthropic":
            return error_from_messages(status, headers, body)
        return error_of_answer(status, headers, body)

    def count_request(self, target: Target, chat: JsonBody) -> Prepared | None:
        place = place_of(target, by_api_key=_is_api_key(target.secret))
        question = count_question(place, target, chat)
        if question is None:
            return None
        url, wire, dropped = question
        body = msgspec.json.encode(wire)
        request = UpstreamRequest("POST", url, _headers(target), body, target.timeouts)
        return Prepared(_authorised(request, target.secret), streams=False, dropped=dropped)

    def read_count(self, answer: bytes) -> int:
        return read_count(answer)

    def cannot_count(self, target: Target, error: UpstreamError) -> bool:
        return cannot_count(target, error)

    def models_request(self, target: Target) -> UpstreamRequest | None:
        return self.models_requests(target)[0]

    def models_requests(self, target: Target) -> tuple[UpstreamRequest, ...]:
        # What an API key does not open is not worth a mention.
        listed = PUBLISHERS[:1] if _is_api_key(target.secret) else PUBLISHERS
        root = root_of(target)
        requests = (
            UpstreamRequest("GET", root + list_path(publisher), _headers(target), None, target.timeouts)
            for publisher in listed
        )
        return tuple(_authorised(request, target.secret) for request in requests)

    def next_models_request(
        self, target: Target, asked: UpstreamRequest, answer: bytes
    ) -> UpstreamRequest | None:
        url = following_url(asked.url, answer)
        return replace(asked, url=url) if url else None

    def read_models(self, answer: bytes) -> tuple[str, ...]:
        return read_models(answer)


def _built(operation: Operation, place: Place, target: Target, body: ParsedBody) -> _Built:
    if operation is Operation.RERANK and isinstance(body, JsonBody):
        dropped = tuple(left_over(body, RANKING_TAKEN))
        return ranking_url(place, target), [ranking_body(place, body)], dropped
    if place.publisher in ("google", "endpoint"):
        return _google(operation, place, target, body)
    offered = _CLAUDES if place.publisher == "anthropic" else _CHATS
    if operation not in offered or not isinstance(body, JsonBody):
        raise Unsupported(f"{target.model} at {target.provider.name} does not offer {operation.value}.")
    if place.publisher == "anthropic":
        return _claude(operation, place, target, body)
    return _openai(place, body)


def _google(operation: Operation, place: Place, target: Target, body: ParsedBody) -> _Built:
    if operation is Operation.EMBEDDINGS and isinstance(body, JsonBody):
        return _embeddings(place, body)
    wire: dict[str, Any]
    method, times = GENERATE, 1
    if operation is Operation.CHAT and isinstance(body, JsonBody):
        wire, dropped = chat_body(read_chat(body), place.model, target.fetched)
        method = STREAM if body.stream else GENERATE
    elif operation is Operation.SPEECH and isinstance(body, JsonBody):
        wire, dropped = speech_body(body)
    elif operation is Operation.TRANSCRIPTIONS and isinstance(body, MultipartBody):
        wire, dropped = transcript_body(body)
    else:
        method, wire, dropped = picture_body(body, place.model)
        times = times_to_ask(body, place.model)
    return place.url(method), [msgspec.json.encode(wire)] * times, dropped


def _embeddings(place: Place, body: JsonBody) -> _Built:
    dropped = tuple(left_over(body, TAKEN))
    if "gemini" not in place.model:
        return place.url("predict"), predict_bodies(body), dropped
    method, bodies = vertex_embed_bodies(body)
    return place.url(method, "v1beta1"), bodies, dropped


def _claude(operation: Operation, place: Place, target: Target, body: JsonBody) -> _Built:
    if operation is Operation.COUNT_TOKENS:
        url, data, dropped = native_question(place, target, body)
        return url, [data], dropped
    if operation is Operation.MESSAGES:
        data, dropped = native_of_claude(target, body)
    else:
        data, dropped = chat_of_claude(target, body, place.model)
    return place.url(_raw(body)), [data], dropped


def _openai(place: Place, body: JsonBody) -> _Built:
    mistral = place.publisher == "mistralai"
    adjusted = adjust("mistral" if mistral else COMPATIBLE, Operation.CHAT, place.model, body)
    url = place.url(_raw(body)) if mistral else f"{place.openai_url}/chat/completions"
    data = body.with_changes(adjusted.changes, adjusted.drop)
    return url, [data], tuple(sorted(adjusted.dropped))


def _raw(body: JsonBody) -> str:
    return "streamRawPredict" if body.stream else "rawPredict"


def _headers(target: Target) -> dict[str, str]:
    headers = {"accept": "*/*", "content-type": "application/json"}
    secret = target.secret.strip()
    if secret.startswith(_ACCESS_TOKEN):
        headers["authorization"] = f"Bearer {secret}"
    elif _is_api_key(secret):
        headers["x-goog-api-key"] = secret
    for name, value in target.provider.headers.items():
        if name.lower() != "anthropic-beta":
            headers[name.lower()] = value
    return headers


def _authorised(request: UpstreamRequest, secret: str) -> UpstreamRequest:
    """With a token for the credential, unless the secret itself is what is sent."""
    secret = secret.strip()
    if secret.startswith(_ACCESS_TOKEN) or _is_api_key(secret):
        return request
    return with_token(request, secret)


def _is_api_key(secret: str) -> bool:
    """Neither a key in JSON nor the path of one, nor a token, nor nothing at all."""
    secret = secret.strip()
    is_path = "/" in secret or "\\" in secret or secret.endswith(".json")
    return bool(secret) and not is_path and not secret.startswith(("{", _ACCESS_TOKEN))


def proves_port(adapter: VertexAdapter) -> tuple[CountsTokens, ListsInParts, HasSeveralLists]:
    """Makes the type checker prove that the adapter fits its ports."""
    return adapter, adapter, adapter
