"""Claude and Responses at Azure through a whole gateway, judged by the calls that the vendors' own clients make."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import anthropic
import openai
import pytest

from services.gateway.providers.azure.adapter import AzureAdapter
from services.gateway.providers.azure.claude import AzureClaudeAdapter
from services.gateway.providers.operations import Operation
from services.gateway.providers.port import Target
from services.gateway.providers.token_client import TokenRequest
from services.gateway.upstream.port import UpstreamTimeouts
from shared.catalogue.provider_types import PROVIDER_TYPES
from shared.governance.model import Credential, PriceOverride, Provider
from tests.support.gateway import RunningGateway, running_gateway, served
from tests.support.providers.anthropic import FakeAnthropic, events, text, thinking
from tests.support.providers.azure import running_azure
from tests.support.providers.script import Turn
from tests.support.targets import json_body
from tests.support.upstream.app import Receive, Scope, Send

KEY = "azure-key"
ASK: Any = [{"role": "user", "content": "Hello"}]
PRICE = PriceOverride(
    model="azure/claude-opus-5", input_per_million_nanos=1_000_000_000, output_per_million_nanos=2_000_000_000
)


@dataclass
class FakeFoundry:
    """A resource with Claude behind it."""

    claude: FakeAnthropic = field(default_factory=FakeAnthropic)
    asked: list[tuple[str, dict[str, str]]] = field(default_factory=list)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = {name.decode(): value.decode() for name, value in scope["headers"]}
        self.asked.append((scope["path"], headers))
        opened = headers.get("x-api-key") == KEY and "authorization" not in headers
        inside = [head for head in scope["headers"] if head[0] not in (b"x-api-key", b"api-key")]
        inside.append((b"authorization", b"Bearer anthropic-key" if opened else b"Bearer wrong"))
        path = scope["path"].removeprefix("/anthropic")
        await self.claude({**scope, "path": path, "headers": inside}, receive, send)


@asynccontextmanager
async def foundry(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[tuple[FakeFoundry, RunningGateway, str]]:
    monkeypatch.setenv("AZURE_KEY", KEY)
    fake = FakeFoundry()
    async with served(fake) as url:
        aliases = {"claude-opus-5": "our-claude"}
        provider = Provider(
            name="azure",
            type="azure",
            base_url=url,
            credentials=(Credential(name="main", env="AZURE_KEY", aliases=aliases),),
        )
        async with running_gateway(tmp_path, provider, PRICE) as gateway:
            yield fake, gateway, url


@pytest.mark.proves(provider="azure", operation="messages")
@pytest.mark.proves(provider="azure", operation="messages.count_tokens")
async def test_claude_is_called_as_anthropics_client_calls_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fields: Any = {"max_tokens": 50, "messages": ASK}
    async with foundry(tmp_path, monkeypatch) as (fake, gateway, url):
        async with (
            anthropic.AsyncAnthropicFoundry(base_url=f"{url}/anthropic/", api_key=KEY) as theirs,
            anthropic.AsyncAnthropic(base_url=gateway.url, api_key="none", max_retries=0) as ours,
        ):
            await theirs.messages.create(model="our-claude", **fields)
            said = await ours.messages.create(model="azure/claude-opus-5", **fields)
            counted = await ours.messages.count_tokens(model="azure/claude-opus-5", messages=ASK)

        (path, judge), (our_path, sent), (count_path, _) = fake.asked
        assert our_path == path == "/anthropic/v1/messages"
        for name in ("x-api-key", "api-key", "anthropic-version"):
            assert sent[name] == judge[name]
        assert "authorization" not in sent and "authorization" not in judge
        first, second, _ = fake.claude.asked
        assert second.body == first.body
        assert said.content[0].type == "text"
        assert (counted.input_tokens, count_path) == (2095, "/anthropic/v1/messages/count_tokens")


async def test_claude_answers_openais_clients_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with foundry(tmp_path, monkeypatch) as (fake, gateway, _):
        fake.claude.events = events(thinking("Hm."), text("Hello there."))
        async with openai.AsyncOpenAI(base_url=f"{gateway.url}/v1", api_key="none", max_retries=0) as client:
            async with client.chat.completions.stream(
                model="azure/claude-opus-5", messages=ASK, stream_options={"include_usage": True}
            ) as stream:
                final = await stream.get_final_completion()
            response = await client.responses.create(model="azure/claude-opus-5", input="Hello")
            with pytest.raises(openai.BadRequestError, match="does not offer"):
                await client.embeddings.create(model="azure/claude-opus-5", input="a")

        assert final.choices[0].message.content == "Hello there."
        assert response.output_text == "Hello there."
        assert [asked.body["model"] for asked in fake.claude.asked] == ["our-claude", "our-claude"]
        (logged, _, _) = await gateway.logged(3)
        assert (logged.model, logged.cost_basis) == ("claude-opus-5", "priced")


@pytest.mark.parametrize("ending", ["", "/", "/openai", "/openai/v1/", "/anthropic", "/anthropic/v1"])
def test_the_resource_is_found_in_any_of_its_addresses(ending: str) -> None:
    provider = Provider(name="azure", type="azure", base_url=f"https://acme.test{ending}")
    target = Target(provider, PROVIDER_TYPES["azure"], "gpt-4o", "main", "key", UpstreamTimeouts())
    body = json_body('{"model":"azure/gpt-4o","messages":[]}')

    assert (
        AzureAdapter()
        .build(Operation.CHAT, target, body)
        .request.url.startswith("https://acme.test/openai/deployments/gpt-4o/chat/completions?api-version=")
    )


def test_a_principal_opens_claude_with_a_token() -> None:
    options = {"tenant_id": "tenant-1", "client_id": "client-1"}
    provider = Provider(name="azure", type="azure", base_url="https://acme.test/openai", options=options)
    target = Target(provider, PROVIDER_TYPES["azure"], "claude-opus-5", "main", "s3cret", UpstreamTimeouts())
    body = json_body('{"model":"azure/claude-opus-5","messages":[{"role":"user","content":"hi"}]}')

    request = AzureClaudeAdapter().build(Operation.CHAT, target, body).request

    assert isinstance(request, TokenRequest) and "s3cret" in request.secret
    assert request.url == "https://acme.test/anthropic/v1/messages"
    assert not {"x-api-key", "api-key", "authorization"} & set(request.headers)


@pytest.mark.proves(provider="azure", operation="responses")
async def test_responses_are_asked_for_as_the_vendors_client_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AZURE_KEY", KEY)
    asked: Any = {"input": "Hello", "max_output_tokens": 50}
    async with running_azure() as (fake, url):
        fake.play(Turn(text="Good morning.", prompt=9, completion=3))
        credential = Credential(name="main", env="AZURE_KEY", aliases={"gpt-5": "prod-chat"})
        provider = Provider(
            name="azure",
            type="azure",
            base_url=url,
            credentials=(credential,),
            options={"api_version": "2024-10-21"},
        )
        async with (
            running_gateway(tmp_path, provider) as gateway,
            openai.AsyncAzureOpenAI(
                base_url=f"{url}/openai/v1/", api_key=KEY, api_version="preview", max_retries=0
            ) as theirs,
            openai.AsyncOpenAI(base_url=f"{gateway.url}/v1", api_key="none", max_retries=0) as ours,
        ):
            await theirs.responses.create(model="prod-chat", **asked)
            answer = await ours.responses.create(model="azure/gpt-5", **asked)
            async with ours.responses.stream(model="azure/gpt-5", **asked) as stream:
                final = await stream.get_final_response()
            logged = await gateway.logged(2)

    judge, sent, _ = fake.asked
    assert (sent.path, sent.version, sent.headers["api-key"]) == (judge.path, judge.version, KEY)
    assert sent.document == judge.document
    assert answer.output_text == final.output_text == "Good morning."
    assert [event.tokens.completion for event in logged] == [3, 3]
