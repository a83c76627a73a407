"""Vertex AI through a whole gateway: each publisher is asked as its own SDK asks it, with tokens of a service account."""

import json
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest
from google import genai
from google.genai import types
from google.oauth2.credentials import Credentials
from mistralai.gcp.client import MistralGCP

from services.gateway.providers.vertex.google import GoogleCredential
from shared.governance.model import Credential, Provider
from tests.support.eventually import eventually
from tests.support.providers.gemini import PNG, checked, running_google
from tests.support.providers.vertex_stage import (
    FLASH,
    LLAMA,
    MISTRAL,
    PROJECT,
    REGION,
    TOKEN,
    Stage,
    service_account,
    vertex_stage,
)


@pytest.fixture
async def stage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Stage]:
    async with vertex_stage(tmp_path, monkeypatch) as stage:
        yield stage


async def test_a_service_account_gets_one_token_for_many_requests(stage: Stage) -> None:
    for _ in range(3):
        answer = await stage.ask("mock(prompt=10; completion=2)")
        assert answer.choices[0].message.content == "wörd wörd "

    assert len(stage.fake.tokens) == 1
    logged, _, _ = await stage.gateway.logged(3)
    assert (logged.provider, logged.model, logged.cost_nanos) == ("vertex", "gemini-2.5-flash", 14_000)


@pytest.mark.parametrize("by", ["path", "machine"])
async def test_a_key_may_be_a_file_or_the_machines_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, by: str
) -> None:
    async with running_google() as (fake, url):
        key = tmp_path / "key.json"
        key.write_text(service_account(url))
        monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(key))
        token = await GoogleCredential(str(key) if by == "path" else "").fetch()

        assert token.value == fake.tokens[0]
        assert 0 < token.expires_at - time.time() <= fake.expires_in


async def test_a_person_says_which_project_pays() -> None:
    async with running_google() as (fake, url):
        person = {
            "type": "external_account_authorized_user",
            "token_url": f"{url}/token",
            "token_info_url": f"{url}/token",
            "client_id": "c",
            "client_secret": "s",
            "refresh_token": "r",
            "quota_project_id": "payer-1",
        }
        token = await GoogleCredential(json.dumps(person)).fetch()

        assert (token.value, token.headers) == (fake.tokens[0], {"x-goog-user-project": "payer-1"})


async def test_a_token_that_is_refused_is_asked_for_anew(stage: Stage) -> None:
    await stage.ask("hi")
    stage.fake.tokens.clear()
    with pytest.raises(openai.APIStatusError) as caught:
        await stage.ask("hi")
    assert caught.value.code == "provider_auth_failed"

    assert (await stage.ask("mock(completion=1)")).choices[0].message.content == "wörd "


async def test_a_key_that_google_refuses_is_the_administrators_business(stage: Stage) -> None:
    stage.fake.token_status = 400
    with pytest.raises(openai.APIStatusError) as caught:
        await stage.ask("hi")

    assert caught.value.code == "provider_auth_failed"
    assert "tell your administrator" in caught.value.message
    (logged,) = await stage.gateway.logged()
    assert "Invalid JWT Signature" in logged.attempts[0].error_message
    assert stage.fake.paths == []


@pytest.mark.parametrize("stream", [False, True])
async def test_gemini_is_asked_as_googles_sdk_asks(stage: Stage, stream: bool) -> None:
    stage.fake.tokens.append(TOKEN)
    async with httpx.AsyncClient() as http:
        options = types.HttpOptions(base_url=stage.url, httpx_async_client=http, api_version="v1")
        own = Credentials(token=TOKEN)
        vendors = genai.Client(
            vertexai=True, project=PROJECT, location=REGION, credentials=own, http_options=options
        )
        async with vendors.aio as theirs:
            call = theirs.models.generate_content_stream if stream else theirs.models.generate_content
            config = types.GenerateContentConfig(
                temperature=0.5, max_output_tokens=9, service_tier=types.ServiceTier.FLEX
            )
            answer: Any = await call(model="gemini-2.5-flash", contents="Hi", config=config)
            assert [piece async for piece in answer] if stream else answer.text
    answer = await stage.ask("Hi", stream=stream, temperature=0.5, max_tokens=9, service_tier="flex")
    assert [piece async for piece in answer] if stream else answer.choices[0].message.content

    assert stage.fake.paths[0] == stage.fake.paths[1]
    assert stage.fake.bodies[0] == stage.fake.bodies[1]


