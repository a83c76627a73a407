"""The demo provider answers what any chat provider answers, to the vendors' own clients."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anthropic
import openai
import pytest

from tests.support.gateway import DEMO, RunningGateway, running_gateway

MODEL = "demo/echo"
HELLO: Any = [{"role": "user", "content": "Hello there"}]
TEXT = "Demo echo: Hello there"


@asynccontextmanager
async def clients(
    tmp_path: Path,
) -> AsyncIterator[tuple[openai.AsyncOpenAI, anthropic.AsyncAnthropic, RunningGateway]]:
    async with (
        running_gateway(tmp_path, DEMO) as gateway,
        openai.AsyncOpenAI(base_url=f"{gateway.url}/v1", api_key="none", max_retries=0) as first,
        anthropic.AsyncAnthropic(base_url=gateway.url, api_key="none", max_retries=0) as second,
    ):
        yield first, second, gateway


@pytest.mark.proves(provider="demo", operation="models")
@pytest.mark.proves(provider="demo", operation="stream")
@pytest.mark.proves(provider="demo", operation="responses")
async def test_openais_client_streams_and_gets_responses(tmp_path: Path) -> None:
    async with clients(tmp_path) as (client, _, _gateway):
        assert MODEL in [model.id async for model in client.models.list()]
        async with client.chat.completions.stream(model=MODEL, messages=HELLO) as stream:
            assert (await stream.get_final_completion()).choices[0].message.content == TEXT
        async with client.responses.stream(model=MODEL, input=HELLO) as events:
            assert (await events.get_final_response()).output_text == TEXT


@pytest.mark.proves(provider="demo", operation="messages")
@pytest.mark.proves(provider="demo", operation="messages.count_tokens")
async def test_anthropics_client_gets_messages(tmp_path: Path) -> None:
    async with clients(tmp_path) as (_, client, _gateway):
        async with client.messages.stream(model=MODEL, max_tokens=99, messages=HELLO) as stream:
            assert await stream.get_final_text() == TEXT
        assert (await client.messages.count_tokens(model=MODEL, messages=HELLO)).input_tokens > 0


@pytest.mark.proves(provider="demo", operation="images.variations")
@pytest.mark.proves(provider="demo", operation="audio.translations")
@pytest.mark.proves(provider="demo", operation="rerank")
async def test_what_it_has_not_is_refused(tmp_path: Path) -> None:
    async with clients(tmp_path) as (client, _, gateway):
        with pytest.warns(DeprecationWarning), pytest.raises(openai.BadRequestError, match="does not offer"):
            await client.images.create_variation(model="demo/image", image=("a.png", b"PNG"))
        with pytest.warns(DeprecationWarning), pytest.raises(openai.BadRequestError, match="does not offer"):
            await client.audio.translations.create(model="demo/transcription", file=("a.wav", b"RIFF"))
        asked = {"model": MODEL, "query": "a", "documents": ["a"]}
        async with gateway.http.post("/v1/rerank", json=asked) as response:
            assert response.status == 400
