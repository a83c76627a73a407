"""Cohere through a whole gateway: OpenAI's client on one side, a fake made of Cohere's own types on the other."""

import base64
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import openai
import pydantic
import pytest

from shared.governance.model import PriceOverride, Provider, Timeouts
from tests.support.gateway import RunningGateway, running_gateway
from tests.support.providers.cohere import (
    FakeCohere,
    call_events,
    chat_answer,
    chat_events,
    running_cohere,
    text_events,
)

MODEL = "cohere/command-a-03-2025"
THINKER = "cohere/command-a-reasoning-08-2025"
PRICE = PriceOverride(
    model=MODEL,
    input_per_million_nanos=1_000_000_000,
    output_per_million_nanos=2_000_000_000,
    cached_read_per_million_nanos=500_000_000,
)
COST = 7 * 1_000 + 4 * 500 + 5 * 2_000
HELLO: list[Any] = [{"role": "user", "content": "hi"}]
LOOK: Any = {
    "type": "function",
    "function": {"name": "look", "parameters": {"type": "object", "properties": {"at": {"type": "string"}}}},
}


@asynccontextmanager
async def cohere_gateway(
    tmp_path: Path, **overrides: Any
) -> AsyncIterator[tuple[FakeCohere, RunningGateway, openai.AsyncOpenAI]]:
    async with running_cohere() as (fake, url):
        models = ("command-a-03-2025", "embed-v4.0", "rerank-v3.5", "cohere-transcribe-03-2026")
        values: dict[str, Any] = {"base_url": url, "models": models} | overrides
        provider = Provider(name="cohere", type="cohere", **values)
        async with (
            running_gateway(tmp_path, provider, PRICE) as gateway,
            openai.AsyncOpenAI(base_url=f"{gateway.url}/v1", api_key="none", max_retries=0) as client,
        ):
            yield fake, gateway, client


async def test_a_chat_is_translated_both_ways_and_priced(tmp_path: Path) -> None:
    async with cohere_gateway(tmp_path) as (fake, gateway, client):
        answer = await client.chat.completions.create(
            model=MODEL,
            messages=[{"role": "developer", "content": "Be brief."}, *HELLO],
            max_completion_tokens=50,
            top_p=1.0,
            stop=["END"],
            seed=7,
            frequency_penalty=0.5,
        )

        assert fake.requests[0] == {
            "model": "command-a-03-2025",
            "messages": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "hi"}],
            "stream": False,
            "max_tokens": 50,
            "p": 0.99,
            "seed": 7,
            "stop_sequences": ["END"],
            "frequency_penalty": 0.5,
        }
        assert answer.choices[0].message.content == "Hello there."
        assert answer.choices[0].finish_reason == "stop"
        assert answer.usage is not None and answer.usage.prompt_tokens == 11
        (logged,) = await gateway.logged()
        assert (logged.cost_nanos, logged.cost_basis) == (COST, "priced")
        assert (logged.tokens.prompt, logged.tokens.cached_read, logged.tokens.completion) == (11, 4, 5)


async def test_a_stream_becomes_openais_chunks(tmp_path: Path) -> None:
    async with cohere_gateway(tmp_path) as (fake, gateway, client):
        fake.events = chat_events(
            *text_events("Let me ", "think.", kind="thinking"), *text_events("Hello", " there.", index=1)
        )
        async with client.chat.completions.stream(
            model=MODEL, messages=HELLO, stream_options={"include_usage": True}
        ) as stream:
            async for _ in stream:
                pass
            final = await stream.get_final_completion()

        message = final.choices[0].message
        assert message.content == "Hello there."
        assert message.model_extra is not None
        assert message.model_extra["reasoning_content"] == "Let me think."
        assert final.usage is not None and final.usage.completion_tokens == 5
        (logged,) = await gateway.logged()
        assert (logged.cost_nanos, logged.finish_reason, logged.outcome) == (COST, "stop", "success")


async def test_a_round_of_tools(tmp_path: Path) -> None:
    async with cohere_gateway(tmp_path) as (fake, _, client):
        plan = {"type": "tool-plan-delta", "delta": {"message": {"tool_plan": "I look."}}}
        fake.events = chat_events(
            plan,
            *call_events(0, "look_1", "look", '{"at":', '"a"}'),
            *call_events(1, "look_2", "look", '{"at":"b"}'),
            finish="TOOL_CALL",
        )
        async with client.chat.completions.stream(
            model=MODEL,
            messages=HELLO,
            tools=[LOOK],
            tool_choice={"type": "function", "function": {"name": "look"}},
        ) as stream:
            asked: Any = (await stream.get_final_completion()).choices[0]
        assert asked.finish_reason == "tool_calls"
        calls = asked.message.tool_calls or []
        assert [(call.id, call.function.arguments) for call in calls] == [
            ("look_1", '{"at":"a"}'),
            ("look_2", '{"at":"b"}'),
        ]

        results: list[Any] = [
            {"role": "tool", "tool_call_id": call.id, "content": "nothing"} for call in calls
        ]
        await client.chat.completions.create(
            model=MODEL, messages=[*HELLO, asked.message, *results], tools=[LOOK]
        )

        first, second = fake.requests
        assert first["tool_choice"] == "REQUIRED"
        assert [message["role"] for message in second["messages"]] == ["user", "assistant", "tool", "tool"]
        assert second["messages"][1]["tool_plan"] == "I look."
        assert second["messages"][1]["tool_calls"][0]["function"]["arguments"] == '{"at":"a"}'


