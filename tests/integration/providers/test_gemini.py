"""Gemini through a whole gateway, with OpenAI's own SDK at one end and Google's types at the other."""

import base64
import io
import wave
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import openai
import pydantic
import pytest

from shared.governance.model import Credential, PriceOverride, Provider
from tests.support.eventually import eventually
from tests.support.gateway import RunningGateway, running_gateway
from tests.support.providers.gemini import KEY, PNG, FakeGoogle, running_google

FLASH = "gemini/gemini-2.5-flash"
PRO = "gemini/gemini-3-pro-preview"
PRICE = PriceOverride(
    model=FLASH,
    input_per_million_nanos=1_000_000_000,
    output_per_million_nanos=2_000_000_000,
    cached_read_per_million_nanos=0,
)
WEATHER: Any = {
    "type": "function",
    "function": {
        "name": "weather",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    },
}


@dataclass
class Stage:
    fake: FakeGoogle
    gateway: RunningGateway
    client: openai.AsyncOpenAI
    url: str

    async def ask(self, text: str, model: str = FLASH, **fields: Any) -> Any:
        return await self.client.chat.completions.create(
            model=model, messages=[{"role": "user", "content": text}], **fields
        )


@pytest.fixture
async def stage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Stage]:
    monkeypatch.setenv("GEMINI_TEST_KEY", KEY)
    async with running_google() as (fake, url):
        provider = Provider(
            name="gemini",
            type="gemini",
            base_url=f"{url}/v1beta",
            credentials=(Credential(name="main", env="GEMINI_TEST_KEY"),),
        )
        async with (
            running_gateway(tmp_path, provider, PRICE) as gateway,
            openai.AsyncOpenAI(base_url=f"{gateway.url}/v1", api_key="none", max_retries=0) as client,
        ):
            yield Stage(fake, gateway, client, f"{url}/v1beta")


async def test_a_chat_is_answered_and_priced(stage: Stage) -> None:
    answer = await stage.ask("mock(prompt=10; completion=3; cached=4)", reasoning_effort="low")

    assert answer.choices[0].message.content == "wörd wörd wörd "
    assert answer.choices[0].message.reasoning_content == "Let me think. "
    assert answer.choices[0].finish_reason == "stop"
    assert (answer.usage.prompt_tokens, answer.usage.completion_tokens) == (10, 10)
    assert answer.usage.completion_tokens_details.reasoning_tokens == 7
    (logged,) = await stage.gateway.logged()
    assert (logged.provider, logged.model) == ("gemini", "gemini-2.5-flash")
    assert (logged.cost_nanos, logged.cost_basis) == (6_000 + 20_000, "priced")


async def test_a_stream_is_answered_and_priced(stage: Stage) -> None:
    stream = await stage.ask(
        "mock(prompt=10; completion=5)", stream=True, stream_options={"include_usage": True}
    )
    chunks = [chunk async for chunk in stream]

    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices) == "wörd " * 5
    assert chunks[-1].usage.completion_tokens == 5
    assert chunks[-2].choices[0].finish_reason == "stop"
    (logged,) = await stage.gateway.logged()
    assert (logged.cost_nanos, logged.finish_reason, logged.outcome) == (20_000, "stop", "success")


@pytest.mark.parametrize("stream", [False, True])
async def test_a_round_of_tools_keeps_the_signature(stage: Stage, stream: bool) -> None:
    other: Any = {"type": "function", "function": {"name": "clock"}}
    messages: list[Any] = [{"role": "user", "content": "use the tools"}]
    fields: Any = {"model": PRO, "tools": [WEATHER, other], "tool_choice": "required"}
    if stream:
        async with stage.client.chat.completions.stream(messages=messages, **fields) as events:
            asked = (await events.get_final_completion()).choices[0]
    else:
        asked = (await stage.client.chat.completions.create(messages=messages, **fields)).choices[0]
    assert asked.finish_reason == "tool_calls"
    calls = asked.message.tool_calls or []
    assert [call.function.name for call in calls if call.type == "function"] == ["weather", "clock"]

    messages.append(asked.message.model_dump(exclude_none=True))
    messages += [{"role": "tool", "tool_call_id": call.id, "content": f"{call.id} done"} for call in calls]
    answer = await stage.client.chat.completions.create(messages=messages, model=PRO, tools=[WEATHER, other])

    assert answer.choices[0].message.content == '[{"result": "fc-0 done"}, {"result": "fc-1 done"}]'


