"""Each vendor's own client meets every fault that its fake can be told to have, as that vendor's client tells it."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, closing
from dataclasses import dataclass
from typing import Any

import anthropic
import botocore.config
import botocore.session
import cohere
import httpx
import httpx2
import pytest
from botocore.exceptions import ClientError, EventStreamError
from cohere.core.api_error import ApiError
from google import genai
from google.genai import errors, types
from replicate.client import Client
from replicate.exceptions import ModelError, ReplicateError
from urllib3.exceptions import HTTPError

from tests.support.eventually import eventually
from tests.support.providers.houses import MODELS, House, known_to_gateways, running_house
from tests.support.providers.script import REFUSAL, Fault, Turn

HELLO: Any = [{"role": "user", "content": "Hi"}]
Ask = Callable[[bool], Awaitable[list[Any]]]
"""Asks once, for a stream or not; gives the pieces of the answer."""


@asynccontextmanager
async def _anthropic(house: House) -> AsyncIterator[Ask]:
    url = house.url.removesuffix("/v1")
    async with anthropic.AsyncAnthropic(base_url=url, api_key=house.secret, max_retries=0) as client:

        async def ask(stream: bool) -> list[Any]:
            fields: Any = {"model": MODELS["anthropic"], "max_tokens": 9, "messages": HELLO}
            answer: Any = await client.messages.create(**fields, stream=stream)
            return [event async for event in answer] if stream else [answer]

        yield ask


@asynccontextmanager
async def _bedrock(house: House) -> AsyncIterator[Ask]:
    access_key, _, secret_key = house.secret.partition(":")
    client = botocore.session.Session().create_client(
        "bedrock-runtime",
        region_name="eu-west-1",
        endpoint_url=house.url,
        aws_access_key_id=access_key,
        aws_secret_access_key=secret_key,
        config=botocore.config.Config(retries={"total_max_attempts": 1}, read_timeout=1),
    )
    fields: Any = {"modelId": MODELS["bedrock"], "messages": [{"role": "user", "content": [{"text": "Hi"}]}]}

    def streamed() -> list[Any]:
        with closing(client.converse_stream(**fields)["stream"]) as events:
            return list(events)

    async def ask(stream: bool) -> list[Any]:
        if stream:
            return await asyncio.to_thread(streamed)
        return [(await asyncio.to_thread(client.converse, **fields))["output"]]

    try:
        yield ask
    finally:
        client.close()


@asynccontextmanager
async def _cohere(house: House) -> AsyncIterator[Ask]:
    options: Any = {"max_retries": 0}
    async with cohere.AsyncClientV2(api_key=house.secret, base_url=house.url) as client:

        async def ask(stream: bool) -> list[Any]:
            said: cohere.ChatMessages = [cohere.UserChatMessageV2(content="Hi")]
            if not stream:
                return [await client.chat(model="m", messages=said, request_options=options)]
            events = client.chat_stream(model="m", messages=said, request_options=options)
            return [event async for event in events]

        yield ask


@asynccontextmanager
async def _gemini(house: House) -> AsyncIterator[Ask]:
    once = types.HttpRetryOptions(attempts=1)
    async with httpx.AsyncClient() as http:
        url = house.url.removesuffix("/v1beta")
        options = types.HttpOptions(base_url=url, httpx_async_client=http, retry_options=once)
        async with genai.Client(api_key=house.secret, http_options=options).aio as client:

            async def ask(stream: bool) -> list[Any]:
                fields: Any = {"model": "gemini-2.5-flash", "contents": "Hi"}
                if not stream:
                    return [await client.models.generate_content(**fields)]
                pieces: Any = await client.models.generate_content_stream(**fields)
                return [piece async for piece in pieces]

            yield ask


@asynccontextmanager
async def _replicate(house: House) -> AsyncIterator[Ask]:
    client = Client(api_token=house.secret, base_url=house.url)
    given = {"prompt": "hi"}

    async def ask(stream: bool) -> list[Any]:
        if not stream:
            return [await client.async_run(MODELS["replicate"], input=given, wait=True)]
        return [event async for event in await client.async_stream(MODELS["replicate"], input=given)]

    try:
        yield ask
    finally:
        await client._async_client.aclose()  # it has no way of its own to be closed


@dataclass(frozen=True)
class Vendor:
    """Its client, and what that raises."""

    client: Callable[[House], Any]
    refused: type[Exception]
    event: type[Exception] | None
    """For an error inside a stream; None: it gives it back like any event."""
    broken: type[Exception]


VENDORS = {
    "anthropic": Vendor(
        _anthropic, anthropic.APIStatusError, anthropic.APIStatusError, httpx2.RemoteProtocolError
    ),
    "bedrock": Vendor(_bedrock, ClientError, EventStreamError, HTTPError),
    "cohere": Vendor(_cohere, ApiError, None, httpx.RemoteProtocolError),
    "gemini": Vendor(_gemini, errors.APIError, errors.APIError, httpx.RemoteProtocolError),
    "replicate": Vendor(
        _replicate,
        ReplicateError,
        RuntimeError,
        httpx.RemoteProtocolError,
    ),
}


@asynccontextmanager
async def asking(kind: str) -> AsyncIterator[tuple[House, Ask]]:
    async with running_house(kind) as house, VENDORS[kind].client(house) as ask:
        with known_to_gateways(house):
            yield house, ask


each = pytest.mark.parametrize("kind", VENDORS)


@each
@pytest.mark.parametrize("fault", ["refused", "denied", "limited", "overloaded"])
async def test_a_refusal_is_one_to_the_client(kind: str, fault: Fault) -> None:
    async with asking(kind) as (house, ask):
        house.fake.play(Turn(fault=fault))
        for stream in (False, True):
            with pytest.raises(VENDORS[kind].refused) as failed:
                await ask(stream)
            assert REFUSAL in str(failed.value) or REFUSAL in repr(failed.value.__dict__)


@each
async def test_an_error_in_the_middle_of_a_stream(kind: str) -> None:
    async with asking(kind) as (house, ask):
        house.fake.play(Turn(fault="error event"))
        raised = VENDORS[kind].event
        if raised is None:
            assert REFUSAL in str((await ask(True))[-1])
        else:
            with pytest.raises(raised, match=REFUSAL):
                await ask(True)


@each
async def test_an_error_in_a_good_answer(kind: str) -> None:
    """Some clients raise it; the others give back what came, which is no answer."""
    async with asking(kind) as (house, ask):
        house.fake.play(Turn())
        (whole,) = await ask(False)
        house.fake.play(Turn(fault="error in 200"))
        try:
            (answer,) = await ask(False)
        except (ModelError, KeyError, errors.APIError, ApiError, ValueError):
            return
    assert str(answer) != str(whole)


@each
async def test_a_stream_that_breaks_off(kind: str) -> None:
    async with asking(kind) as (house, ask):
        house.fake.play(Turn(fault="break"))
        with pytest.raises(VENDORS[kind].broken):
            await ask(True)


@each
async def test_a_stream_that_ends_early_lacks_its_last_event(kind: str) -> None:
    async with asking(kind) as (house, ask):
        house.fake.play(Turn())
        whole = await ask(True)
        house.fake.play(Turn(fault="early"))
        part = await ask(True)

    assert 0 < len(part) < len(whole)
    assert str(part[-1]) != str(whole[-1])


@each
async def test_a_stream_that_stalls_is_left_by_whoever_does_not_wait(kind: str) -> None:
    async with asking(kind) as (house, ask):
        house.fake.play(Turn(fault="stall"))
        # botocore reads in a thread, which only its own limit ends
        with pytest.raises((TimeoutError, HTTPError)):
            await asyncio.wait_for(ask(True), None if kind == "bedrock" else 0.3)
        await eventually(lambda: house.fake.left.is_set(), 3.0)
