"""Cohere's v2 API: chat, embeddings, rerank, transcripts and the list of models."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final
from urllib.parse import quote

import msgspec

from services.gateway.providers.body import JsonBody, ParsedBody
from services.gateway.providers.chat.translate import TranslatedRelay
from services.gateway.providers.cohere.answer import read_chat_answer, read_embeddings, read_ranking
from services.gateway.providers.cohere.request import chat_body
from services.gateway.providers.cohere.stream import CohereStream
from services.gateway.providers.cohere.transcription import read_transcript, transcript_form
from services.gateway.providers.errors import BadRequest, Unsupported, UpstreamError
from services.gateway.providers.multipart import MultipartBody
from services.gateway.providers.operations import Operation
from services.gateway.providers.parameters import left_over
from services.gateway.providers.port import Adapter, Answer, Prepared, Relay, RelayOptions, Target
from services.gateway.providers.rerank import TAKEN, read_rerank
from services.gateway.providers.several import prepared
from services.gateway.providers.wire_errors import error_from_answer, unreadable_answer
from services.gateway.upstream.port import UpstreamRequest

MODELS_PER_PAGE: Final = 1000
"""The most that Cohere gives at once."""
_PATHS: Final[Mapping[Operation, str]] = {
    Operation.CHAT: "/v2/chat",
    Operation.EMBEDDINGS: "/v2/embed",
    Operation.RERANK: "/v2/rerank",
    Operation.TRANSCRIPTIONS: "/v2/audio/transcriptions",
}
TEXTS_PER_CALL: Final = 96
_EMBED_OWN: Final = ("truncate", "max_tokens", "priority")
_RERANK_OWN: Final = ("max_tokens_per_doc", "priority")
_EMBED_TAKEN: Final = frozenset({"input", "input_type", "dimensions", "encoding_format", *_EMBED_OWN})
_RERANK_TAKEN: Final = TAKEN | set(_RERANK_OWN)


class _Model(msgspec.Struct):
    name: str | None = None
    is_deprecated: bool | None = None


class _ModelList(msgspec.Struct):
    models: list[_Model]
    next_page_token: str | None = None


_model_list: Final = msgspec.json.Decoder(_ModelList)
_inputs: Final = msgspec.json.Decoder(str | list[str])


class CohereAdapter:
    """See Adapter."""

    def needs_bytes(self, operation: Operation, body: ParsedBody) -> tuple[str, ...]:
        return ()

    def build(self, operation: Operation, target: Target, body: ParsedBody) -> Prepared:
        path = _PATHS.get(operation)
        if path is None:
            raise Unsupported(
                f"{target.provider.name} (cohere) does not offer {operation.value.replace('.', ' ')}."
            )
        dropped: tuple[str, ...] = ()
        streams = operation is Operation.CHAT and body.stream
        if isinstance(body, MultipartBody):
            sent, dropped = transcript_form(body, target.model_on_wire)
            bodies = [sent]
        elif operation is Operation.CHAT:
            sent, dropped = chat_body(body, target.model_on_wire)
            bodies = [sent]
        elif operation is Operation.EMBEDDINGS:
            bodies = _embed_bodies(body, target.model_on_wire)
            dropped = tuple(left_over(body, _EMBED_TAKEN))
        else:
            bodies = [_rerank_body(body, target.model_on_wire)]
            dropped = tuple(left_over(body, _RERANK_TAKEN))
        headers = _headers(target, "text/event-stream" if streams else "application/json")
        headers["content-type"] = body.content_type
        request = UpstreamRequest("POST", _root(target) + path, headers, bodies[0], target.timeouts)
        return msgspec.structs.replace(prepared(request, bodies, dropped), streams=streams)

    def read_answer(
        self, operation: Operation, body: ParsedBody, headers: Mapping[str, str], answer: bytes
    ) -> Answer:
        if not isinstance(body, JsonBody):
            return read_transcript(body, answer)
        if operation is Operation.CHAT:
            return read_chat_answer(body, answer)
        return (
            read_embeddings(body, answer) if operation is Operation.EMBEDDINGS else read_ranking(body, answer)
        )

    def relay(self, operation: Operation, options: RelayOptions) -> Relay:
        return TranslatedRelay(options, CohereStream())

    def map_error(self, status: int, headers: Mapping[str, str], body: bytes) -> UpstreamError:
        return error_from_answer(status, headers, body)

    def models_request(self, target: Target) -> UpstreamRequest | None:
        url = f"{_root(target)}/v1/models?page_size={MODELS_PER_PAGE}"
        return UpstreamRequest("GET", url, _headers(target, "application/json"), None, target.timeouts)

    def next_models_request(
        self, target: Target, asked: UpstreamRequest, answer: bytes
    ) -> UpstreamRequest | None:
        token = _model_list.decode(answer).next_page_token
        first = self.models_request(target)
        if not token or first is None:
            return None
        return replace(first, url=f"{first.url}&page_token={quote(token, safe='')}")

    def read_models(self, answer: bytes) -> tuple[str, ...]:
        try:
            models = _model_list.decode(answer).models
        except msgspec.DecodeError as error:
            raise unreadable_answer() from error
        return tuple(dict.fromkeys(model.name for model in models if model.name and not model.is_deprecated))


def _embed_bodies(body: JsonBody, model: str) -> list[bytes]:
    """A body for each call: Cohere takes so many texts at once, OpenAI's clients send more."""
    try:
        given = _inputs.decode(body.raw("input") or b"[]")
    except msgspec.DecodeError as error:
        raise BadRequest("`input` must be a text or a list of texts with Cohere.", param="input") from error
    if not given:
        raise BadRequest("You must send an input.", param="input")
    texts = [given] if isinstance(given, str) else given
    fields: dict[str, Any] = {
        "model": model,
        "input_type": body.text("input_type") or "search_document",
        "embedding_types": ["float"],
    }
    dimensions = body.number("dimensions")
    if dimensions is not None:
        fields["output_dimension"] = dimensions
    for name in _EMBED_OWN:
        raw = body.raw(name)
        if raw is not None:
            fields[name] = msgspec.Raw(raw)
    return [
        msgspec.json.encode(fields | {"texts": texts[at : at + TEXTS_PER_CALL]})
        for at in range(0, len(texts), TEXTS_PER_CALL)
    ]


def _rerank_body(body: JsonBody, model: str) -> bytes:
    asked = read_rerank(body)
    fields: dict[str, Any] = {"model": model, "query": asked.query, "documents": asked.documents}
    if asked.top_n is not None:
        fields["top_n"] = asked.top_n
    for name in _RERANK_OWN:
        raw = body.raw(name)
        if raw is not None:
            fields[name] = msgspec.Raw(raw)
    return msgspec.json.encode(fields)


def _root(target: Target) -> str:
    return target.provider.base_url.rstrip("/").removesuffix("/v2").removesuffix("/v1")


def _headers(target: Target, accept: str) -> dict[str, str]:
    headers = {"accept": accept}
    if target.secret:
        headers["authorization"] = f"Bearer {target.secret.strip()}"
    for name, value in target.provider.headers.items():
        headers[name.lower()] = value
    return headers


def proves_port(adapter: CohereAdapter) -> Adapter:
    """Makes the type checker prove that the adapter fits its port."""
    return adapter
