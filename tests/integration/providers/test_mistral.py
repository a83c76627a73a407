"""Mistral's speech and moderation through a whole gateway: OpenAI's client before it, a fake made of Mistral's types behind."""

import base64
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import openai
import pytest

from shared.governance.model import Credential, PriceOverride, Provider
from tests.support.gateway import RunningGateway, running_gateway
from tests.support.providers.mistral import FakeMistral
from tests.support.providers.openai_types import SOUND
from tests.support.providers.openai_wire import running_openai
from tests.support.providers.script import REFUSAL, Turn

SPEAKER = "mistral/voxtral-mini-tts-2603"
JUDGE = "mistral/mistral-moderation-2603"


@dataclass
class Stage:
    fake: FakeMistral
    gateway: RunningGateway
    client: openai.AsyncOpenAI


@pytest.fixture
async def stage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Stage]:
    fake = FakeMistral()
    monkeypatch.setenv("MISTRAL_TEST_KEY", fake.key)
    price = PriceOverride(
        model=JUDGE, input_per_million_nanos=1_000_000_000, output_per_million_nanos=1_000_000_000
    )
    async with running_openai(fake) as url:
        provider = Provider(
            name="mistral",
            type="mistral",
            base_url=url,
            models=(SPEAKER.partition("/")[2], JUDGE.partition("/")[2]),
            credentials=(Credential(name="main", env="MISTRAL_TEST_KEY"),),
        )
        async with (
            running_gateway(tmp_path, provider, price) as gateway,
            openai.AsyncOpenAI(base_url=f"{gateway.url}/v1", api_key="none", max_retries=0) as client,
        ):
            yield Stage(fake, gateway, client)


async def test_speech_is_a_sound_and_nobody_knows_its_price(stage: Stage) -> None:
    raw = await stage.client.audio.speech.with_raw_response.create(
        model=SPEAKER, input="Good morning.", voice="alloy", response_format="wav", speed=1.5
    )

    assert (raw.content, raw.headers["content-type"]) == (SOUND, "audio/wav")
    assert raw.headers["x-finops-dropped-params"] == "speed"
    (logged,) = await stage.gateway.logged()
    assert (logged.endpoint, logged.outcome, logged.cost_basis) == ("audio.speech", "success", "unpriced")
    assert logged.tokens.characters == len("Good morning.")
    assert b"Good morning." in bytes(logged.request)
    assert (logged.response_kind, logged.response_bytes) == ("binary", len(SOUND))


async def test_speech_is_streamed(stage: Stage) -> None:
    async with stage.client.audio.speech.with_streaming_response.create(
        model=SPEAKER, input="Hi", voice="en_paul_sad", stream_format="sse"
    ) as stream:
        assert stream.headers["content-type"].startswith("text/event-stream")
        events = [json.loads(line[6:]) async for line in stream.iter_lines() if line.startswith("data: ")]

    sound = [base64.b64decode(one["audio"]) for one in events if one["type"] == "speech.audio.delta"]
    assert b"".join(sound) == SOUND and len(sound) == 2
    assert events[-1]["type"] == "speech.audio.done" and events[-1]["usage"]["output_tokens"] == 101
    (logged,) = await stage.gateway.logged()
    assert (logged.outcome, logged.tokens.prompt, logged.tokens.completion) == ("success", 14, 101)
    assert stage.fake.received()[0]["voice_id"] == "en_paul_sad"


async def test_a_sound_that_mistral_refuses_to_make_is_refused(stage: Stage) -> None:
    stage.fake.play(Turn(fault="refused"))
    with pytest.raises(openai.BadRequestError, match=REFUSAL):
        await stage.client.audio.speech.create(model=SPEAKER, input="Hi", voice="alloy")
    with pytest.raises(openai.BadRequestError) as refused:
        await stage.client.audio.speech.create(
            model=SPEAKER, input="Hi", voice="alloy", response_format="pcm"
        )
    assert refused.value.param == "response_format"


async def test_models_that_speak_are_shown_as_such(stage: Stage) -> None:
    async with stage.gateway.http.get("/v1/audio/models") as response:
        listed = await response.json()
    assert [model["id"] for model in listed["models"]] == [SPEAKER]


async def test_openais_client_reads_the_verdicts(stage: Stage) -> None:
    found = await stage.client.moderations.create(model=JUDGE, input=["hello", "I kill you"])

    assert [result.flagged for result in found.results] == [False, True]
    categories: Any = found.results[1].categories
    scores: Any = found.results[1].category_scores
    assert (categories.violence_and_threats, categories.pii) == (True, False)
    assert scores.violence_and_threats == 0.9
    (logged,) = await stage.gateway.logged()
    assert (logged.endpoint, logged.outcome, logged.cost_basis) == ("moderations", "success", "estimated")
    assert logged.cost_nanos == logged.tokens.prompt * 1_000 > 0
    assert b"I kill you" in bytes(logged.request) and b"violence_and_threats" in bytes(logged.response)


async def test_a_picture_is_refused_before_mistral_is_asked(stage: Stage) -> None:
    parts: Any = [
        {"type": "text", "text": "look"},
        {"type": "image_url", "image_url": {"url": "https://example.org/a.png"}},
    ]
    with pytest.raises(openai.BadRequestError) as refused:
        await stage.client.moderations.create(model=JUDGE, input=parts)
    assert refused.value.param == "input[1]"
    assert stage.fake.received() == []
