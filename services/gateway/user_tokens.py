"""Tokens in which a client signs who its user is, and the secrets that prove it.

The wire format is Open WebUI's: a JWT (RFC 7519) signed with HS256, with `iss` = `open-webui`, `iat`, `exp` five minutes
later, and the user in `email`, `sub`, `name` and `role`. See `FORWARD_USER_INFO_HEADER_JWT_SECRET` in its documentation.
"""

from collections.abc import Mapping
from typing import Any, Final

import jwt

from services.gateway.credentials import Unseal
from services.gateway.metrics import GatewayMetrics
from shared.errors import FinOpsError
from shared.governance.model import UserJwtSecret, VirtualKey
from shared.telemetry import get_logger
from shared.user_jwt import sealing_context, secret_problem

log = get_logger(__name__)

ALGORITHM: Final = "HS256"
ISSUER: Final = "open-webui"
LEEWAY_S: Final = 30
"""Between the clocks of the client and of this gateway."""
MAX_TOKEN_BYTES: Final = 8192
"""Open WebUI's have a few hundred; reading one costs time before anything about it is known to be true."""
_REASONS: Final[tuple[tuple[type[jwt.PyJWTError], str], ...]] = (
    (jwt.ExpiredSignatureError, "expired"),
    (jwt.InvalidSignatureError, "signature"),
    (jwt.InvalidAlgorithmError, "algorithm"),
    (jwt.InvalidKeyError, "secret"),
    (jwt.DecodeError, "malformed"),
)
"""The first that fits; whatever else is wrong with a signed token is a claim of it."""


class UserTokens:
    """Secrets are opened at their first use and kept in memory only."""

    def __init__(self, environ: Mapping[str, str], unseal: Unseal, metrics: GatewayMetrics) -> None:
        self._environ = environ
        self._unseal = unseal
        self._metrics = metrics
        self._opened: dict[str, tuple[UserJwtSecret, str]] = {}
        self._jwt = jwt.PyJWT(
            {"require": ["exp", "iss"], "verify_aud": False, "enforce_minimum_key_length": True}
        )

    def claims(self, key: VirtualKey, token: bytes) -> Mapping[str, Any] | None:
        """What the token says of its user; None when it is not to be believed, which is counted and logged."""
        secret = self._secret(key)
        reason = "secret" if not secret else "malformed" if len(token) > MAX_TOKEN_BYTES else ""
        if not reason:
            try:
                return self._jwt.decode(token, secret, algorithms=[ALGORITHM], issuer=ISSUER, leeway=LEEWAY_S)
            except jwt.PyJWTError as error:
                # its text may quote the token, so only its kind is told
                reason = next((name for kind, name in _REASONS if isinstance(error, kind)), "claims")
        self._metrics.refused_user_tokens.labels(reason).inc()
        log.warning("user_token_is_not_believed", virtual_key=key.id, reason=reason)
        return None

    def _secret(self, key: VirtualKey) -> str:
        """Empty when it cannot be had here."""
        kept = key.user_jwt
        if kept is None:
            return ""
        known = self._opened.get(key.id)
        if known is None or known[0] != kept:
            known = self._opened[key.id] = (kept, self._open(key.id, kept))
        return known[1]

    def _open(self, key_id: str, kept: UserJwtSecret) -> str:
        """The secret; empty, with a log line, when it cannot be had here or proves nothing."""
        if kept.env:
            secret = self._environ.get(kept.env, "")
            if not secret:
                log.warning("user_jwt_secret_is_not_set", variable=kept.env, virtual_key=key_id)
                return ""
        else:
            try:
                secret = self._unseal(kept.sealed, sealing_context(key_id))
            except FinOpsError as error:
                log.error("user_jwt_secret_cannot_be_opened", reason=str(error), virtual_key=key_id)
                return ""
        problem = secret_problem(secret)
        if problem:
            log.error("user_jwt_secret_is_wrong", reason=f"It {problem}.", virtual_key=key_id)
            return ""
        return secret
