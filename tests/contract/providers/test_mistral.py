"""Mistral's own SDK takes the fake for Mistral."""

import asyncio
import base64
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx2
import pytest
from mistralai.client import Mistral
from mistralai.client.errors import MistralError, SDKError

from tests.support.eventually import eventually
from tests.support.providers.mistral import FakeMistral
from tests.support.providers.openai_types import SOUND
from tests.support.providers.openai_wire import running_openai
from tests.support.providers.script import REFUSAL, Call, Fault, Turn

HELLO: Any = [{"role": "user", "content": "Hi"}]


@asynccontextmanager
async def sdk() -> AsyncIterator[tuple[FakeMistral, Mistral]]:
    fake = FakeMistral()
    async with (
        running_openai(fake) as url,
        Mistral(api_key=fake.key, server_url=url.removesuffix("/v1")) as client,
    ):
        yield fake, client


async def streamed(client: Mistral) -> list[Any]:
    events = await client.chat.stream_async(model="m", messages=HELLO)
    return [event.data async for event in events]


async def test_chats_whole_and_streamed() -> None:
    async with sdk() as (fake, client):
        fake.play(Turn(thought="Hm."))
        whole = await client.chat.complete_async(model="m", messages=HELLO)
        chunks = await streamed(client)

    content: Any = whole.choices[0].message.content  # type: ignore[union-attr]  # it is there
    assert (content[0].thinking[0].text, content[1].text) == ("Hm.", Turn().text)
    assert whole.usage.total_tokens == 39
    deltas = [chunk.choices[0].delta.content for chunk in chunks]
    assert "".join(delta for delta in deltas if isinstance(delta, str)) == Turn().text
    assert (
        "".join(part.thinking[0].text for delta in deltas if isinstance(delta, list) for part in delta)
        == "Hm."
    )
    assert (chunks[-1].choices[0].finish_reason, chunks[-1].usage.total_tokens) == ("stop", 39)


async def test_calls_of_tools_and_the_other_operations() -> None:
    async with sdk() as (fake, client):
        fake.play(Turn(calls=(Call("callab123", "look", {"city": "Oslo"}),)))
        (chunk,) = [chunk for chunk in await streamed(client) if chunk.choices[0].delta.tool_calls]
        vectors = await client.embeddings.create_async(model="m", inputs=["a", "b"])
        heard = await client.audio.transcriptions.complete_async(
            model="m", file={"file_name": "a.wav", "content": b"RIFF"}, language="en"
        )
        listed = await client.models.list_async()

    (call,) = chunk.choices[0].delta.tool_calls
    assert (call.id, call.function.arguments) == ("callab123", '{"city":"Oslo"}')
    assert [item.embedding for item in vectors.data] == [[0.25, -0.5, 1.0]] * 2
    assert (heard.text, heard.usage.prompt_audio_seconds) == ("Hello there.", 7)
    assert [getattr(model, "id", "") for model in listed.data or ()] == ["some-model"]


async def test_fills_in_whole_and_streamed() -> None:
    async with sdk() as (fake, client):
        whole: Any = await client.fim.complete_async(model="m", prompt="def f(", suffix="return", stop=["x"])
        stream = await client.fim.stream_async(model="m", prompt="def f(", random_seed=1)
        chunks = [event.data async for event in stream]

    assert fake.refused == []
    assert whole.choices[0].message.content == Turn().text
    assert "".join(str(chunk.choices[0].delta.content) for chunk in chunks) == Turn().text
    assert whole.usage.total_tokens == 39


async def test_speaks_whole_and_streamed_and_moderates() -> None:
    async with sdk() as (fake, client):
        whole: Any = await client.audio.speech.complete_async(
            model="m", input="Hi", voice_id="gb_jane_neutral", response_format="mp3"
        )
        stream: Any = await client.audio.speech.complete_async(model="m", input="Hi", stream=True)
        events = [event async for event in stream]
        found = await client.classifiers.moderate_async(model="m", inputs=["hello", "I kill you"])

    assert fake.refused == []
    assert base64.b64decode(whole.audio_data) == SOUND
    assert [event.event for event in events] == ["speech.audio.delta"] * 2 + ["speech.audio.done"]
    assert b"".join(base64.b64decode(event.data.audio_data) for event in events[:-1]) == SOUND
    assert events[-1].data.usage.total_tokens == 115
    assert [(result.categories or {})["violence_and_threats"] for result in found.results] == [False, True]


@pytest.mark.parametrize(
    ("fault", "status"), [("refused", 400), ("denied", 401), ("limited", 429), ("overloaded", 503)]
)
async def test_refusals(fault: Fault, status: int) -> None:
    async with sdk() as (fake, client):
        fake.play(Turn(fault=fault))
        with pytest.raises(SDKError, match=REFUSAL) as failed:
            await client.chat.complete_async(model="m", messages=HELLO)
    assert failed.value.status_code == status


async def test_all_that_the_sdk_sends_is_good_and_what_it_does_not_know_is_refused() -> None:
    tool: Any = {"type": "function", "function": {"name": "look", "parameters": {"type": "object"}}}
    said: Any = [
        {"role": "system", "content": "Be brief."},
        {
            "role": "user",
            "content": [{"type": "document_url", "document_url": "data:application/pdf;base64,AA"}],
        },
        {
            "role": "assistant",
            "tool_calls": [{"id": "callab123", "function": {"name": "look", "arguments": "{}"}}],
        },
        {"role": "tool", "tool_call_id": "callab123", "content": "rain"},
    ]
    async with sdk() as (fake, client):
        await client.chat.complete_async(
            model="m", messages=said, tools=[tool], tool_choice="any", random_seed=1, stop=["END"], n=2
        )
        assert fake.refused == []
        body = {"model": "m", "messages": HELLO, "seed": 1, "logit_bias": {}}
        assert fake.wrong_in("/chat/completions", body) == [".seed is unknown", ".logit_bias is unknown"]


async def test_streams_that_go_wrong() -> None:
    async with sdk() as (fake, client):
        fake.play(Turn(fault="error event"))
        with pytest.raises(MistralError):  # which says that it is no chunk
            await streamed(client)
        fake.play(Turn(fault="break"))
        with pytest.raises(httpx2.RemoteProtocolError):
            await streamed(client)
        fake.play(Turn(fault="early"))
        assert (await streamed(client))[-1].choices[0].finish_reason is None
        fake.play(Turn(fault="error in 200"))
        with pytest.raises(MistralError):
            await client.chat.complete_async(model="m", messages=HELLO)
        fake.play(Turn(fault="stall"))
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(streamed(client), 0.3)
        await eventually(lambda: fake.left.is_set(), 2.0)
