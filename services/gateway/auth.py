"""Who is calling: a virtual key, or anonymous where the installation allows it."""

from collections.abc import Mapping
from typing import Final

from services.gateway.errors import ClientError
from shared.events import ANONYMOUS_KEY_ID
from shared.governance.keys import checksum_ok, looks_like_key, sha256_of
from shared.governance.model import VirtualKey
from shared.governance.state import GovernanceState

ANONYMOUS: Final = VirtualKey(
    id=ANONYMOUS_KEY_ID, name=ANONYMOUS_KEY_ID, key_sha256="", prefix="", trust_user_headers=True
)
"""Everybody without a key of ours, where keys are not required. Such an installation trusts its callers."""

_BEARER: Final = "bearer"
_HEADERS: Final = (b"authorization", b"x-api-key", b"api-key")


class Authenticator:
    """Reads the governance state as it is at each call: a revoked key is refused by the next request."""

    def __init__(self, state: GovernanceState, *, required: bool) -> None:
        self._state = state
        self._required = required

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
        return ANONYMOUS

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
