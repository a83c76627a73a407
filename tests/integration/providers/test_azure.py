"""Azure OpenAI through a whole gateway, judged by the calls that OpenAI's own Azure client makes."""

import base64
from pathlib import Path
from typing import Any

import openai
import pytest

from shared.governance.model import Credential, PriceOverride, Provider
from tests.support.gateway import running_gateway
from tests.support.providers.azure import Asked, running_azure
from tests.support.providers.script import Turn
from tests.support.upstream.answers import PIXEL

MODELS = {"gpt-4o": "prod-chat", "embedding": "vectors", "dall-e-3": "pictures", "whisper": "sound"}
PRICE = PriceOverride(
    model="azure/gpt-4o", input_per_million_nanos=1_000_000_000, output_per_million_nanos=2_000_000_000
)
CHAT: dict[str, Any] = {
    "messages": [{"role": "user", "content": "hi"}],
    "temperature": 0.5,
    "tools": [{"type": "function", "function": {"name": "look", "parameters": {"type": "object"}}}],
}


@pytest.fixture(autouse=True)
def _key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AZURE_KEY", "azure-key")


def azure(url: str, **options: str) -> Provider:
    return Provider(
        name="azure",
        type="azure",
        base_url=url,
        credentials=(Credential(name="main", env="AZURE_KEY", aliases=MODELS),),
        models=tuple(MODELS),
        options=options,
    )


def vendors_client(url: str, version: str) -> openai.AsyncAzureOpenAI:
    return openai.AsyncAzureOpenAI(
        azure_endpoint=url, api_key="azure-key", api_version=version, max_retries=0
    )


def gateways_client(url: str) -> openai.AsyncOpenAI:
    return openai.AsyncOpenAI(base_url=f"{url}/v1", api_key="none", max_retries=0)


def same_call(ours: Asked, theirs: Asked) -> None:
    assert (ours.path, ours.version) == (theirs.path, theirs.version)
    assert ours.headers["api-key"] == theirs.headers["api-key"]
    assert ("authorization" in ours.headers) == ("authorization" in theirs.headers)


@pytest.mark.proves(provider="azure", operation="embeddings")
async def test_the_same_call_as_the_vendors_client_makes(tmp_path: Path) -> None:
    async with running_azure() as (fake, url), running_gateway(tmp_path, azure(url), PRICE) as gateway:
        fake.play(Turn(prompt=9, completion=3))
        async with vendors_client(url, "2024-10-21") as theirs, gateways_client(gateway.url) as ours:
            await theirs.chat.completions.create(model="prod-chat", **CHAT)
            answer = await ours.chat.completions.create(model="azure/gpt-4o", **CHAT)
            await theirs.embeddings.create(model="vectors", input=["a", "b"], encoding_format="float")
            await ours.embeddings.create(model="azure/embedding", input=["a", "b"], encoding_format="float")

        first, second, third, fourth = fake.asked
        same_call(second, first)
        assert second.document == first.document
        same_call(fourth, third)
        assert fourth.document == third.document
        assert answer.usage is not None and answer.usage.prompt_tokens == 9
        logged, _ = await gateway.logged(2)
        assert (logged.model, logged.cost_nanos, logged.cost_basis) == ("gpt-4o", 9_000 + 6_000, "priced")


async def test_a_stream_begins_with_the_answer_and_is_priced(tmp_path: Path) -> None:
    async with running_azure() as (fake, url), running_gateway(tmp_path, azure(url), PRICE) as gateway:
        fake.play(Turn(prompt=9, completion=3))
        async with gateways_client(gateway.url) as client:
            stream = await client.chat.completions.create(
                model="azure/gpt-4o", stream=True, stream_options={"include_usage": True}, **CHAT
            )
            chunks = [chunk async for chunk in stream]

        assert chunks[0].choices[0].delta.role == "assistant", "the verdict on the prompt stays here"
        assert chunks[-1].usage is not None and chunks[-1].usage.completion_tokens == 3
        (logged,) = await gateway.logged()
        assert (logged.cost_nanos, logged.finish_reason) == (15_000, "stop")


async def test_the_fake_is_what_the_vendors_client_takes_for_azure() -> None:
    async with running_azure() as (_, url), vendors_client(url, "2024-10-21") as client:
        stream = await client.chat.completions.create(model="prod-chat", stream=True, **CHAT)
        first = [chunk async for chunk in stream][0]
        assert first.model_extra is not None and first.model_extra["prompt_filter_results"]
        with pytest.raises(openai.NotFoundError, match="does not exist"):
            await client.chat.completions.create(model="nowhere", **CHAT)


@pytest.mark.proves(provider="azure", operation="images.generations")
@pytest.mark.proves(provider="azure", operation="images.edits")
@pytest.mark.proves(provider="azure", operation="audio.transcriptions")
@pytest.mark.proves(provider="azure", operation="audio.translations")
async def test_pictures_and_sound_go_to_their_deployments(tmp_path: Path) -> None:
    async with running_azure() as (fake, url), running_gateway(tmp_path, azure(url)) as gateway:
        async with gateways_client(gateway.url) as ours, vendors_client(url, "2025-04-01-preview") as theirs:
            await theirs.images.generate(model="pictures", prompt="a cat")
            pictures = await ours.images.generate(model="azure/dall-e-3", prompt="a cat")
            await ours.images.edit(model="azure/dall-e-3", prompt="a cat", image=("a.png", PIXEL))
            heard = await ours.audio.transcriptions.create(model="azure/whisper", file=("a.wav", b"RIFF"))
            with pytest.warns(DeprecationWarning):
                turned = await ours.audio.translations.create(model="azure/whisper", file=("a.wav", b"RIFF"))

        same_call(fake.asked[1], fake.asked[0])
        assert fake.asked[1].document == fake.asked[0].document
        assert [asked.path.removeprefix("/openai/deployments/") for asked in fake.asked[2:]] == [
            "pictures/images/edits",
            "sound/audio/transcriptions",
            "sound/audio/translations",
        ]
        assert pictures.data and base64.b64decode(pictures.data[0].b64_json or "") == PIXEL
        assert heard.text and turned.text
        logged = await gateway.logged(4)
        assert [event.tokens.images for event in logged] == [1, 1, 0, 0]
        assert [event.tokens.audio_ms for event in logged] == [0, 0, 7000, 7000]


async def test_the_operators_version_counts_and_a_missing_deployment_is_told(tmp_path: Path) -> None:
    async with running_azure() as (fake, url):
        provider = azure(url + "/openai/", api_version="2099-01-01")
        async with running_gateway(tmp_path, provider) as gateway, gateways_client(gateway.url) as client:
            fake.deployments = ()
            with pytest.raises(openai.NotFoundError, match="deployment for this resource does not exist"):
                await client.chat.completions.create(model="azure/gpt-4o", **CHAT)

        assert fake.asked[0].version == "2099-01-01"


async def test_a_refused_key_is_the_operators_matter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AZURE_KEY", "wrong")
    async with running_azure() as (_, url), running_gateway(tmp_path, azure(url)) as gateway:
        response = await gateway.chat("azure/gpt-4o", "hello")

        assert response.status == 502
        assert (await response.json())["error"]["code"] == "provider_auth_failed"
