"""POST /v1/responses through a whole gateway with OpenAI's own client: at providers that have it, and at those that do not."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

import openai
import pytest
from openai.types.responses import Response
from pydantic import BaseModel

from shared.events import UsageRecorded
from shared.governance.model import Credential, Provider
from tests.support.eventually import eventually
from tests.support.gateway import (
    DEMO,
    MOCK_PRICE,
    RunningGateway,
    mock_cost,
    mock_provider,
    running_gateway,
    virtual_key,
)
from tests.support.providers.anthropic import events, message, running_anthropic, text, thinking, tool_use
from tests.support.upstream import RunningUpstream, running_upstream

MODEL = "mock/gpt-4o-mini"
NATIVE = {"responses": "native"}
BOTH_WAYS = pytest.mark.parametrize("options", [NATIVE, {}], ids=["native", "through chat"])


class City(BaseModel):
    name: str
    rainy: bool


@asynccontextmanager
async def all_three(
    tmp_path: Path, options: dict[str, str], **environ: str
) -> AsyncIterator[tuple[openai.AsyncOpenAI, RunningGateway, RunningUpstream]]:
    """OpenAI's client, a gateway, and the mock behind it."""
    secret, key = virtual_key()
    async with running_upstream() as upstream:
        provider = mock_provider(upstream.url, options=options)
        async with (
            running_gateway(tmp_path, provider, MOCK_PRICE, DEMO, key, environ=environ) as gateway,
            openai.AsyncOpenAI(api_key=secret, base_url=f"{gateway.url}/v1", max_retries=0) as client,
        ):
            yield client, gateway, upstream


@BOTH_WAYS
async def test_a_whole_response_is_metered_and_told_its_cost(tmp_path: Path, options: dict[str, str]) -> None:
    async with all_three(tmp_path, options) as (client, gateway, upstream):
        response = await client.responses.create(
            model=MODEL,
            input="mock(prompt=25; completion=14)",
            instructions="Be brief.",
            max_output_tokens=50,
        )

        Response.model_validate(response.model_dump())
        assert response.output_text == "word " * 14
        assert response.status == "completed"
        assert response.usage is not None
        assert (response.usage.input_tokens, response.usage.output_tokens) == (25, 14)
        assert response.usage.model_dump()["cost"] == mock_cost(25, 14) / 1e9
        (seen,) = upstream.app.requests
        assert seen["path"] == ("/responses" if options else "/chat/completions")
        (logged,) = await gateway.logged()
        assert (logged.endpoint, logged.outcome, logged.finish_reason) == ("responses", "success", "stop")
        assert (logged.cost_nanos, logged.cost_basis) == (mock_cost(25, 14), "priced")


@BOTH_WAYS
async def test_a_stream_is_put_together_by_the_clients_own_helper(
    tmp_path: Path, options: dict[str, str]
) -> None:
    async with all_three(tmp_path, options) as (client, gateway, _):
        kinds = []
        async with client.responses.stream(model=MODEL, input="mock(prompt=25; completion=14)") as stream:
            async for event in stream:
                kinds.append(event.type)
            response = await stream.get_final_response()

        assert kinds[:3] == ["response.created", "response.in_progress", "response.output_item.added"]
        assert kinds.count("response.output_text.delta") == 14
        assert kinds[-1] == "response.completed"
        assert response.output_text == "word " * 14
        assert response.usage is not None
        assert response.usage.model_dump()["cost"] == mock_cost(25, 14) / 1e9
        (logged,) = await gateway.logged()
        assert (logged.cost_nanos, logged.stream, logged.finish_reason) == (mock_cost(25, 14), True, "stop")


