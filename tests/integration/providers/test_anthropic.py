"""Claude through a whole gateway: OpenAI's SDK and Anthropic's own in front, a fake of Anthropic's API behind."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import anthropic
import openai
import pydantic
import pytest

from shared.events import RequestLogged, UsageRecorded
from shared.governance.model import Credential, PriceOverride, Provider, Timeouts
from tests.support.gateway import MOCK_PRICE, RunningGateway, mock_provider, running_gateway, virtual_key
from tests.support.providers.anthropic import (
    USAGE,
    FakeAnthropic,
    error,
    events,
    message,
    running_anthropic,
    text,
    thinking,
    tool_use,
)
from tests.support.upstream import running_upstream

MODEL = "anthropic/claude-opus-5"
PROMPT = 11 + 100 + 30
PRICE = PriceOverride(
    model=MODEL,
    input_per_million_nanos=1_000_000_000,
    output_per_million_nanos=2_000_000_000,
    cached_read_per_million_nanos=100_000_000,
    cache_write_per_million_nanos=1_250_000_000,
)
LOOK: Any = {
    "type": "function",
    "function": {
        "name": "look",
        "description": "Look around.",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}},
    },
}
ASK: Any = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hello"}]

UNKNOWN: Any = [{"role": "user", "content": [{"type": "zip"}]}]


@dataclass
class House:
    fake: FakeAnthropic
    gateway: RunningGateway
    openai: openai.AsyncOpenAI
    anthropic: anthropic.AsyncAnthropic

    async def recorded(self) -> tuple[UsageRecorded, RequestLogged]:
        (logged,) = await self.gateway.logged()
        (used,) = await self.gateway.usage(UsageRecorded)
        return used, logged


def provider(url: str, **changes: Any) -> Provider:
    values: dict[str, Any] = {
        "name": "anthropic",
        "type": "anthropic",
        "base_url": f"{url}/v1",
        "credentials": (Credential(name="main", env="CLAUDE_KEY"),),
        "models": ("claude-opus-5", "claude-3-haiku-20240307"),
        "timeouts": Timeouts(between_chunks=0.5),
    }
    return Provider(**values | changes)


@asynccontextmanager
async def house(tmp_path: Path) -> AsyncIterator[House]:
    secret, key = virtual_key()
    async with (
        running_anthropic() as (fake, url),
        running_gateway(tmp_path, provider(url), PRICE, key) as gateway,
        openai.AsyncOpenAI(base_url=f"{gateway.url}/v1", api_key=secret, max_retries=0) as first,
        anthropic.AsyncAnthropic(base_url=gateway.url, api_key=secret, max_retries=0) as second,
    ):
        yield House(fake, gateway, first, second)


@pytest.fixture(autouse=True)
def _key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLAUDE_KEY", "anthropic-key")


async def test_a_chat_is_translated_recorded_and_priced(tmp_path: Path) -> None:
    async with house(tmp_path) as h:
        raw = await h.openai.chat.completions.with_raw_response.create(
            model=MODEL, messages=ASK, temperature=0.3, seed=7, stop=["END"], user="ada"
        )
        answer = raw.parse()
        assert raw.headers["x-finops-dropped-params"] == "seed, temperature"
        assert answer.choices[0].message.content == "Hello there."
        assert answer.choices[0].finish_reason == "stop"
        assert answer.usage is not None
        assert (answer.usage.prompt_tokens, answer.usage.completion_tokens) == (PROMPT, 7)
        (asked,) = h.fake.asked
        assert asked.body["system"] == [{"type": "text", "text": "Be brief."}]
        assert asked.body["messages"] == [{"role": "user", "content": [{"type": "text", "text": "Hello"}]}]
        assert (asked.body["stop_sequences"], asked.body["metadata"]) == (["END"], {"user_id": "ada"})
        used, logged = await h.recorded()
        assert (used.tokens.prompt, used.tokens.cached_read, used.tokens.cache_write) == (PROMPT, 100, 30)
        assert used.tokens.cache_write_1h == 20
        cost = 11 * 1_000 + 100 * 100 + 30 * 1_250 + 7 * 2_000
        assert (used.cost_nanos, used.cost_basis, logged.finish_reason) == (cost, "priced", "stop")


async def test_a_stream_with_thoughts_and_calls_reads_like_openais(tmp_path: Path) -> None:
    async with house(tmp_path) as h:
        h.fake.events = events(
            thinking("Let me think."),
            text("Looking."),
            tool_use("toolu_1", city="Rome"),
            tool_use("toolu_2", city="Oslo"),
            stop_reason="tool_use",
        )
        async with h.openai.chat.completions.stream(
            model=MODEL,
            messages=ASK,
            tools=[LOOK],
            reasoning_effort="medium",
            stream_options={"include_usage": True},
        ) as stream:
            chunks = [event.chunk async for event in stream if event.type == "chunk"]
            final = await stream.get_final_completion()
        said = final.choices[0].message
        assert said.content == "Looking."
        assert [(call.id, json.loads(call.function.arguments)) for call in said.tool_calls or ()] == [
            ("toolu_1", {"city": "Rome"}),
            ("toolu_2", {"city": "Oslo"}),
        ]
        assert final.choices[0].finish_reason == "tool_calls"
        assert final.usage is not None and final.usage.prompt_tokens == PROMPT
        assert len({chunk.id for chunk in chunks}) == 1
        deltas = [chunk.choices[0].delta.model_dump() for chunk in chunks if chunk.choices]
        assert "".join(delta.get("reasoning_content") or "" for delta in deltas) == "Let me think."
        (details,) = [delta["reasoning_details"] for delta in deltas if delta.get("reasoning_details")]
        assert (details[0]["text"], details[0]["signature"]) == ("Let me think.", "c2ln")
        assert h.fake.asked[0].body["thinking"] == {"type": "adaptive", "display": "summarized"}
        assert h.fake.asked[0].body["output_config"] == {"effort": "medium"}
        used, logged = await h.recorded()
        assert (used.tokens.completion, used.outcome) == (7, "success")
        assert "Looking" in logged.response if isinstance(logged.response, str) else logged.response


async def test_thoughts_keep_their_signatures_through_a_tool_round(tmp_path: Path) -> None:
    async with house(tmp_path) as h:
        h.fake.answer = message(
            thinking("Hm."), tool_use("toolu_1", city="Rome"), tool_use("toolu_2", city="Oslo"),
            stop_reason="tool_use",
        )  # fmt: skip
        first = await h.openai.chat.completions.create(model=MODEL, messages=ASK, tools=[LOOK])
        said = first.choices[0].message
        assert said.tool_calls is not None
        spoken: Any = said.model_dump(exclude_none=True)
        results: Any = [
            {"role": "tool", "tool_call_id": call.id, "content": f"nice {n}"}
            for n, call in enumerate(said.tool_calls)
        ]
        h.fake.answer = message(text("Both are nice."))
        second = await h.openai.chat.completions.create(
            model=MODEL,
            messages=[*ASK, spoken, *results],
            tools=[LOOK],
        )
        assert second.choices[0].message.content == "Both are nice."
        _, assistant, user = h.fake.asked[1].body["messages"]
        assert [block["type"] for block in assistant["content"]] == ["thinking", "tool_use", "tool_use"]
        assert assistant["content"][0]["signature"] == "c2ln"
        assert assistant["content"][1]["input"] == {"city": "Rome"}
        assert [block["tool_use_id"] for block in user["content"]] == ["toolu_1", "toolu_2"]


class City(pydantic.BaseModel):
    name: str
    people: int


@pytest.mark.parametrize("model", ["claude-opus-5", "claude-3-haiku-20240307"])
async def test_structured_output(tmp_path: Path, model: str) -> None:
    async with house(tmp_path) as h:
        native = model == "claude-opus-5"
        shown = {"name": "Rome", "people": 3}
        h.fake.answer = message(
            text(json.dumps(shown)) if native else tool_use("toolu_1", "answer_in_json", **shown),
            stop_reason="end_turn" if native else "tool_use",
        )
        answer = await h.openai.chat.completions.parse(
            model=f"anthropic/{model}", messages=ASK, response_format=City
        )
        assert answer.choices[0].message.parsed == City(name="Rome", people=3)
        assert answer.choices[0].finish_reason == "stop"
        body = h.fake.asked[0].body
        assert ("output_config" in body) == native
        assert ("tool_choice" in body) != native


async def test_errors_in_openais_shape(tmp_path: Path) -> None:
    async with house(tmp_path) as h:
        h.fake.failures = [(400, error("invalid_request_error", "max_tokens is too large"))]
        with pytest.raises(openai.BadRequestError, match="max_tokens is too large"):
            await h.openai.chat.completions.create(model=MODEL, messages=ASK)
        h.fake.failures = [(529, error("overloaded_error", "Overloaded"))] * 3
        with pytest.raises(openai.InternalServerError, match="Overloaded"):
            await h.openai.chat.completions.create(model=MODEL, messages=ASK)
        with pytest.raises(openai.BadRequestError, match="`n`"):
            await h.openai.chat.completions.create(model=MODEL, messages=ASK, n=2)
        h.fake.failures = []
        h.fake.answer = error("api_error", "Internal server error")
        with pytest.raises(openai.InternalServerError):
            await h.openai.chat.completions.create(model=MODEL, messages=ASK)


@pytest.mark.parametrize("ending", ["early", "break", "stall", "error"])
async def test_a_broken_stream_ends_with_an_error_and_is_billed(tmp_path: Path, ending: Any) -> None:
    async with house(tmp_path) as h:
        h.fake.events = events(text("one two three four five six"), pieces=6)
        if ending == "error":
            h.fake.events = [*h.fake.events[:6], error("overloaded_error", "Overloaded")]
        else:
            h.fake.ending = ending
        stream = await h.openai.chat.completions.create(model=MODEL, messages=ASK, stream=True)
        with pytest.raises(openai.APIError):
            async for _ in stream:
                pass
        used, _ = await h.recorded()
        assert used.outcome == "error"
        assert used.tokens.prompt == PROMPT
        assert used.tokens.completion > 1
        assert used.cost_nanos > 0


@pytest.mark.proves(provider="anthropic", operation="messages")
async def test_anthropics_own_sdk_reaches_anthropic_untranslated(tmp_path: Path) -> None:
    async with house(tmp_path) as h:
        h.fake.answer = message(thinking(), text("Hi"))
        answer = await h.anthropic.messages.create(
            model=MODEL,
            max_tokens=99,
            system="Be brief.",
            messages=[{"role": "user", "content": "Hello"}],
            extra_headers={"anthropic-beta": "interleaved-thinking-2025-05-14"},
        )
        assert [block.type for block in answer.content] == ["thinking", "text"]
        assert answer.usage.cache_read_input_tokens == USAGE["cache_read_input_tokens"]
        (asked,) = h.fake.asked
        assert asked.body["model"] == "claude-opus-5"
        assert asked.body["system"] == "Be brief."
        assert asked.headers["anthropic-beta"] == "interleaved-thinking-2025-05-14"
        used, logged = await h.recorded()
        assert (used.tokens.prompt, used.tokens.completion, used.endpoint) == (PROMPT, 7, "messages")
        assert logged.finish_reason == "stop"


@pytest.mark.proves(provider="anthropic", operation="messages")
async def test_anthropics_own_sdk_streams_untranslated(tmp_path: Path) -> None:
    async with house(tmp_path) as h:
        h.fake.events = events(text("Hi there"), tool_use(city="Rome"), stop_reason="tool_use")
        async with h.anthropic.messages.stream(
            model=MODEL, max_tokens=99, messages=[{"role": "user", "content": "Hello"}]
        ) as stream:
            texts = [piece async for piece in stream.text_stream]
            final = await stream.get_final_message()
        assert "".join(texts) == "Hi there"
        assert final.stop_reason == "tool_use"
        used, _ = await h.recorded()
        assert (used.tokens.prompt, used.tokens.completion, used.outcome) == (PROMPT, 7, "success")


TOOL_LOOP: Any = [
    {"role": "user", "content": "Hello"},
    {
        "role": "assistant",
        "content": [
            {"type": "thinking", "thinking": "Another's.", "signature": ""},
            {"type": "tool_use", "id": "toolu_1", "name": "look", "input": {}},
        ],
    },
    {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "toolu_1", "content": "rain"}]},
]


async def test_a_loop_of_tools_that_another_model_began_goes_on_without_thinking(tmp_path: Path) -> None:
    fields: Any = {
        "max_tokens": 9000,
        "messages": TOOL_LOOP,
        "tools": [{"name": "look", "input_schema": {"type": "object"}}],
        "thinking": {"type": "enabled", "budget_tokens": 4000},
    }
    async with (
        running_anthropic() as (_, url),
        anthropic.AsyncAnthropic(
            base_url=url, auth_token="anthropic-key", api_key=None, max_retries=0
        ) as direct,
    ):
        with pytest.raises(anthropic.BadRequestError, match="signature"):
            await direct.messages.create(model="claude-opus-5", **fields)
        signed = [TOOL_LOOP[0], {"role": "assistant", "content": TOOL_LOOP[1]["content"][1:]}, TOOL_LOOP[2]]
        with pytest.raises(anthropic.BadRequestError, match="Expected `thinking`"):
            await direct.messages.create(model="claude-opus-5", **{**fields, "messages": signed})
    async with house(tmp_path) as h:
        raw = await h.anthropic.messages.with_raw_response.create(model=MODEL, **fields)

        assert raw.headers["x-finops-dropped-params"] == "thinking"
        (asked,) = h.fake.asked
        assert "thinking" not in asked.body
        assert [block["type"] for block in asked.body["messages"][1]["content"]] == ["tool_use"]
        after: Any = [
            *TOOL_LOOP,
            {"role": "assistant", "content": "Rain."},
            {"role": "user", "content": "And now?"},
        ]
        await h.anthropic.messages.create(model=MODEL, **{**fields, "messages": after})
        assert h.fake.asked[1].body["thinking"] == fields["thinking"]


@pytest.mark.parametrize("ending", ["early", "break", "stall", "error"])
async def test_a_broken_native_stream_is_told_in_anthropics_shape(tmp_path: Path, ending: Any) -> None:
    async with house(tmp_path) as h:
        h.fake.events = events(text("one two three four five six"), pieces=6)
        if ending == "error":
            h.fake.events = [*h.fake.events[:6], error("overloaded_error", "Overloaded")]
        else:
            h.fake.ending = ending
        with pytest.raises(anthropic.APIStatusError):
            async with h.anthropic.messages.stream(
                model=MODEL, max_tokens=99, messages=[{"role": "user", "content": "Hello"}]
            ) as stream:
                await stream.get_final_message()
        used, _ = await h.recorded()
        assert (used.outcome, used.tokens.prompt) == ("error", PROMPT)
        assert used.tokens.completion > 1


@pytest.mark.proves(provider="anthropic", operation="messages.count_tokens")
async def test_counting_tokens_costs_nothing(tmp_path: Path) -> None:
    async with house(tmp_path) as h:
        counted = await h.anthropic.messages.count_tokens(
            model=MODEL, messages=[{"role": "user", "content": "Hello"}]
        )
        assert counted.input_tokens == 2095
        used, _ = await h.recorded()
        assert (used.cost_nanos, used.tokens.prompt, used.endpoint) == (0, 0, "messages.count_tokens")


async def test_errors_of_the_gateway_in_anthropics_shape(tmp_path: Path) -> None:
    async with house(tmp_path) as h:
        ask: Any = {"max_tokens": 9, "messages": [{"role": "user", "content": "Hello"}]}
        with pytest.raises(anthropic.NotFoundError) as missing:
            await h.anthropic.messages.create(model="nothing", **ask)
        assert missing.value.body == {
            "type": "error",
            "error": {"type": "not_found_error", "message": missing.value.body["error"]["message"]},  # type: ignore[index]
        }
        with pytest.raises(anthropic.AuthenticationError):
            await h.anthropic.with_options(api_key="sk-fo-wrong").messages.create(model=MODEL, **ask)
        h.fake.failures = [(400, error("invalid_request_error", "no such block"))]
        with pytest.raises(anthropic.BadRequestError, match="no such block"):
            await h.anthropic.messages.create(model=MODEL, **ask)
        h.fake.failures = [(429, error("rate_limit_error"))] * 3
        with pytest.raises(anthropic.RateLimitError):
            await h.anthropic.messages.create(model=MODEL, **ask)


async def test_anthropics_sdk_with_a_model_of_somebody_else(tmp_path: Path) -> None:
    async with (
        running_upstream() as upstream,
        running_gateway(tmp_path, mock_provider(upstream.url), MOCK_PRICE) as gateway,
        anthropic.AsyncAnthropic(base_url=gateway.url, api_key="none", max_retries=0) as client,
    ):
        ask: Any = {
            "model": "mock/gpt-4o-mini",
            "max_tokens": 50,
            "system": "Be brief.",
            "messages": [{"role": "user", "content": "mock(prompt=25; completion=14)"}],
        }
        answer = await client.messages.create(**ask)
        (block,) = answer.content
        assert block.type == "text" and block.text
        assert (answer.usage.input_tokens, answer.usage.output_tokens) == (25, 14)
        assert answer.stop_reason == "end_turn"
        async with client.messages.stream(**ask) as stream:
            streamed = await stream.get_final_message()
        assert streamed.content[0].type == "text" and streamed.content[0].text
        assert (streamed.usage.input_tokens, streamed.usage.output_tokens) == (25, 14)
        counted = await client.messages.count_tokens(model=ask["model"], messages=ask["messages"])
        assert counted.input_tokens > 0
        with pytest.raises(anthropic.BadRequestError, match=r"messages\[0\]"):
            await client.messages.create(
                model=ask["model"],
                max_tokens=5,
                messages=UNKNOWN,
            )
        await gateway.logged(4)
        used = await gateway.usage(UsageRecorded)
        assert [event.cost_nanos for event in used if event.endpoint == "messages"] == [53_000, 53_000]


async def test_models_are_listed(tmp_path: Path) -> None:
    async with (
        running_anthropic() as (_, url),
        running_gateway(tmp_path, provider(url, models=None)) as gateway,
    ):
        async with openai.AsyncOpenAI(base_url=f"{gateway.url}/v1", api_key="none") as client:
            for _ in range(100):
                names = [model.id async for model in client.models.list()]
                if names:
                    break
        assert names == ["anthropic/claude-opus-5"]
