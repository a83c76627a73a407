"""Requests built by the adapter, each judged by botocore's model of the service and its serializer."""

from typing import Any
from urllib.parse import urlsplit

import msgspec

from services.gateway.providers.bedrock.adapter import BedrockAdapter
from services.gateway.providers.body import JsonBody, parse_json
from services.gateway.providers.operations import Operation
from services.gateway.providers.port import Prepared, Target
from services.gateway.upstream.port import UpstreamTimeouts
from shared.catalogue.provider_types import PROVIDER_TYPES
from shared.governance.model import Provider
from tests.support.providers.aws_model import operation, params_of, serialized
from tests.support.providers.bedrock import CLAUDE
from tests.support.providers.converse_rules import wrong_in_chat

KIND = PROVIDER_TYPES["bedrock"]


def target(model: str = CLAUDE, secret: str = "key", **fields: Any) -> Target:
    """Fields of Provider are taken out of `fields`; the rest are Target's."""
    own: dict[str, Any] = {"name": "bedrock", "type": "bedrock", "base_url": KIND.base_url}
    own |= {name: fields.pop(name) for name in ("base_url", "options", "headers") if name in fields}
    provider = Provider(**own)
    return Target(provider, KIND, model, "main", secret, UpstreamTimeouts(), **fields)


def json_body(**fields: Any) -> JsonBody:
    return parse_json(msgspec.json.encode({"model": "bedrock/m", **fields}))


def chat_body(*messages: dict[str, Any], **fields: Any) -> JsonBody:
    return json_body(messages=list(messages) or [{"role": "user", "content": "Hi"}], **fields)


def built(body: JsonBody, to: Target | None = None) -> tuple[dict[str, Any], Prepared]:
    """The parameters of Converse in what was built, proven to be what botocore itself would send for them."""
    to = to or target()
    prepared = BedrockAdapter().build(Operation.CHAT, to, body)
    name = "ConverseStream" if prepared.streams else "Converse"
    sent = prepared.request.body
    assert isinstance(sent, bytes)
    params = params_of(operation("bedrock-runtime", name).input_shape, msgspec.json.decode(sent))
    assert wrong_in_chat({**params, "modelId": to.alias or to.model}) == ""
    theirs = serialized("bedrock-runtime", name, {"modelId": to.model_on_wire, **params})
    assert prepared.request.method == theirs["method"]
    assert urlsplit(prepared.request.url).path == theirs["url_path"]
    assert msgspec.json.decode(sent) == msgspec.json.decode(theirs["body"])
    assert prepared.request.headers["content-type"] == theirs["headers"]["Content-Type"]
    return params, prepared


def params(body: JsonBody, to: Target | None = None) -> dict[str, Any]:
    return built(body, to)[0]
