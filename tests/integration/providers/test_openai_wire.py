"""Every type that speaks OpenAI's format, through a whole gateway: OpenAI's own SDK in front, the mock behind."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import openai
import pydantic
import pytest

from shared.catalogue.provider_types import PROVIDER_TYPES
from shared.governance.model import Credential, Provider
from tests.support.gateway import RunningGateway, running_gateway
from tests.support.providers.azure import running_azure
from tests.support.upstream import MockUpstream, running_upstream
from tests.support.upstream.answers import PIXEL

OWN_FORMAT = {
    "huggingface": PROVIDER_TYPES["huggingface"].operations - {"chat.completions"},
    "azure": {"responses", "messages", "messages.count_tokens"},
}
"""What a type does in a format or at an address of its own, with tests of its own."""
ELSEWHERE = ("rerank",)  # the mock does not have it; see test_rerank_and_forms
TYPES = [
    name
    for name, kind in PROVIDER_TYPES.items()
    if kind.wire in ("openai", "azure", "mistral", "huggingface")
]
MODEL = "some-model"
KEY = "wire-key"
LOOK: Any = {
    "type": "function",
    "function": {"name": "look", "parameters": {"type": "object", "properties": {}}},
}
# Such a type does not know the wish for usage, and sends it all the same.
UNASKED = {"mistral": "mock(prompt=25; completion=4; cached=16; fault=usage-everywhere)"}
FORCED: Any = {"type": "function", "function": {"name": "look"}}


class City(pydantic.BaseModel):
    name: str


@dataclass
class Stage:
    kind: str
    client: openai.AsyncOpenAI
    gateway: RunningGateway
    upstream: MockUpstream

    async def chat(self, text: str = "hi", **fields: Any) -> Any:
        messages = fields.pop("messages", [{"role": "user", "content": text}])
        return await self.client.chat.completions.create(
            model=f"{self.kind}/{MODEL}", messages=messages, **fields
        )

    @property
    def sent(self) -> Any:
        """The body of the last request that reached the provider."""
        return self.upstream.requests[-1]["body"]


@asynccontextmanager
async def mocked(kind: str) -> AsyncIterator[tuple[MockUpstream, str]]:
    """The mock, as a resource of Azure's for that, and its address."""
    if kind == "azure":
        async with running_azure() as (fake, url):
            fake.key, fake.deployments = KEY, (MODEL,)
            yield fake.mock, url
    else:
        async with running_upstream() as upstream:
            yield upstream.app, upstream.url


@asynccontextmanager
async def staged(tmp_path: Path, kind: str) -> AsyncIterator[Stage]:
    async with mocked(kind) as (upstream, url):
        provider = Provider(
            name=kind,
            type=kind,
            base_url=url,
            models=(MODEL,),
            credentials=(Credential(name="main", env="WIRE_KEY"),),
            options={"responses": "native"} if kind == "openai" else {},
        )
        async with (
            running_gateway(tmp_path, provider) as gateway,
            openai.AsyncOpenAI(base_url=f"{gateway.url}/v1", api_key="none", max_retries=0) as client,
        ):
            yield Stage(kind, client, gateway, upstream)


@pytest.fixture(autouse=True)
def _key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WIRE_KEY", KEY)


async def _completion(client: openai.AsyncOpenAI, model: str) -> None:
    answer = await client.completions.create(model=model, prompt="mock(prompt=9; completion=3)")
    assert answer.choices[0].text == "word " * 3
    assert answer.usage is not None and answer.usage.total_tokens == 12


async def _chat(client: openai.AsyncOpenAI, model: str) -> None:
    said: Any = [{"role": "user", "content": "mock(prompt=9; completion=3)"}]
    answer = await client.chat.completions.create(model=model, messages=said)
    assert (answer.choices[0].message.content, answer.choices[0].finish_reason) == ("word " * 3, "stop")
    assert answer.usage is not None and answer.usage.total_tokens == 12


async def _embeddings(client: openai.AsyncOpenAI, model: str) -> None:
    answer = await client.embeddings.create(model=model, input=["a", "b"], encoding_format="float")
    assert [item.embedding for item in answer.data] == [[0.25, -0.5, 1.0]] * 2


async def _picture(client: openai.AsyncOpenAI, model: str) -> None:
    answer = await client.images.generate(model=model, prompt="a cat")
    assert answer.data and answer.data[0].b64_json


