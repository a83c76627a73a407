"""The mock's /responses is what OpenAI's own client takes it for."""

import openai
import pytest
from openai.types.responses import Response, ResponseStreamEvent
from pydantic import TypeAdapter

from tests.support.upstream import RunningUpstream, running_upstream

EVENT: TypeAdapter[ResponseStreamEvent] = TypeAdapter(ResponseStreamEvent)


def client_of(upstream: RunningUpstream) -> openai.AsyncOpenAI:
    return openai.AsyncOpenAI(api_key="any", base_url=upstream.url, max_retries=0)


async def test_a_whole_response() -> None:
    async with running_upstream() as upstream, client_of(upstream) as client:
        response = await client.responses.create(model="m", input="mock(prompt=7; completion=3)")

        Response.model_validate(response.model_dump())
        assert response.output_text == "word " * 3
        assert response.usage is not None
        assert (response.usage.input_tokens, response.usage.output_tokens) == (7, 3)


@pytest.mark.parametrize("fault", ["", "crlf", "incomplete", "fail-last", "error-event"])
async def test_every_event_is_of_openais_types(fault: str) -> None:
    async with running_upstream() as upstream, client_of(upstream) as client:
        orders = f"mock(prompt=7; completion=3; fault={fault})"
        events = [
            event async for event in await client.responses.create(model="m", input=orders, stream=True)
        ]

        for event in events:
            EVENT.validate_python(event.model_dump())
        last = {"incomplete": "response.incomplete", "fail-last": "response.failed", "error-event": "error"}
        assert events[-1].type == last.get(fault, "response.completed")
        assert [event.sequence_number for event in events] == list(range(len(events)))


async def test_the_clients_stream_helper_puts_it_together() -> None:
    async with running_upstream() as upstream, client_of(upstream) as client:
        async with client.responses.stream(model="m", input="mock(completion=4)") as stream:
            response = await stream.get_final_response()

        assert response.output_text == "word " * 4
