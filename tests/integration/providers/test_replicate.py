"""Replicate through a whole gateway, judged by the calls that Replicate's own client makes."""

import asyncio
import base64
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import openai
import pytest
from replicate.client import Client

from services.gateway.providers.replicate.adapter import MAX_WAIT_S
from shared.governance.model import PriceOverride, Provider, Timeouts
from tests.support.eventually import eventually
from tests.support.gateway import RunningGateway, running_gateway
from tests.support.providers.replicate import Asked, FakeReplicate, running_replicate
from tests.support.upstream.answers import PIXEL

LLAMA = "meta/meta-llama-3-70b-instruct"
MODEL = f"replicate/{LLAMA}"
PAINTER = "replicate/black-forest-labs/flux-schnell"
PRICES = (
    PriceOverride(model=MODEL, input_per_million_nanos=1_000_000_000, output_per_million_nanos=2_000_000_000),
    PriceOverride(model=PAINTER, per_image_nanos=3_000_000),
)
COST = 9 * 1_000 + 4 * 2_000
HELLO: list[Any] = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "hi"}]


@asynccontextmanager
async def replicate_gateway(
    tmp_path: Path, **overrides: Any
) -> AsyncIterator[tuple[FakeReplicate, RunningGateway, openai.AsyncOpenAI]]:
    async with running_replicate() as (fake, url):
        models = (
            LLAMA,
            "black-forest-labs/flux-schnell",
            "black-forest-labs/flux-kontext-pro",
            "openai/gpt-5",
            "openai/gpt-image-1",
            "a" * 64,
            "deployments/acme/chatty",
        )
        provider = Provider(name="replicate", type="replicate", base_url=url, models=models, **overrides)
        async with (
            running_gateway(tmp_path, provider, *PRICES) as gateway,
            openai.AsyncOpenAI(base_url=f"{gateway.url}/v1", api_key="none", max_retries=0) as client,
        ):
            yield fake, gateway, client


def call(asked: Asked) -> tuple[str, str, str, Any]:
    return asked.method, asked.path, asked.headers.get("prefer", ""), asked.body


async def test_the_vendors_client_works_with_the_fake_and_calls_as_the_gateway_does(tmp_path: Path) -> None:
    given = {"prompt": "hi", "system_prompt": "Be brief.", "max_tokens": 50}
    async with replicate_gateway(tmp_path) as (fake, _, client):
        theirs = Client(api_token="r8", base_url=fake.url)
        said: Any = await theirs.async_run(LLAMA, input=given, wait=MAX_WAIT_S)
        pieces = [str(event) async for event in await theirs.async_stream(LLAMA, input=given)]
        await client.chat.completions.create(model=MODEL, messages=HELLO, max_tokens=50)
        stream = await client.chat.completions.create(model=MODEL, messages=HELLO, max_tokens=50, stream=True)
        async for _ in stream:
            pass

    assert "".join(said) == "".join(pieces) == "Hello there."
    run, create, follow, ours, ours_create, ours_follow, ours_after = map(call, fake.asked)
    assert (ours, ours_create, ours_follow) == (run, create, follow)
    assert ours_after[:2] == ("GET", "/v1/predictions/gm3qorzdhgbfurvjtvhg6dckhu")
    assert run[2] == f"wait={MAX_WAIT_S}"
    assert fake.cancelled == 0


@pytest.mark.parametrize("polls", [0, 2])
async def test_a_chat_is_waited_for_and_priced(tmp_path: Path, polls: int) -> None:
    async with replicate_gateway(tmp_path) as (fake, gateway, client):
        fake.polls = polls
        answer = await client.chat.completions.create(model=MODEL, messages=HELLO)

        assert answer.choices[0].message.content == "Hello there."
        (logged,) = await gateway.logged()
        assert (logged.cost_nanos, logged.cost_basis, len(logged.attempts)) == (COST, "priced", 1)
        assert len(fake.asked) == 1 + polls


