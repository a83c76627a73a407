"""Who is calling: a virtual key, or anonymous where the installation allows it.

A web page that the user happens to look at can call a gateway on the user's own machine or network. So a page is
anonymous only if it comes from that machine itself, or from an origin that the settings allow; others need a key.
"""

from collections.abc import Collection, Mapping
from ipaddress import ip_address
from typing import Final
from urllib.parse import urlsplit

from services.gateway.errors import ClientError
from shared.events import ANONYMOUS_KEY_ID
from shared.governance.keys import checksum_ok, looks_like_key, sha256_of
from shared.governance.model import VirtualKey
from shared.governance.state import GovernanceState
from shared.settings import ANY

ANONYMOUS: Final = VirtualKey(
    id=ANONYMOUS_KEY_ID, name=ANONYMOUS_KEY_ID, key_sha256="", prefix="", trust_user_headers=True
)
"""Everybody without a key of ours, where keys are not required. Such an installation trusts its callers."""

_BEARER: Final = "bearer"
_HEADERS: Final = (b"authorization", b"x-api-key", b"api-key")


class Authenticator:
    """Reads the governance state as it is at each call: a revoked key is refused by the next request.

    `trusted_origins`: of pages that may call without a key, beside those of the browser's machine; `*` is all of them.
    """

    def __init__(
        self, state: GovernanceState, *, required: bool, trusted_origins: Collection[str] = ()
    ) -> None:
        self._state = state
        self._required = required
        self._trusts_all = ANY in trusted_origins
        self._trusted_origins = frozenset(origin.rstrip("/") for origin in trusted_origins)

    def authenticate(self, headers: Mapping[bytes, bytes], now_ms: int) -> VirtualKey:
        """The caller's key. A key of ours (by its prefix) counts whichever header it is in; it is never anonymous.

        Raises ClientError with status 401.
        """
        foreign = False
        for name in _HEADERS:
            text = _credential(headers.get(name))
            if looks_like_key(text):
                return self._own_key(text, now_ms)
            foreign = foreign or bool(text)
        if self._required:
            raise ClientError("invalid_api_key" if foreign else "missing_api_key")
        origin = headers.get(b"origin")
        if origin is not None and not self._trusts(origin.decode("latin-1")):
            raise ClientError(
                "missing_api_key",
                "A page of another site needs a virtual key to call this gateway, "
                "or its origin in FINOPS_CORS_ALLOWED_ORIGINS.",
            )
        return ANONYMOUS

    def _trusts(self, origin: str) -> bool:
        return self._trusts_all or origin in self._trusted_origins or _is_local(origin)

    def _own_key(self, text: str, now_ms: int) -> VirtualKey:
        key = self._state.key_by_sha256(sha256_of(text))
        if key is None:
            if not checksum_ok(text):
                raise ClientError(
                    "invalid_api_key",
                    "This API key is mistyped or cut off. Copy the whole key and try again.",
                )
            raise ClientError("invalid_api_key")
        if key.status != "active":
            raise ClientError("revoked_api_key")
        if key.expires_at_ms is not None and key.expires_at_ms <= now_ms:
            raise ClientError("expired_api_key")
        return key


def _credential(value: bytes | None) -> str:
    """The key in a header, with or without the word Bearer; empty when there is none."""
    if not value:
        return ""
    text = value.decode("latin-1").strip()
    scheme, _, rest = text.partition(" ")
    return rest.strip() if scheme.lower() == _BEARER else text


def _is_local(origin: str) -> bool:
    """Whether a page comes from a server on the machine that its browser runs on."""
    try:
        host = urlsplit(origin).hostname or ""
        return host == "localhost" or host.endswith(".localhost") or ip_address(host).is_loopback
    except ValueError:
        return False
