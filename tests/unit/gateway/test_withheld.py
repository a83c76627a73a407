"""Credentials do not get into what is said of a failure, in whatever form a server repeats them."""

import base64
import json
from urllib.parse import quote

import pytest

from services.gateway.providers.bedrock.credentials import Identity
from services.gateway.providers.bedrock.signing import AwsRequest
from services.gateway.providers.errors import UpstreamError
from services.gateway.providers.token_client import with_token
from services.gateway.upstream.port import UpstreamBroken, UpstreamRequest
from services.gateway.withheld import MARK, Withheld

SECRET = 'sk-up/stream+"secret"=='


def request(**headers: str) -> UpstreamRequest:
    sent = {name.replace("_", "-"): value for name, value in headers.items()}
    return UpstreamRequest("POST", "https://api.example.com/v1/chat/completions", sent)


@pytest.mark.parametrize(
    "header", ["authorization", "api_key", "x_api_key", "x_goog_api_key", "cf_aig_token"]
)
@pytest.mark.parametrize(
    "written",
    [
        SECRET,
        quote(SECRET, safe=""),
        json.dumps(SECRET)[1:-1],
        base64.b64encode(SECRET.encode()).decode(),
    ],
)
def test_a_secret_is_cut_out_in_every_form(header: str, written: str) -> None:
    withheld = Withheld(request(**{header: f"Bearer {SECRET}"}))

    assert withheld.from_text(f"You sent {written}, which is wrong.").startswith(f"You sent {MARK}")
    assert written.encode() not in withheld.from_bytes(b'{"error":"' + written.encode() + b'"}')


def test_what_holds_no_secret_stays_the_same_object() -> None:
    withheld = Withheld(request(authorization=f"Bearer {SECRET}", accept="*/*"))
    body = b'{"error":"The model */* is unknown."}'

    assert withheld.from_bytes(body) is body


def test_a_secret_that_is_as_short_as_a_word_stays() -> None:
    assert Withheld(request(authorization="Bearer x")).from_text("The next example") == "The next example"


def test_a_failure_loses_it_wherever_it_stands() -> None:
    withheld = Withheld(request(authorization=f"Bearer {SECRET}"))
    told = UpstreamError(status=400, message=SECRET, code=SECRET, type=SECRET, param=SECRET)
    broken = UpstreamBroken(f"lost {SECRET}", answered=True)
    broken.received = SECRET.encode()

    withheld.from_failure(told)
    withheld.from_failure(broken)

    assert (str(told), told.message, told.upstream_code, told.type, told.param) == (MARK,) * 5
    assert (str(broken), broken.received) == (f"lost {MARK}", MARK.encode())


def test_tokens_that_were_put_on_a_request_are_withheld_as_well_as_what_they_were_had_for() -> None:
    asked = with_token(request(accept="*/*"), "the-sealed-principal")
    asked.tokens.append("ya29.a-token")

    shown = Withheld(asked).from_text("Bearer ya29.a-token the-sealed-principal")

    assert shown == f"Bearer {MARK} {MARK}"


def test_the_keys_that_sign_are_withheld() -> None:
    identity = Identity("AKIDEXAMPLE", "wJalrXUtnFEMI/K7MDENG", "session-token")
    signed = AwsRequest("POST", "https://x", {}, b"", identity=identity)

    shown = Withheld(signed).from_text("AKIDEXAMPLE wJalrXUtnFEMI/K7MDENG session-token")

    assert shown == f"{MARK} {MARK} {MARK}"