@pytest.mark.parametrize("streams", [True, False])
async def test_a_stream_is_followed_and_priced(tmp_path: Path, streams: bool) -> None:
    async with replicate_gateway(tmp_path) as (fake, gateway, client):
        fake.streams, fake.polls = streams, 2
        fake.output = ["Hello", " there.", "\n\nBye."]
        async with client.chat.completions.stream(
            model=MODEL, messages=HELLO, stream_options={"include_usage": True}
        ) as stream:
            async for _ in stream:
                pass
            final = await stream.get_final_completion()

        assert final.choices[0].message.content == "Hello there.\n\nBye."
        assert final.usage is not None and final.usage.completion_tokens == 4
        (logged,) = await gateway.logged()
        assert (logged.cost_nanos, logged.finish_reason, logged.outcome) == (COST, "stop", "success")


@pytest.mark.parametrize("ending", ["cut", "early", "error", "canceled"])
async def test_a_stream_that_breaks_is_an_error_and_is_billed(tmp_path: Path, ending: Any) -> None:
    async with replicate_gateway(tmp_path) as (fake, gateway, client):
        fake.ending = ending
        with pytest.raises(openai.APIError):
            async for _ in await client.chat.completions.create(model=MODEL, messages=HELLO, stream=True):
                pass

        (logged,) = await gateway.logged()
        assert logged.outcome == "error"
        assert logged.cost_nanos > 0


async def test_a_stream_that_stalls_is_given_up(tmp_path: Path) -> None:
    async with replicate_gateway(tmp_path, timeouts=Timeouts(between_chunks=0.2)) as (fake, gateway, client):
        fake.ending = "stall"
        with pytest.raises(openai.APIError, match="in time"):
            async for _ in await client.chat.completions.create(model=MODEL, messages=HELLO, stream=True):
                pass

        (logged,) = await gateway.logged()
        assert (logged.outcome, logged.cost_basis) == ("error", "estimated")
        await eventually(lambda: fake.cancelled == 1)


async def test_a_prediction_that_takes_too_long_is_given_up(tmp_path: Path) -> None:
    async with replicate_gateway(tmp_path, timeouts=Timeouts(total=0.5)) as (fake, gateway, client):
        fake.polls = 1_000
        with pytest.raises(openai.APIStatusError):
            await client.chat.completions.create(model=MODEL, messages=HELLO)

        (logged,) = await gateway.logged()
        assert logged.error_code == "provider_timeout"
        await eventually(lambda: fake.cancelled == 1)


async def left_when(gateway: RunningGateway, there: Callable[[], bool], **fields: Any) -> None:
    """A client that asks, and leaves as soon as something is there."""

    async def ask() -> None:
        body = {"model": MODEL, "messages": HELLO, **fields}
        async with gateway.http.post("/v1/chat/completions", json=body) as response:
            await response.read()

    asking = asyncio.create_task(ask())
    await eventually(there)
    asking.cancel()
    await asyncio.wait((asking,))


@pytest.mark.parametrize("polled", [True, False])
async def test_a_prediction_whose_client_left_is_cancelled(tmp_path: Path, polled: bool) -> None:
    async with replicate_gateway(tmp_path) as (fake, gateway, _):
        fake.polls = 1_000
        if not polled:
            fake.made.clear()
        await left_when(gateway, lambda: len(fake.asked) == (2 if polled else 1))
        (logged,) = await gateway.logged()
        assert logged.outcome == "cancelled"
        fake.made.set()

        await eventually(lambda: fake.cancelled == 1)
        assert fake.asked[-1].path.endswith("/cancel")
        assert "prefer" not in fake.asked[-1].headers


