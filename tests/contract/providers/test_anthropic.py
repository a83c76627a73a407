"""The fake of Anthropic is what Anthropic's own SDK takes for Anthropic."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import anthropic
import pytest

from tests.support.providers.anthropic import (
    FakeAnthropic,
    error,
    events,
    message,
    running_anthropic,
    text,
    thinking,
    tool_use,
)

ASK: Any = [{"role": "user", "content": "Hello"}]
UNKNOWN: Any = [{"role": "user", "content": [{"type": "zip"}]}]


@asynccontextmanager
async def sdk() -> AsyncIterator[tuple[FakeAnthropic, anthropic.AsyncAnthropic]]:
    async with (
        running_anthropic() as (fake, url),
        anthropic.AsyncAnthropic(base_url=url, api_key="anthropic-key", max_retries=0) as client,
    ):
        yield fake, client


async def test_a_whole_message() -> None:
    async with sdk() as (fake, client):
        fake.answer = message(thinking(), text("Hi"), tool_use(city="Rome"), stop_reason="tool_use")
        answer = await client.messages.create(model="claude-opus-5", max_tokens=9, messages=ASK)
        assert [block.type for block in answer.content] == ["thinking", "text", "tool_use"]
        assert answer.usage.cache_read_input_tokens == 100


async def test_a_streamed_message() -> None:
    async with sdk() as (fake, client):
        fake.events = events(thinking("Let me see."), text("Hi there"), tool_use(city="Rome"))
        async with client.messages.stream(
            model="claude-opus-5",
            max_tokens=9,
            messages=ASK,
        ) as stream:
            answer = await stream.get_final_message()
        first, second, third = answer.content
        assert (first.type, first.thinking, first.signature) == ("thinking", "Let me see.", "c2ln")  # type: ignore[union-attr]
        assert (second.type, second.text) == ("text", "Hi there")  # type: ignore[union-attr]
        assert (third.type, third.input) == ("tool_use", {"city": "Rome"})  # type: ignore[union-attr]


async def test_errors_and_the_other_operations() -> None:
    async with sdk() as (fake, client):
        fake.failures = [(429, error("rate_limit_error")), (529, error("overloaded_error"))]
        with pytest.raises(anthropic.RateLimitError):
            await client.messages.create(model="m", max_tokens=9, messages=ASK)
        with pytest.raises(anthropic.InternalServerError) as overloaded:
            await client.messages.create(model="m", max_tokens=9, messages=ASK)
        assert overloaded.value.status_code == 529
        fake.events = [*events(text())[:3], error("overloaded_error")]
        with pytest.raises(anthropic.APIStatusError):
            async with client.messages.stream(model="m", max_tokens=9, messages=ASK) as stream:
                await stream.get_final_message()
        counted = await client.messages.count_tokens(model="m", messages=ASK)
        assert counted.input_tokens == 2095
        assert [model.id async for model in client.models.list()] == ["claude-opus-5"]


async def test_what_the_sdk_would_not_send_is_refused() -> None:
    async with sdk() as (_, client):
        with pytest.raises(anthropic.BadRequestError):
            await client.messages.create(
                model="m",
                max_tokens=9,
                messages=UNKNOWN,
            )


OPEN: Any = {"type": "object", "properties": {"tags": {"type": "object"}}, "additionalProperties": False}
FORCED: Any = {
    "tools": [{"name": "look", "input_schema": {"type": "object"}}],
    "tool_choice": {"type": "any"},
}


@pytest.mark.parametrize(
    ("model", "asked", "wrong"),
    [
        ("claude-opus-4-6", {"output_config": {"effort": "xhigh"}}, "xhigh"),
        (
            "claude-opus-5",
            {"thinking": {"type": "disabled"}, "output_config": {"effort": "max"}},
            "thinking disabled",
        ),
        ("claude-haiku-4-5", {"thinking": {"type": "enabled", "budget_tokens": 2_000}}, "less than"),
        ("claude-haiku-4-5", {"thinking": {"type": "enabled", "budget_tokens": 1_024}, **FORCED}, "forces"),
        (
            "claude-opus-5",
            {"output_config": {"format": {"type": "json_schema", "schema": OPEN}}},
            "additionalProperties",
        ),
        ("claude-opus-5", {"tools": [{"name": "a", "input_schema": OPEN, "strict": True}]}, "additional"),
    ],
)
async def test_what_a_model_does_not_do_is_refused(model: str, asked: Any, wrong: str) -> None:
    async with sdk() as (_, client):
        with pytest.raises(anthropic.BadRequestError, match=wrong):
            await client.messages.create(model=model, max_tokens=2_000, messages=ASK, **asked)