async def _edit(client: openai.AsyncOpenAI, model: str) -> None:
    answer = await client.images.edit(model=model, prompt="a hat", image=("a.png", PIXEL))
    assert answer.data and answer.data[0].b64_json


async def _variation(client: openai.AsyncOpenAI, model: str) -> None:
    with pytest.warns(DeprecationWarning):
        answer = await client.images.create_variation(model=model, image=("a.png", PIXEL))
    assert answer.data and answer.data[0].b64_json


async def _speech(client: openai.AsyncOpenAI, model: str) -> None:
    answer = await client.audio.speech.create(model=model, input="hello", voice="alloy")
    assert answer.content.startswith(b"\xff\xfb")


async def _transcript(client: openai.AsyncOpenAI, model: str) -> None:
    answer = await client.audio.transcriptions.create(model=model, file=("a.wav", b"RIFF"))
    assert answer.text == "mock transcript"


async def _translation(client: openai.AsyncOpenAI, model: str) -> None:
    with pytest.warns(DeprecationWarning):
        answer = await client.audio.translations.create(model=model, file=("a.wav", b"RIFF"))
    assert answer.text == "mock transcript"


async def _moderation(client: openai.AsyncOpenAI, model: str) -> None:
    answer = await client.moderations.create(model=model, input="hello")
    assert [result.flagged for result in answer.results] == [False]


async def _response(client: openai.AsyncOpenAI, model: str) -> None:
    answer = await client.responses.create(model=model, input="mock(prompt=9; completion=3)")
    assert answer.output_text == "word " * 3
    assert answer.usage is not None and answer.usage.total_tokens == 12


ASKING: dict[str, Callable[[openai.AsyncOpenAI, str], Awaitable[None]]] = {
    "chat.completions": _chat,
    "completions": _completion,
    "embeddings": _embeddings,
    "images.generations": _picture,
    "images.edits": _edit,
    "images.variations": _variation,
    "audio.speech": _speech,
    "audio.transcriptions": _transcript,
    "audio.translations": _translation,
    "moderations": _moderation,
    "responses": _response,
}


@pytest.mark.parametrize(
    ("kind", "operation"),
    [
        pytest.param(kind, operation, marks=pytest.mark.proves(provider=kind, operation=operation))
        for kind in TYPES
        for operation in sorted(
            PROVIDER_TYPES[kind].operations.difference(OWN_FORMAT.get(kind, ()), ELSEWHERE)
        )
    ],
)
async def test_each_operation_that_is_claimed(tmp_path: Path, kind: str, operation: str) -> None:
    async with staged(tmp_path, kind) as stage:
        await ASKING[operation](stage.client, f"{kind}/{MODEL}")

        (asked,) = stage.upstream.requests
        assert asked["path"] == "/" + operation.replace(".", "/")
        secret = asked["headers"].get("api-key" if kind == "azure" else "authorization", "")
        assert secret.removeprefix("Bearer ") == KEY
        assert MODEL in str(asked["body"]) and f"{kind}/{MODEL}" not in str(asked["body"])
        (logged,) = await stage.gateway.logged()
        assert (logged.endpoint, logged.provider, logged.outcome) == (operation, kind, "success")


def each_type(*features: str) -> pytest.MarkDecorator:
    """A test for each type, which proves these features of its chat."""
    marked = [
        pytest.param(
            kind, marks=pytest.mark.proves(provider=kind, operation="chat.completions", features=features)
        )
        for kind in TYPES
    ]
    return pytest.mark.parametrize("kind", marked)


@each_type("stream", "usage with cache")
async def test_a_stream_and_its_usage(tmp_path: Path, kind: str) -> None:
    async with staged(tmp_path, kind) as stage:
        orders = "mock(prompt=25; completion=4; cached=16)"
        whole = await stage.chat(orders)
        wish = {"include_usage": True}
        stream = await stage.chat(UNASKED.get(kind, orders), stream=True, stream_options=wish)
        chunks = [chunk async for chunk in stream]

        for usage in (whole.usage, chunks[-1].usage):
            assert (usage.prompt_tokens, usage.completion_tokens) == (25, 4)
            assert usage.prompt_tokens_details.cached_tokens == 16
        said = [chunk.choices[0] for chunk in chunks if chunk.choices]
        assert "".join(choice.delta.content or "" for choice in said) == "word " * 4
        assert said[-1].finish_reason == "stop"
        logged = await stage.gateway.logged(2)
        assert [event.tokens.cached_read for event in logged] == [16, 16]