async def test_a_schema_is_kept(stage: Stage) -> None:
    class City(pydantic.BaseModel):
        city: str
        population: int

    answer = await stage.client.chat.completions.parse(
        model=FLASH, messages=[{"role": "user", "content": "Paris?"}], response_format=City
    )

    assert answer.choices[0].message.parsed == City(city="Paris", population=2_100_000)
    assert "responseJsonSchema" in stage.fake.bodies[-1]["generationConfig"]


@pytest.mark.proves(provider="gemini", operation="embeddings")
async def test_embeddings_in_both_forms(stage: Stage) -> None:
    model = "gemini/gemini-embedding-001"
    packed = await stage.client.embeddings.create(model=model, input=["a", "b"], dimensions=3)
    plain = await stage.client.embeddings.create(model=model, input="a", encoding_format="float")

    assert [one.embedding for one in packed.data] == [[0.5, -0.25, 1.0]] * 2
    assert plain.data[0].embedding == [0.5, -0.25, 1.0]
    assert (packed.usage.prompt_tokens, plain.usage.prompt_tokens) == (6, 3)
    assert stage.fake.bodies[0]["requests"][0]["outputDimensionality"] == 3


@pytest.mark.proves(provider="gemini", operation="images.generations")
@pytest.mark.proves(provider="gemini", operation="images.edits")
async def test_pictures_are_drawn_and_changed(stage: Stage) -> None:
    model = "gemini/gemini-2.5-flash-image"
    drawn = await stage.client.images.generate(model=model, prompt="a cat", size="1536x1024")
    changed = await stage.client.images.edit(model=model, prompt="a dog", image=("a.png", PNG, "image/png"))

    assert base64.b64decode(drawn.data[0].b64_json or "") == PNG if drawn.data else False
    assert base64.b64decode(changed.data[0].b64_json or "") == PNG if changed.data else False
    assert stage.fake.bodies[0]["generationConfig"]["imageConfig"] == {"aspectRatio": "3:2"}
    assert "inlineData" in stage.fake.bodies[1]["contents"][0]["parts"][0]
    first, _ = await stage.gateway.logged(2)
    assert first.tokens.images == 1


@pytest.mark.proves(provider="gemini", operation="audio.speech")
async def test_speech_is_a_sound_file(stage: Stage) -> None:
    spoken = await stage.client.audio.speech.create(
        model="gemini/gemini-2.5-flash-preview-tts", voice="alloy", input="mock(prompt=9; completion=4)"
    )
    raw = await stage.client.audio.speech.create(
        model="gemini/gemini-2.5-flash-preview-tts", voice="Puck", input="Hi", response_format="pcm"
    )

    with wave.open(io.BytesIO(spoken.content)) as file:
        assert (file.getframerate(), file.getnchannels(), file.getnframes()) == (24_000, 1, 100)
    assert raw.content == b"\x01\x00" * 100
    voices = [body["generationConfig"]["speechConfig"]["voiceConfig"] for body in stage.fake.bodies]
    assert [voice["prebuiltVoiceConfig"]["voiceName"] for voice in voices] == ["Kore", "Puck"]
    first, _ = await stage.gateway.logged(2)
    assert (first.tokens.prompt, first.tokens.completion) == (9, 4)


@pytest.mark.proves(provider="gemini", operation="audio.transcriptions")
async def test_a_recording_is_written_down(stage: Stage) -> None:
    file = ("a.mp3", b"sound", "audio/mpeg")
    found = await stage.client.audio.transcriptions.create(
        model=FLASH, file=file, language="de", prompt="mock(prompt=9; completion=2)"
    )
    plain = await stage.client.audio.transcriptions.create(model=FLASH, file=file, response_format="text")

    assert found.text == "wörd wörd"
    assert plain.startswith("wörd")
    sound = stage.fake.bodies[0]["contents"][0]["parts"][0]["inlineData"]
    assert sound == {"mimeType": "audio/mp3", "data": base64.b64encode(b"sound").decode()}
    with pytest.raises(openai.BadRequestError) as caught:
        await stage.client.audio.transcriptions.create(model=FLASH, file=file, response_format="srt")
    assert caught.value.param == "response_format"