async def test_a_stream_whose_client_left_ends_its_prediction(tmp_path: Path) -> None:
    async with replicate_gateway(tmp_path) as (fake, gateway, _):
        fake.ending = "stall"
        await left_when(gateway, lambda: len(fake.asked) == 2, stream=True)

        await eventually(lambda: fake.cancelled == 1)
        (logged,) = await gateway.logged()
        assert (logged.outcome, logged.cost_basis) == ("cancelled", "estimated")


async def test_a_look_up_that_fails_does_not_make_another_prediction(tmp_path: Path) -> None:
    async with replicate_gateway(tmp_path) as (fake, gateway, client):
        fake.polls, fake.lookups_fail = 1, [503, 429]
        answer = await client.chat.completions.create(model=MODEL, messages=HELLO)

        assert answer.choices[0].message.content == "Hello there."
        assert [asked.method for asked in fake.asked] == ["POST", "GET", "GET", "GET"]
        (logged,) = await gateway.logged()
        assert len(logged.attempts) == 1


async def test_a_prediction_that_cannot_be_looked_up_is_cancelled(tmp_path: Path) -> None:
    async with replicate_gateway(tmp_path) as (fake, _, client):
        fake.polls, fake.lookups_fail = 9, [404]
        with pytest.raises(openai.APIStatusError):
            await client.chat.completions.create(model=MODEL, messages=HELLO)

        await eventually(lambda: fake.cancelled == 1)


async def test_a_deadline_is_told_in_case_nobody_is_left_to_cancel(tmp_path: Path) -> None:
    async with replicate_gateway(tmp_path, timeouts=Timeouts(total=30)) as (fake, _, client):
        await client.chat.completions.create(model=MODEL, messages=HELLO)

    assert fake.asked[0].headers["cancel-after"] == "30s"


async def test_a_failed_prediction_and_a_refusal_are_told(tmp_path: Path) -> None:
    async with replicate_gateway(tmp_path) as (fake, _, client):
        fake.status, fake.error = "failed", "CUDA out of memory"
        with pytest.raises(openai.APIStatusError, match="CUDA"):
            await client.chat.completions.create(model=MODEL, messages=HELLO)
        fake.refusal = (
            422,
            {"title": "Input validation failed", "detail": "prompt is required", "status": 422},
        )
        with pytest.raises(openai.APIStatusError, match="prompt is required"):
            await client.chat.completions.create(model=MODEL, messages=HELLO)


@pytest.mark.proves(provider="replicate", operation="images.generations")
async def test_pictures_come_as_addresses_or_in_base64(tmp_path: Path) -> None:
    async with replicate_gateway(tmp_path) as (fake, gateway, client):
        outside = "http://169.254.169.254/latest/meta-data"
        fake.output = [f"{fake.url}/files/out.png", outside]
        linked = await client.images.generate(model=PAINTER, prompt="a cat", size="1024x768", n=2)
        packed = await client.images.generate(model=PAINTER, prompt="a cat", response_format="b64_json")

        assert fake.asked[0].body["input"] == {
            "prompt": "a cat", "num_outputs": 2, "aspect_ratio": "4:3", "width": 1024, "height": 768,
        }  # fmt: skip
        assert [item.url for item in linked.data or ()] == fake.output
        assert packed.data is not None
        first, second = packed.data
        assert base64.b64decode(first.b64_json or "") == PIXEL
        assert second.url == outside, "an address of the model's own making is not opened"
        assert "authorization" not in fake.asked[-1].headers
        logged = await gateway.logged(2)
        assert [(event.tokens.images, event.cost_nanos) for event in logged] == [(2, 6_000_000)] * 2


KONTEXT = "black-forest-labs/flux-kontext-pro"