async def test_structured_output_is_parsed(tmp_path: Path) -> None:
    class Place(pydantic.BaseModel):
        city: str

    async with cohere_gateway(tmp_path) as (fake, _, client):
        content = [{"type": "text", "text": '{"city": "Paris"}'}]
        fake.answer = chat_answer(message={"role": "assistant", "content": content})
        answer = await client.chat.completions.parse(model=MODEL, messages=HELLO, response_format=Place)

        assert answer.choices[0].message.parsed == Place(city="Paris")
        assert fake.requests[0]["response_format"]["json_schema"]["properties"]["city"]


async def test_thinking_goes_in_and_out(tmp_path: Path) -> None:
    async with cohere_gateway(tmp_path, models=(THINKER.partition("/")[2],)) as (fake, _, client):
        content = [{"type": "thinking", "thinking": "Hm."}, {"type": "text", "text": "Yes."}]
        fake.answer = chat_answer(message={"role": "assistant", "content": content})
        answer = await client.chat.completions.create(model=THINKER, messages=HELLO, reasoning_effort="low")
        said = answer.choices[0].message
        again: Any = {
            "role": "assistant",
            "content": said.content,
            "reasoning_content": (said.model_extra or {})["reasoning_content"],
        }
        await client.chat.completions.create(
            model=THINKER, messages=[*HELLO, again, *HELLO], reasoning_effort="none"
        )

        assert fake.requests[0]["thinking"] == {"type": "enabled", "token_budget": 1024}
        assert fake.requests[1]["thinking"] == {"type": "disabled"}
        assert fake.requests[1]["messages"][1]["content"] == content


@pytest.mark.proves(provider="cohere", operation="embeddings")
async def test_embeddings_in_both_encodings(tmp_path: Path) -> None:
    async with cohere_gateway(tmp_path) as (fake, gateway, client):
        plain = await client.embeddings.create(
            model="cohere/embed-v4.0", input=["a", "b"], encoding_format="float", dimensions=256
        )
        raw = await client.post(
            "/embeddings",
            body={"model": "cohere/embed-v4.0", "input": "a", "encoding_format": "base64"},
            cast_to=object,
        )

        assert [item.embedding for item in plain.data] == [[0.25, -0.5, 0.0], [0.25, -0.5, 1.0]]
        packed = raw["data"][0]["embedding"]  # type: ignore[index]  # whatever came
        assert struct.unpack("<3f", base64.b64decode(packed)) == (0.25, -0.5, 0.0)
        assert fake.requests[0]["output_dimension"] == 256
        assert fake.requests[0]["input_type"] == "search_document"
        assert [event.tokens.prompt for event in await gateway.logged(2)] == [6, 6]


@pytest.mark.proves(provider="cohere", operation="audio.transcriptions")
async def test_a_recording_is_written_down(tmp_path: Path) -> None:
    model, file = "cohere/cohere-transcribe-03-2026", ("a.wav", b"RIFF" + bytes(40))
    async with cohere_gateway(tmp_path) as (fake, gateway, client):
        hear = client.audio.transcriptions
        found = await hear.with_raw_response.create(
            model=model, file=file, language="en", prompt="Names: Ada.", temperature=0.2
        )
        plain = await hear.create(model=model, file=file, language="de", response_format="text")
        refused = []
        for wrong in ({}, {"language": "en", "response_format": "srt"}, {"language": "en", "stream": True}):
            asked: Any = {"model": model, "file": file, **wrong}
            with pytest.raises(openai.BadRequestError) as caught:
                await hear.create(**asked)
            refused.append(caught.value.param)
        logged = await gateway.logged(5)

    assert found.parse().text == plain.strip() == "Hello there."
    assert found.headers["x-finops-dropped-params"] == "prompt"
    assert fake.requests == [
        {"model": "cohere-transcribe-03-2026", "file": "a.wav", "language": "en", "temperature": "0.2"},
        {"model": "cohere-transcribe-03-2026", "file": "a.wav", "language": "de"},
    ]
    assert refused == ["language", "response_format", "stream"]
    first = next(one for one in logged if one.outcome == "success")
    assert (first.endpoint, first.cost_basis) == ("audio.transcriptions", "unpriced")
    assert first.tokens.audio_ms > 0 and b"Hello there." in bytes(first.response)


