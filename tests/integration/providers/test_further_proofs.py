"""What the tests of the single providers leave open in the conformance table, through whole gateways."""

import base64
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
import openai
import pytest

from shared.governance.model import Credential, Provider
from tests.integration.providers.test_anthropic import ASK, house
from tests.integration.providers.test_anthropic import MODEL as CLAUDE
from tests.integration.providers.test_cohere import MODEL as COMMAND
from tests.integration.providers.test_cohere import cohere_gateway
from tests.integration.providers.test_gemini import WEATHER
from tests.integration.providers.test_replicate import HELLO, LLAMA, replicate_gateway
from tests.integration.providers.test_vertex import service_account
from tests.support.gateway import RunningGateway, running_gateway
from tests.support.providers.anthropic import error
from tests.support.providers.bedrock import STATIC, Reply, running_bedrock
from tests.support.providers.gemini import PNG, FakeGoogle, running_google

FLASH = "vertex/gemini-2.5-flash"
PICTURE_URL = f"data:image/png;base64,{base64.b64encode(PNG).decode()}"
PICTURE: Any = {"type": "image_url", "image_url": {"url": PICTURE_URL}}
PDF: Any = {
    "type": "file",
    "file": {"filename": "a.pdf", "file_data": "data:application/pdf;base64,JVBERi0="},
}


def asking(*parts: Any) -> Any:
    return [{"role": "user", "content": [{"type": "text", "text": "What is this?"}, *parts]}]


