"""The Gemini API of Google AI Studio: `generateContent` and its relatives, with an API key."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final
from urllib.parse import quote

import msgspec

from services.gateway.providers.body import JsonBody, ParsedBody
from services.gateway.providers.chat.request import read_chat
from services.gateway.providers.chat.translate import TranslatedRelay
from services.gateway.providers.errors import Unsupported, UpstreamError
from services.gateway.providers.gemini.answer import read_chat_answer
from services.gateway.providers.gemini.audio import (
    read_speech,
    read_transcript,
    speech_body,
    transcript_body,
)
from services.gateway.providers.gemini.contents import addresses_in
from services.gateway.providers.gemini.counting import METHOD, gemini_count_body, not_counted, read_total
from services.gateway.providers.gemini.embeddings import TAKEN, batch_bodies, read_embeddings
from services.gateway.providers.gemini.errors import error_of_answer
from services.gateway.providers.gemini.images import picture_body, read_pictures, times_to_ask
from services.gateway.providers.gemini.request import chat_body
from services.gateway.providers.gemini.stream import GeminiTranslator
from services.gateway.providers.multipart import MultipartBody
from services.gateway.providers.operations import PICTURES, Operation
from services.gateway.providers.parameters import left_over
from services.gateway.providers.port import (
    Answer,
    CountsTokens,
    ListsInParts,
    Prepared,
    Relay,
    RelayOptions,
    Target,
)
from services.gateway.providers.several import prepared
from services.gateway.providers.wire_errors import unreadable_answer
from services.gateway.upstream.port import UpstreamRequest

GENERATE: Final = "generateContent"
STREAM: Final = "streamGenerateContent?alt=sse"
_USED: Final = ("generateContent", "embedContent", "batchEmbedContents", "predict")


class _Model(msgspec.Struct, rename="camel"):
    name: str = ""
    supported_generation_methods: list[str] | None = None


class _ModelList(msgspec.Struct, rename="camel"):
    models: list[_Model] = []
    next_page_token: str = ""


_models: Final = msgspec.json.Decoder(_ModelList)


class GeminiAdapter:
    """See Adapter."""

    def needs_bytes(self, operation: Operation, body: ParsedBody) -> tuple[str, ...]:
        return linked(operation, body)

    def build(self, operation: Operation, target: Target, body: ParsedBody) -> Prepared:
        refuse_unknown(operation, target)
        resource = _resource(target.model_on_wire)
        if operation is Operation.EMBEDDINGS and isinstance(body, JsonBody):
            bodies = batch_bodies(body, resource)
            request = _post(target, resource, "batchEmbedContents", bodies[0])
            return prepared(request, bodies, left_over(body, TAKEN))
        method, wire, dropped = _wire(operation, target, body)
        encoded = msgspec.json.encode(wire)
        request = _post(target, resource, method, encoded)
        if operation in PICTURES:
            return prepared(request, [encoded] * times_to_ask(body, target.model_on_wire), dropped)
        return Prepared(request, method == STREAM, dropped)

    def read_answer(
        self, operation: Operation, body: ParsedBody, headers: Mapping[str, str], answer: bytes
    ) -> Answer:
        return read_gemini_answer(operation, body, answer)

    def relay(self, operation: Operation, options: RelayOptions) -> Relay:
        return TranslatedRelay(options, GeminiTranslator(options.model))

    def map_error(self, status: int, headers: Mapping[str, str], body: bytes) -> UpstreamError:
        return error_of_answer(status, headers, body)

    def count_request(self, target: Target, chat: JsonBody) -> Prepared | None:
        model, resource = target.model_on_wire, _resource(target.model_on_wire)
        wire, dropped = chat_body(read_chat(chat), model, target.fetched)
        body = msgspec.json.encode(gemini_count_body(resource, wire))
        return Prepared(_post(target, resource, METHOD, body), streams=False, dropped=dropped)

    def read_count(self, answer: bytes) -> int:
        return read_total(answer)

    def cannot_count(self, target: Target, error: UpstreamError) -> bool:
        return not_counted(error)

    def models_request(self, target: Target) -> UpstreamRequest | None:
        url = f"{target.provider.base_url.rstrip('/')}/models?pageSize=1000"
        return UpstreamRequest("GET", url, headers_of(target), None, target.timeouts)

    def next_models_request(
        self, target: Target, asked: UpstreamRequest, answer: bytes
    ) -> UpstreamRequest | None:
        page = _listed(answer).next_page_token
        first = self.models_request(target)
        return replace(first, url=f"{first.url}&pageToken={quote(page, safe='')}") if first and page else None

    def read_models(self, answer: bytes) -> tuple[str, ...]:
        usable = (
            model.name.removeprefix("models/")
            for model in _listed(answer).models
            if model.supported_generation_methods is None
            or any(method in _USED for method in model.supported_generation_methods)
        )
        return tuple(dict.fromkeys(name for name in usable if name))


def _wire(
    operation: Operation, target: Target, body: ParsedBody
) -> tuple[str, dict[str, Any], tuple[str, ...]]:
    """The method, its body and what was left out."""
    model = target.model_on_wire
    if isinstance(body, MultipartBody):
        if operation is Operation.TRANSCRIPTIONS:
            return GENERATE, *transcript_body(body)
    elif operation is Operation.CHAT:
        return STREAM if body.stream else GENERATE, *chat_body(read_chat(body), model, target.fetched)
    elif operation is Operation.SPEECH:
        return GENERATE, *speech_body(body)
    return picture_body(body, model)


def _post(target: Target, resource: str, method: str, body: bytes) -> UpstreamRequest:
    url = f"{target.provider.base_url.rstrip('/')}/{quote(resource, safe='/')}:{method}"
    return UpstreamRequest("POST", url, headers_of(target), body, target.timeouts)


def read_gemini_answer(operation: Operation, body: ParsedBody, answer: bytes) -> Answer:
    """Whatever Google answers to an operation, of either of its platforms."""
    if operation in PICTURES:
        return read_pictures(body, answer)
    if operation is Operation.EMBEDDINGS:
        return read_embeddings(body, answer)
    if operation is Operation.SPEECH:
        return read_speech(body, answer)
    if operation is Operation.TRANSCRIPTIONS:
        return read_transcript(body, answer)
    return read_chat_answer(body, answer)


def linked(operation: Operation, body: ParsedBody) -> tuple[str, ...]:
    """The addresses whose contents must stand in the request."""
    if operation is not Operation.CHAT or not isinstance(body, JsonBody) or b"https:" not in body.raw_body:
        return ()
    return addresses_in(read_chat(body))


def refuse_unknown(operation: Operation, target: Target) -> None:
    if operation.value not in target.type.operations:
        what = operation.value.replace(".", " ")
        raise Unsupported(f"{target.provider.name} ({target.type.name}) does not offer {what}.")


def headers_of(target: Target) -> dict[str, str]:
    headers = {"accept": "*/*", "content-type": "application/json"}
    if target.secret:
        headers["x-goog-api-key"] = target.secret.strip()
    for name, value in target.provider.headers.items():
        headers[name.lower()] = value
    return headers


def _listed(answer: bytes) -> _ModelList:
    try:
        return _models.decode(answer)
    except msgspec.DecodeError as error:
        raise unreadable_answer() from error


def _resource(model: str) -> str:
    """`models/...`; a tuned model names its own collection."""
    return model if model.startswith(("models/", "tunedModels/")) else f"models/{model}"


def proves_port(adapter: GeminiAdapter) -> tuple[CountsTokens, ListsInParts]:
    """Makes the type checker prove that the adapter fits its ports."""
    return adapter, adapter
