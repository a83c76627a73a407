"""Google's own library for credentials, over httpx and away from the event loop. Every foreign exception ends here."""

import asyncio
from collections.abc import Mapping
from datetime import UTC
from pathlib import Path
from typing import Any, Final

import google.auth
import google.auth.credentials
import google.auth.exceptions
import google.auth.transport
import google.oauth2.credentials
import httpx
import msgspec
from google.auth import aws, external_account_authorized_user, identity_pool, impersonated_credentials
from google.oauth2 import service_account

from services.gateway.providers.tokens import Fetch, Token, TokenRefused, TokenUnavailable

SCOPES: Final = ("https://www.googleapis.com/auth/cloud-platform",)
TIMEOUT_S: Final = 15.0
_AWS: Final = "urn:ietf:params:aws:token-type:aws4_request"
"""What tells an external account of AWS's from one of anybody else's."""
# The library has few types: what has none is named here once.
_TransportFailed: Final[Any] = google.auth.exceptions.TransportError
_KINDS: Final[Mapping[str, Any]] = {
    "service_account": service_account.Credentials.from_service_account_info,
    "authorized_user": google.oauth2.credentials.Credentials.from_authorized_user_info,
    "external_account": identity_pool.Credentials.from_info,
    _AWS: aws.Credentials.from_info,
    "external_account_authorized_user": external_account_authorized_user.Credentials.from_info,
    "impersonated_service_account": impersonated_credentials.Credentials.from_impersonated_service_account_info,
}
_WITHOUT_SCOPES: Final = frozenset({"external_account_authorized_user"})
"""Their scopes are those that the person gave when signing in."""


class _Answer(google.auth.transport.Response):
    def __init__(self, response: httpx.Response) -> None:
        self._response = response

    @property
    def status(self) -> int:
        return self._response.status_code

    @property
    def headers(self) -> Mapping[str, str]:
        return self._response.headers

    @property
    def data(self) -> bytes:
        return self._response.content


class _Transport(google.auth.transport.Request):
    """What the library asks token servers and metadata servers with."""

    def __init__(self, client: httpx.Client) -> None:
        self._client = client

    def __call__(
        self,
        url: str,
        method: str = "GET",
        body: bytes | str | None = None,
        headers: Mapping[str, str] | None = None,
        timeout: float | None = None,
        **_: Any,
    ) -> _Answer:
        try:
            answer = self._client.request(
                method, url, content=body, headers=headers, timeout=timeout or TIMEOUT_S
            )
        except httpx.HTTPError as error:
            raise _TransportFailed(str(error)) from error
        return _Answer(answer)


class GoogleCredential:
    """One credential: the JSON of a key or the path of a file with it; empty stands for the machine's own."""

    def __init__(self, secret: str) -> None:
        self._secret = secret
        self._credentials: Any = None

    async def fetch(self) -> Token:
        """A new token. Raises TokenRefused or TokenUnavailable."""
        return await asyncio.to_thread(self._fetch)

    def _fetch(self) -> Token:
        with httpx.Client() as client:
            transport = _Transport(client)
            try:
                if self._credentials is None:
                    self._credentials = load(self._secret, transport)
                self._credentials.refresh(transport)
            except google.auth.exceptions.TransportError as error:
                raise TokenUnavailable(f"Google's token server cannot be asked: {error}") from error
            except google.auth.exceptions.GoogleAuthError as error:
                kind = TokenUnavailable if getattr(error, "retryable", False) else TokenRefused
                raise kind(
                    f"Google gives no access token for this credential: {error.args[0] if error.args else error}"
                ) from error
            except (OSError, ValueError) as error:
                raise TokenRefused("The credential is not a key of Google's in JSON.") from error
        expiry = self._credentials.expiry
        if not self._credentials.token or expiry is None:
            raise TokenRefused("Google gives no access token for this credential.")
        payer = getattr(self._credentials, "quota_project_id", None)
        headers = {"x-goog-user-project": str(payer)} if payer else {}
        return Token(self._credentials.token, expiry.replace(tzinfo=UTC).timestamp(), headers)


def fetch_for(secret: str) -> Fetch:
    """How a token for this credential is had."""
    return GoogleCredential(secret).fetch


def project_of(secret: str) -> str:
    """The project in the JSON of a key; empty where it names none."""
    if not secret.startswith("{"):
        return ""
    try:
        project = msgspec.json.decode(secret, type=dict[str, Any]).get("project_id")
    except msgspec.DecodeError:
        return ""  # not a key: the token source says so
    return project if isinstance(project, str) else ""


def load(secret: str, transport: Any) -> Any:
    """The library's own credentials. Raises TokenRefused, or what the library raises."""
    if not secret:
        return google.auth.default(scopes=SCOPES, request=transport)[0]
    text = secret if secret.startswith("{") else Path(secret).read_text()
    info = msgspec.json.decode(text, type=dict[str, Any])
    kind = str(info.get("type"))
    make = _KINDS.get(_AWS if info.get("subject_token_type") == _AWS else kind)
    if make is None or (kind == "impersonated_service_account" and "source_credentials" not in info):
        raise TokenRefused("A credential of this type is not supported: use a service account's key.")
    return make(info) if kind in _WITHOUT_SCOPES else make(info, scopes=SCOPES)