@pytest.mark.parametrize("stream", [False, True])
async def test_mistral_is_asked_as_its_sdk_asks(stage: Stage, stream: bool) -> None:
    stage.fake.tokens.append(TOKEN)
    model = MISTRAL
    theirs = MistralGCP(project_id=PROJECT, region=REGION, access_token=TOKEN, server_url=stage.url)
    messages: Any = [{"role": "user", "content": "mock(completion=2)"}]
    if stream:
        events = await theirs.chat.stream_async(model=model, messages=messages, temperature=0.5)
        assert [event async for event in events]
    else:
        assert await theirs.chat.complete_async(model=model, messages=messages, temperature=0.5)
    answer = await stage.ask("mock(completion=2)", f"vertex/{model}", stream=stream, temperature=0.5)
    if stream:
        assert [chunk async for chunk in answer][-1].choices[0].finish_reason == "stop"
    else:
        assert answer.usage.completion_tokens == 2

    assert stage.fake.paths[0] == stage.fake.paths[1]
    theirs_body, ours = stage.fake.bodies
    assert ours.items() <= {**theirs_body, "stream": stream}.items()


@pytest.mark.parametrize("stream", [False, True])
async def test_others_are_asked_in_openais_format(stage: Stage, stream: bool) -> None:
    model = LLAMA
    answer = await stage.ask("mock(completion=2)", f"vertex/{model}", stream=stream)
    if stream:
        assert [chunk async for chunk in answer][-1].choices[0].finish_reason == "stop"
    else:
        assert answer.usage.completion_tokens == 2

    parent = f"/v1beta1/projects/{PROJECT}/locations/{REGION}"
    assert stage.fake.paths == [f"{parent}/endpoints/openapi/chat/completions"]
    assert stage.fake.bodies[0]["model"] == model


@pytest.mark.filterwarnings("ignore:The generate_images method is deprecated")
@pytest.mark.proves(provider="vertex", operation="embeddings")
@pytest.mark.proves(provider="vertex", operation="images.generations")
async def test_embeddings_and_pictures_are_asked_as_googles_sdk_asks(stage: Stage) -> None:
    stage.fake.tokens.append(TOKEN)
    async with httpx.AsyncClient() as http:
        options = types.HttpOptions(base_url=stage.url, httpx_async_client=http)
        own = Credentials(token=TOKEN)
        vendors = genai.Client(
            vertexai=True, project=PROJECT, location=REGION, credentials=own, http_options=options
        )
        async with vendors.aio as theirs:
            for model, texts in (
                ("text-embedding-005", ["a", "b"]),
                ("gemini-embedding-2", ["a"]),
                ("gemini-embedding-2", ["a", "b"]),
            ):
                contents: Any = [types.Content(parts=[types.Part(text=text)]) for text in texts]
                if model == "text-embedding-005":
                    contents = texts
                found = await theirs.models.embed_content(
                    model=model, contents=contents, config={"output_dimensionality": 3}
                )
                assert len(found.embeddings or ()) == len(texts)
                ours = await stage.client.embeddings.create(
                    model=f"vertex/{model}", input=texts, dimensions=3
                )
                assert [one.embedding for one in ours.data] == [[0.5, -0.25, 1.0]] * len(texts)
                assert ours.usage.prompt_tokens == 3 * len(texts)
            drawn = await theirs.models.generate_images(
                model="imagen-4.0-generate-001",
                prompt="a cat",
                config={"number_of_images": 2, "aspect_ratio": "16:9", "include_rai_reason": True},
            )
            assert drawn.images[0].image_bytes == PNG
    pictures = await stage.client.images.generate(
        model="vertex/imagen-4.0-generate-001", prompt="a cat", n=2, size="1792x1024"
    )

    assert len(pictures.data or ()) == 2
    for at in range(0, len(stage.fake.paths), 2):
        assert stage.fake.paths[at].rpartition("/")[2] == stage.fake.paths[at + 1].rpartition("/")[2]
        assert _without_roles(stage.fake.bodies[at]) == stage.fake.bodies[at + 1]
    logged = (await stage.gateway.logged(4))[-1]
    assert logged.tokens.images == 2


