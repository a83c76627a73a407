"""Hugging Face's own client takes the fakes for the inference providers behind its router, and for its hub."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from huggingface_hub import InferenceClient
from huggingface_hub.errors import HfHubHTTPError
from huggingface_hub.inference import _client as vendors
from huggingface_hub.inference._providers import PROVIDERS, fal_ai
from openai import OpenAI

from services.gateway.providers.huggingface.asked import TASKS
from services.gateway.providers.huggingface.routes import ROUTES
from tests.support.providers.hub_client import hub_client_at
from tests.support.providers.huggingface import running_router
from tests.support.providers.inference import (
    EDITOR,
    EMBEDDER,
    HEARD,
    JOB,
    LISTENER,
    OLD_EMBEDDER,
    PAINTER,
    SOUND,
    SPEAKER,
    FakeProviders,
)
from tests.support.providers.openai_types import SOUND as OTHER_SOUND
from tests.support.upstream.answers import PIXEL

Use = Callable[[InferenceClient], Any]
UNKNOWN_NOW = ("nebius", "sambanova")
"""The library has no more helpers for these."""


@pytest.fixture(autouse=True)
def _bare(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vendors, "_bytes_to_image", bytes)  # it would want Pillow for that
    monkeypatch.setattr(fal_ai, "_POLLING_INTERVAL", 0.0)


@asynccontextmanager
async def providers() -> AsyncIterator[tuple[FakeProviders, Callable[[str, Use], Any]]]:
    """The fakes, and a way to use the library with one of them."""
    async with running_router() as (fake, url):
        with hub_client_at(url.removesuffix("/v1")):

            async def using(provider: str, use: Use) -> Any:
                client = InferenceClient(provider=provider, api_key=fake.key)  # type: ignore[arg-type]  # a name
                return await asyncio.to_thread(use, client)

            yield fake.others, using


async def test_vectors() -> None:
    async with providers() as (fake, using):
        for provider in ("deepinfra", "scaleway", "together"):
            vectors = await using(
                provider, lambda client: client.feature_extraction(["a", "b"], model=EMBEDDER)
            )
            assert sorted(vectors.tolist()) == [[0.5, -1.0, 0.0], [0.5, -1.0, 1.0]]
        moved = await using("together", lambda client: client.feature_extraction("a", model=OLD_EMBEDDER))
        assert moved.tolist() == [[0.5, -1.0, 0.0]]
    assert len(fake.looked_up) == 3, "one for the model, and two for its old name"


async def test_pictures() -> None:
    async with providers() as (fake, using):
        for provider in ("fal-ai", "nscale", "replicate", "together"):
            fake.hub_listed = not fake.hub_listed
            drawn = await using(provider, lambda client: client.text_to_image("a cat", model=PAINTER))
            assert drawn == PIXEL, provider
        for provider in ("fal-ai", "replicate", "together"):
            changed = await using(
                provider, lambda client: client.image_to_image(PIXEL, prompt="a hat", model=EDITOR)
            )
            assert changed == PIXEL, provider
    assert [sent.method for sent in fake.sent if f"requests/{JOB}" in sent.path] == ["GET", "GET"]


async def test_speech_and_transcripts() -> None:
    async with providers() as (_, using):
        for provider in ("deepinfra", "fal-ai", "replicate", "together"):
            spoken = await using(provider, lambda client: client.text_to_speech("Hello", model=SPEAKER))
            assert spoken == (SOUND if provider in ("fal-ai", "replicate") else OTHER_SOUND), provider
        for provider in ("deepinfra", "fal-ai", "replicate"):
            heard = await using(
                provider, lambda client: client.automatic_speech_recognition(SOUND, model=LISTENER)
            )
            assert heard.text == HEARD, provider


async def test_those_that_the_library_knows_no_more_are_openais_to_its_client() -> None:
    async with running_router() as (fake, url):
        for provider in UNKNOWN_NOW:
            client = OpenAI(base_url=url.replace("/v1", f"/{provider}/v1"), api_key=fake.key, max_retries=0)
            vectors = await asyncio.to_thread(client.embeddings.create, model="multilingual-e5", input="a")
            assert vectors.data[0].embedding == [0.5, -1.0, 0.0]
        drawn = await asyncio.to_thread(
            OpenAI(base_url=url.replace("/v1", "/nebius/v1"), api_key=fake.key).images.generate,
            model="black-forest-labs/flux-dev",
            prompt="a cat",
            response_format="url",
        )
        assert drawn.data and drawn.data[0].url == f"{fake.others.url}/files/picture"


async def test_refusals_of_the_hub_and_of_providers() -> None:
    async with providers() as (fake, using):
        with pytest.raises(HfHubHTTPError, match="Repository Not Found"):
            await using("fal-ai", lambda client: client.text_to_image("a", model="acme/nothing"))
        with pytest.raises(ValueError, match="not supported for task"):
            await using("together", lambda client: client.text_to_image("a", model=EDITOR))
        fake.refusal = (
            422,
            {"detail": [{"loc": ["body", "prompt"], "msg": "too long", "type": "value_error"}]},
        )
        with pytest.raises(HfHubHTTPError, match="too long"):
            await using("fal-ai", lambda client: client.text_to_image("a", model=PAINTER))


def test_every_route_is_one_of_the_librarys() -> None:
    ours = {(name, TASKS[operation]) for name, routes in ROUTES.items() for operation in routes}
    theirs = {(name, task) for name, tasks in PROVIDERS.items() for task in tasks}

    assert {name for name, _ in ours - theirs} == set(UNKNOWN_NOW)
