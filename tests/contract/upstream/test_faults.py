"""The mock's ways to fail, over a real connection, seen through the client and the OpenAI adapter."""

import json
import subprocess
import sys
from collections.abc import AsyncIterator
from typing import Any

import msgspec
import pytest
from openai import AsyncOpenAI

from services.gateway.providers.body import parse_json
from services.gateway.providers.errors import UpstreamError
from services.gateway.providers.openai import OpenAIAdapter
from services.gateway.providers.operations import Operation
from services.gateway.providers.port import Relay
from services.gateway.upstream.aiohttp_client import AiohttpClient
from services.gateway.upstream.port import UpstreamFault
from shared.events import Tokens
from tests.support.targets import relay_options, target
from tests.support.upstream import RunningUpstream, running_upstream, upstream_process

ADAPTER = OpenAIAdapter()
LIMIT = 10_000_000


@pytest.fixture
async def upstream() -> AsyncIterator[RunningUpstream]:
    async with running_upstream() as running:
        yield running


@pytest.fixture
async def client() -> AsyncIterator[AiohttpClient]:
    client = AiohttpClient()
    yield client
    await client.close()


async def streamed(url: str, client: AiohttpClient, orders: str) -> tuple[bytes, Relay]:
    """What the client of a gateway would get, and the relay that made it."""
    body = {
        "model": "x/m",
        "stream": True,
        "messages": [{"role": "user", "content": f"mock(marker=s; {orders})"}],
    }
    prepared = ADAPTER.build(
        Operation.CHAT, target(base_url=url, model="m"), parse_json(msgspec.json.encode(body))
    )
    relay = ADAPTER.relay(Operation.CHAT, relay_options(send_usage=True, cost="0.5"))
    response = await client.send(prepared.request)
    try:
        out = b"".join([relay.feed(chunk) async for chunk in response.chunks()]) + relay.end()
    except UpstreamFault as fault:
        return relay.fail(UpstreamError(status=502, message=str(fault))), relay
    finally:
        response.close()
    return out, relay


def data_of(out: bytes) -> list[Any]:
    lines = [line[6:] for line in out.replace(b"\r\n", b"\n").split(b"\n") if line.startswith(b"data: ")]
    assert lines[-1] == b"[DONE]"
    return [json.loads(line) for line in lines[:-1]]


@pytest.mark.parametrize(
    "fault", ["", "usage-everywhere", "usage-on-last", "no-done", "crlf", "crlf+no-done+usage-everywhere"]
)
async def test_every_honest_stream_gives_the_same(
    upstream: RunningUpstream, client: AiohttpClient, fault: str
) -> None:
    out, relay = await streamed(upstream.url, client, f"fault={fault}; prompt=11; completion=6")
    events = data_of(out)

    assert relay.error is None
    assert relay.usage().tokens == Tokens(prompt=11, completion=6)
    usages = [event["usage"] for event in events if event.get("usage")]
    assert usages == [{"prompt_tokens": 11, "completion_tokens": 6, "total_tokens": 17, "cost": 0.5}]
    text = "".join(event["choices"][0]["delta"].get("content", "") for event in events if event["choices"])
    assert text == "word " * 6
    served = upstream.app.served[0]
    assert (served.marker, served.outcome, served.prompt_tokens, served.completion_tokens) == (
        "s",
        "finished",
        11,
        6,
    )
    assert served.usage_sent


async def test_a_stream_without_usage_is_estimated(upstream: RunningUpstream, client: AiohttpClient) -> None:
    _, relay = await streamed(upstream.url, client, "fault=no-usage; completion=14")

    assert relay.usage().estimated
    assert relay.usage().tokens == Tokens(prompt=7, completion=20)


@pytest.mark.parametrize(
    ("fault", "message", "started"),
    [
        ("error-event", "mock failure in the stream", True),
        ("error-first", "mock failure in the stream", False),
        ("error-200", "mock error in a 200", False),
        ("end-early", "The provider ended its answer before it was complete.", True),
        ("cut", "The provider closed the connection in the middle of its answer.", True),
    ],
)
async def test_every_broken_stream_ends_with_an_error(
    upstream: RunningUpstream, client: AiohttpClient, fault: str, message: str, started: bool
) -> None:
    out, relay = await streamed(upstream.url, client, f"fault={fault}; completion=6")

    assert data_of(out)[-1]["error"]["message"] == message
    assert relay.error is not None
    assert relay.started is started


async def test_errors_carry_their_status_and_wait(upstream: RunningUpstream, client: AiohttpClient) -> None:
    body = parse_json(b'{"model":"mock(marker=e; status=429; retry_after=3; fail_first=1)","messages":[]}')
    prepared = ADAPTER.build(
        Operation.CHAT,
        target(base_url=upstream.url, model="mock(marker=e; status=429; retry_after=3; fail_first=1)"),
        body,
    )
    refused = await client.send(prepared.request)
    error = ADAPTER.map_error(refused.status, refused.headers, await refused.read(LIMIT))
    accepted = await client.send(prepared.request)
    answer = ADAPTER.read_answer(Operation.CHAT, body, accepted.headers, await accepted.read(LIMIT))
    refused.close()
    accepted.close()

    assert (error.status, error.upstream_code, error.retry_after_s) == (429, "mock_failure", 3.0)
    assert error.retryable
    assert answer.usage.tokens.prompt > 0
    assert [served.outcome for served in upstream.app.served] == ["failed", "finished"]


async def test_the_official_sdk_understands_the_mock(upstream: RunningUpstream) -> None:
    async with AsyncOpenAI(base_url=upstream.url, api_key="x", max_retries=0) as sdk:
        models = [model.id async for model in sdk.models.list()]
        chat = await sdk.chat.completions.create(
            model="m", messages=[{"role": "user", "content": "mock(prompt=3; completion=2)"}]
        )
        stream = await sdk.chat.completions.create(
            model="m", messages=[{"role": "user", "content": "mock(completion=4)"}], stream=True
        )
        said = "".join([chunk.choices[0].delta.content or "" async for chunk in stream])
        vectors = await sdk.embeddings.create(model="e", input=["a", "b"], encoding_format="float")
        pictures = await sdk.images.generate(model="i", prompt="p", n=2)
        sound = await sdk.audio.speech.create(model="t", voice="alloy", input="hi")
        transcript = await sdk.audio.transcriptions.create(model="w", file=("a.wav", b"RIFF"))

    assert "gpt-4o-mini" in models
    assert chat.usage is not None
    assert chat.usage.total_tokens == 5
    assert said == "word " * 4
    assert len(vectors.data) == 2
    assert pictures.data is not None
    assert len(pictures.data) == 2
    assert sound.content.startswith(b"\xff\xfb")
    assert transcript.text == "mock transcript"


def test_the_mock_runs_as_its_own_process() -> None:
    with upstream_process() as url:
        code = f"import urllib.request as u; print(u.urlopen('{url}/models').status)"
        answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert answer.stdout.strip() == "200"
