"""Who counts tokens, which answers of those who could mean that they do not, and what is asked of whom."""

import json
from typing import Any

import msgspec
import pytest

from services.gateway.catalogue import Route
from services.gateway.providers.body import JsonBody
from services.gateway.providers.errors import UpstreamError
from services.gateway.providers.inbounds import route_for, speaks
from services.gateway.providers.messages.counting import CountAdapter, EstimateAdapter, NativeCountAdapter
from services.gateway.providers.operations import Operation
from services.gateway.providers.port import CountsTokens, Target
from services.gateway.upstream.port import UpstreamTimeouts
from shared.catalogue.provider_types import PROVIDER_TYPES
from shared.governance.model import Provider
from shared.pricing.book import PriceBook
from tests.support.providers.bedrock import CLAUDE, UNCOUNTED
from tests.support.providers.judges import adapter_of, target_of
from tests.support.targets import json_body

COUNT = Operation.COUNT_TOKENS
BODY = json_body('{"model":"m","messages":[{"role":"user","content":"Hello"}]}')
OPUS = "claude-opus-5"
HTTP_IMAGE = {"type": "image", "source": {"type": "url", "url": "http://example.org/a.png"}}
NOBODY: Any = object()
"""A client that cannot send anything."""


def counter(kind: str) -> CountsTokens:
    adapter = adapter_of(kind)
    assert isinstance(adapter, CountsTokens)
    return adapter


def routed(
    kind: str, body: JsonBody = BODY, *, model: str = "m", options: dict[str, str] | None = None
) -> Any:
    """The adapter that a count goes through."""
    base_url = PROVIDER_TYPES[kind].base_url or "http://x/v1"
    provider = Provider(name=kind, type=kind, base_url=base_url, options=options or {})
    route = Route(
        f"{kind}/{model}",
        model,
        provider,
        PROVIDER_TYPES[kind],
        adapter_of(kind),
        UpstreamTimeouts(),
        PriceBook(),
    )
    return route_for(route, COUNT, body).adapter


@pytest.mark.parametrize("kind", PROVIDER_TYPES)
def test_a_type_offers_the_count_exactly_where_somebody_counts(kind: str) -> None:
    own = adapter_of(kind)
    routed_to = routed(kind)

    if isinstance(own, CountsTokens):
        assert "messages.count_tokens" in PROVIDER_TYPES[kind].operations
        assert isinstance(routed_to, CountAdapter)
    elif kind == "anthropic":
        assert routed_to is own
    else:
        assert isinstance(routed_to, EstimateAdapter)
        assert not speaks(Provider(name="p", type=kind, base_url=""), PROVIDER_TYPES[kind], COUNT)


def answered(kind: str, status: int, body: Any, headers: dict[str, str] | None = None) -> UpstreamError:
    """An answer with an error status, as the adapter reads it."""
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    return adapter_of(kind).map_error(status, headers or {}, raw)


def google(code: int, name: str, message: str) -> dict[str, Any]:
    return {"error": {"code": code, "message": message, "status": name}}


def claude(kind: str, message: str) -> dict[str, Any]:
    return {"type": "error", "error": {"type": kind, "message": message}}


def aws(name: str, message: str) -> tuple[Any, dict[str, str]]:
    return {"message": message}, {"x-amzn-errortype": f"{name}:http://internal.amazon.com/"}


NOT_FOR_IT = (
    "models/aqa is not found for API version v1beta, or is not supported for countTokens. Call ListModels"
)


