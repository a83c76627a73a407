"""Google's own SDK understands the fake, and sends what our adapter sends."""

import base64
import json
from collections.abc import AsyncIterator
from typing import Any

import anthropic
import httpx
import msgspec
import pytest
from google import genai
from google.genai import errors, types
from google.oauth2.credentials import Credentials

from services.gateway.providers.chat.request import ChatRequest
from services.gateway.providers.gemini.request import chat_body
from tests.support.providers.gemini import KEY, PNG, SIGNATURE, FakeGoogle, running_google
from tests.support.providers.gemini_counts import CLAUDES_COUNT

MODEL = "gemini-2.5-flash"
TOKEN = "ya29.the-sdks-own"
SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}


@pytest.fixture
async def fake() -> AsyncIterator[tuple[FakeGoogle, Any]]:
    async with running_google() as (app, url), httpx.AsyncClient() as http:
        options = types.HttpOptions(base_url=url, httpx_async_client=http)
        async with genai.Client(api_key=KEY, http_options=options).aio as client:
            yield app, client.models


@pytest.fixture
async def vertex() -> AsyncIterator[tuple[FakeGoogle, Any]]:
    async with running_google() as (app, url), httpx.AsyncClient() as http:
        app.tokens.append(TOKEN)
        options = types.HttpOptions(base_url=url, httpx_async_client=http)
        client = genai.Client(
            vertexai=True,
            project="acme-1",
            location="europe-west4",
            credentials=Credentials(token=TOKEN),
            http_options=options,
        )
        async with client.aio as theirs:
            yield app, theirs.models


async def test_the_sdk_reads_an_answer(fake: tuple[FakeGoogle, Any]) -> None:
    answer = await fake[1].generate_content(
        model=MODEL,
        contents="Hi mock(completion=3; prompt=9; cached=4)",
        config={"thinking_config": {"include_thoughts": True, "thinking_budget": 1024}},
    )

    assert answer.text == "wörd wörd wörd "
    assert answer.usage_metadata.thoughts_token_count == 7
    assert answer.usage_metadata.cached_content_token_count == 4


async def test_the_sdk_reads_a_stream(fake: tuple[FakeGoogle, Any]) -> None:
    stream = await fake[1].generate_content_stream(model=MODEL, contents="Hi mock(completion=3)")
    pieces = [piece async for piece in stream]

    assert [piece.text for piece in pieces] == ["wörd "] * 3
    assert pieces[-1].candidates[0].finish_reason == types.FinishReason.STOP


async def test_the_sdk_goes_a_round_of_tools(fake: tuple[FakeGoogle, Any]) -> None:
    config = types.GenerateContentConfig(
        tools=[
            types.Tool(
                function_declarations=[
                    types.FunctionDeclaration(name="weather", parameters_json_schema={"type": "object"})
                ]
            )
        ]
    )
    asked = types.Content(role="user", parts=[types.Part(text="use the tool")])
    answer = await fake[1].generate_content(model=MODEL, contents=[asked], config=config)
    said = answer.candidates[0].content
    assert said.parts[0].thought_signature == SIGNATURE

    result = types.Part(
        function_response=types.FunctionResponse(id="fc-0", name="weather", response={"sky": "blue"})
    )
    answer = await fake[1].generate_content(
        model=MODEL, contents=[asked, said, types.Content(role="user", parts=[result])], config=config
    )
    assert json.loads(answer.text) == [{"sky": "blue"}]


async def test_the_sdk_reads_embeddings_pictures_and_models(fake: tuple[FakeGoogle, Any]) -> None:
    vectors = await fake[1].embed_content(model="gemini-embedding-001", contents=["a", "b"])
    assert [one.values for one in vectors.embeddings] == [[0.5, -0.25, 1.0]] * 2

    drawn = await fake[1].generate_content(
        model="gemini-2.5-flash-image", contents="a cat", config={"response_modalities": ["TEXT", "IMAGE"]}
    )
    assert drawn.parts[0].inline_data.data == PNG

    listed = [model.name async for model in await fake[1].list()]
    assert {"models/gemini-2.5-flash", "models/aqa"} <= set(listed)


