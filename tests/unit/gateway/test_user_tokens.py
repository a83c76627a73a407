"""Tokens about users: which are believed, and that nothing else in them breaks a request or reaches the log."""

import base64
import json
from collections.abc import Iterator, Mapping
from typing import Any

import jwt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.gateway import user_tokens
from services.gateway.credentials import unsealer
from services.gateway.metrics import GatewayMetrics
from services.gateway.user_tokens import LEEWAY_S, MAX_TOKEN_BYTES, UserTokens
from shared.governance.model import UserJwtSecret, VirtualKey
from shared.security import seal
from shared.settings import Settings
from shared.user_jwt import sealing_context
from tests.support.gateway import virtual_key
from tests.support.log_lines import log_lines
from tests.support.user_tokens import SECRET, claims, hand_made, token

KEY = bytes(range(32))
HS256 = {"alg": "HS256", "typ": "JWT"}


def key_with(secret: str = SECRET, name: str = "a", sealed_for: str = "") -> VirtualKey:
    sealed = seal(secret, KEY, sealing_context(sealed_for or f"vk_{name}"))
    return virtual_key(name, user_jwt=UserJwtSecret(sealed=sealed))[1]


class Checked:
    """UserTokens with what it counted and logged."""

    def __init__(self, environ: Mapping[str, str] | None = None, *, opens: bool = True) -> None:
        self.metrics = GatewayMetrics()
        settings = Settings.load({"FINOPS_SECRET_KEY": base64.b64encode(KEY).decode()} if opens else {})
        self.tokens = UserTokens(environ or {}, unsealer(settings), self.metrics)

    def reason(self, given: str | bytes, key: VirtualKey | None = None) -> str:
        """Why the token is not believed, as counted and as logged; empty when it is."""
        raw = given if isinstance(given, bytes) else given.encode()
        before = self.counted()
        with log_lines(user_tokens) as lines:
            found = self.tokens.claims(key or key_with(), raw)
        said = [line["reason"] for line in lines if line["event"] == "user_token_is_not_believed"]
        assert SECRET not in str(lines)
        assert not any(
            piece and len(piece) > 8 and piece.decode("latin-1") in str(lines) for piece in raw.split(b".")
        )
        new = {reason for reason, count in self.counted().items() if count > before.get(reason, 0)}
        assert new == set(said)
        assert (found is None) == bool(said)
        return "".join(said)

    def counted(self) -> dict[str, float]:
        return {
            sample.labels["reason"]: sample.value
            for metric in self.metrics.refused_user_tokens.collect()
            for sample in metric.samples
            if sample.name.endswith("_total")
        }


@pytest.fixture
def checked() -> Iterator[Checked]:
    yield Checked()


def test_a_token_as_open_webui_makes_it_is_believed(checked: Checked) -> None:
    given = claims()

    assert checked.tokens.claims(key_with(), token(**given).encode()) == given
    assert checked.counted() == {}


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"exp": None}, "claims"),
        ({"iss": None}, "claims"),
        ({"iss": "somebody-else"}, "claims"),
        ({"sub": 5}, "claims"),
        ({"exp": "soon"}, "malformed"),
        ({"exp": 1}, "expired"),
    ],
)
def test_a_signed_token_with_wrong_claims_is_not_believed(
    checked: Checked, changes: dict[str, Any], reason: str
) -> None:
    assert checked.reason(hand_made(HS256, claims(**changes))) == reason


def test_clocks_may_differ_by_the_leeway_and_no_more(checked: Checked) -> None:
    now = claims()["iat"]
    margin = 10

    assert checked.reason(token(exp=now - LEEWAY_S + margin)) == ""
    assert checked.reason(token(exp=now - LEEWAY_S - margin)) == "expired"
    assert checked.reason(token(iat=now + LEEWAY_S - margin)) == ""
    assert checked.reason(token(iat=now + LEEWAY_S + margin)) == "claims"


def test_another_secret_signs_in_vain(checked: Checked) -> None:
    assert checked.reason(token("another-secret-of-another-installation")) == "signature"


@pytest.mark.parametrize("algorithm", ["HS384", "HS512"])
def test_the_right_secret_with_another_algorithm_is_not_enough(checked: Checked, algorithm: str) -> None:
    long = key_with(SECRET * 2)

    assert checked.reason(jwt.encode(claims(), SECRET * 2, algorithm="HS256"), long) == ""
    assert checked.reason(jwt.encode(claims(), SECRET * 2, algorithm=algorithm), long) == "algorithm"


