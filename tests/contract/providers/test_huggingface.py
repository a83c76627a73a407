"""Hugging Face's own client takes the fake for its router and its inference."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx2
import pytest
from huggingface_hub import (
    AsyncInferenceClient,
    ChatCompletionInputStreamOptions,
    ChatCompletionOutput,
    ChatCompletionStreamOutput,
)
from huggingface_hub.errors import HfHubHTTPError, UnknownError
from huggingface_hub.inference._generated import _async_client as generated

from tests.support.eventually import eventually
from tests.support.providers.huggingface import INFERENCE, FakeRouter, running_router
from tests.support.providers.inference import HEARD, SOUND
from tests.support.providers.script import REFUSAL, Call, Turn
from tests.support.upstream.answers import PIXEL

HELLO: Any = [{"role": "user", "content": "Hi"}]


@asynccontextmanager
async def sdk() -> AsyncIterator[tuple[FakeRouter, AsyncInferenceClient]]:
    async with (
        running_router() as (fake, url),
        AsyncInferenceClient(base_url=url, api_key=fake.key) as client,
    ):
        yield fake, client


async def streamed(client: AsyncInferenceClient) -> list[ChatCompletionStreamOutput]:
    usage = ChatCompletionInputStreamOptions(include_usage=True)
    stream: Any = await client.chat_completion(
        HELLO, model="org/model:groq", stream=True, stream_options=usage
    )
    return [chunk async for chunk in stream]


async def test_chats_whole_and_streamed() -> None:
    async with sdk() as (fake, client):
        fake.play(Turn(thought="Hm."))
        whole: ChatCompletionOutput = await client.chat_completion(HELLO, model="org/model:groq")
        chunks = await streamed(client)
        fake.play(Turn(calls=(Call("a1", "look", {"city": "Oslo"}),)))
        called: ChatCompletionOutput = await client.chat_completion(HELLO, model="org/model:groq")

    said = whole.choices[0].message
    assert (said.content, said.reasoning, whole.usage.total_tokens) == (Turn().text, "Hm.", 39)
    deltas = [chunk.choices[0].delta for chunk in chunks if chunk.choices]
    assert "".join(delta.content or "" for delta in deltas) == Turn().text
    assert "".join(delta.reasoning or "" for delta in deltas) == "Hm."
    assert chunks[-1].usage is not None and chunks[-1].usage.total_tokens == 39
    assert called.choices[0].message.tool_calls is not None
    (call,) = called.choices[0].message.tool_calls
    assert (call.function.name, call.function.arguments) == ("look", '{"city":"Oslo"}')
    assert fake.received()[0]["model"] == "org/model:groq"


@pytest.mark.filterwarnings("ignore:Use 'content=")  # the library sends a recording in the older way
async def test_vectors_pictures_and_sounds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(generated, "_bytes_to_image", bytes)  # it would want Pillow for that
    async with running_router() as (fake, url):
        root = url.removesuffix("/v1")
        async with AsyncInferenceClient(
            model=f"{root}{INFERENCE}org/embedder/pipeline/feature-extraction", api_key=fake.key
        ) as client:
            vectors = await client.feature_extraction("a")
        async with AsyncInferenceClient(model=f"{root}{INFERENCE}org/painter", api_key=fake.key) as client:
            drawn: Any = await client.text_to_image("a cat", width=512)
        async with AsyncInferenceClient(model=f"{root}{INFERENCE}org/kokoro", api_key=fake.key) as client:
            spoken = await client.text_to_speech("Hello")
        async with AsyncInferenceClient(model=f"{root}{INFERENCE}org/whisper", api_key=fake.key) as client:
            heard = await client.automatic_speech_recognition(SOUND)
    assert vectors.tolist() == [[0.5, -1.0, 0.0]]
    assert (drawn, spoken, heard.text) == (PIXEL, SOUND, HEARD)
    assert fake.inferred[1][1] == {"inputs": "a cat", "parameters": {"width": 512}}


async def test_refusals_and_streams_that_go_wrong() -> None:
    async with sdk() as (fake, client):
        for fault, status in (("refused", 400), ("denied", 401), ("limited", 429), ("overloaded", 503)):
            fake.play(Turn(fault=fault))  # type: ignore[arg-type]  # one of the faults
            with pytest.raises(HfHubHTTPError, match=REFUSAL) as failed:
                await client.chat_completion(HELLO, model="m")
            assert failed.value.response.status_code == status
        fake.play(Turn(fault="error event"))
        with pytest.raises(UnknownError, match=REFUSAL):
            await streamed(client)
        fake.play(Turn(fault="break"))
        with pytest.raises(httpx2.RemoteProtocolError):
            await streamed(client)
        fake.play(Turn(fault="early"))
        assert (await streamed(client))[-1].choices[0].finish_reason is None
        fake.play(Turn(fault="stall"))
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(streamed(client), 0.3)
        await eventually(lambda: fake.left.is_set(), 2.0)