@each_type("tools", "tool loop", "forced tool")
@pytest.mark.parametrize("streamed", [False, True])
async def test_a_round_of_tools(tmp_path: Path, kind: str, streamed: bool) -> None:
    async with staged(tmp_path, kind) as stage:
        messages: list[Any] = [{"role": "user", "content": "mock(call=look)"}]
        fields: Any = {"messages": messages, "tools": [LOOK], "tool_choice": FORCED}
        if streamed:
            async with stage.client.chat.completions.stream(model=f"{kind}/{MODEL}", **fields) as stream:
                asked: Any = (await stream.get_final_completion()).choices[0]
        else:
            asked = (await stage.chat(**fields)).choices[0]
        assert (stage.sent["tools"], stage.sent["tool_choice"]) == ([LOOK], FORCED)
        assert asked.finish_reason == "tool_calls"
        (call,) = asked.message.tool_calls
        assert (call.function.name, call.function.arguments) == ("look", '{"city":"Oslo"}')

        messages.append(asked.message.model_dump(exclude_none=True))
        told = {"role": "tool", "tool_call_id": call.id, "content": f"mock(call=; said={quote('Rain.')})"}
        answer = await stage.chat(messages=[*messages, told], tools=[LOOK])
        assert answer.choices[0].message.content == "Rain."
        assert [one["role"] for one in stage.sent["messages"]] == ["user", "assistant", "tool"]
        assert stage.sent["messages"][1]["tool_calls"][0]["id"] == stage.sent["messages"][2]["tool_call_id"]


@each_type("json mode", "json schema")
async def test_answers_in_json(tmp_path: Path, kind: str) -> None:
    async with staged(tmp_path, kind) as stage:
        await stage.chat(response_format={"type": "json_object"})
        assert stage.sent["response_format"] == {"type": "json_object"}
        text: Any = f"mock(said={quote(City(name='Oslo').model_dump_json())})"
        answer = await stage.client.chat.completions.parse(
            model=f"{kind}/{MODEL}", messages=[{"role": "user", "content": text}], response_format=City
        )
        assert answer.choices[0].message.parsed == City(name="Oslo")
        form = stage.sent["response_format"]
        assert (form["type"], form["json_schema"]["schema"]["required"]) == ("json_schema", ["name"])


PDF = "data:application/pdf;base64,JVBERi0="
# Documents are parts of another name there.
DOCUMENT = {"mistral": {"type": "document_url", "document_url": PDF, "document_name": "a.pdf"}}


@each_type("images in", "documents in", "reasoning")
async def test_pictures_documents_and_efforts_arrive_as_they_were_sent(tmp_path: Path, kind: str) -> None:
    picture = {"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBORw0KGgo="}}
    document = {"type": "file", "file": {"filename": "a.pdf", "file_data": PDF}}
    said = {"type": "text", "text": "What is this?"}
    async with staged(tmp_path, kind) as stage:
        content = [said, picture, document]
        await stage.chat(messages=[{"role": "user", "content": content}], reasoning_effort="low")

        content = [said, picture, DOCUMENT.get(kind, document)]
        assert stage.sent["messages"] == [{"role": "user", "content": content}]
        assert stage.sent["reasoning_effort"] == "low"


@each_type("errors mapped", "rate limit", "error in 200")
async def test_failures_are_told(tmp_path: Path, kind: str) -> None:
    async with staged(tmp_path, kind) as stage:
        with pytest.raises(openai.BadRequestError, match="mock failure 400"):
            await stage.chat("mock(status=400)")
        with pytest.raises(openai.APIStatusError) as failed:
            await stage.chat("mock(fault=error-200)")
        with pytest.raises(openai.RateLimitError) as limited:
            await stage.chat("mock(status=429; retry_after=7)")

        assert failed.value.status_code >= 500
        assert limited.value.response.headers["retry-after"] == "7"


@each_type("cut stream")
async def test_a_stream_that_breaks_is_an_error_and_is_billed(tmp_path: Path, kind: str) -> None:
    async with staged(tmp_path, kind) as stage:
        for fault in ("cut", "end-early", "error-event"):
            stream = await stage.chat(f"mock(prompt=9; completion=8; fault={fault})", stream=True)
            with pytest.raises(openai.APIError):
                async for _ in stream:
                    pass

        for logged in await stage.gateway.logged(3):
            assert logged.outcome == "error"
            assert logged.tokens.completion > 0
