"""Which of the models that Vertex AI lists can be called as they are, and by which name."""

from typing import Any

import msgspec
import pytest

from services.gateway.providers.errors import BadRequest, UpstreamError
from services.gateway.providers.port import Target
from services.gateway.providers.vertex.adapter import VertexAdapter
from services.gateway.providers.vertex.location import publisher_of
from services.gateway.providers.vertex.models import following_url, read_models
from services.gateway.upstream.port import UpstreamTimeouts
from shared.catalogue.provider_types import PROVIDER_TYPES
from shared.governance.model import Provider
from tests.support.providers.model_garden import DEPLOYED, STUDIO, Entry, entry

OPEN = "THIRD_PARTY_OWNED_OSS"


def page(*entries: Entry, **fields: Any) -> bytes:
    return msgspec.json.encode({"publisherModels": list(entries), **fields})


@pytest.mark.parametrize(
    ("listed", "name"),
    [
        (entry("google", "gemini-3.8-flash", actions=STUDIO), "gemini-3.8-flash"),
        (entry("google", "gemini-2.0-flash", "001"), "gemini-2.0-flash"),
        (entry("google", "gemini-2.5-flash-image"), "gemini-2.5-flash-image"),
        (entry("google", "gemini-2.5-flash-tts"), "gemini-2.5-flash-tts"),
        (entry("google", "gemini-embedding-001"), "gemini-embedding-001"),
        (entry("google", "text-multilingual-embedding-002"), "text-multilingual-embedding-002"),
        (entry("google", "imagen-4.0-ultra-generate-001"), "imagen-4.0-ultra-generate-001"),
        (entry("google", "gemma-4-26b-a4b-it-maas", category=OPEN), "google/gemma-4-26b-a4b-it-maas"),
        (entry("anthropic", "claude-opus-4-1", "20250805"), "claude-opus-4-1@20250805"),
        (entry("anthropic", "claude-opus-4-1@20250805", "20250805"), "claude-opus-4-1@20250805"),
        (entry("anthropic", "claude-opus-5"), "claude-opus-5"),
        (entry("mistralai", "codestral-2", "001"), "codestral-2"),
        (entry("mistralai", "devstral-2", "001"), "mistralai/devstral-2"),
        (entry("mistralai", "mistral-small-2503", category=OPEN), "mistral-small-2503"),
    ],
)
def test_what_can_be_called_has_the_name_that_calls_it(listed: Entry, name: str) -> None:
    assert read_models(page(listed)) == (name,)
    publisher, called = publisher_of(name)
    assert name.endswith("-maas") or (publisher, called.partition("@")[0]) == (
        listed["name"].split("/")[1],
        listed["name"].split("/")[3].partition("@")[0],
    )


@pytest.mark.parametrize(
    "listed",
    [
        entry("google", "gemma-3", category="GOOGLE_OWNED_OSS", actions=DEPLOYED),
        entry("google", "embeddinggemma", category="GOOGLE_OWNED_OSS", actions=DEPLOYED),
        entry("mistralai", "mistral-7b", category=OPEN, actions=DEPLOYED),
        entry("mistralai", "mixtral", category=OPEN, actions={"multiDeployVertex": {}}),
        entry("google", "gemini-live-2.5-flash"),
        entry("google", "gemini-2.5-computer-use-preview-10-2025"),
        entry("google", "multimodalembedding", "001"),
        entry("google", "imagen-3.0-capability-001"),
        entry("google", "imagen-4.0-upscale-preview"),
        entry("google", "veo-3.0-generate-001"),
        entry("google", "text-bison", "002"),
        entry("google", "gemini-next", stage="PRIVATE_PREVIEW"),
        entry("google", "multilingual-embed-maas", category=OPEN),
        entry("mistralai", "mistral-ocr-2505", "001"),
        entry("meta", "llama-4-scout-maas", category=OPEN),
        {"name": "gemini-2.5-flash"},
        {},
    ],
)
def test_what_no_operation_can_call_is_left_out(listed: Entry) -> None:
    assert read_models(page(listed)) == ()


def test_a_list_goes_on_where_it_says() -> None:
    first = "http://x/v1beta1/publishers/google/models?pageSize=200"

    second = following_url(first, page(nextPageToken="a/b="))

    assert second == f"{first}&pageToken=a%2Fb%3D"
    assert following_url(second, page(nextPageToken="c")) == f"{first}&pageToken=c"
    assert following_url(second, page()) == ""


@pytest.mark.parametrize("answer", [b"{}", b" {\n}\n"])
def test_a_publisher_without_models(answer: bytes) -> None:
    assert read_models(answer) == ()


@pytest.mark.parametrize(
    "answer", [b"<html>", b"[]", b'{"object":"list","data":[]}', b'{"error":{"code":500}}']
)
def test_something_else_is_no_list(answer: bytes) -> None:
    with pytest.raises(UpstreamError):
        read_models(answer)


def _target(**options: str) -> Target:
    kind = PROVIDER_TYPES["vertex"]
    provider = Provider(name="v", type="vertex", base_url=kind.base_url, options=options)
    return Target(provider, kind, "", "main", "ya29.token", UpstreamTimeouts())


@pytest.mark.parametrize(
    ("options", "host"),
    [
        ({}, "aiplatform.googleapis.com"),
        ({"location": "europe-west4"}, "europe-west4-aiplatform.googleapis.com"),
        ({"location": "eu"}, "aiplatform.eu.rep.googleapis.com"),
    ],
)
def test_each_publisher_is_asked_in_the_providers_location(options: dict[str, str], host: str) -> None:
    asked = VertexAdapter().models_requests(_target(**options))

    assert [request.url for request in asked] == [
        f"https://{host}/v1beta1/publishers/{publisher}/models?pageSize=200"
        for publisher in ("google", "anthropic", "mistralai")
    ]
    assert {request.headers["authorization"] for request in asked} == {"Bearer ya29.token"}


def test_a_location_that_is_none_is_told() -> None:
    with pytest.raises(BadRequest, match="location"):
        VertexAdapter().models_requests(_target(location="evil.example/"))
