"""The wire format of OpenAI, which most providers speak, each with its own dialect of parameters."""

from collections.abc import Mapping
from typing import Final
from urllib.parse import urlencode

import msgspec

from services.gateway.providers.answer import read_openai_answer
from services.gateway.providers.body import JsonBody, ParsedBody
from services.gateway.providers.converse import or_at
from services.gateway.providers.dialects import dialect_of
from services.gateway.providers.errors import Unsupported, UpstreamError
from services.gateway.providers.operations import PICTURES, Operation
from services.gateway.providers.parameters import adjust
from services.gateway.providers.port import Adapter, Answer, Prepared, Relay, RelayOptions, Target
from services.gateway.providers.relay import OpenAIRelay
from services.gateway.providers.responses.native import adjust_responses, read_response
from services.gateway.providers.responses.relay import ResponsesRelay
from services.gateway.providers.wire_errors import error_from_answer, error_in, unreadable_answer
from services.gateway.upstream.port import UpstreamRequest
from shared.catalogue.provider_types import model_on_wire

CHUNKED: Final = frozenset({Operation.CHAT, Operation.COMPLETIONS})
"""What streams as pieces of a completion; the others send typed events."""
_NO_STREAM: Final = frozenset(
    {
        Operation.EMBEDDINGS,
        Operation.MODERATIONS,
        Operation.RERANK,
        Operation.IMAGE_VARIATIONS,
        Operation.TRANSLATIONS,
    }
)


class _Model(msgspec.Struct):
    id: str | None = None
    name: str | None = None
    active: bool | None = None
    """Groq: False for what it serves no more."""


_Models = list[_Model | str | None]


class _ModelList(msgspec.Struct):
    data: _Models | None = None
    models: _Models | None = None


_model_list: Final = msgspec.json.Decoder(_ModelList)
_models: Final = msgspec.json.Decoder(_Models)
_fields: Final = msgspec.json.Decoder(dict[str, msgspec.Raw])
_MUST_HAVE: Final[Mapping[Operation, bytes]] = {
    Operation.CHAT: b'"choices"',
    Operation.COMPLETIONS: b'"choices"',
    Operation.EMBEDDINGS: b'"data"',
    Operation.IMAGES: b'"data"',
    Operation.IMAGE_EDITS: b'"data"',
    Operation.IMAGE_VARIATIONS: b'"data"',
}
"""What a good answer has."""


class OpenAIAdapter:
    """See Adapter."""

    def needs_bytes(self, operation: Operation, body: ParsedBody) -> tuple[str, ...]:
        return ()

    def build(self, operation: Operation, target: Target, body: ParsedBody) -> Prepared:
        if operation.value not in target.type.operations:
            raise Unsupported(
                f"{target.provider.name} ({target.type.name}) does not offer {operation.value.replace('.', ' ')}."
            )
        dialect = dialect_of(target.type, target.provider.base_url)
        model = model_on_wire(target.type, target.model_on_wire)
        if operation is Operation.RESPONSES and isinstance(body, JsonBody):
            adjusted = adjust_responses(dialect, model, body)
        else:
            adjusted = adjust(dialect, operation, model, body)
        streams = streams_by(operation, body)
        headers = _headers(target, accept="text/event-stream" if streams else "*/*")
        headers["content-type"] = body.content_type
        request = UpstreamRequest(
            method="POST",
            url=_url(target, operation.path),
            headers=headers,
            body=body.with_changes(adjusted.changes, adjusted.drop),
            timeouts=target.timeouts,
        )
        converse = None
        if operation is Operation.RERANK:
            # Some servers have it beside `/v1`, not below.
            converse = or_at(target.provider.base_url.rstrip("/").removesuffix("/v1") + operation.path)
        return Prepared(request, streams, tuple(sorted(adjusted.dropped)), converse, adjusted.picture)

    def read_answer(
        self, operation: Operation, body: ParsedBody, headers: Mapping[str, str], answer: bytes
    ) -> Answer:
        if operation is Operation.RESPONSES and isinstance(body, JsonBody):
            return read_response(body, headers, answer)
        read = read_openai_answer(operation, body, headers, answer)
        if read.error is None and _MUST_HAVE.get(operation, b"") not in answer:
            read.error = _what_else(answer)
        return read

    def relay(self, operation: Operation, options: RelayOptions) -> Relay:
        if operation is Operation.RESPONSES:
            return ResponsesRelay(options)
        return OpenAIRelay(options, typed=operation not in CHUNKED, images=1 if operation in PICTURES else 0)

    def map_error(self, status: int, headers: Mapping[str, str], body: bytes) -> UpstreamError:
        return error_from_answer(status, headers, body)

    def models_request(self, target: Target) -> UpstreamRequest | None:
        if not target.type.lists_models:
            return None
        url = _url(target, "/models")
        return UpstreamRequest("GET", url, _headers(target, accept="application/json"), None, target.timeouts)

    def read_models(self, answer: bytes) -> tuple[str, ...]:
        models: _Models | None
        try:
            if answer.lstrip()[:1] == b"[":
                models = _models.decode(answer)
            else:
                document = _model_list.decode(answer)
                models = document.models if document.data is None else document.data
        except msgspec.DecodeError as error:
            raise unreadable_answer() from error
        if models is None:
            raise unreadable_answer()  # some other object says nothing about the models
        names = (_name_of(model) for model in models)
        return tuple(dict.fromkeys(name.removeprefix("models/") for name in names if name))


def _name_of(model: _Model | str | None) -> str:
    if not isinstance(model, _Model):
        return model or ""
    return "" if model.active is False else model.id or model.name or ""


def _what_else(answer: bytes) -> UpstreamError:
    """An answer with a good status that is none: most often an error in a shape of the server's own."""
    fields = _fields.decode(answer)
    told = fields.keys() & {"message", "detail", "msg"}
    return (error_in(fields, named=True) if told else None) or unreadable_answer()


def _url(target: Target, path: str) -> str:
    options = {
        name: target.provider.options[name]
        for name in target.type.query_options
        if name in target.provider.options
    }
    return target.provider.base_url.rstrip("/") + path + (f"?{urlencode(options)}" if options else "")


def streams_by(operation: Operation, body: ParsedBody) -> bool:
    """Whether the client asks for events."""
    if operation is Operation.SPEECH:
        # Speech is asked for as events by another name; without it the sound itself is the body.
        return isinstance(body, JsonBody) and body.text("stream_format") == "sse"
    return body.stream and operation not in _NO_STREAM


def _headers(target: Target, *, accept: str) -> dict[str, str]:
    headers = {"accept": accept}
    if target.secret:
        headers["authorization"] = f"Bearer {target.secret.strip()}"
    for name, value in target.provider.headers.items():
        headers[name.lower()] = value
    return headers


def proves_port(adapter: OpenAIAdapter) -> Adapter:
    """Makes the type checker prove that the adapter fits its port."""
    return adapter
