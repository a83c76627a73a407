"""The official OpenAI SDK against a whole gateway: the demo provider, and a mock behind it."""

import base64
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import openai
import pytest
from openai import AsyncOpenAI

from tests.support.gateway import (
    DEMO,
    MOCK_PRICE,
    RunningGateway,
    budget,
    mock_cost,
    mock_provider,
    running_gateway,
    virtual_key,
)
from tests.support.upstream import RunningUpstream, running_upstream

PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
SECRET, KEY = virtual_key(budgets=(budget(10**12),))
POOR_SECRET, POOR = virtual_key("poor", budgets=(budget(100, id="bud_2"),))


@pytest.fixture
async def upstream() -> AsyncIterator[RunningUpstream]:
    async with running_upstream() as running:
        yield running


@pytest.fixture
async def gateway(tmp_path: Path, upstream: RunningUpstream) -> AsyncIterator[RunningGateway]:
    entities = (DEMO, mock_provider(upstream.url), MOCK_PRICE, KEY, POOR)
    async with running_gateway(tmp_path, *entities) as running:
        yield running


@pytest.fixture
async def client(gateway: RunningGateway) -> AsyncIterator[AsyncOpenAI]:
    async with AsyncOpenAI(base_url=f"{gateway.url}/v1", api_key=SECRET, max_retries=0) as made:
        yield made


def said(text: str) -> list[Any]:
    return [{"role": "user", "content": text}]


async def test_chat(client: AsyncOpenAI) -> None:
    answer = await client.chat.completions.create(model="demo/echo", messages=said("Hello there"))

    assert "Hello there" in (answer.choices[0].message.content or "")
    assert answer.usage is not None
    assert answer.usage.total_tokens == answer.usage.prompt_tokens + answer.usage.completion_tokens > 0
    assert (answer.usage.model_extra or {})["cost"] > 0


async def test_chat_streamed(client: AsyncOpenAI) -> None:
    stream = await client.chat.completions.create(
        model="demo/lorem", messages=said("Hello"), stream=True, stream_options={"include_usage": True}
    )

    text, usages = "", []
    async for chunk in stream:
        text += "".join(choice.delta.content or "" for choice in chunk.choices)
        if chunk.usage:
            usages.append(chunk.usage)
    assert text
    assert len(usages) == 1
    assert (usages[0].model_extra or {})["cost"] > 0


async def test_a_bare_model_name_and_the_headers(client: AsyncOpenAI) -> None:
    raw = await client.chat.completions.with_raw_response.create(
        model="gpt-4o-mini", messages=said("mock(prompt=25; completion=14)")
    )

    assert raw.headers["x-finops-provider"] == "mock"
    assert float(raw.headers["x-finops-cost"]) == mock_cost(25, 14) / 1e9
    assert raw.headers["x-request-id"].startswith("req_")


async def test_a_picture_as_a_data_url(client: AsyncOpenAI, upstream: RunningUpstream) -> None:
    url = f"data:image/png;base64,{PIXEL}"
    content: Any = [
        {"type": "text", "text": "what is this?"},
        {"type": "image_url", "image_url": {"url": url}},
    ]

    for model in ("demo/echo", "mock/gpt-4o-mini"):
        answer = await client.chat.completions.create(
            model=model, messages=[{"role": "user", "content": content}]
        )
        assert answer.choices

    assert upstream.app.requests[0]["body"]["messages"][0]["content"] == content


async def test_embeddings(client: AsyncOpenAI) -> None:
    answer = await client.embeddings.create(model="demo/embedding", input=["one", "two"])

    assert len(answer.data) == 2
    assert all(isinstance(number, float) for number in answer.data[0].embedding)
    assert answer.usage.prompt_tokens > 0


async def test_images(client: AsyncOpenAI) -> None:
    made = await client.images.generate(model="demo/image", prompt="a cat", response_format="b64_json")
    edited = await client.images.edit(
        model="demo/image", prompt="more cat", image=("a.png", base64.b64decode(PIXEL))
    )

    for answer in (made, edited):
        assert answer.data is not None
        assert base64.b64decode(answer.data[0].b64_json or "").startswith(b"\x89PNG")


async def test_audio_and_moderation(client: AsyncOpenAI) -> None:
    speech = await client.audio.speech.create(model="demo/speech", input="hello", voice="alloy")
    text = await client.audio.transcriptions.create(
        model="demo/transcription", file=("a.wav", speech.content)
    )
    verdict = await client.moderations.create(model="demo/moderation", input="hello")

    assert len(speech.content) > 100
    assert text.text
    assert verdict.results[0].flagged is False


async def test_models(client: AsyncOpenAI) -> None:
    listed = [model.id async for model in client.models.list()]

    assert {"demo/echo", "demo/lorem", "mock/gpt-4o-mini"} == set(listed)
    assert (await client.models.retrieve("demo/echo")).owned_by == "demo"


async def test_errors_are_the_sdks_own(gateway: RunningGateway, client: AsyncOpenAI) -> None:
    with pytest.raises(openai.NotFoundError) as unknown:
        await client.chat.completions.create(model="mock/nothing", messages=said("hi"))
    assert unknown.value.code == "model_not_found"
    with pytest.raises(openai.RateLimitError):
        await client.chat.completions.create(model="mock/gpt-4o-mini", messages=said("mock(status=429)"))
    with pytest.raises(openai.BadRequestError):
        await client.chat.completions.create(model="mock/gpt-4o-mini", messages=said("mock(status=400)"))
    with pytest.raises(openai.InternalServerError):
        await client.chat.completions.create(model="mock/gpt-4o-mini", messages=said("mock(status=500)"))
    with pytest.raises(openai.AuthenticationError):
        await client.with_options(api_key="sk-fo-unknown").models.list()


async def test_a_spent_budget_is_told_in_a_sentence(gateway: RunningGateway, client: AsyncOpenAI) -> None:
    poor = client.with_options(api_key=POOR_SECRET)

    with pytest.raises(openai.APIStatusError) as refused:
        await poor.chat.completions.create(model="mock/gpt-4o-mini", messages=said("hi"))

    assert (refused.value.status_code, refused.value.code) == (402, "budget_exceeded")
    assert "poor" in refused.value.message


async def test_a_failure_inside_a_stream_reaches_the_caller(client: AsyncOpenAI) -> None:
    stream = await client.chat.completions.create(
        model="mock/gpt-4o-mini", messages=said("mock(completion=8; fault=cut)"), stream=True
    )

    with pytest.raises(openai.APIError):
        async for _ in stream:
            pass


async def test_leaving_a_stream_is_a_cancelled_request(gateway: RunningGateway, client: AsyncOpenAI) -> None:
    stream = await client.chat.completions.create(
        model="mock/gpt-4o-mini", messages=said("mock(completion=300; chunk_ms=10)"), stream=True
    )
    async for _ in stream:
        break
    await stream.close()

    (logged,) = await gateway.logged()
    assert (logged.outcome, logged.virtual_key_id) == ("cancelled", KEY.id)