@pytest.mark.parametrize(
    "algorithm", ["none", "None", "RS256", "hs256", "", None, 5, ["HS256"], {"HS256": 1}]
)
def test_no_header_talks_another_algorithm_into_it(checked: Checked, algorithm: object) -> None:
    given = hand_made({"alg": algorithm}, claims())
    unsigned = given.rpartition(b".")[0] + b"."

    assert checked.reason(given) == "algorithm"
    assert checked.reason(unsigned) == "algorithm"


@pytest.mark.parametrize(
    "given",
    [
        b"x",
        b"..",
        b"a.b",
        b"a.b.c.d",
        b"\xff\xfe.\x00.x",
        hand_made([], claims()),
        hand_made(b"[" * 3000, claims()),
        hand_made(HS256, b"[" * 3000),
        hand_made(HS256, []),
        hand_made(HS256, b"\xff"),
        hand_made(HS256, b'{"iss": "open-webui", "exp": Infinity}'),
        hand_made(HS256, b'{"iss": "open-webui", "exp": 1' + b"0" * 5000 + b"}"),
        hand_made(HS256, claims(name="x" * MAX_TOKEN_BYTES)),
    ],
    ids=range(13),
)
def test_what_is_no_token_is_malformed(checked: Checked, given: bytes) -> None:
    assert checked.reason(given) == "malformed"


@given(st.binary(max_size=300))
def test_no_bytes_are_a_token(raw: bytes) -> None:
    assert Checked().reason(raw) != ""


@given(st.data())
def test_a_changed_token_is_not_believed(data: st.DataObject) -> None:
    raw = token().encode()
    at = data.draw(st.integers(0, len(raw) - 1))
    byte = data.draw(st.integers(0, 255).filter(lambda value: value != raw[at]))

    assert Checked().reason(raw[:at] + bytes([byte]) + raw[at + 1 :]) != ""


texts = st.text("a.%\n\x00ä\ud800", max_size=5)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=5,
)
NAMES = st.sampled_from(
    ["alg", "typ", "kid", "crit", "b64", "iss", "exp", "iat", "nbf", "aud", "jti", "sub", "email"]
)


@given(st.dictionaries(NAMES, json_values), st.dictionaries(NAMES, json_values))
def test_whatever_a_signed_token_holds_it_is_believed_or_refused(
    header: dict[str, Any], payload: dict[str, Any]
) -> None:
    given = hand_made(HS256 | header, claims() | payload)

    assert Checked().reason(given) in {"", "algorithm", "claims", "expired", "malformed", "signature"}


def test_each_key_has_its_own_secret(checked: Checked) -> None:
    other = key_with("the-secret-of-another-open-webui-" + "t" * 16, "b")

    assert checked.reason(token(), key_with()) == ""
    assert checked.reason(token(), other) == "signature"


def test_a_new_secret_is_in_force_with_the_next_request(checked: Checked) -> None:
    new = "the-new-secret-of-the-same-open-webui"

    assert checked.reason(token(), key_with()) == ""
    assert checked.reason(token(), key_with(new)) == "signature"
    assert checked.reason(token(new), key_with(new)) == ""


def test_the_secret_may_stand_in_a_variable_of_the_gateway() -> None:
    key = virtual_key(user_jwt=UserJwtSecret(env="OWUI_SECRET"))[1]

    assert Checked({"OWUI_SECRET": SECRET}).reason(token(), key) == ""
    assert Checked({"OWUI_SECRET": SECRET + "x"}).reason(token(), key) == "signature"
    assert Checked({}).reason(token(), key) == "secret"


@pytest.mark.parametrize("secret", ["short", f"{SECRET}\n", f" {SECRET}", "x" * 1025])
def test_a_secret_that_proves_nothing_proves_nothing(secret: str) -> None:
    key = virtual_key(user_jwt=UserJwtSecret(env="OWUI_SECRET"))[1]
    signed = hand_made(HS256, claims(), secret)

    assert Checked({"OWUI_SECRET": secret}).reason(signed, key) == "secret"


def test_a_secret_that_cannot_be_opened_proves_nothing_and_says_why_once() -> None:
    moved = key_with(sealed_for="vk_other")
    checked = Checked()

    with log_lines(user_tokens) as lines:
        assert checked.tokens.claims(moved, token().encode()) is None
        assert checked.tokens.claims(moved, token().encode()) is None

    assert [line["event"] for line in lines].count("user_jwt_secret_cannot_be_opened") == 1
    assert checked.counted() == {"secret": 2.0}
    assert Checked(opens=False).reason(token()) == "secret"


@pytest.mark.parametrize(
    "secret", ["ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIA", json.dumps({"kty": "oct", "k": "x" * 32})]
)
def test_what_is_the_key_of_another_algorithm_is_no_secret(secret: str) -> None:
    assert Checked().reason(hand_made(HS256, claims(), secret), key_with(secret)) == "secret"
