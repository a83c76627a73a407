"""The operations beside chat of every provider that speaks OpenAI's format, by OpenAI's client, and what none offers."""

import base64
from collections.abc import Awaitable, Callable
from typing import Any

import aiohttp
import openai
import pytest

from shared.catalogue.provider_types import PROVIDER_TYPES
from shared.events import RequestLogged
from shared.topics import REQUESTS
from tests.support.conformance.tables import CHAT, MODELS, NOT_OFFERED, OPERATIONS, STREAMED, offered
from tests.support.eventually import eventually
from tests.support.providers.houses import KINDS
from tests.support.providers.openai_types import SOUND
from tests.support.providers.quirks import QUIRKS
from tests.support.providers.script import Turn
from tests.support.providers.street import Street
from tests.support.upstream.answers import PIXEL

pytestmark = pytest.mark.asyncio(loop_scope="module")

Client = openai.AsyncOpenAI
OWN_FORMAT = ("huggingface",)
"""All but chat is in a format of its own there, with tests of its own."""
ELSEWHERE = (CHAT, "responses", "messages", "messages.count_tokens", "rerank")
"""With tests of their own, see test_clients and test_rerank_and_forms."""
TEXT = Turn().text


async def _completion(client: Client, model: str) -> None:
    whole = await client.completions.create(model=model, prompt="Hi")
    stream = await client.completions.create(
        model=model, prompt="Hi", stream=True, stream_options={"include_usage": True}
    )
    chunks = [chunk async for chunk in stream]
    assert (
        whole.choices[0].text == "".join(chunk.choices[0].text for chunk in chunks if chunk.choices) == TEXT
    )
    for usage in (whole.usage, chunks[-1].usage):
        assert usage is not None and usage.total_tokens == 39


async def _embeddings(client: Client, model: str) -> None:
    plain = await client.embeddings.create(model=model, input=["a", "b"], encoding_format="float")
    packed = await client.embeddings.create(model=model, input=["a", "b"])
    for answer in (plain, packed):
        assert [item.embedding for item in answer.data] == [[0.25, -0.5, 1.0]] * 2
        assert answer.usage.prompt_tokens == 6


async def _picture(client: Client, model: str) -> None:
    _is_picture(await client.images.generate(model=model, prompt="a cat", size="1024x1024"))


async def _edit(client: Client, model: str) -> None:
    _is_picture(await client.images.edit(model=model, prompt="a hat", image=("a.png", PIXEL)))


async def _variation(client: Client, model: str) -> None:
    with pytest.warns(DeprecationWarning):
        _is_picture(await client.images.create_variation(model=model, image=("a.png", PIXEL)))


def _is_picture(answer: Any) -> None:
    assert [base64.b64decode(one.b64_json) for one in answer.data] == [PIXEL]


async def _speech(client: Client, model: str) -> None:
    answer = await client.audio.speech.create(model=model, input="hello", voice="alloy")
    assert answer.content == SOUND


async def _transcript(client: Client, model: str) -> None:
    answer = await client.audio.transcriptions.create(model=model, file=("a.wav", b"RIFF"), language="en")
    assert answer.text == "Hello there."


async def _translation(client: Client, model: str) -> None:
    with pytest.warns(DeprecationWarning):
        answer = await client.audio.translations.create(model=model, file=("a.wav", b"RIFF"))
    assert answer.text == "Hello there."


async def _moderation(client: Client, model: str) -> None:
    answer = await client.moderations.create(model=model, input="hello")
    assert [result.flagged for result in answer.results] == [False]


ASKING: dict[str, Callable[[Client, str], Awaitable[None]]] = {
    "completions": _completion,
    "embeddings": _embeddings,
    "images.generations": _picture,
    "images.edits": _edit,
    "images.variations": _variation,
    "audio.speech": _speech,
    "audio.transcriptions": _transcript,
    "audio.translations": _translation,
    "moderations": _moderation,
}
FORMS = ("images.edits", "images.variations", "audio.transcriptions", "audio.translations")


def cells(pairs: list[tuple[str, str]]) -> pytest.MarkDecorator:
    marked = [
        pytest.param(kind, name, marks=pytest.mark.proves(provider=kind, operation=name))
        for kind, name in pairs
    ]
    return pytest.mark.parametrize(("kind", "operation"), marked)


@cells(
    [
        (kind, operation)
        for kind in QUIRKS
        if kind not in OWN_FORMAT
        for operation in sorted(PROVIDER_TYPES[kind].operations.difference(ELSEWHERE))
    ]
)
async def test_each_operation_that_is_claimed(street: Street, kind: str, operation: str) -> None:
    model = street.play(kind, Turn())
    before = len(street.houses[kind].fake.received())

    await ASKING[operation](street.openai, model)

    asked = street.received(kind)[before:]
    assert asked
    for body in asked:
        assert not str(body["model"]).startswith(f"{kind}/")
    assert await eventually(lambda: _outcomes(street, kind, operation, len(asked))) == {"success"}


async def _outcomes(street: Street, kind: str, operation: str, count: int) -> set[str]:
    """How so many requests ended, once all of them stand on the log."""
    events = await street.gateway.events(REQUESTS)
    found = [event for event in events if isinstance(event, RequestLogged)]
    mine = [event.outcome for event in found if (event.provider, event.endpoint) == (kind, operation)]
    return set(mine) if len(mine) == count else set()


@cells(
    [
        (kind, operation)
        for kind in KINDS
        for operation in OPERATIONS
        if operation not in (MODELS, STREAMED) and offered(PROVIDER_TYPES[kind], operation) == NOT_OFFERED
    ]
)
async def test_what_is_not_offered_is_refused_before_anybody_is_asked(
    street: Street, kind: str, operation: str
) -> None:
    model = street.play(kind, Turn())
    before = len(street.received(kind))
    path = "/v1/" + operation.replace(".", "/")
    asked: Any = {"model": model, "prompt": "a", "input": "a", "query": "a", "documents": ["a"], "voice": "a"}
    async with street.gateway.http.post(path, **_sent(operation, asked)) as response:
        answer = await response.json()

    assert (response.status, answer["error"]["code"]) == (400, "operation_not_supported"), answer
    assert len(street.received(kind)) == before


def _sent(operation: str, asked: Any) -> Any:
    if operation not in FORMS:
        return {"json": asked}
    form = aiohttp.FormData()
    form.add_field("model", asked["model"])
    form.add_field("prompt", "a")
    name = "image" if operation.startswith("images") else "file"
    form.add_field(name, PIXEL, filename="a.png", content_type="image/png")
    return {"data": form}
