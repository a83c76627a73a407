"""Hugging Face's router through a whole gateway; its own library says what calls to its inference look like."""

import base64
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import huggingface_hub.inference._providers.hf_inference as judge
import msgspec
import openai
import pytest

from shared.governance.model import PriceOverride
from tests.support.gateway import RunningGateway, running_gateway
from tests.support.providers.houses import known_to_gateways, running_house
from tests.support.providers.huggingface import FakeRouter
from tests.support.providers.inference import HEARD, SOUND
from tests.support.providers.script import Turn
from tests.support.upstream.answers import PIXEL

ROUTER = "https://router.huggingface.co"
EMBEDDER = "huggingface/hf-inference/intfloat/multilingual-e5-large"
SPEAKER = "huggingface/hf-inference/hexgrad/kokoro-82M"
LISTENER = "huggingface/hf-inference/openai/whisper-large-v3"
PAINTER = "huggingface/hf-inference/black-forest-labs/FLUX.1-schnell"


@asynccontextmanager
async def router(tmp_path: Path) -> AsyncIterator[tuple[FakeRouter, RunningGateway, openai.AsyncOpenAI]]:
    prices = (
        PriceOverride(model=EMBEDDER, input_per_million_nanos=1_000_000_000),
        PriceOverride(model=PAINTER, per_image_nanos=3_000_000),
    )
    async with running_house("huggingface") as house:
        with known_to_gateways(house):
            provider = msgspec.structs.replace(house.provider(), models=None)
            async with (
                running_gateway(tmp_path, provider, *prices) as gateway,
                openai.AsyncOpenAI(base_url=f"{gateway.url}/v1", api_key="none", max_retries=0) as client,
            ):
                yield house.fake, gateway, client


def vendors_request(task: judge.HFInferenceTask, model: str, inputs: Any, parameters: Any) -> tuple[str, Any]:
    """Path and body of the call that Hugging Face's library makes."""
    request = task.prepare_request(
        inputs=inputs, parameters=parameters, headers={}, model=model, api_key="hf_x"
    )
    return request.url.removeprefix(ROUTER), request.json


@pytest.fixture
def _no_look_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(judge, "_check_supported_task", lambda model, task: None)


@pytest.mark.proves(provider="huggingface", operation="chat")
async def test_a_chat_goes_to_the_inference_provider_that_was_named(tmp_path: Path) -> None:
    async with router(tmp_path) as (fake, _, client):
        await client.chat.completions.create(
            model="huggingface/groq/openai/gpt-oss-120b", messages=[{"role": "user", "content": "hi"}]
        )
        names: list[str] = []
        while not names:
            names = [model.id async for model in client.models.list()]

    assert fake.received()[0]["model"] == "openai/gpt-oss-120b:groq"
    model = "openai/gpt-oss-120b"
    assert names == [f"huggingface/{name}" for name in (model, f"groq/{model}", f"hf-inference/{model}")]


@pytest.mark.usefixtures("_no_look_up")
@pytest.mark.proves(provider="huggingface", operation="embeddings")
async def test_vectors_are_asked_for_as_the_vendors_library_does(tmp_path: Path) -> None:
    async with router(tmp_path) as (fake, gateway, client):
        plain = await client.embeddings.create(model=EMBEDDER, input=["a", "b"], encoding_format="float")
        raw: Any = await client.post(
            "/embeddings",
            body={"model": EMBEDDER, "input": "a", "encoding_format": "base64"},
            cast_to=object,
        )
        logged = await gateway.logged(2)

    task = judge.HFInferenceFeatureExtractionTask()
    model = "intfloat/multilingual-e5-large"
    assert fake.inferred[0] == vendors_request(task, model, ["a", "b"], {})
    assert [item.embedding for item in plain.data] == [[0.5, -1.0, 0.0], [0.5, -1.0, 1.0]]
    packed = base64.b64decode(raw["data"][0]["embedding"])
    assert struct.unpack("<3f", packed) == (0.5, -1.0, 0.0)
    assert [event.cost_basis for event in logged] == ["estimated", "estimated"]
    assert all(event.cost_nanos for event in logged)


@pytest.mark.usefixtures("_no_look_up")
@pytest.mark.proves(provider="huggingface", operation="images.generations")
async def test_a_picture_is_priced_and_comes_in_base64(tmp_path: Path) -> None:
    async with router(tmp_path) as (fake, gateway, client):
        answer = await client.images.generate(
            model=PAINTER, prompt="a cat", size="512x256", quality="hd", response_format="b64_json"
        )
        (logged,) = await gateway.logged()
        with pytest.raises(openai.BadRequestError) as refused:
            await client.images.generate(model=PAINTER, prompt="a cat", n=2)

    task = judge.HFInferenceTask("text-to-image")
    model = "black-forest-labs/FLUX.1-schnell"
    assert fake.inferred == [vendors_request(task, model, "a cat", {"width": 512, "height": 256})]
    assert answer.data and base64.b64decode(answer.data[0].b64_json or "") == PIXEL
    assert (logged.tokens.images, logged.cost_nanos, logged.cost_basis) == (1, 3_000_000, "priced")
    assert refused.value.param == "n"


