"""CORS: exactly one set of headers, preflights without a key, also on errors."""

import pytest
from starlette.types import Receive, Scope, Send

from services.gateway.cors import EXPOSED_HEADERS, Cors
from shared.settings import DEFAULT_ALLOWED_HEADERS
from tests.support.asgi import call

PAGE = "https://chat.example.org"
PREFLIGHT = {
    "origin": PAGE,
    "access-control-request-method": "POST",
    "access-control-request-headers": "authorization,content-type",
}


async def refusing(scope: Scope, receive: Receive, send: Send) -> None:
    """An app that answers 401, as one without a key does."""
    await send(
        {"type": "http.response.start", "status": 401, "headers": [(b"content-type", b"application/json")]}
    )
    await send({"type": "http.response.body", "body": b"{}"})


def cors(*origins: str, headers: tuple[str, ...] = DEFAULT_ALLOWED_HEADERS) -> Cors:
    return Cors(refusing, origins, headers)


async def test_a_preflight_is_answered_without_asking_for_a_key() -> None:
    sent = await call(cors("*"), "OPTIONS", "/v1/chat/completions", PREFLIGHT)

    assert sent.status == 204
    assert sent.header("access-control-allow-origin") == "*"
    assert sent.header("access-control-allow-methods") == "GET, POST, OPTIONS"
    assert sent.header("access-control-allow-headers") == (
        "Content-Type, Authorization, X-Requested-With, X-Stainless-Timeout, X-Api-Key"
    )


async def test_a_star_for_headers_names_what_was_asked_for() -> None:
    sent = await call(cors("*", headers=("*",)), "OPTIONS", "/v1/models", PREFLIGHT)

    assert sent.header("access-control-allow-headers") == "authorization,content-type"


async def test_errors_carry_the_headers_too_and_only_once() -> None:
    sent = await call(cors(PAGE), "POST", "/v1/chat/completions", {"origin": PAGE})

    assert sent.status == 401
    assert [value for name, value in sent.headers if name == "access-control-allow-origin"] == [PAGE]
    assert sent.header("access-control-expose-headers") == EXPOSED_HEADERS
    assert sent.header("vary") == "Origin"


@pytest.mark.parametrize("method", ["POST", "OPTIONS"])
async def test_an_origin_that_is_not_listed_gets_nothing(method: str) -> None:
    sent = await call(cors(PAGE), method, "/v1/models", PREFLIGHT | {"origin": "https://evil.example"})

    assert sent.header("access-control-allow-origin") is None
    assert sent.header("access-control-allow-headers") is None


async def test_without_origins_nothing_is_added() -> None:
    sent = await call(cors(), "POST", "/v1/models", {"origin": PAGE})

    assert [name for name, _ in sent.headers] == ["content-type"]


async def test_a_request_that_is_no_browsers_is_left_alone() -> None:
    sent = await call(cors("*"), "GET", "/v1/models")

    assert sent.headers == [("content-type", "application/json")]