@BOTH_WAYS
@pytest.mark.parametrize("fault", ["cut", "end-early", "error-event"])
async def test_a_stream_that_breaks_ends_with_an_error_event_and_is_billed(
    tmp_path: Path, options: dict[str, str], fault: str
) -> None:
    async with all_three(tmp_path, options) as (client, gateway, _):
        stream = await client.responses.create(
            model=MODEL, input=f"mock(prompt=25; completion=20; fault={fault})", stream=True
        )
        told = [event async for event in stream]

        assert told[-1].type == "error"
        assert told[-1].message
        assert sum(event.type == "error" for event in told) == 1
        (logged,) = await gateway.logged()
        assert (logged.outcome, logged.cost_basis) == ("error", "estimated")
        assert logged.tokens.completion > 0


@BOTH_WAYS
async def test_a_client_that_leaves_is_billed_for_what_was_produced(
    tmp_path: Path, options: dict[str, str]
) -> None:
    async with all_three(tmp_path, options) as (client, gateway, upstream):
        orders = "mock(prompt=25; completion=200; chunk_ms=20)"
        stream = await client.responses.create(model=MODEL, input=orders, stream=True)
        async for event in stream:
            if event.type == "response.output_text.delta":
                break
        await stream.close()

        await eventually(lambda: upstream.app.open_requests == 0)
        (logged,) = await gateway.logged()
        assert (logged.outcome, logged.error_code) == ("cancelled", "client_disconnected")
        assert logged.cost_nanos > 0
        (usage,) = await gateway.usage(UsageRecorded)
        assert usage.tokens.prompt > 0


@BOTH_WAYS
async def test_failures_before_the_first_event_are_http_errors(
    tmp_path: Path, options: dict[str, str]
) -> None:
    async with all_three(tmp_path, options) as (client, _, _upstream):
        with pytest.raises(openai.RateLimitError):
            await client.responses.create(model=MODEL, input="mock(status=429)", stream=True)
        with pytest.raises(openai.InternalServerError):
            await client.responses.create(model=MODEL, input="mock(fault=error-first)", stream=True)


@BOTH_WAYS
async def test_a_failure_after_a_heartbeat_is_an_error_event(tmp_path: Path, options: dict[str, str]) -> None:
    environ = {"FINOPS_HEARTBEAT_INTERVAL": "0.05"}
    async with all_three(tmp_path, options, **environ) as (client, _, _upstream):
        orders = "mock(delay_ms=300; status=400)"
        stream = await client.responses.create(model=MODEL, input=orders, stream=True)
        told = [event async for event in stream]

        assert [event.type for event in told] == ["error"]


@pytest.mark.parametrize("streamed", [False, True])
async def test_tools_are_called_and_answered_through_chat(tmp_path: Path, streamed: bool) -> None:
    async with all_three(tmp_path, {}) as (client, gateway, upstream):
        tools: Any = [
            {"type": "function", "name": "weather", "parameters": {"type": "object"}, "strict": True}
        ]
        history: Any = [{"role": "user", "content": "mock(call=weather)"}]
        first = await _asked(client, streamed, history, tools)
        (call,) = first.output
        assert call.type == "function_call"
        assert (call.name, json.loads(call.arguments)) == ("weather", {"city": "Oslo"})

        history += [item.model_dump() for item in first.output]
        said = quote("Rain in Oslo.")
        history.append(
            {"type": "function_call_output", "call_id": call.call_id, "output": f"mock(call=; said={said})"}
        )
        second = await _asked(client, streamed, history, tools)

        assert second.output_text == "Rain in Oslo."
        roles = [message["role"] for message in upstream.app.requests[-1]["body"]["messages"]]
        assert roles == ["user", "assistant", "tool"]
        reasons = {event.finish_reason for event in await gateway.logged(2)}
        assert reasons == {"tool_calls", "stop"}


async def test_an_answer_of_a_given_form_is_parsed(tmp_path: Path) -> None:
    async with all_three(tmp_path, {}) as (client, _, upstream):
        said = quote('{"name":"Oslo","rainy":true}')
        response = await client.responses.parse(model=MODEL, input=f"mock(said={said})", text_format=City)

        assert response.output_parsed == City(name="Oslo", rainy=True)
        asked = upstream.app.requests[-1]["body"]["response_format"]
        assert (asked["type"], asked["json_schema"]["name"]) == ("json_schema", "City")