@pytest.mark.usefixtures("_no_look_up")
@pytest.mark.proves(provider="huggingface", operation="images.edits")
async def test_a_picture_is_changed(tmp_path: Path) -> None:
    async with router(tmp_path) as (fake, gateway, client):
        answer = await client.images.edit(
            model=PAINTER, prompt="a hat", image=("a.png", PIXEL), size="512x512", extra_body={"seed": 7}
        )
        with pytest.raises(openai.BadRequestError) as refused:
            await client.images.edit(model=PAINTER, prompt="a", image=("a.png", PIXEL), mask=("m.png", PIXEL))
        (logged,) = [event for event in await gateway.logged(2) if event.outcome == "success"]

    task = judge.HFInferenceBinaryInputTask("image-to-image")
    parameters = {"prompt": "a hat", "seed": 7, "target_size": {"width": 512, "height": 512}}
    theirs = task.prepare_request(
        inputs=PIXEL,
        parameters=parameters,
        headers={},
        model="black-forest-labs/FLUX.1-schnell",
        api_key="hf_x",
    )
    assert theirs.data is not None
    assert fake.inferred == [(theirs.url.removeprefix(ROUTER), msgspec.json.decode(theirs.data))]
    assert answer.data and base64.b64decode(answer.data[0].b64_json or "") == PIXEL
    assert (logged.endpoint, logged.tokens.images) == ("images.edits", 1)
    assert refused.value.param == "mask"


@pytest.mark.usefixtures("_no_look_up")
@pytest.mark.proves(provider="huggingface", operation="audio.speech")
async def test_a_text_is_spoken(tmp_path: Path) -> None:
    async with router(tmp_path) as (fake, gateway, client):
        spoken = await client.audio.speech.with_raw_response.create(
            model=SPEAKER, input="Good morning.", voice="alloy"
        )
        (logged,) = await gateway.logged()

    task = judge.HFInferenceTask("text-to-speech")
    assert fake.inferred == [vendors_request(task, "hexgrad/kokoro-82M", "Good morning.", {})]
    assert (spoken.content, spoken.headers["content-type"]) == (SOUND, "audio/flac")
    assert spoken.headers["x-finops-dropped-params"] == "voice"
    assert (logged.tokens.characters, logged.cost_basis) == (13, "unpriced")


@pytest.mark.usefixtures("_no_look_up")
@pytest.mark.parametrize(
    ("filename", "data", "kind"),
    [
        ("a.wav", b"RIFF" + bytes(44), "audio/wav"),
        ("a.bin", b"fLaC" + bytes(40), "audio/flac"),
        ("a", b"?", "audio/mpeg"),
    ],
)
@pytest.mark.proves(provider="huggingface", operation="audio.transcriptions")
async def test_a_recording_is_written_down(tmp_path: Path, filename: str, data: bytes, kind: str) -> None:
    async with router(tmp_path) as (fake, gateway, client):
        heard = await client.audio.transcriptions.create(model=LISTENER, file=(filename, data), language="en")
        text = await client.audio.transcriptions.create(
            model=LISTENER, file=(filename, data), response_format="text"
        )
        with pytest.raises(openai.BadRequestError) as refused:
            await client.audio.transcriptions.create(
                model=LISTENER, file=(filename, data), response_format="srt"
            )
        logged = await gateway.logged(3)

    theirs = judge.HFInferenceBinaryInputTask("automatic-speech-recognition").prepare_request(
        inputs=data, parameters={}, headers={}, model="openai/whisper-large-v3", api_key="hf_x"
    )
    assert fake.inferred == [(theirs.url.removeprefix(ROUTER), bytes(theirs.data or b""))] * 2
    assert fake.inferred_kinds[0] in (kind, "audio/x-wav")
    assert heard.text == text == HEARD
    assert refused.value.param == "response_format"
    assert logged[0].cost_basis == "unpriced"


async def test_others_are_not_asked_for_vectors_and_errors_are_told(tmp_path: Path) -> None:
    async with router(tmp_path) as (fake, _, client):
        with pytest.raises(openai.BadRequestError, match="does not offer"):
            await client.embeddings.create(model="huggingface/groq/openai/gpt-oss-120b", input="a")
        assert fake.inferred == []
        fake.play(Turn(fault="overloaded"))
        with pytest.raises(openai.APIStatusError):
            await client.embeddings.create(model=EMBEDDER, input="a")
