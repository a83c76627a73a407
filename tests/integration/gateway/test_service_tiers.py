"""What was served at another service tier is billed at that tier's price, whatever was asked for."""

from pathlib import Path
from typing import Any

import msgspec
import openai
import pytest
from openai.types.chat import ChatCompletion, ChatCompletionChunk

from shared.events import RequestStarted, UsageRecorded
from shared.governance.model import Provider
from tests.support.gateway import running_gateway, served
from tests.support.upstream.app import Receive, Scope, Send

# A thousand of each, at 1.25 and 10 dollars a million.
USUAL = 1_250_000 + 10_000_000
USAGE = {"prompt_tokens": 1_000, "completion_tokens": 1_000, "total_tokens": 2_000}
ASK: Any = [{"role": "user", "content": "hi"}]


class Tiered:
    """Serves at the tier that it is told to."""

    def __init__(self) -> None:
        self.tier = "default"

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        asked = msgspec.json.decode((await receive())["body"])
        head = {"id": "c1", "created": 1, "model": "gpt-5", "service_tier": self.tier}
        if asked.get("stream"):
            choice: Any = {"index": 0, "delta": {"content": "x"}, "finish_reason": "stop"}
            chunks = [
                head | {"object": "chat.completion.chunk", "choices": [choice]},
                head | {"object": "chat.completion.chunk", "choices": [], "usage": USAGE},
            ]
            made = [ChatCompletionChunk.model_validate(chunk).model_dump_json() for chunk in chunks]
            kind, body = b"text/event-stream", "".join(f"data: {one}\n\n" for one in (*made, "[DONE]"))
        else:
            choice = {"index": 0, "message": {"role": "assistant", "content": "x"}, "finish_reason": "stop"}
            answer = head | {"object": "chat.completion", "choices": [choice], "usage": USAGE}
            kind, body = b"application/json", ChatCompletion.model_validate(answer).model_dump_json()
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", kind)]})
        await send({"type": "http.response.body", "body": body.encode()})


@pytest.mark.parametrize("streamed", [False, True])
async def test_the_tier_that_served_is_the_one_that_is_billed(tmp_path: Path, streamed: bool) -> None:
    server = Tiered()
    async with served(server) as url:
        provider = Provider(name="p", type="openai", base_url=f"{url}/v1", models=("gpt-5",))
        async with (
            running_gateway(tmp_path, provider) as gateway,
            openai.AsyncOpenAI(base_url=f"{gateway.url}/v1", api_key="none", max_retries=0) as client,
        ):
            for server.tier in ("default", "flex", "priority"):
                answer = await client.chat.completions.create(
                    model="p/gpt-5", messages=ASK, service_tier="flex", stream=streamed
                )
                if isinstance(answer, openai.AsyncStream):
                    assert [chunk async for chunk in answer]
            await gateway.logged(3)
            recorded = await gateway.usage(UsageRecorded)

    assert [(event.service_tier, event.cost_nanos, event.cost_basis) for event in recorded] == [
        ("", USUAL, "priced"),
        ("flex", USUAL // 2, "priced"),
        ("priority", USUAL * 2, "priced"),
    ]


async def test_more_is_held_for_a_dearer_tier_and_no_less_for_a_cheaper_one(tmp_path: Path) -> None:
    async with served(Tiered()) as url:
        provider = Provider(name="p", type="openai", base_url=f"{url}/v1", models=("gpt-5",))
        async with (
            running_gateway(tmp_path, provider) as gateway,
            openai.AsyncOpenAI(base_url=f"{gateway.url}/v1", api_key="none", max_retries=0) as client,
        ):
            tiers: list[Any] = ["default", "flex", "priority"]
            for tier in tiers:
                await client.chat.completions.create(
                    model="p/gpt-5", messages=ASK, service_tier=tier, max_completion_tokens=50
                )
            await gateway.logged(3)
            held = [event.reserved_nanos for event in await gateway.usage(RequestStarted)]

    assert held[0] == held[1] > 0
    assert held[2] == 2 * held[0]
