"""Microsoft's own library for tokens of Entra ID. Every foreign exception ends here."""

from typing import Any, Final

import msgspec
from azure.core.credentials import AccessToken
from azure.core.exceptions import AzureError, ClientAuthenticationError
from azure.core.pipeline.transport import AsyncHttpTransport
from azure.identity.aio import ClientSecretCredential, DefaultAzureCredential

from services.gateway.providers.port import Target
from services.gateway.providers.tokens import Fetch, Token, TokenRefused, TokenUnavailable

SCOPE: Final = "https://cognitiveservices.azure.com/.default"
"""Of the public cloud; `options.scope` replaces it."""
RETRIES: Final = 1
"""The library's own, within one question; the next request asks again anyway."""
_BUSY: Final = 429


class Principal(msgspec.Struct, frozen=True, omit_defaults=True):
    """Who asks Entra for a token. Without `client_id` the machine itself: its identity, or who is signed in there."""

    tenant_id: str = ""
    client_id: str = ""
    client_secret: str = ""
    authority: str = ""
    scope: str = SCOPE


def sealed_principal(target: Target) -> str | None:
    """The principal in a form that a token is kept for; None when the target's secret is a key of the resource.

    A secret is a service principal's when the provider's options name `tenant_id` and `client_id`.
    """
    options = target.provider.options
    tenant_id, client_id = options.get("tenant_id", ""), options.get("client_id", "")
    secret = target.secret.strip()
    if secret and not (tenant_id and client_id):
        return None
    principal = Principal(
        tenant_id=tenant_id if secret else "",
        client_id=client_id if secret else "",
        client_secret=secret,
        authority=options.get("authority", ""),
        scope=options.get("scope", SCOPE),
    )
    return msgspec.json.encode(principal).decode()


class EntraCredential:
    """One principal, as `sealed_principal` wrote it. `transport`: what the library asks with, for tests."""

    def __init__(self, sealed: str, transport: AsyncHttpTransport[Any, Any] | None = None) -> None:
        self._principal = msgspec.json.decode(sealed, type=Principal)
        self._settings: dict[str, Any] = {"retry_total": RETRIES}
        if transport is not None:
            self._settings["transport"] = transport
        if self._principal.authority:
            self._settings["authority"] = self._principal.authority

    async def fetch(self) -> Token:
        """A new token. Raises TokenRefused or TokenUnavailable."""
        try:
            token = await self._ask()
        except ClientAuthenticationError as error:
            status = error.status_code or 0
            kind = TokenUnavailable if status >= 500 or status == _BUSY else TokenRefused
            raise kind(f"Entra gives no access token for this credential: {_first_line(error)}") from error
        except AzureError as error:
            raise TokenUnavailable(f"Entra cannot be asked for a token: {_first_line(error)}") from error
        except ValueError as error:
            raise TokenRefused(f"The credential cannot be used at Entra: {error}") from error
        return Token(token.token, float(token.expires_on))

    async def _ask(self) -> AccessToken:
        who = self._principal
        if not who.client_id:
            async with DefaultAzureCredential(**self._settings) as machine:
                return await machine.get_token(who.scope)
        async with ClientSecretCredential(
            who.tenant_id, who.client_id, who.client_secret, **self._settings
        ) as service:
            return await service.get_token(who.scope)


def fetch_for(sealed: str) -> Fetch:
    """How a token for this principal is had."""
    return EntraCredential(sealed).fetch


def _first_line(error: AzureError) -> str:
    return str(error.message).partition("\n")[0].strip()
