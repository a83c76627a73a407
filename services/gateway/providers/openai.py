"""The wire format of OpenAI, which most providers speak, each with its own dialect of parameters."""

from collections.abc import Mapping
from typing import Final

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
from services.gateway.providers.wire_errors import error_from_answer, unreadable_answer
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
    id: str = ""
    name: str = ""


class _ModelList(msgspec.Struct):
    data: list[_Model] | None = None
    models: list[_Model] | None = None


_model_list: Final = msgspec.json.Decoder(_ModelList)
_models: Final = msgspec.json.Decoder(list[_Model])


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
            url=target.provider.base_url.rstrip("/") + operation.path,
            headers=headers,
            body=body.with_changes(adjusted.changes, adjusted.drop),
            timeouts=target.timeouts,
        )
        converse = None
        if operation is Operation.RERANK:
            # Some servers have it beside `/v1`, not below.
            converse = or_at(target.provider.base_url.rstrip("/").removesuffix("/v1") + operation.path)
        return Prepared(request, streams, tuple(sorted(adjusted.dropped)), converse)

    def read_answer(
        self, operation: Operation, body: ParsedBody, headers: Mapping[str, str], answer: bytes
    ) -> Answer:
        if operation is Operation.RESPONSES and isinstance(body, JsonBody):
            return read_response(body, headers, answer)
        return read_openai_answer(operation, body, headers, answer)

    def relay(self, operation: Operation, options: RelayOptions) -> Relay:
        if operation is Operation.RESPONSES:
            return ResponsesRelay(options)
        return OpenAIRelay(options, typed=operation not in CHUNKED, images=1 if operation in PICTURES else 0)

    def map_error(self, status: int, headers: Mapping[str, str], body: bytes) -> UpstreamError:
        return error_from_answer(status, headers, body)

    def models_request(self, target: Target) -> UpstreamRequest | None:
        if not target.type.lists_models:
            return None
        url = target.provider.base_url.rstrip("/") + "/models"
        return UpstreamRequest("GET", url, _headers(target, accept="application/json"), None, target.timeouts)

    def read_models(self, answer: bytes) -> tuple[str, ...]:
        models: list[_Model] | None
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
        names = (model.id or model.name for model in models)
        return tuple(dict.fromkeys(name.removeprefix("models/") for name in names if name))


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
