"""Replicate: predictions that are created, waited for or followed, for texts and pictures."""

import re
from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import quote, urlsplit

import msgspec

from services.gateway.providers.body import JsonBody, ParsedBody
from services.gateway.providers.chat.text_completion import TextWriter, as_chat, text_answer
from services.gateway.providers.chat.translate import TranslatedRelay
from services.gateway.providers.errors import Unsupported, UpstreamError
from services.gateway.providers.inbound import InboundRelay
from services.gateway.providers.jobs import Leaver
from services.gateway.providers.operations import PICTURES, Operation
from services.gateway.providers.port import Adapter, Answer, Prepared, Relay, RelayOptions, Target
from services.gateway.providers.replicate.answer import read_pictures, read_said
from services.gateway.providers.replicate.predictions import followed, until_finished
from services.gateway.providers.replicate.request import chat_input, picture_input
from services.gateway.providers.replicate.stream import ReplicateStream
from services.gateway.providers.wire_errors import error_from_answer, unreadable_answer
from services.gateway.upstream.port import UpstreamRequest

DEPLOYMENT: Final = "deployments/"
"""Before the `{owner}/{name}` of a deployment."""
MAX_WAIT_S: Final = 5
"""How long Replicate may hold its answer back. Whoever leaves meanwhile cannot cancel: the prediction has no name yet."""
LEAST_CANCEL_S: Final = 5
"""Replicate takes no deadline below this."""
_TEXTS: Final = frozenset({Operation.CHAT, Operation.COMPLETIONS})
_VERSION: Final = re.compile(r"(?:[^/:]+/[^/:]+:)?([0-9a-f]{64})")


class _Deployment(msgspec.Struct):
    owner: str
    name: str


class _DeploymentList(msgspec.Struct):
    results: list[_Deployment]
    next: str | None = None
    """The address of the next page."""


_deployments: Final = msgspec.json.Decoder(_DeploymentList)


class ReplicateAdapter:
    """See Adapter."""

    def __init__(self) -> None:
        self._leaver = Leaver()

    def needs_bytes(self, operation: Operation, body: ParsedBody) -> tuple[str, ...]:
        return ()

    def build(self, operation: Operation, target: Target, body: ParsedBody) -> Prepared:
        if operation.value not in target.type.operations:
            raise Unsupported(
                f"{target.provider.name} (replicate) does not offer {operation.value.replace('.', ' ')}."
            )
        model, streams = target.model_on_wire, operation in _TEXTS and body.stream
        given, dropped = _input(operation, body, model)
        path, fields = _address(model)
        fields["input"] = given
        headers = _headers(target)
        headers["content-type"] = "application/json"
        if target.timeouts.total >= LEAST_CANCEL_S:
            headers["cancel-after"] = f"{int(target.timeouts.total)}s"
        if streams:
            fields["stream"] = True
        else:
            headers["prefer"] = f"wait={_patience_s(target)}"
        root = _root(target)
        request = UpstreamRequest("POST", root + path, headers, msgspec.json.encode(fields), target.timeouts)
        predictions = f"{root}/v1/predictions"
        in_base64 = operation in PICTURES and body.text("response_format") == "b64_json"
        converse = (
            followed(predictions, self._leaver)
            if streams
            else until_finished(predictions, self._leaver, fetch_files=in_base64)
        )
        return Prepared(request, streams, dropped, converse)

    def read_answer(
        self, operation: Operation, body: ParsedBody, headers: Mapping[str, str], answer: bytes
    ) -> Answer:
        if operation in PICTURES:
            return read_pictures(answer)
        if not isinstance(body, JsonBody):
            raise Unsupported("Replicate takes no forms of text.")
        if operation is Operation.COMPLETIONS:
            return text_answer(read_said(as_chat(body), answer))
        return read_said(body, answer)

    def relay(self, operation: Operation, options: RelayOptions) -> Relay:
        chat = TranslatedRelay(options, ReplicateStream())
        return InboundRelay(chat, TextWriter(options.model)) if operation is Operation.COMPLETIONS else chat

    def map_error(self, status: int, headers: Mapping[str, str], body: bytes) -> UpstreamError:
        return error_from_answer(status, headers, body)

    def models_request(self, target: Target) -> UpstreamRequest | None:
        """The account's own deployments: everybody's models are too many to list."""
        url = f"{_root(target)}/v1/deployments"
        return UpstreamRequest("GET", url, _headers(target), None, target.timeouts)

    def next_models_request(
        self, target: Target, asked: UpstreamRequest, answer: bytes
    ) -> UpstreamRequest | None:
        following = _deployments.decode(answer).next
        if not following or not _same_server(following, asked.url):
            return None
        return UpstreamRequest("GET", following, _headers(target), None, target.timeouts)

    def read_models(self, answer: bytes) -> tuple[str, ...]:
        try:
            found = _deployments.decode(answer).results
        except msgspec.DecodeError as error:
            raise unreadable_answer() from error
        return tuple(f"{DEPLOYMENT}{item.owner}/{item.name}" for item in found)


def _input(operation: Operation, body: ParsedBody, model: str) -> tuple[dict[str, Any], tuple[str, ...]]:
    if operation in PICTURES:
        return picture_input(body, model)
    if not isinstance(body, JsonBody):
        raise Unsupported("Replicate takes no forms of text.")
    return chat_input(as_chat(body) if operation is Operation.COMPLETIONS else body, model)


def _address(model: str) -> tuple[str, dict[str, Any]]:
    """Where a prediction of the model is created, and what its body must name."""
    version = _VERSION.fullmatch(model)
    if version is not None:
        return "/v1/predictions", {"version": version[1]}
    if model.startswith(DEPLOYMENT):
        return f"/v1/deployments/{quote(model.removeprefix(DEPLOYMENT))}/predictions", {}
    return f"/v1/models/{quote(model)}/predictions", {}


def _patience_s(target: Target) -> int:
    """How long the answer is held back: no longer than we wait for its first byte."""
    wait_s = int(min(target.timeouts.first_byte, target.timeouts.total)) - 1
    return max(1, min(wait_s, MAX_WAIT_S))


def _same_server(address: str, known: str) -> bool:
    theirs, ours = urlsplit(address), urlsplit(known)
    return (theirs.scheme, theirs.netloc) == (ours.scheme, ours.netloc)


def _root(target: Target) -> str:
    return target.provider.base_url.rstrip("/").removesuffix("/v1")


def _headers(target: Target) -> dict[str, str]:
    headers = {"accept": "application/json"}
    if target.secret:
        headers["authorization"] = f"Bearer {target.secret.strip()}"
    for name, value in target.provider.headers.items():
        headers[name.lower()] = value
    return headers


def proves_port(adapter: ReplicateAdapter) -> Adapter:
    """Makes the type checker prove that the adapter fits its port."""
    return adapter