@pytest.mark.parametrize("platform", ["gemini", "vertex"])
async def test_the_sdk_reads_a_count(
    fake: tuple[FakeGoogle, Any], vertex: tuple[FakeGoogle, Any], platform: str
) -> None:
    app, models = fake if platform == "gemini" else vertex
    config = _sdk_config()
    counted = types.CountTokensConfig(system_instruction=config.system_instruction, tools=config.tools)

    found = await models.count_tokens(
        model=MODEL,
        contents="Hi mock(prompt=42)",
        config=counted if platform == "vertex" else None,
    )

    assert found.total_tokens == 42
    assert app.paths[-1].endswith(f"/models/{MODEL}:countTokens")


async def test_the_sdk_is_told_what_nobody_counts(fake: tuple[FakeGoogle, Any]) -> None:
    with pytest.raises(errors.ClientError) as caught:
        await fake[1].count_tokens(model="aqa", contents="Hi")
    assert caught.value.code == 404 and "is not supported for countTokens" in str(caught.value)


async def test_anthropics_sdk_reads_a_count_of_vertex() -> None:
    async with running_google() as (app, url):
        app.tokens.append(TOKEN)
        async with anthropic.AsyncAnthropicVertex(
            base_url=f"{url}/v1", region="us-east5", project_id="acme-1", access_token=TOKEN, max_retries=0
        ) as client:
            asked: Any = {"messages": [{"role": "user", "content": "Hi"}], "system": "Be brief."}
            found = await client.messages.count_tokens(model="claude-opus-5", **asked)
            assert found.input_tokens == CLAUDES_COUNT
            with pytest.raises(anthropic.BadRequestError, match="not supported for token counting"):
                await client.messages.count_tokens(model="claude-opus-5@default", **asked)
            app.without_counter = {"us-east5"}
            with pytest.raises(anthropic.NotFoundError):
                await client.messages.count_tokens(model="claude-opus-5", **asked)


async def test_the_sdk_lists_the_models_of_vertex(vertex: tuple[FakeGoogle, Any]) -> None:
    listed = [model async for model in await vertex[1].list(config={"query_base": True, "page_size": 2})]

    assert [model.name for model in listed] == [one["name"] for one in vertex[0].garden.models["google"]]
    assert listed[1].version == "default"
    assert len(vertex[0].lists) == 4


async def test_the_sdk_raises_what_the_model_garden_refuses(vertex: tuple[FakeGoogle, Any]) -> None:
    vertex[0].garden.closed.add("google")

    with pytest.raises(errors.ClientError) as caught:
        await vertex[1].list(config={"query_base": True})
    assert (caught.value.code, caught.value.status) == (403, "PERMISSION_DENIED")


@pytest.mark.parametrize(
    ("prompt", "code", "name"),
    [
        ("mock(status=429; retry_after=3)", 429, "RESOURCE_EXHAUSTED"),
        ("mock(status=503)", 503, "UNAVAILABLE"),
    ],
)
async def test_the_sdk_raises_what_the_fake_refuses(
    fake: tuple[FakeGoogle, Any], prompt: str, code: int, name: str
) -> None:
    with pytest.raises(errors.APIError) as caught:
        await fake[1].generate_content(
            model=MODEL,
            contents=prompt,
            config={"http_options": types.HttpOptions(retry_options=types.HttpRetryOptions(attempts=1))},
        )
    assert (caught.value.code, caught.value.status) == (code, name)


async def test_the_sdk_raises_an_error_inside_a_stream(fake: tuple[FakeGoogle, Any]) -> None:
    stream = await fake[1].generate_content_stream(
        model=MODEL, contents="mock(fault=error-event; completion=6)"
    )
    with pytest.raises(errors.APIError):
        [piece async for piece in stream]


def _sdk_config() -> types.GenerateContentConfig:
    declared = types.FunctionDeclaration(name="weather", description="Weather", parameters_json_schema=SCHEMA)
    forced = types.FunctionCallingConfig(
        mode=types.FunctionCallingConfigMode.ANY, allowed_function_names=["weather"]
    )
    return types.GenerateContentConfig(
        system_instruction=types.Content(parts=[types.Part(text="Be brief.")]),
        temperature=0.5,
        top_p=0.9,
        top_k=40,
        max_output_tokens=100,
        stop_sequences=["END"],
        seed=7,
        presence_penalty=0.1,
        frequency_penalty=0.2,
        thinking_config=types.ThinkingConfig(thinking_budget=8192, include_thoughts=True),
        tools=[types.Tool(function_declarations=[declared])],
        tool_config=types.ToolConfig(function_calling_config=forced),
        service_tier=types.ServiceTier.FLEX,
    )


