"""The models of Vertex AI through a whole gateway: asked for as Google's SDK asks, publisher by publisher."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import openai
import pytest
from google import genai
from google.genai import types
from google.oauth2.credentials import Credentials

from services.gateway import discovery
from shared.catalogue.provider_types import PROVIDER_TYPES
from shared.governance.model import Credential, Provider
from tests.support.eventually import eventually
from tests.support.gateway import running_gateway
from tests.support.providers.gemini import KEY, FakeGoogle, running_google
from tests.support.providers.model_garden import DEPLOYED, entry

RANKER = "vertex/semantic-ranker-default-004"
LISTED = [
    "vertex/gemini-3-pro-preview",
    "vertex/gemini-2.5-flash",
    "vertex/text-embedding-005",
    "vertex/imagen-4.0-generate-001",
    "vertex/claude-opus-4-1@20250805",
    "vertex/claude-opus-5",
    "vertex/mistral-medium-3",
    RANKER,
]
STATIC = [f"vertex/{name}" for name in PROVIDER_TYPES["vertex"].static_models]


@dataclass
class Stage:
    fake: FakeGoogle
    client: openai.AsyncOpenAI

    async def names(self) -> list[str]:
        """Whatever they are for."""
        return [model.id async for model in self.client.models.list(extra_query={"type": "all"})]

    async def lists(self, *expected: str) -> bool:
        return await self.names() == list(expected)


@asynccontextmanager
async def stage(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fake: FakeGoogle, url: str, secret: str
) -> AsyncIterator[Stage]:
    monkeypatch.setattr(discovery, "RETRY_S", 0.05)
    monkeypatch.setenv("VERTEX_TEST_KEY", secret)
    provider = Provider(
        name="vertex",
        type="vertex",
        base_url=url,
        credentials=(Credential(name="main", env="VERTEX_TEST_KEY"),),
        options={"location": "europe-west4", "project": "acme-1"},
    )
    async with (
        running_gateway(tmp_path, provider, environ={"FINOPS_MODEL_REFRESH_INTERVAL": "0.05"}) as gateway,
        openai.AsyncOpenAI(base_url=f"{gateway.url}/v1", api_key="none", max_retries=0) as client,
    ):
        yield Stage(fake, client)


def person(url: str) -> str:
    """A key that says who is charged for what is asked with it."""
    return json.dumps(
        {
            "type": "external_account_authorized_user",
            "token_url": f"{url}/token",
            "token_info_url": f"{url}/token",
            "client_id": "c",
            "client_secret": "s",
            "refresh_token": "r",
            "quota_project_id": "payer-1",
        }
    )


@pytest.mark.proves(provider="vertex", operation="models")
async def test_models_are_asked_for_as_googles_sdk_asks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with running_google() as (fake, url), httpx.AsyncClient() as http:
        fake.tokens.append("ya29.the-sdks-own")
        vendors = genai.Client(
            vertexai=True,
            project="acme-1",
            location="europe-west4",
            credentials=Credentials(token=fake.tokens[0], quota_project_id="payer-1"),
            http_options=types.HttpOptions(base_url=url, httpx_async_client=http),
        )
        async with vendors.aio as theirs:
            pages = await theirs.models.list(config={"query_base": True, "page_size": 200})
            named = {str(model.name).rpartition("/")[2] async for model in pages}
        judge, payers = list(fake.lists), list(fake.payers)
        async with stage(tmp_path, monkeypatch, fake, url, person(url)) as ours:
            assert await eventually(lambda: ours.lists(*LISTED))

            asked = fake.lists[len(judge) :]
            assert asked[: len(judge)] == judge and len(judge) == 3
            assert payers == ["payer-1"] * 3 and set(fake.payers) == {"payer-1"}
            assert {name.removeprefix("vertex/") for name in LISTED[:4]} <= named
            answer = await ours.client.chat.completions.create(
                model="vertex/gemini-9-that-nobody-lists",
                messages=[{"role": "user", "content": "mock(completion=1)"}],
            )
            assert answer.choices[0].message.content == "wörd "


async def test_a_publisher_that_the_credential_may_not_see_costs_only_its_own_models(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with running_google() as (fake, url):
        fake.garden.closed = {"google", "mistralai"}
        async with stage(tmp_path, monkeypatch, fake, url, person(url)) as ours:
            assert await eventually(lambda: ours.lists(*LISTED[4:6], RANKER))

            fake.garden.closed = {"anthropic"}
            assert await eventually(lambda: ours.lists(*LISTED[:4], *LISTED[6:]))


async def test_the_last_good_list_is_kept_and_until_there_is_one_the_known_models_stand(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with running_google() as (fake, url):
        fake.garden.closed = {"google", "anthropic", "mistralai"}
        async with stage(tmp_path, monkeypatch, fake, url, person(url)) as ours:
            await eventually(lambda: len(fake.lists) > 6)
            assert await ours.names() == STATIC

            fake.garden.closed = set()
            assert await eventually(lambda: ours.lists(*LISTED))

            fake.garden.fails = True
            fake.garden.models["google"].append(entry("google", "gemini-4"))
            before = len(fake.lists)
            await eventually(lambda: len(fake.lists) > before + 2)
            assert await ours.names() == LISTED

            fake.garden.fails = False
            assert await eventually(lambda: ours.lists(*LISTED[:4], "vertex/gemini-4", *LISTED[4:]))


async def test_an_api_key_opens_googles_list_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with running_google() as (fake, url):
        fake.garden.models["google"] = [
            entry("google", "gemini-2.5-flash"),
            entry("google", "gemma-4-26b-a4b-it-maas", category="GOOGLE_OWNED_OSS"),
            entry("google", "embeddinggemma", category="GOOGLE_OWNED_OSS", actions=DEPLOYED),
        ]
        async with stage(tmp_path, monkeypatch, fake, url, KEY) as ours:
            assert await eventually(
                lambda: ours.lists("vertex/gemini-2.5-flash", "vertex/google/gemma-4-26b-a4b-it-maas", RANKER)
            )
            assert {path.partition("?")[0] for path in fake.lists} == {"/v1beta1/publishers/google/models"}