@asynccontextmanager
async def vertex(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[tuple[FakeGoogle, RunningGateway, openai.AsyncOpenAI]]:
    async with running_google() as (fake, url):
        monkeypatch.setenv("VERTEX_TEST_KEY", service_account(url))
        provider = Provider(
            name="vertex",
            type="vertex",
            base_url=url,
            credentials=(Credential(name="main", env="VERTEX_TEST_KEY"),),
            options={"location": "europe-west4"},
        )
        async with (
            running_gateway(tmp_path, provider) as gateway,
            openai.AsyncOpenAI(base_url=f"{gateway.url}/v1", api_key="none", max_retries=0) as client,
        ):
            yield fake, gateway, client


@pytest.mark.proves(provider="vertex", operation="images.edits")
async def test_vertex_changes_a_picture(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with vertex(tmp_path, monkeypatch) as (fake, _, client):
        changed = await client.images.edit(
            model="vertex/gemini-2.5-flash-image", prompt="a dog", image=("a.png", PNG, "image/png")
        )

        assert changed.data and base64.b64decode(changed.data[0].b64_json or "") == PNG
        assert "inlineData" in fake.bodies[0]["contents"][0]["parts"][0]


@pytest.mark.proves(
    provider="vertex", operation="chat", features=("stream", "tools", "tool loop", "forced tool")
)
@pytest.mark.parametrize("streamed", [False, True])
async def test_vertex_goes_a_round_of_tools(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, streamed: bool
) -> None:
    async with vertex(tmp_path, monkeypatch) as (fake, _, client):
        messages: list[Any] = [{"role": "user", "content": "use the tool"}]
        fields: Any = {"model": FLASH, "tools": [WEATHER], "messages": messages}
        if streamed:
            async with client.chat.completions.stream(**fields, tool_choice="required") as stream:
                asked: Any = (await stream.get_final_completion()).choices[0]
        else:
            answered: Any = await client.chat.completions.create(**fields, tool_choice="required")
            asked = answered.choices[0]
        assert fake.bodies[0]["toolConfig"] == {"functionCallingConfig": {"mode": "ANY"}}
        (call,) = asked.message.tool_calls
        assert asked.finish_reason == "tool_calls"

        messages.append(asked.message.model_dump(exclude_none=True))
        messages.append({"role": "tool", "tool_call_id": call.id, "content": "rain"})
        answer = await client.chat.completions.create(**fields)

        assert answer.choices[0].message.content == '[{"result": "rain"}]'


@pytest.mark.proves(
    provider="vertex",
    operation="chat",
    features=("json mode", "json schema", "images in", "documents in", "reasoning", "usage with cache"),
)
async def test_vertex_is_told_everything(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    schema = {"type": "object", "properties": {"city": {"type": "string"}}}
    form: Any = {"type": "json_schema", "json_schema": {"name": "city", "schema": schema}}
    async with vertex(tmp_path, monkeypatch) as (fake, gateway, client):
        await client.chat.completions.create(
            model=FLASH, messages=asking(PICTURE, PDF), response_format={"type": "json_object"}
        )
        said = await client.chat.completions.create(
            model=FLASH, messages=asking(), response_format=form, reasoning_effort="low"
        )
        cached = await client.chat.completions.create(
            model=FLASH, messages=[{"role": "user", "content": "mock(prompt=9; completion=2; cached=4)"}]
        )

        first, second, _ = fake.bodies
        assert [part["inlineData"]["mimeType"] for part in first["contents"][0]["parts"][1:]] == [
            "image/png",
            "application/pdf",
        ]
        assert first["generationConfig"]["responseMimeType"] == "application/json"
        assert second["generationConfig"]["responseJsonSchema"]["properties"] == schema["properties"]
        assert second["generationConfig"]["thinkingConfig"]["includeThoughts"]
        assert (said.choices[0].message.model_extra or {})["reasoning_content"] == "Let me think. "
        assert cached.usage is not None and cached.usage.prompt_tokens_details is not None
        assert cached.usage.prompt_tokens_details.cached_tokens == 4
        assert (await gateway.logged(3))[-1].tokens.cached_read == 4


@pytest.mark.proves(
    provider="vertex",
    operation="chat",
    features=("errors mapped", "rate limit", "cut stream", "error in 200"),
)
async def test_failures_of_vertex_are_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def ask(text: str) -> Any:
        return {"model": FLASH, "messages": [{"role": "user", "content": text}]}

    async with vertex(tmp_path, monkeypatch) as (_, gateway, client):
        with pytest.raises(openai.BadRequestError, match="fake failure 400"):
            await client.chat.completions.create(**ask("mock(status=400)"))
        with pytest.raises(openai.InternalServerError):
            await client.chat.completions.create(**ask("mock(fault=error-200)"))
        stream = await client.chat.completions.create(
            **ask("mock(prompt=9; completion=6; fault=cut)"), stream=True
        )
        with pytest.raises(openai.APIError):
            async for _ in stream:
                pass
        with pytest.raises(openai.RateLimitError) as limited:
            await client.chat.completions.create(**ask("mock(status=429; retry_after=7)"))

        assert limited.value.response.headers["retry-after"] == "7"
        broken = (await gateway.logged(4))[2]
        assert broken.outcome == "error" and broken.tokens.completion > 0


@pytest.mark.proves(provider="bedrock", operation="images.variations")
async def test_bedrock_varies_a_picture(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_TEST_KEYS", STATIC)
    async with running_bedrock() as (fake, url):
        picture = base64.b64encode(PNG).decode()
        fake.replies.append(Reply(body=msgspec.json.encode({"images": [picture]})))
        provider = Provider(
            name="bedrock",
            type="bedrock",
            base_url=url,
            credentials=(Credential(name="main", env="AWS_TEST_KEYS"),),
            options={"region": "eu-central-1"},
        )
        async with (
            running_gateway(tmp_path, provider) as gateway,
            openai.AsyncOpenAI(base_url=f"{gateway.url}/v1", api_key="none", max_retries=0) as client,
        ):
            with pytest.warns(DeprecationWarning):
                answer = await client.images.create_variation(
                    model="bedrock/amazon.nova-canvas-v1:0", image=("a.png", PNG, "image/png")
                )

        assert [one.b64_json for one in answer.data or ()] == [picture]
        sent = msgspec.json.decode(fake.asked[0].body)
        assert sent["taskType"] == "IMAGE_VARIATION"
        assert sent["imageVariationParams"] == {"images": [picture]}


@pytest.mark.proves(provider="anthropic", operation="chat", features=("rate limit",))
async def test_a_limit_of_anthropic_stays_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLAUDE_KEY", "anthropic-key")
    async with house(tmp_path) as h:
        h.fake.failures = [(429, error("rate_limit_error"))] * 3
        with pytest.raises(openai.RateLimitError) as limited:
            await h.openai.chat.completions.create(model=CLAUDE, messages=ASK)

        assert int(limited.value.response.headers["retry-after"]) > 0


@pytest.mark.proves(
    provider="cohere", operation="chat", features=("json mode", "images in"), refuses=("documents in",)
)
async def test_cohere_takes_pictures_and_no_documents(tmp_path: Path) -> None:
    async with cohere_gateway(tmp_path) as (fake, _, client):
        await client.chat.completions.create(
            model=COMMAND, messages=asking(PICTURE), response_format={"type": "json_object"}
        )
        with pytest.raises(openai.BadRequestError) as refused:
            await client.chat.completions.create(model=COMMAND, messages=asking(PDF))

    (sent,) = fake.requests
    assert sent["response_format"] == {"type": "json_object"}
    assert sent["messages"][0]["content"][1] == PICTURE
    assert refused.value.param == "messages[0].content[1]"


@pytest.mark.proves(
    provider="replicate",
    operation="chat",
    features=("rate limit", "reasoning"),
    refuses=("json mode", "json schema", "documents in"),
)
async def test_replicate_is_asked_for_what_it_has(tmp_path: Path) -> None:
    plain: Any = {"type": "json_object"}
    schema: Any = {"type": "json_schema", "json_schema": {"name": "x", "schema": {"type": "object"}}}
    model = f"replicate/{LLAMA}"
    async with replicate_gateway(tmp_path) as (fake, _, client):
        for form in (plain, schema):
            with pytest.raises(openai.BadRequestError) as refused:
                await client.chat.completions.create(model=model, messages=HELLO, response_format=form)
            assert refused.value.param == "response_format"
        with pytest.raises(openai.BadRequestError) as refused:
            await client.chat.completions.create(model=model, messages=asking(PDF))
        assert refused.value.param == "messages[0].content[1]"
        await client.chat.completions.create(model=model, messages=HELLO, reasoning_effort="low")
        fake.refusal = (429, {"detail": "Request was throttled.", "status": 429})
        with pytest.raises(openai.RateLimitError, match="throttled"):
            await client.chat.completions.create(model=model, messages=HELLO)

    assert fake.asked[0].body["input"]["reasoning_effort"] == "low"