@pytest.mark.parametrize(
    ("kind", "model", "status", "body", "uncounted"),
    [
        ("gemini", "aqa", 404, google(404, "NOT_FOUND", NOT_FOR_IT), True),
        ("gemini", "m", 404, b"<html>not here</html>", True),
        ("gemini", "m", 405, b'{"detail":"Method Not Allowed"}', True),
        ("gemini", "m", 400, google(400, "INVALID_ARGUMENT", "Unsupported MIME type"), False),
        ("gemini", "m", 403, google(403, "PERMISSION_DENIED", "no"), False),
        ("vertex", "gemini-0", 404, google(404, "NOT_FOUND", "Publisher Model `gemini-0` was not found"), False),
        ("vertex", OPUS, 404, google(404, "NOT_FOUND", "Requested entity was not found."), True),
        ("vertex", OPUS, 404, claude("not_found_error", "model: claude-opus-5"), False),
        ("vertex", OPUS, 400, claude("invalid_request_error", f"{OPUS} is not supported for token counting"), True),
        ("vertex", OPUS, 400, claude("invalid_request_error", "messages: at least one is needed"), False),
    ],
)  # fmt: skip
def test_what_google_says_of_a_model_that_it_does_not_count(
    kind: str, model: str, status: int, body: Any, uncounted: bool
) -> None:
    error = answered(kind, status, body)

    assert counter(kind).cannot_count(target_of(kind, model), error) is uncounted


@pytest.mark.parametrize(
    ("model", "status", "name", "message", "uncounted"),
    [
        (CLAUDE, 400, "ValidationException", UNCOUNTED, True),
        (CLAUDE, 403, "AccessDeniedException", "User x is not authorized to perform: bedrock:CountTokens", True),
        (CLAUDE, 404, "UnknownOperationException", "", True),
        (CLAUDE, 400, "ValidationException", "The provided model identifier is invalid.", False),
        (CLAUDE, 400, "ValidationException", "messages: text content blocks must be non-empty", False),
        (CLAUDE, 403, "AccessDeniedException", "You don't have access to the model.", False),
        (f"eu.{CLAUDE}", 400, "ValidationException", "The provided model identifier is invalid.", True),
        (f"eu.{CLAUDE}", 403, "AccessDeniedException", "You don't have access to the model.", True),
        (f"eu.{CLAUDE}", 400, "ValidationException", "with on-demand throughput isn’t supported.", True),
        (f"eu.{CLAUDE}", 400, "ValidationException", "messages: text content blocks must be non-empty", False),
        (f"eu.{CLAUDE}", 429, "ThrottlingException", "Too many requests", False),
    ],
)  # fmt: skip
def test_what_bedrock_says_of_a_model_that_it_does_not_count(
    model: str, status: int, name: str, message: str, uncounted: bool
) -> None:
    body, headers = aws(name, message)
    error = answered("bedrock", status, body, headers)

    assert counter("bedrock").cannot_count(target_of("bedrock", model), error) is uncounted


@pytest.mark.parametrize(
    ("model", "asked"),
    [
        (CLAUDE, CLAUDE),
        (f"us.{CLAUDE}", CLAUDE),
        (f"us-gov.{CLAUDE}", CLAUDE),
        (f"global.{CLAUDE}", CLAUDE),
        ("eu-west-3/eu.amazon.nova-2-lite-v1:0", "amazon.nova-2-lite-v1:0"),
        (f"arn:aws:bedrock:eu-west-1:123456789012:inference-profile/eu.{CLAUDE}", CLAUDE),
        (
            f"arn:aws:bedrock:eu-west-1::foundation-model/{CLAUDE}",
            f"arn:aws:bedrock:eu-west-1::foundation-model/{CLAUDE}",
        ),
        (
            "arn:aws:bedrock:eu-west-1:123456789012:application-inference-profile/abc123",
            "arn:aws:bedrock:eu-west-1:123456789012:application-inference-profile/abc123",
        ),
        ("deepseek.v3.1", "deepseek.v3.1"),
        ("zai.glm-4.7", "zai.glm-4.7"),
    ],
)
def test_a_profile_is_counted_as_the_model_behind_it(model: str, asked: str) -> None:
    question = counter("bedrock").count_request(target_of("bedrock", model), BODY)

    assert question is not None
    path = question.request.url.partition(".amazonaws.com")[2]
    assert path == f"/model/{asked.replace(':', '%3A').replace('/', '%2F')}/count-tokens"


@pytest.mark.parametrize("model", ["mistral-medium-3", "meta/llama-4-scout-maas"])
def test_nobody_counts_for_others_at_vertex(model: str) -> None:
    assert counter("vertex").count_request(target_of("vertex", model), BODY) is None