@pytest.mark.proves(provider="replicate", operation="images.edits")
async def test_a_picture_is_changed_where_the_model_looks_for_it(tmp_path: Path) -> None:
    url = f"data:image/png;base64,{base64.b64encode(PIXEL).decode()}"
    async with replicate_gateway(tmp_path) as (fake, gateway, client):
        fake.output = f"{fake.url}/files/out.png"
        changed = await client.images.edit(
            model=f"replicate/{KONTEXT}", prompt="a hat", image=("a.png", PIXEL), response_format="b64_json", n=1
        )  # fmt: skip
        several = [("a.png", PIXEL), ("b.png", PIXEL)]
        with pytest.raises(openai.BadRequestError) as refused:
            await client.images.edit(model=f"replicate/{KONTEXT}", prompt="a hat", image=several)
        await client.images.edit(model="replicate/openai/gpt-image-1", prompt="a hat", image=several)
        (logged, *_) = await gateway.logged(3)

    assert changed.data and base64.b64decode(changed.data[0].b64_json or "") == PIXEL
    assert refused.value.param == "image"
    assert fake.asked[0].body["input"] == {"prompt": "a hat", "input_image": url}
    assert fake.asked[-1].body["input"] == {"prompt": "a hat", "input_images": [url, url]}
    assert (logged.endpoint, logged.tokens.images) == ("images.edits", 1)


@pytest.mark.proves(provider="replicate", operation="completions")
async def test_a_prompt_is_completed(tmp_path: Path) -> None:
    async with replicate_gateway(tmp_path) as (fake, gateway, client):
        whole = await client.completions.create(model=MODEL, prompt="Once", max_tokens=9, stop=["END"])
        stream = await client.completions.create(
            model=MODEL, prompt=["Once"], stream=True, stream_options={"include_usage": True}
        )
        chunks = [chunk async for chunk in stream]
        with pytest.raises(openai.BadRequestError) as refused:
            await client.completions.create(model=MODEL, prompt="Once", suffix="end")

        assert fake.asked[0].body["input"] == {"prompt": "Once", "max_tokens": 9, "stop_sequences": "END"}
        assert (whole.object, whole.choices[0].text) == ("text_completion", "Hello there.")
        assert whole.usage is not None and whole.usage.total_tokens == 13
        said = [chunk.choices[0] for chunk in chunks if chunk.choices]
        assert "".join(choice.text for choice in said) == "Hello there."
        assert said[-1].finish_reason == "stop"
        assert chunks[-1].usage is not None and chunks[-1].usage.completion_tokens == 4
        assert refused.value.param == "suffix"
        logged = await gateway.logged(3)
        assert [event.cost_nanos for event in logged[:2]] == [COST, COST]

        fake.ending = "cut"
        with pytest.raises(openai.APIError):
            async for _ in await client.completions.create(model=MODEL, prompt="Once", stream=True):
                pass


async def test_versions_deployments_and_conversations_have_their_own_form(tmp_path: Path) -> None:
    talk: list[Any] = [
        *HELLO,
        {"role": "assistant", "content": "Yes?"},
        {"role": "user", "content": [{"type": "text", "text": "Go."}]},
    ]
    async with replicate_gateway(tmp_path) as (fake, _, client):
        for model in ("a" * 64, "deployments/acme/chatty", "openai/gpt-5"):
            await client.chat.completions.create(model=f"replicate/{model}", messages=talk)

    version, deployment, theirs = fake.asked
    assert (version.path, version.body["version"]) == ("/v1/predictions", "a" * 64)
    assert deployment.path == "/v1/deployments/acme/chatty/predictions"
    assert deployment.body["input"]["prompt"] == "User: hi\n\nAssistant: Yes?\n\nUser: Go.\n\nAssistant:"
    assert theirs.body["input"] == {"messages": talk}


async def test_what_replicate_has_not_is_refused_by_name(tmp_path: Path) -> None:
    tool: Any = {"type": "function", "function": {"name": "look", "parameters": {"type": "object"}}}
    async with replicate_gateway(tmp_path) as (fake, _, client):
        with pytest.raises(openai.BadRequestError) as refused:
            await client.chat.completions.create(model=MODEL, messages=HELLO, tools=[tool])

    assert refused.value.param == "tools"
    assert fake.asked == []