async def test_more_texts_than_cohere_takes_are_sent_in_several_calls(tmp_path: Path) -> None:
    texts = [str(number) for number in range(200)]
    async with cohere_gateway(tmp_path) as (fake, gateway, client):
        answer = await client.embeddings.with_raw_response.create(
            model="cohere/embed-v4.0", input=texts, encoding_format="float", user="u"
        )
        (logged,) = await gateway.logged()

    sent = sorted((request["texts"] for request in fake.requests), key=lambda some: int(some[0]))
    assert [len(some) for some in sent] == [96, 96, 8]
    assert [text for some in sent for text in some] == texts
    vectors = [item.embedding[2] for item in answer.parse().data]
    assert vectors == [float(at) for some in sent for at, _ in enumerate(some)]
    assert answer.headers["x-finops-dropped-params"] == "user"
    assert (logged.tokens.prompt, len(logged.attempts)) == (18, 1)


@pytest.mark.parametrize("ending", ["cut", "early"])
async def test_a_broken_stream_ends_in_an_error_and_is_billed(tmp_path: Path, ending: Any) -> None:
    async with cohere_gateway(tmp_path) as (fake, gateway, client):
        fake.ending = ending
        with pytest.raises(openai.APIError):
            async for _ in await client.chat.completions.create(model=MODEL, messages=HELLO, stream=True):
                pass

        (logged,) = await gateway.logged()
        assert (logged.outcome, logged.cost_basis) == ("error", "estimated")
        assert logged.cost_nanos > 0


async def test_a_stream_that_stalls_is_given_up(tmp_path: Path) -> None:
    async with cohere_gateway(tmp_path, timeouts=Timeouts(between_chunks=0.2)) as (fake, gateway, client):
        fake.ending = "stall"
        with pytest.raises(openai.APIError, match="in time"):
            async for _ in await client.chat.completions.create(model=MODEL, messages=HELLO, stream=True):
                pass

        (logged,) = await gateway.logged()
        assert (logged.outcome, logged.cost_basis) == ("error", "estimated")


async def test_an_error_inside_a_success_is_an_error(tmp_path: Path) -> None:
    async with cohere_gateway(tmp_path) as (fake, _, client):
        fake.answer = chat_answer(finish_reason="ERROR")
        with pytest.raises(openai.APIStatusError):
            await client.chat.completions.create(model=MODEL, messages=HELLO)
        fake.events = chat_events(*text_events("Hel"), finish="ERROR", error="the model fell over")
        with pytest.raises(openai.APIError, match="fell over"):
            async for _ in await client.chat.completions.create(model=MODEL, messages=HELLO, stream=True):
                pass


async def test_refusals_and_limits_reach_the_client(tmp_path: Path) -> None:
    async with cohere_gateway(tmp_path) as (fake, _, client):
        fake.refusal = (400, {"message": "invalid request: message must be at least 1 token long"})
        with pytest.raises(openai.BadRequestError, match="at least 1 token"):
            await client.chat.completions.create(model=MODEL, messages=HELLO)
        fake.refusal = (429, {"message": "trial key limit"})
        with pytest.raises(openai.RateLimitError) as limited:
            await client.chat.completions.create(model=MODEL, messages=HELLO)
        assert limited.value.response.headers["retry-after"]


async def test_what_cohere_has_not_is_refused_by_name(tmp_path: Path) -> None:
    async with cohere_gateway(tmp_path) as (fake, _, client):
        with pytest.raises(openai.BadRequestError) as refused:
            await client.chat.completions.create(model=MODEL, messages=HELLO, n=2)
        assert refused.value.param == "n"
        audio: Any = {"type": "input_audio", "input_audio": {"data": "AAAA", "format": "wav"}}
        with pytest.raises(openai.BadRequestError) as refused:
            await client.chat.completions.create(model=MODEL, messages=[{"role": "user", "content": [audio]}])
        assert refused.value.param == "messages[0].content[0]"
        answer = await client.chat.completions.with_raw_response.create(
            model=MODEL, messages=HELLO, logit_bias={"1": 1}
        )
        assert answer.headers["x-finops-dropped-params"] == "logit_bias"
        assert len(fake.requests) == 1


async def test_the_list_of_models_leaves_out_the_old_ones(tmp_path: Path) -> None:
    async with cohere_gateway(tmp_path, models=None) as (_, gateway, client):
        names: list[str] = []
        while not names:
            names = [model.id async for model in client.models.list()]
        assert names == ["cohere/command-a-03-2025"]
        ranking = await gateway.http.post(
            "/v1/rerank", json={"model": "cohere/rerank-v3.5", "query": "q", "documents": ["a"]}
        )
        assert ranking.status == 200
