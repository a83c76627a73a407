"""Tokens of Entra by Microsoft's library, against a fake token server, as the calls to Azure then carry them."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs

import msgspec
import openai
import pytest
from azure.core.pipeline.transport import AioHttpTransport

from services.gateway.providers.azure.adapter import AzureAdapter
from services.gateway.providers.azure.entra import EntraCredential, sealed_principal
from services.gateway.providers.operations import Operation
from services.gateway.providers.port import Target
from services.gateway.providers.token_client import TokenClient
from services.gateway.providers.tokens import TokenRefused, TokenUnavailable
from services.gateway.upstream.aiohttp_client import AiohttpClient
from services.gateway.upstream.port import UpstreamTimeouts
from shared.catalogue.provider_types import PROVIDER_TYPES
from shared.governance.model import Provider
from tests.support.gateway import served
from tests.support.providers.azure import running_azure
from tests.support.targets import json_body
from tests.support.upstream.app import Receive, Scope, Send

OPTIONS = {"tenant_id": "tenant-1", "client_id": "client-1"}
CHAT = '{"model":"azure/gpt-4o","messages":[{"role":"user","content":"hi"}]}'


@dataclass
class FakeEntra:
    """A token server."""

    status: int = 200
    answer: dict[str, Any] = field(
        default_factory=lambda: {"token_type": "Bearer", "expires_in": 3599, "access_token": "entra-token"}
    )
    asked: list[tuple[str, dict[str, list[str]]]] = field(default_factory=list)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        body = (await receive()).get("body", b"")
        self.asked.append((scope["path"], parse_qs(body.decode())))
        headers = [(b"content-type", b"application/json")]
        await send({"type": "http.response.start", "status": self.status, "headers": headers})
        await send({"type": "http.response.body", "body": msgspec.json.encode(self.answer)})


class Rerouted(AioHttpTransport):  # type: ignore[misc]  # exported on demand, which hides its type
    """The library's own transport, which meets the fake where it means Microsoft's server."""

    def __init__(self, url: str) -> None:
        super().__init__()
        self._url = url

    async def send(self, request: Any, **settings: Any) -> Any:
        request.url = request.url.replace("https://login.microsoftonline.com", self._url)
        return await super().send(request, **settings)

    async def sleep(self, duration: float) -> None:
        """Between the library's attempts nobody has to wait here."""


def azure_target(url: str, secret: str = "s3cret", **options: str) -> Target:
    provider = Provider(name="azure", type="azure", base_url=url, options=options)
    return Target(
        provider, PROVIDER_TYPES["azure"], "gpt-4o", "main", secret, UpstreamTimeouts(), alias="prod-chat"
    )


def credential(url: str, secret: str = "s3cret") -> EntraCredential:
    principal = sealed_principal(azure_target("http://azure", secret, **OPTIONS))
    assert principal is not None
    return EntraCredential(principal, Rerouted(url))


@asynccontextmanager
async def running_entra() -> AsyncIterator[tuple[FakeEntra, str]]:
    fake = FakeEntra()
    async with served(fake) as url:
        yield fake, url


async def test_a_service_principal_gets_a_token() -> None:
    async with running_entra() as (fake, url):
        token = await credential(url).fetch()

    assert token.value == "entra-token"
    path, form = fake.asked[0]
    assert path == "/tenant-1/oauth2/v2.0/token"
    assert form["grant_type"] == ["client_credentials"]
    assert form["scope"] == ["https://cognitiveservices.azure.com/.default"]
    assert (form["client_id"], form["client_secret"]) == (["client-1"], ["s3cret"])


async def test_a_wrong_secret_is_refused_and_a_broken_server_is_not() -> None:
    async with running_entra() as (fake, url):
        fake.status = 401
        fake.answer = {
            "error": "invalid_client",
            "error_description": "AADSTS7000215: Invalid client secret.",
        }
        with pytest.raises(TokenRefused, match="AADSTS7000215"):
            await credential(url).fetch()
        fake.status = 503
        with pytest.raises(TokenUnavailable):
            await credential(url).fetch()
    with pytest.raises(TokenUnavailable, match="cannot be asked"):
        await credential("http://127.0.0.1:9").fetch()


async def test_the_token_is_sent_as_the_vendors_client_sends_it_and_asked_for_once() -> None:
    async with running_entra() as (entra, login), running_azure() as (fake, url):
        network = AiohttpClient()
        tokens = TokenClient(network, lambda sealed: EntraCredential(sealed, Rerouted(login)).fetch)
        try:
            for _ in range(2):
                prepared = AzureAdapter().build(Operation.CHAT, azure_target(url, **OPTIONS), json_body(CHAT))
                response = await tokens.send(prepared.request)
                assert response.status == 200
                await response.read(1_000_000)
                response.close()
        finally:
            await tokens.close()
            await network.close()
        async with openai.AsyncAzureOpenAI(
            azure_endpoint=url, azure_ad_token="entra-token", api_version="2024-10-21", max_retries=0
        ) as theirs:
            await theirs.chat.completions.create(
                model="prod-chat", messages=[{"role": "user", "content": "hi"}]
            )

    ours, _, judge = fake.asked
    assert len(entra.asked) == 1
    assert ours.headers["authorization"] == judge.headers["authorization"] == "Bearer entra-token"
    assert "api-key" not in ours.headers and "api-key" not in judge.headers
    assert (ours.path, ours.version, ours.document) == (judge.path, judge.version, judge.document)


def test_who_asks_for_a_token() -> None:
    assert sealed_principal(azure_target("http://azure", "a-key")) is None
    machine = sealed_principal(azure_target("http://azure", "", **OPTIONS))
    assert machine is not None and "client-1" not in machine
