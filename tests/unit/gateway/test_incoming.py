"""Bodies that cannot be read: the headers say why."""

import gzip
import json

import pytest

from services.gateway.errors import ClientError
from services.gateway.providers.body import parse_json
from services.gateway.providers.errors import BadRequest
from tests.support.asgi import Headers, Sent, incoming_of
from tests.support.targets import form

BODY = json.dumps({"model": "demo/echo", "messages": []}).encode()
FORM, FORM_TYPE = form([("model", None, b"demo/echo")])


def refusal(body: bytes, headers: Headers, *, wants_json: bool = True) -> ClientError:
    incoming = incoming_of(Sent().send, headers=headers)
    with pytest.raises(BadRequest) as caught:
        parse_json(body)
    return incoming.unreadable(caught.value, wants_json=wants_json)


@pytest.mark.parametrize("encoding", ["gzip", "br", "GZIP", "deflate, gzip"])
@pytest.mark.parametrize("wants_json", [True, False])
def test_an_encoded_body_is_refused_naming_the_encoding(encoding: str, wants_json: bool) -> None:
    error = refusal(gzip.compress(BODY), {"content-encoding": encoding}, wants_json=wants_json)

    assert (error.status, error.code) == (415, "unsupported_encoding")
    assert f"'{encoding}'" in error.message


def test_a_form_where_json_is_expected_is_told_so() -> None:
    error = refusal(FORM, {"content-type": FORM_TYPE})

    assert (error.status, error.code) == (400, "invalid_request")
    assert "takes JSON" in error.message
    assert "multipart/form-data" in error.message


@pytest.mark.parametrize("headers", [{}, {"content-encoding": "identity"}, {"content-type": "text/plain"}])
def test_anything_else_is_told_as_the_parser_says_it(headers: Headers) -> None:
    assert refusal(b"{", headers).message.startswith("The body is not valid JSON")
