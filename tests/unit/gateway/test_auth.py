"""Who may call: keys of ours are checked always, everybody else is anonymous only where that is allowed."""

import msgspec
import pytest

from services.gateway.auth import ANONYMOUS, Authenticator
from services.gateway.errors import ClientError
from shared.events import GovernanceChanged
from shared.governance.keys import new_key
from shared.governance.model import VirtualKey
from shared.governance.state import GovernanceState
from tests.support.gateway import virtual_key

NOW = 1_800_000_000_000


def state_with(*keys: VirtualKey) -> GovernanceState:
    state = GovernanceState()
    for key in keys:
        change = GovernanceChanged(
            change_id="c",
            entity="virtual_key",
            entity_id=key.id,
            version=1,
            at_ms=1,
            actor="t",
            action="create",
            value=msgspec.Raw(msgspec.json.encode(key)),
        )
        assert state.apply(change)
    return state


@pytest.mark.parametrize(
    ("header", "form"),
    [
        (b"authorization", "Bearer {}"),
        (b"authorization", "bearer  {}"),
        (b"authorization", "{}"),
        (b"x-api-key", "{}"),
        (b"api-key", "{}"),
    ],
)
def test_a_key_is_read_from_each_of_the_headers(header: bytes, form: str) -> None:
    secret, key = virtual_key()
    authenticator = Authenticator(state_with(key), required=True)

    found = authenticator.authenticate({header: form.format(secret).encode()}, NOW)

    assert found.id == key.id


def test_a_key_of_ours_wins_over_a_foreign_one_in_an_earlier_header() -> None:
    secret, key = virtual_key()
    authenticator = Authenticator(state_with(key), required=False)

    found = authenticator.authenticate({b"authorization": b"Bearer dummy", b"api-key": secret.encode()}, NOW)

    assert found.id == key.id


@pytest.mark.parametrize(
    "headers",
    [{}, {b"authorization": b"Bearer "}, {b"authorization": b"Bearer dummy"}, {b"x-api-key": b"sk-1"}],
)
def test_missing_and_foreign_keys_are_anonymous_where_none_is_required(headers: dict[bytes, bytes]) -> None:
    assert Authenticator(GovernanceState(), required=False).authenticate(headers, NOW) is ANONYMOUS


@pytest.mark.parametrize(
    ("headers", "code"),
    [
        ({}, "missing_api_key"),
        ({b"authorization": b"Bearer "}, "missing_api_key"),
        ({b"authorization": b"Bearer dummy"}, "invalid_api_key"),
    ],
)
def test_missing_and_foreign_keys_are_refused_where_one_is_required(
    headers: dict[bytes, bytes], code: str
) -> None:
    with pytest.raises(ClientError) as caught:
        Authenticator(GovernanceState(), required=True).authenticate(headers, NOW)

    assert (caught.value.status, caught.value.code) == (401, code)


@pytest.mark.parametrize("required", [True, False])
def test_an_unknown_or_mistyped_key_of_ours_is_never_anonymous(required: bool) -> None:
    authenticator = Authenticator(GovernanceState(), required=required)
    unknown = new_key()
    mistyped = unknown[:-1] + ("a" if unknown[-1] != "a" else "b")

    messages = []
    for secret in (unknown, mistyped, "sk-fo-"):
        with pytest.raises(ClientError) as caught:
            authenticator.authenticate({b"authorization": b"Bearer " + secret.encode()}, NOW)
        assert (caught.value.status, caught.value.code) == (401, "invalid_api_key")
        messages.append(caught.value.message)

    assert messages[0] != messages[1]  # a mistyped key is told from an unknown one


def test_revoked_and_expired_keys_are_refused() -> None:
    revoked_secret, revoked = virtual_key("a", status="revoked")
    expired_secret, expired = virtual_key("b", expires_at_ms=NOW)
    fresh_secret, fresh = virtual_key("c", expires_at_ms=NOW + 1)
    authenticator = Authenticator(state_with(revoked, expired, fresh), required=False)

    for secret, code in ((revoked_secret, "revoked_api_key"), (expired_secret, "expired_api_key")):
        with pytest.raises(ClientError) as caught:
            authenticator.authenticate({b"x-api-key": secret.encode()}, NOW)
        assert (caught.value.status, caught.value.code) == (401, code)
    assert authenticator.authenticate({b"x-api-key": fresh_secret.encode()}, NOW).id == fresh.id


LOCAL_PAGES = [
    "http://localhost:3000",
    "http://127.0.0.1",
    "https://[::1]:8443",
    "http://chat.localhost:3000",
]
OTHER_PAGES = [
    "https://evil.example",
    "http://localhost.evil.example",
    "http://127.0.0.1.evil.example",
    "http://192.168.0.7:3000",
    "null",
    "",
    "http://[",
]


@pytest.mark.parametrize("origin", LOCAL_PAGES)
def test_pages_of_the_same_machine_are_anonymous_too(origin: str) -> None:
    headers = {b"authorization": b"Bearer dummy", b"origin": origin.encode()}

    assert Authenticator(GovernanceState(), required=False).authenticate(headers, NOW) is ANONYMOUS


@pytest.mark.parametrize("origin", OTHER_PAGES)
def test_a_page_of_another_site_spends_nothing_without_a_key(origin: str) -> None:
    secret, key = virtual_key()
    authenticator = Authenticator(state_with(key), required=False, trusted_origins=("https://chat.example",))

    with pytest.raises(ClientError) as caught:
        authenticator.authenticate({b"origin": origin.encode()}, NOW)

    assert (caught.value.status, caught.value.code) == (401, "missing_api_key")
    assert "FINOPS_CORS_ALLOWED_ORIGINS" in caught.value.message
    with_key = {b"origin": origin.encode(), b"authorization": b"Bearer " + secret.encode()}
    assert authenticator.authenticate(with_key, NOW).id == key.id


@pytest.mark.parametrize("trusted", [("https://chat.example",), ("https://chat.example/",), ("*",)])
def test_pages_that_the_settings_allow_are_anonymous(trusted: tuple[str, ...]) -> None:
    authenticator = Authenticator(GovernanceState(), required=False, trusted_origins=trusted)

    assert authenticator.authenticate({b"origin": b"https://chat.example"}, NOW) is ANONYMOUS
