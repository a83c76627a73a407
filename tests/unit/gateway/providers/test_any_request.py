"""Any chat request that OpenAI's types allow is one that the vendor's types allow too once it is translated, or it is
refused with the name of the field: for every chat provider."""

import json
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings

from services.gateway.providers.body import parse_json
from services.gateway.providers.chat.images import Fetched
from services.gateway.providers.errors import BadRequest
from services.gateway.providers.operations import Operation
from services.gateway.providers.port import CountsTokens
from tests.support.providers.chat_requests import allowed_by_openai, chat_requests
from tests.support.providers.gemini import PNG
from tests.support.providers.houses import KINDS
from tests.support.providers.judges import adapter_of, complaints, target_of

FURTHER_MODELS = {
    "openai": ("o3", "gpt-5-chat-latest", "gpt-5.4", "gpt-5.6-sol"),
    "azure": ("gpt-5",),
    "anthropic": ("claude-3-haiku-20240307",),
    "gemini": ("gemini-2.0-flash",),
    "vertex": ("gemini-2.5-flash",),
    "bedrock": ("amazon.nova-pro-v1:0", "meta.llama3-1-70b-instruct-v1:0"),
    "xai": ("grok-3-mini", "grok-3"),
    "mistral": ("mistral-small-2503",),
}
"""With other traits than the first."""
COUNTED = [
    ("gemini", ""), ("gemini", "gemini-2.0-flash"), ("vertex", ""), ("vertex", "gemini-2.5-flash"),
    ("vertex", "claude-opus-4-1@20250805"), ("vertex", "claude-3-haiku@20240307"), ("bedrock", ""),
    ("bedrock", "amazon.nova-pro-v1:0"),
]  # fmt: skip
WHERE = [(kind, model) for kind in KINDS for model in ("", *FURTHER_MODELS.get(kind, ()))]


@pytest.mark.parametrize(("kind", "model"), WHERE)
@settings(
    max_examples=20, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large]
)
@given(request=chat_requests)
def test_it_is_translated_or_refused_by_name(kind: str, model: str, request: dict[str, Any]) -> None:
    allowed_by_openai(request)
    adapter, body = adapter_of(kind), parse_json(json.dumps(request).encode())
    try:
        linked = {url: Fetched("image/png", PNG) for url in adapter.needs_bytes(Operation.CHAT, body)}
        target = msgspec.structs.replace(target_of(kind, model), fetched=linked)
        prepared = adapter.build(Operation.CHAT, target, body)
    except BadRequest as refused:
        assert refused.param is not None
        assert refused.param.split("[")[0].split(".")[0] in request
        return

    assert complaints(kind, prepared.request) == []
    assert prepared.streams is bool(request.get("stream"))


@pytest.mark.parametrize(("kind", "model"), COUNTED)
@settings(
    max_examples=20, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large]
)
@given(request=chat_requests)
def test_its_count_is_asked_for_or_refused_by_name(kind: str, model: str, request: dict[str, Any]) -> None:
    allowed_by_openai(request)
    adapter, body = adapter_of(kind), parse_json(json.dumps(request).encode())
    assert isinstance(adapter, CountsTokens)
    try:
        linked = {url: Fetched("image/png", PNG) for url in adapter.needs_bytes(Operation.CHAT, body)}
        target = msgspec.structs.replace(target_of(kind, model), fetched=linked)
        question = adapter.count_request(target, body)
    except BadRequest as refused:
        assert refused.param is not None
        assert refused.param.split("[")[0].split(".")[0] in request
        return

    assert question is not None and not question.streams
    assert complaints(kind, question.request) == []
