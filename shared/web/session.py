"""Who is an administrator: the bearer of the admin token, or of a session cookie got with it.

A session is `expiry.signature`, signed with a key made of the installation's secret and the admin token: nothing is
stored, any replica can check it, and a new admin token ends all sessions. Keys for `/v1` never count here.
"""

import hashlib
import hmac
import time
from collections.abc import Callable
from typing import Final
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.requests import HTTPConnection
from starlette.responses import Response

COOKIE: Final = "finops_session"
LIFETIME_S: Final = 12 * 3600
_SAFE_METHODS: Final = frozenset({"GET", "HEAD", "OPTIONS"})
_OWN_SITE: Final = frozenset({"same-origin", "none"})


class AdminAccess:
    """Checks and issues proofs of being an administrator. `now_s` gives Unix seconds."""

    def __init__(self, admin_token: str, secret_key: bytes, now_s: Callable[[], float] = time.time) -> None:
        """An empty `admin_token` lets nobody in."""
        self._token = admin_token.encode()
        self._key = hmac.digest(
            secret_key, b"finops admin session\0" + hashlib.sha256(self._token).digest(), "sha256"
        )
        self._now_s = now_s

    def token_is_right(self, candidate: str) -> bool:
        return bool(self._token) and hmac.compare_digest(candidate.encode("utf-8", "replace"), self._token)

    def issue(self) -> str:
        """A session that starts now and ends after 12 hours."""
        expiry = str(int(self._now_s()) + LIFETIME_S)
        return f"{expiry}.{self._signature(expiry)}"

    def verify(self, session: str) -> bool:
        """Whether a session was issued here and has not expired. Anything else is False, never an error."""
        expiry, dot, signature = session.partition(".")
        if not self._token or not dot or not (expiry.isascii() and expiry.isdigit()) or len(expiry) > 12:
            return False
        genuine = hmac.compare_digest(signature.encode("utf-8", "replace"), self._signature(expiry).encode())
        return genuine and int(expiry) > self._now_s()

    def allows(self, connection: HTTPConnection) -> bool:
        """Whether a request comes from an administrator: `Authorization: Bearer TOKEN` or the session cookie.

        A cookie alone does not open a changing request that another site's page made the browser send.
        """
        scheme, _, credentials = connection.headers.get("authorization", "").partition(" ")
        if scheme.lower() == "bearer":
            return self.token_is_right(credentials.strip())
        if not self.verify(connection.cookies.get(COOKIE, "")):
            return False
        method = str(connection.scope.get("method", "GET"))
        return method in _SAFE_METHODS or _from_own_page(connection.headers)

    def open_session(self, connection: HTTPConnection, response: Response) -> None:
        """Set the session cookie on `response`."""
        response.set_cookie(
            COOKIE,
            self.issue(),
            max_age=LIFETIME_S,
            path="/",
            httponly=True,
            samesite="strict",
            secure=_over_tls(connection),
        )

    def close_session(self, connection: HTTPConnection, response: Response) -> None:
        response.delete_cookie(
            COOKIE, path="/", httponly=True, samesite="strict", secure=_over_tls(connection)
        )

    def _signature(self, expiry: str) -> str:
        return hmac.new(self._key, expiry.encode(), "sha256").hexdigest()


def _from_own_page(headers: Headers) -> bool:
    """Whether a page of this very origin, or no page at all, sent a request.

    Without TLS browsers leave `Sec-Fetch-Site` out, and pages on other ports of the host count as the same site for a
    cookie: then `Origin` tells.
    """
    site = headers.get("sec-fetch-site")
    if site is not None:
        return site in _OWN_SITE
    origin = headers.get("origin")
    return origin is None or urlsplit(origin).netloc == headers.get("host")


def _over_tls(connection: HTTPConnection) -> bool:
    """Whether the browser came over TLS, also when a proxy in front took it off."""
    return connection.headers.get("x-forwarded-proto", connection.url.scheme).split(",")[0].strip() == "https"
