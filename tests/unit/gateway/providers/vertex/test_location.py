"""Where each model of Vertex AI is asked."""

from typing import Any

import pytest

from services.gateway.providers.body import parse_json
from services.gateway.providers.errors import BadRequest
from services.gateway.providers.operations import Operation
from services.gateway.providers.port import Target
from services.gateway.providers.token_client import TokenRequest
from services.gateway.providers.vertex.adapter import VertexAdapter
from services.gateway.providers.vertex.location import host_of, place_of, publisher_of
from services.gateway.upstream.port import UpstreamTimeouts
from shared.catalogue.provider_types import PROVIDER_TYPES
from shared.governance.model import Provider

VERTEX = PROVIDER_TYPES["vertex"]


def target(model: str, secret: str = "", base_url: str = VERTEX.base_url, **options: str) -> Target:
    provider = Provider(name="v", type="vertex", base_url=base_url, options=options)
    return Target(provider, VERTEX, model, "main", secret, UpstreamTimeouts())


@pytest.mark.parametrize(
    ("location", "host"),
    [
        ("global", "aiplatform.googleapis.com"),
        ("us", "aiplatform.us.rep.googleapis.com"),
        ("eu", "aiplatform.eu.rep.googleapis.com"),
        ("europe-west4", "europe-west4-aiplatform.googleapis.com"),
    ],
)
def test_hosts(location: str, host: str) -> None:
    assert host_of(location) == host


@pytest.mark.parametrize(
    ("model", "expected"),
    [
        ("gemini-2.5-pro", ("google", "gemini-2.5-pro")),
        ("google/gemini-2.5-pro", ("google", "gemini-2.5-pro")),
        ("publishers/google/models/gemini-2.5-pro", ("google", "gemini-2.5-pro")),
        ("claude-sonnet-4-5@20250929", ("anthropic", "claude-sonnet-4-5@20250929")),
        ("anthropic/claude-opus-5", ("anthropic", "claude-opus-5")),
        ("mistral-medium-3", ("mistralai", "mistral-medium-3")),
        ("codestral-2", ("mistralai", "codestral-2")),
        ("meta/llama-4-scout-maas", ("openapi", "meta/llama-4-scout-maas")),
        ("google/gemma-4-26b-a4b-it-maas", ("openapi", "google/gemma-4-26b-a4b-it-maas")),
        ("1234567890", ("endpoint", "1234567890")),
    ],
)
def test_publishers(model: str, expected: tuple[str, str]) -> None:
    assert publisher_of(model) == expected


@pytest.mark.parametrize(
    ("given", "url"),
    [
        (
            target("gemini-2.5-pro", project="p", location="eu"),
            "https://aiplatform.eu.rep.googleapis.com/v1/projects/p/locations/eu/publishers/google/models/gemini-2.5-pro:m",
        ),
        (
            target("claude-x@1", secret='{"project_id":"q"}'),
            "https://aiplatform.googleapis.com/v1/projects/q/locations/global/publishers/anthropic/models/claude-x@1:m",
        ),
        (
            target("42", project="p", location="us-east1"),
            "https://us-east1-aiplatform.googleapis.com/v1/projects/p/locations/us-east1/endpoints/42:m",
        ),
        (
            target("google/a/../b?c", base_url="http://proxy/x/", project="p"),
            "http://proxy/x/v1/projects/p/locations/global/publishers/google/models/a%2F..%2Fb%3Fc:m",
        ),
    ],
)
def test_addresses(given: Target, url: str) -> None:
    assert place_of(given, by_api_key=False).url("m") == url


def test_an_api_key_needs_no_project() -> None:
    place = place_of(target("gemini-2.5-pro", secret="AIza", project="p"), by_api_key=True)

    assert place.url("m") == "https://aiplatform.googleapis.com/v1/publishers/google/models/gemini-2.5-pro:m"


def test_an_api_key_opens_googles_models_alone() -> None:
    with pytest.raises(BadRequest, match="service account"):
        place_of(target("claude-opus-5", secret="AIza", project="p"), by_api_key=True)


@pytest.mark.parametrize(
    ("secret", "header"),
    [
        ("AIzaKey", ("x-goog-api-key", "AIzaKey")),
        ("ya29.token", ("authorization", "Bearer ya29.token")),
        ("key.json", None),
        ("/etc/key.json", None),
        ("keys\\key", None),
        ('{"project_id":"p"}', None),
        ("", None),
    ],
)
def test_what_a_secret_is(secret: str, header: tuple[str, str] | None) -> None:
    body = parse_json(b'{"model":"m","messages":[{"role":"user","content":"Hi"}]}')
    request = (
        VertexAdapter()
        .build(Operation.CHAT, target("gemini-2.5-pro", secret=secret, project="p"), body)
        .request
    )

    assert isinstance(request, TokenRequest) is (header is None)
    assert {name: request.headers.get(name) for name in ("x-goog-api-key", "authorization")} == {
        "x-goog-api-key": None,
        "authorization": None,
        **dict([header] if header is not None else []),
    }


@pytest.mark.parametrize("options", [{}, {"project": "p", "location": "evil.example/"}, {"project": "../x"}])
def test_wrong_options_are_told(options: Any) -> None:
    with pytest.raises(BadRequest):
        place_of(target("gemini-2.5-pro", **options), by_api_key=False)
