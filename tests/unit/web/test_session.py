"""Who is an administrator."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.requests import HTTPConnection

from shared.web.session import COOKIE, LIFETIME_S, AdminAccess

TOKEN = "fo-admin-secret"


class Clock:
    def __init__(self) -> None:
        self.now = 1_790_000_000.0

    def __call__(self) -> float:
        return self.now


def connection(method: str = "GET", **headers: str) -> HTTPConnection:
    raw = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
    return HTTPConnection({"type": "http", "method": method, "path": "/", "headers": raw, "scheme": "http"})


def test_a_session_holds_for_its_lifetime() -> None:
    clock = Clock()
    access = AdminAccess(TOKEN, b"k" * 32, clock)
    session = access.issue()

    clock.now += LIFETIME_S - 1
    assert access.verify(session)
    clock.now += 1
    assert not access.verify(session)


def test_another_installation_or_a_new_token_ends_sessions() -> None:
    session = AdminAccess(TOKEN, b"k" * 32).issue()

    assert not AdminAccess(TOKEN, b"x" * 32).verify(session)
    assert not AdminAccess("another", b"k" * 32).verify(session)


def test_an_expiry_cannot_be_moved() -> None:
    expiry, _, signature = AdminAccess(TOKEN, b"k" * 32).issue().partition(".")

    assert not AdminAccess(TOKEN, b"k" * 32).verify(f"{int(expiry) + 1}.{signature}")


@given(st.text(max_size=40))
def test_any_other_text_is_no_session(text: str) -> None:
    assert not AdminAccess(TOKEN, b"k" * 32).verify(text)


@pytest.mark.parametrize("token", ["", "fo-admin-secre", "sk-fo-key", "fo-admin-secret "])
def test_only_the_token_itself_is_right(token: str) -> None:
    assert not AdminAccess(TOKEN, b"k" * 32).token_is_right(token)


def test_without_a_token_nobody_is_an_administrator() -> None:
    access = AdminAccess("", b"k" * 32)

    assert not access.allows(connection(authorization="Bearer "))
    assert not access.allows(connection(cookie=f"{COOKIE}={access.issue()}"))


def test_bearer_and_cookie_open() -> None:
    access = AdminAccess(TOKEN, b"k" * 32)

    assert access.allows(connection(authorization=f"bearer {TOKEN}"))
    assert access.allows(connection(cookie=f"{COOKIE}={access.issue()}"))
    assert not access.allows(connection())


def test_a_wrong_bearer_is_not_helped_by_a_cookie() -> None:
    access = AdminAccess(TOKEN, b"k" * 32)

    assert not access.allows(connection(authorization="Bearer sk-fo-1", cookie=f"{COOKIE}={access.issue()}"))


def test_another_site_cannot_change_anything_with_the_cookie() -> None:
    access = AdminAccess(TOKEN, b"k" * 32)
    cookie = f"{COOKIE}={access.issue()}"

    assert not access.allows(connection("POST", cookie=cookie, sec_fetch_site="cross-site"))
    assert not access.allows(connection("DELETE", cookie=cookie, sec_fetch_site="same-site"))
    assert access.allows(connection("POST", cookie=cookie, sec_fetch_site="same-origin"))
    assert access.allows(connection("POST", authorization=f"Bearer {TOKEN}", sec_fetch_site="cross-site"))


@pytest.mark.parametrize(
    ("origin", "allowed"),
    [
        ("http://10.0.0.5:8080", True),
        ("http://10.0.0.5:3000", False),
        ("http://evil.example", False),
        ("null", False),
    ],
)
def test_without_tls_the_origin_tells_whose_page_it_was(origin: str, allowed: bool) -> None:
    access = AdminAccess(TOKEN, b"k" * 32)

    request = connection("POST", cookie=f"{COOKIE}={access.issue()}", host="10.0.0.5:8080", origin=origin)

    assert access.allows(request) is allowed