async def test_a_blocked_prompt_is_a_filtered_answer(stage: Stage) -> None:
    answer = await stage.ask("blocked mock(prompt=10)")
    stream = await stage.ask("blocked mock(prompt=10)", stream=True)
    chunks = [chunk async for chunk in stream]

    assert answer.choices[0].finish_reason == "content_filter"
    assert "SAFETY" in answer.choices[0].message.refusal
    assert chunks[-1].choices[0].finish_reason == "content_filter"
    for logged in await stage.gateway.logged(2):
        assert (logged.outcome, logged.cost_nanos) == ("success", 10_000)


async def test_an_unsafe_answer_says_so(stage: Stage) -> None:
    assert (await stage.ask("unsafe")).choices[0].finish_reason == "content_filter"


@pytest.mark.parametrize(
    ("prompt", "status", "code"),
    [
        ("mock(status=429; retry_after=7)", 429, "provider_rate_limited"),
        ("mock(status=503)", 502, "provider_error"),
        ("mock(status=500; fault=html)", 502, "provider_error"),
        ("mock(fault=error-200)", 502, "provider_error"),
    ],
)
async def test_failures_are_told(stage: Stage, prompt: str, status: int, code: str) -> None:
    with pytest.raises(openai.APIStatusError) as caught:
        await stage.ask(prompt)

    assert (caught.value.status_code, caught.value.code) == (status, code)
    if status == 429:
        assert caught.value.response.headers["retry-after"] == "7"


@pytest.mark.parametrize("stream", [False, True])
async def test_an_answer_that_went_wrong_is_billed_and_not_bought_again(stage: Stage, stream: bool) -> None:
    with pytest.raises(openai.APIError):
        answer = await stage.ask("malformed mock(prompt=10; completion=2)", stream=stream)
        [chunk async for chunk in answer]

    (logged,) = await stage.gateway.logged()
    assert (logged.outcome, logged.cost_nanos, logged.cost_basis) == ("error", 14_000, "priced")
    assert len(stage.fake.bodies) == 1


async def test_a_bad_key_is_the_gateways_business(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GEMINI_WRONG_KEY", "wrong")
    credential = Credential(name="main", env="GEMINI_WRONG_KEY")
    await stage.gateway.govern(
        Provider(name="wrong", type="gemini", base_url=stage.url, models=("m",), credentials=(credential,))
    )

    async def refused() -> str:
        with pytest.raises(openai.APIStatusError) as caught:
            await stage.ask("hi", model="wrong/m")
        return str(caught.value.code) if caught.value.code == "provider_auth_failed" else ""

    assert await eventually(refused) == "provider_auth_failed"


@pytest.mark.parametrize("fault", ["cut", "end-early", "error-event"])
async def test_a_broken_stream_ends_in_an_error_and_is_billed(stage: Stage, fault: str) -> None:
    stream = await stage.ask(f"mock(prompt=10; completion=6; fault={fault})", stream=True)
    with pytest.raises(openai.APIError):
        [chunk async for chunk in stream]

    (logged,) = await stage.gateway.logged()
    assert logged.outcome == "error"
    assert logged.cost_nanos >= 10_000 + 3 * 2_000


async def test_a_client_that_leaves_a_stalled_stream_closes_it(stage: Stage) -> None:
    stream = await stage.ask("mock(completion=6; fault=stall-stream)", stream=True)
    await anext(aiter(stream))
    await stream.close()

    await stage.fake.left.wait()
    (logged,) = await stage.gateway.logged()
    assert logged.outcome == "cancelled"


async def test_what_cannot_be_said_is_refused_or_left_out(stage: Stage) -> None:
    with pytest.raises(openai.BadRequestError) as caught:
        await stage.ask("hi", modalities=["text", "audio"], audio={"voice": "alloy", "format": "wav"})
    assert caught.value.param in ("audio", "modalities")

    raw = await stage.client.chat.completions.with_raw_response.create(
        model=FLASH, messages=[{"role": "user", "content": "hi"}], logit_bias={"1": 1}, store=True
    )
    assert raw.headers["x-finops-dropped-params"] == "logit_bias, store"


async def test_models_are_listed(stage: Stage) -> None:
    async def names() -> list[str]:
        return [model.id async for model in stage.client.models.list()]

    listed = await eventually(names)
    assert FLASH in listed
    assert "gemini/gemini-2.5-pro" in listed
    assert "gemini/aqa" not in listed