@pytest.mark.parametrize(
    ("kind", "answer", "tokens"),
    [
        ("gemini", b'{"totalTokens": 31, "promptTokensDetails": [{"modality": "TEXT", "tokenCount": 31}]}', 31),
        ("vertex", b'{"totalTokens": 31, "totalBillableCharacters": 96}', 31),
        ("vertex", b'{"input_tokens": 14}', 14),
        ("bedrock", b'{"inputTokens": 14}', 14),
    ],
)  # fmt: skip
def test_counts_are_told_in_anthropics_format(kind: str, answer: bytes, tokens: int) -> None:
    read = CountAdapter(counter(kind), BODY).read_answer(COUNT, BODY, {}, answer)

    assert read.error is None
    assert msgspec.json.decode(read.body) == {"input_tokens": tokens}


@pytest.mark.parametrize("kind", ["gemini", "vertex", "bedrock"])
@pytest.mark.parametrize(
    "answer", [b"<html>", b"{}", b"[]", b'{"totalTokens": "many", "inputTokens": "few"}']
)
def test_something_else_is_no_count(kind: str, answer: bytes) -> None:
    error = CountAdapter(counter(kind), BODY).read_answer(COUNT, BODY, {}, answer).error

    assert error is not None and error.status == 502


def test_an_error_with_a_good_status_is_told() -> None:
    answer = b'{"error": {"code": 503, "message": "overloaded", "status": "UNAVAILABLE"}}'

    error = CountAdapter(counter("vertex"), BODY).read_answer(COUNT, BODY, {}, answer).error

    assert error is not None and (error.status, error.message) == (503, "overloaded")


@pytest.mark.parametrize("kind", ["gemini", "vertex", "bedrock"])
@pytest.mark.parametrize(
    "fields",
    [
        {"messages": [{"role": "user", "content": [HTTP_IMAGE]}]},
        {"container": "c_1"},
        {"mcp_servers": [{"type": "url", "name": "n", "url": "https://example.org"}]},
        {"tools": [{"type": "bash_20250124", "name": "bash"}]},
    ],
)
async def test_what_the_provider_cannot_be_asked_is_estimated(kind: str, fields: dict[str, Any]) -> None:
    asked = {"model": "m", "messages": [{"role": "user", "content": "Hello there"}], **fields}
    body = json_body(json.dumps(asked))
    adapter = CountAdapter(counter(kind), body)

    assert adapter.needs_bytes(COUNT, body) == ()
    prepared = adapter.build(COUNT, target_of(kind), body)

    assert prepared.converse is not None
    response = await prepared.converse(NOBODY, prepared.request)
    read = adapter.read_answer(COUNT, body, response.headers, await response.read(1000))
    assert msgspec.json.decode(read.body)["input_tokens"] > 0


def test_what_is_left_out_of_a_count_is_told() -> None:
    fields = {"model": "m", "messages": [{"role": "user", "content": "Hi"}], "speed": "fast", "stream": True}
    body = json_body(json.dumps(fields))
    target: Target = target_of("gemini")

    prepared = CountAdapter(counter("gemini"), body).build(COUNT, target, body)

    assert prepared.dropped == ("speed",)
    assert not prepared.streams


@pytest.mark.parametrize(
    ("model", "options", "native"),
    [
        (OPUS, {}, True),
        (OPUS, {"messages": "chat"}, False),
        ("gemini-3-pro", {}, False),
        ("mistral-medium-3", {}, False),
    ],
)
def test_a_count_goes_the_way_of_the_message(model: str, options: dict[str, str], native: bool) -> None:
    assert isinstance(routed("vertex", model=model, options=options), NativeCountAdapter) is native


def test_a_count_of_claudes_tells_what_it_is_without() -> None:
    asked = {
        "model": "m",
        "max_tokens": 9,
        "messages": [],
        "container": "c_1",
        "temperature": None,
        "mcp_servers": [],
    }
    body = json_body(json.dumps(asked))

    prepared = NativeCountAdapter(counter("vertex"), body).build(COUNT, target_of("vertex", OPUS), body)

    assert prepared.dropped == ("container", "mcp_servers")
    assert isinstance(prepared.request.body, bytes)
    assert json.loads(prepared.request.body).keys() == {"model", "messages", "anthropic_version"}