@pytest.mark.proves(provider="vertex", operation="audio.speech")
@pytest.mark.proves(provider="vertex", operation="audio.transcriptions")
async def test_speech_and_transcripts_are_asked_as_googles_sdk_asks(stage: Stage) -> None:
    stage.fake.tokens.append(TOKEN)
    spoken = await stage.client.audio.speech.create(
        model="vertex/gemini-2.5-flash-tts", voice="alloy", input="Good morning.", response_format="pcm"
    )
    heard = await stage.client.audio.transcriptions.create(
        model=FLASH, file=("a.mp3", b"sound", "audio/mpeg"), prompt="mock(prompt=9; completion=2)"
    )
    asked = stage.fake.bodies[1]["contents"][0]["parts"][1]["text"]
    async with httpx.AsyncClient() as http:
        options = types.HttpOptions(base_url=stage.url, api_version="v1", httpx_async_client=http)
        own = Credentials(token=TOKEN)
        vendors = genai.Client(
            vertexai=True, project=PROJECT, location=REGION, credentials=own, http_options=options
        )
        async with vendors.aio as theirs:
            voice = types.PrebuiltVoiceConfig(voice_name="Kore")
            await theirs.models.generate_content(
                model="gemini-2.5-flash-tts",
                contents=types.Content(role="user", parts=[types.Part(text="Good morning.")]),
                config=types.GenerateContentConfig(
                    response_modalities=["AUDIO"],
                    speech_config=types.SpeechConfig(
                        voice_config=types.VoiceConfig(prebuilt_voice_config=voice)
                    ),
                ),
            )
            sound = types.Part.from_bytes(data=b"sound", mime_type="audio/mp3")
            await theirs.models.generate_content(
                model="gemini-2.5-flash",
                contents=types.Content(role="user", parts=[sound, types.Part(text=asked)]),
            )

    assert (spoken.content, heard.text) == (b"\x01\x00" * 100, "wörd wörd")
    assert stage.fake.paths[:2] == stage.fake.paths[2:]
    bodies = [_as_types(body) for body in stage.fake.bodies]
    assert bodies[:2] == bodies[2:]
    logged = {one.endpoint: one for one in await stage.gateway.logged(2)}
    speech = logged["audio.speech"]
    assert (speech.tokens.prompt, speech.tokens.completion, speech.cost_basis) == (10, 20, "priced")
    assert logged["audio.transcriptions"].cost_nanos == 9 * 1_000 + 2 * 2_000


@pytest.mark.proves(provider="vertex", operation="rerank")
async def test_ranking(stage: Stage) -> None:
    body = {
        "model": "vertex/semantic-ranker-default-004",
        "query": "q",
        "documents": ["a", {"text": "c"}, "b"],
        "top_n": 2,
        "return_documents": True,
    }

    async with stage.gateway.http.post("/v1/rerank", json=body) as response:
        answer = await response.json()

    assert response.status == 200, answer
    assert [(one["index"], one["document"]["text"]) for one in answer["results"]] == [(1, "c"), (2, "b")]
    assert stage.fake.paths == [
        f"/v1/projects/{PROJECT}/locations/global/rankingConfigs/default_ranking_config:rank"
    ]
    (logged,) = await stage.gateway.logged()
    assert logged.tokens.search_units == 1


async def test_a_provider_without_a_project_says_so(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VERTEX_EMPTY_KEY", '{"type":"service_account"}')
    credential = Credential(name="main", env="VERTEX_EMPTY_KEY")
    await stage.gateway.govern(
        Provider(name="vertex", type="vertex", base_url=stage.url, credentials=(credential,))
    )

    async def refused() -> bool:
        try:
            await stage.ask("hi")
        except openai.BadRequestError as error:
            return "options.project" in error.message
        return False

    assert await eventually(refused)


def _as_types(body: Any) -> Any:
    """A request as the SDK's types hold it: Google takes the names of fields in both its notations."""
    return checked(body), [types.Content.model_validate(content) for content in body["contents"]]


def _without_roles(body: Any) -> Any:
    """The SDK gives a content to embed the role of a user, which means nothing there."""
    if isinstance(body, dict):
        return {name: _without_roles(value) for name, value in body.items() if name != "role"}
    return [_without_roles(one) for one in body] if isinstance(body, list) else body
