"""What each vendor's own types have against a chat request that the gateway built for it, without a server."""

from collections.abc import Callable, Mapping
from typing import Any, Final
from urllib.parse import urlsplit

import msgspec

from services.gateway.providers.demo.client import DemoClient
from services.gateway.providers.port import Adapter, Target
from services.gateway.providers.registry import Channels
from services.gateway.upstream.port import UpstreamRequest, UpstreamTimeouts
from shared.catalogue.provider_types import PROVIDER_TYPES
from shared.governance.model import Credential, Provider
from tests.support.providers import anthropic, aws_model, cohere, gemini
from tests.support.providers.converse_rules import wrong_in_chat
from tests.support.providers.gemini_counts import CLAUDES_COUNTER, check_count, claudes_count
from tests.support.providers.houses import MODELS
from tests.support.providers.mistral import FakeMistral
from tests.support.providers.openai_wire import FakeOpenAI
from tests.support.providers.quirks import QUIRKS
from tests.support.providers.script import Document
from tests.support.targets import no_files

_nobody = DemoClient()
_channels = Channels(
    network=_nobody,
    demo=_nobody,
    azure=_nobody,
    aws=_nobody,
    vertex=_nobody,
    huggingface=_nobody,
    files=no_files,
)
_OPTIONS: Final = {
    "vertex": {"project": "acme-1", "location": "europe-west4"},
    "bedrock": {"region": "eu-west-1"},
}
_SECRETS: Final = {"bedrock": "AKIAEXAMPLE:secret", "vertex": "ya29.token"}


def adapter_of(kind: str) -> Adapter:
    return _channels.adapter_for(PROVIDER_TYPES[kind])


def target_of(kind: str, model: str = "", **fetched: Any) -> Target:
    """Where a request for a kind's model goes: its own address, so that it is taken for the vendor's own."""
    known = PROVIDER_TYPES[kind]
    provider = Provider(
        name=kind,
        type=kind,
        base_url=known.base_url or "https://resource.example.org/v1",
        credentials=(Credential(name="main", env="X"),),
        options=_OPTIONS.get(kind, {}),
    )
    secret = _SECRETS.get(kind, "a-secret")
    return Target(provider, known, model or MODELS[kind], "main", secret, UpstreamTimeouts(), **fetched)


def complaints(kind: str, request: UpstreamRequest) -> list[str]:
    """What the vendor has against it; empty when it is good."""
    assert isinstance(request.body, bytes)
    body: Document = msgspec.json.decode(request.body)
    if kind in _JUDGES:
        try:
            _JUDGES[kind](request, body)
        except (ValueError, AssertionError) as wrong:
            return [str(wrong)]
        return []
    fake = FakeMistral() if kind == "mistral" else FakeOpenAI(QUIRKS[kind])
    return fake.wrong_in("/chat/completions", body)


def _anthropic(request: UpstreamRequest, body: Document) -> None:
    anthropic.judged(request.url, body)


def _google(request: UpstreamRequest, body: Document) -> None:
    path = urlsplit(request.url).path
    if path.endswith(f"/{CLAUDES_COUNTER}:rawPredict"):
        status, said = claudes_count(body, path, ())
        assert status == 200 or "is not supported for token counting" in said["error"]["message"], said
    elif path.endswith(":countTokens"):
        check_count(path, body, gemini.checked)
    else:
        gemini.check_model(path.rpartition("/")[2].partition(":")[0], gemini.checked(body))


def _bedrock(request: UpstreamRequest, body: Document) -> None:
    action = request.url.rpartition("/")[2]
    name = {"converse-stream": "ConverseStream", "count-tokens": "CountTokens"}.get(action, "Converse")
    shape = aws_model.operation("bedrock-runtime", name).input_shape
    params = aws_model.params_of(shape, body) | {"modelId": aws_model.model_in(urlsplit(request.url).path)}
    wrong = aws_model.problems(shape, params) or "; ".join(aws_model.unknown_members(shape, params))
    if name != "CountTokens":
        wrong = wrong or wrong_in_chat(params)
    assert not wrong, wrong


def _cohere(request: UpstreamRequest, body: Document) -> None:
    cohere.judge("/v2/chat", body)


def _replicate(request: UpstreamRequest, body: Document) -> None:
    """Inputs are each model's own: no type of the vendor's knows them."""
    assert body.keys() <= {"input", "stream", "version"}, body.keys()
    assert isinstance(body["input"].get("prompt"), str)


_JUDGES: Final[Mapping[str, Callable[[UpstreamRequest, Document], None]]] = {
    "anthropic": _anthropic,
    "gemini": _google,
    "vertex": _google,
    "bedrock": _bedrock,
    "cohere": _cohere,
    "replicate": _replicate,
}
