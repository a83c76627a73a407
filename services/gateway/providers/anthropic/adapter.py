"""Anthropic's Messages API."""

from collections.abc import Mapping
from typing import Any, Final

import msgspec

from services.gateway.providers.anthropic.answer import read_message
from services.gateway.providers.anthropic.errors import error_from_messages
from services.gateway.providers.anthropic.native import (
    NativeRelay,
    read_native_count,
    read_native_message,
)
from services.gateway.providers.anthropic.native_request import native_request
from services.gateway.providers.anthropic.request import messages_body
from services.gateway.providers.anthropic.stream import MessagesTranslator
from services.gateway.providers.body import JsonBody, ParsedBody
from services.gateway.providers.chat.request import read_chat
from services.gateway.providers.chat.translate import TranslatedRelay
from services.gateway.providers.errors import Unsupported, UpstreamError
from services.gateway.providers.operations import Operation
from services.gateway.providers.port import Adapter, Answer, Prepared, Relay, RelayOptions, Target
from services.gateway.providers.wire_errors import unreadable_answer
from services.gateway.upstream.port import UpstreamRequest

API_VERSION: Final = "2026-10-21"
_NATIVE: Final = frozenset({Operation.MESSAGES, Operation.COUNT_TOKENS})
_PATHS: Final = {
    Operation.CHAT: "/messages",
    Operation.MESSAGES: "/messages",
    Operation.COUNT_TOKENS: "/messages/count_tokens",
}
_PAGE: Final = "/models?limit=1000"


class _Model(msgspec.Struct):
    id: str


class _Models(msgspec.Struct):
    data: list[_Model]


_models: Final = msgspec.json.Decoder(_Models)


class AnthropicAdapter:
    """See Adapter."""

    def needs_bytes(self, operation: Operation, body: ParsedBody) -> tuple[str, ...]:
        return ()  # it fetches pictures and documents itself

    def build(self, operation: Operation, target: Target, body: ParsedBody) -> Prepared:
        path = _PATHS.get(operation)
        if path is None or not isinstance(body, JsonBody):
            raise Unsupported(
                f"{target.provider.name} ({target.type.name}) does not offer {operation.value}."
            )
        dropped: tuple[str, ...] = ()
        streams = body.stream and operation is not Operation.COUNT_TOKENS
        if operation in _NATIVE:
            native = native_request(body)
            model = {"model": body.encoded(target.model_on_wire)}
            data, dropped = body.with_changes(model | native.changes, native.drop), native.dropped
        else:
            said = messages_body(read_chat(body), target.model, target.fetched)
            fields: dict[str, Any] = {"model": target.model_on_wire, **said.fields}
            if streams:
                fields["stream"] = True
            data, dropped = msgspec.json.encode(fields), said.dropped
        headers = _headers(target, accept="text/event-stream" if streams else "application/json")
        if operation in _NATIVE:
            headers.update(target.passed_headers)  # their body is of the version that they say
        elif (betas := target.passed_headers.get("anthropic-beta")) is not None:
            headers["anthropic-beta"] = betas
        headers["content-type"] = "application/json"
        url = target.provider.base_url.rstrip("/") + path
        return Prepared(UpstreamRequest("POST", url, headers, data, target.timeouts), streams, dropped)

    def read_answer(
        self, operation: Operation, body: ParsedBody, headers: Mapping[str, str], answer: bytes
    ) -> Answer:
        if operation is Operation.MESSAGES:
            return read_native_message(answer)
        if operation is Operation.COUNT_TOKENS:
            return read_native_count(answer)
        return read_message(answer)

    def relay(self, operation: Operation, options: RelayOptions) -> Relay:
        if operation is Operation.MESSAGES:
            return NativeRelay(options)
        return TranslatedRelay(options, MessagesTranslator())

    def map_error(self, status: int, headers: Mapping[str, str], body: bytes) -> UpstreamError:
        return error_from_messages(status, headers, body)

    def models_request(self, target: Target) -> UpstreamRequest | None:
        url = target.provider.base_url.rstrip("/") + _PAGE
        return UpstreamRequest("GET", url, _headers(target, accept="application/json"), None, target.timeouts)

    def read_models(self, answer: bytes) -> tuple[str, ...]:
        try:
            return tuple(dict.fromkeys(model.id for model in _models.decode(answer).data))
        except msgspec.DecodeError as error:
            raise unreadable_answer() from error


def _headers(target: Target, *, accept: str) -> dict[str, str]:
    headers = {"accept": accept, "anthropic-version": API_VERSION}
    if target.secret:
        headers["authorization"] = f"Bearer {target.secret.strip()}"
    for name, value in target.provider.headers.items():
        headers[name.lower()] = value
    return headers


def proves_port(adapter: AnthropicAdapter) -> Adapter:
    """Makes the type checker prove that the adapter fits its port."""
    return adapter