async def test_the_demo_provider_answers_it_too(tmp_path: Path) -> None:
    async with all_three(tmp_path, {}) as (client, _, _upstream):
        whole = await client.responses.create(model="demo/echo", input="Hello there")
        async with client.responses.stream(model="demo/echo", input="Hello there") as stream:
            streamed = await stream.get_final_response()

        assert whole.output_text == streamed.output_text == "Demo echo: Hello there"


async def test_what_only_a_store_could_answer_is_refused_by_name(tmp_path: Path) -> None:
    async with all_three(tmp_path, {}) as (client, _, upstream):
        with pytest.raises(openai.BadRequestError) as caught:
            await client.responses.create(model=MODEL, input="hi", previous_response_id="resp_1")

        assert caught.value.param == "previous_response_id"
        assert upstream.app.requests == []


async def test_what_was_left_out_is_told(tmp_path: Path) -> None:
    async with all_three(tmp_path, {}) as (client, _, _upstream):
        raw = await client.responses.with_raw_response.create(model=MODEL, input="hi", truncation="auto")

        assert "truncation" in raw.headers["x-finops-dropped-params"]


async def test_effort_as_a_chat_client_says_it_reaches_a_native_provider(tmp_path: Path) -> None:
    async with all_three(tmp_path, NATIVE) as (client, _, upstream):
        await client.responses.create(model=MODEL, input="hi", extra_body={"reasoning_effort": "low"})

        body = upstream.app.requests[-1]["body"]
        assert body["reasoning"] == {"effort": "low"}
        assert "reasoning_effort" not in body


@pytest.mark.parametrize("streamed", [False, True])
async def test_a_model_that_signs_its_reasoning_gets_it_back_with_its_call(
    tmp_path: Path, streamed: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CLAUDE_KEY", "anthropic-key")
    async with running_anthropic() as (claude, url):
        provider = Provider(
            name="mock",
            type="anthropic",
            base_url=f"{url}/v1",
            models=("claude-opus-5",),
            credentials=(Credential(name="main", env="CLAUDE_KEY"),),
        )
        said = (thinking("Let me look.", "c2lnbmVk"), text("I look."), tool_use(city="Oslo"))
        claude.answer = message(*said, stop_reason="tool_use")
        claude.events = events(*said, stop_reason="tool_use")
        async with (
            running_gateway(tmp_path, provider) as gateway,
            openai.AsyncOpenAI(api_key="any", base_url=f"{gateway.url}/v1", max_retries=0) as client,
        ):
            tools: Any = [
                {"type": "function", "name": "look", "parameters": {"type": "object"}, "strict": True}
            ]
            history: Any = [{"role": "user", "content": "Weather?"}]
            model = "mock/claude-opus-5"
            first = await _asked(client, streamed, history, tools, model)
            assert [item.type for item in first.output] == ["reasoning", "message", "function_call"]
            assert first.output[0].summary[0].text == "Let me look."

            history += [item.model_dump(exclude_none=True) for item in first.output]
            call_id = first.output[2].call_id
            history.append({"type": "function_call_output", "call_id": call_id, "output": "rain"})
            await _asked(client, streamed, history, tools, model)

        turn = claude.asked[-1].body["messages"][1]
        assert [block["type"] for block in turn["content"]] == ["thinking", "text", "tool_use"]
        assert (turn["content"][0]["thinking"], turn["content"][0]["signature"]) == (
            "Let me look.",
            "c2lnbmVk",
        )


async def _asked(
    client: openai.AsyncOpenAI, streamed: bool, history: Any, tools: Any, model: str = MODEL
) -> Any:
    if not streamed:
        return await client.responses.create(model=model, input=history, tools=tools)
    async with client.responses.stream(model=model, input=history, tools=tools) as stream:
        return await stream.get_final_response()