def _sdk_contents() -> list[types.Content]:
    picture = types.Part(inline_data=types.Blob(data=PNG, mime_type="image/png"))
    call = types.Part(
        function_call=types.FunctionCall(id="fc-0", name="weather", args={"city": "Paris"}),
        thought_signature=SIGNATURE,
    )
    result = types.FunctionResponse(id="fc-0", name="weather", response={"sky": "blue"})
    return [
        types.Content(role="user", parts=[types.Part(text="Look"), picture]),
        types.Content(role="model", parts=[call]),
        types.Content(role="user", parts=[types.Part(function_response=result)]),
    ]


def _our_messages() -> list[dict[str, Any]]:
    call = {
        "id": "fc-0",
        "type": "function",
        "function": {"name": "weather", "arguments": '{"city":"Paris"}'},
        "extra_content": {"google": {"thought_signature": base64.b64encode(SIGNATURE).decode()}},
    }
    url = "data:image/png;base64," + base64.b64encode(PNG).decode()
    content = [{"type": "text", "text": "Look"}, {"type": "image_url", "image_url": {"url": url}}]
    return [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": content},
        {"role": "assistant", "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "fc-0", "content": '{"sky":"blue"}'},
    ]


@pytest.mark.parametrize("platform", ["gemini", "vertex"])
async def test_our_body_is_the_sdks_body(
    fake: tuple[FakeGoogle, Any], vertex: tuple[FakeGoogle, Any], platform: str
) -> None:
    app, models = fake if platform == "gemini" else vertex
    await models.generate_content(model=MODEL, contents=_sdk_contents(), config=_sdk_config())
    function = {"name": "weather", "description": "Weather", "parameters": SCHEMA}
    chat = {
        "messages": _our_messages(),
        "temperature": 0.5,
        "top_p": 0.9,
        "top_k": 40,
        "max_completion_tokens": 100,
        "stop": "END",
        "seed": 7,
        "presence_penalty": 0.1,
        "frequency_penalty": 0.2,
        "reasoning_effort": "medium",
        "tools": [{"type": "function", "function": function}],
        "tool_choice": {"type": "function", "function": {"name": "weather"}},
        "service_tier": "flex",
    }
    body, dropped = chat_body(msgspec.convert(chat, ChatRequest), MODEL, {})

    assert _plain(body) == _plain(app.bodies[-1])
    assert dropped == ()


@pytest.mark.parametrize("platform", ["gemini", "vertex"])
async def test_our_format_is_the_sdks_format(
    fake: tuple[FakeGoogle, Any], vertex: tuple[FakeGoogle, Any], platform: str
) -> None:
    app, models = fake if platform == "gemini" else vertex
    asked: Any = {"response_mime_type": "application/json", "response_json_schema": SCHEMA}
    tool = types.Tool(function_declarations=[types.FunctionDeclaration(name="look")])
    await models.generate_content(model=MODEL, contents="Hi", config=asked)
    with pytest.raises(errors.ClientError, match="response mime type"):
        await models.generate_content(model=MODEL, contents="Hi", config={**asked, "tools": [tool]})
    chat = {
        "messages": [{"role": "user", "content": "Hi"}],
        "response_format": {"type": "json_schema", "json_schema": {"name": "city", "schema": SCHEMA}},
    }

    body, _ = chat_body(msgspec.convert(chat, ChatRequest), MODEL, {})

    assert body["generationConfig"] == app.bodies[0]["generationConfig"]


def _plain(body: dict[str, Any]) -> Any:
    """As the SDK's types read it: JSON of protocol buffers may name a field in two ways, and base64 has two alphabets."""
    return {
        **body,
        "contents": [types.Content.model_validate(one) for one in body["contents"]],
        "tools": [types.Tool.model_validate(one) for one in body["tools"]],
        "toolConfig": types.ToolConfig.model_validate(body["toolConfig"]),
        "generationConfig": types.GenerateContentConfig.model_validate(body["generationConfig"]),
    }
