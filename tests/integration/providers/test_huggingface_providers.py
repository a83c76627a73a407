"""The inference providers behind Hugging Face's router through a whole gateway, judged by the calls of its own library."""

import base64
from pathlib import Path
from typing import Any

import msgspec
import openai
import pytest
from huggingface_hub.inference._common import MimeBytes

from tests.support.providers.hub_place import QUEUE, call, place
from tests.support.providers.inference import (
    ADAPTER,
    EDITOR,
    EMBEDDER,
    HEARD,
    LISTENER,
    PAINTER,
    SOUND,
    SPEAKER,
)
from tests.support.providers.openai_types import SOUND as OTHER_SOUND
from tests.support.upstream.answers import PIXEL


@pytest.mark.parametrize("provider", ["deepinfra", "scaleway", "together"])
@pytest.mark.proves(provider="huggingface", operation="embeddings")
async def test_vectors(tmp_path: Path, provider: str) -> None:
    async with place(tmp_path) as at:
        answer = await at.openai.embeddings.create(
            model=f"huggingface/{provider}/{EMBEDDER}", input=["a", "b"], dimensions=3, user="me"
        )
        raw: Any = await at.openai.post(
            "/embeddings",
            body={"model": f"huggingface/{provider}/{EMBEDDER}", "input": "a", "encoding_format": "base64"},
            cast_to=object,
        )
        logged, _ = await at.gateway.logged(2)
        expected = await at.theirs(provider, "feature-extraction", EMBEDDER, ["a", "b"], dimensions=3)

    assert call(at.fake.sent[0]) == expected
    assert [item.embedding for item in answer.data] == [[0.5, -1.0, 0.0], [0.5, -1.0, 1.0]], "in their order"
    assert isinstance(raw["data"][0]["embedding"], str)
    assert (answer.usage.prompt_tokens, logged.tokens.prompt) == (6, 6)
    assert logged.attempts[0].dropped == ("user",)
    priced = (6_000, "priced") if provider == "together" else (0, "unpriced")
    assert (logged.cost_nanos, logged.cost_basis) == priced


@pytest.mark.parametrize("provider", ["nebius", "sambanova"])
@pytest.mark.proves(provider="huggingface", operation="embeddings")
async def test_vectors_of_those_whom_the_library_knows_no_more(tmp_path: Path, provider: str) -> None:
    """The fake judges them by OpenAI's types."""
    async with place(tmp_path) as at:
        model = f"huggingface/{provider}/{EMBEDDER}"
        answer = await at.openai.embeddings.create(model=model, input="a")
        if provider == "nebius":
            with pytest.raises(openai.BadRequestError) as refused:
                await at.openai.embeddings.create(model=model, input="a", dimensions=3)
            assert refused.value.param == "dimensions"

    assert answer.data[0].embedding == [0.5, -1.0, 0.0]
    (sent,) = at.fake.sent
    assert (sent.path, sent.body) == (
        f"/{provider}/v1/embeddings",
        {"input": "a", "model": "multilingual-e5"},
    )


@pytest.mark.parametrize("provider", ["fal-ai", "nscale", "replicate", "together"])
@pytest.mark.proves(provider="huggingface", operation="images.generations")
async def test_pictures(tmp_path: Path, provider: str) -> None:
    further = {"seed": 7, "num_inference_steps": 4, "negative_prompt": "dogs"}
    async with place(tmp_path) as at:
        plain = await at.draw(provider)
        packed = await at.draw(
            provider, size="512x256", response_format="b64_json", quality="hd", extra_body=further
        )
        linked = await at.draw(provider, response_format="url")
        logged = await at.gateway.logged(3)
        asked = {"width": 512, "height": 256, **further}
        if provider in ("nscale", "together"):
            asked["response_format"] = "b64_json"
        if provider == "nscale":
            asked.pop("num_inference_steps")  # the library leaves it out as well
        expected = await at.theirs(provider, "text-to-image", PAINTER, "a cat", **asked)
        bare = await at.theirs(provider, "text-to-image", PAINTER, "a cat")

    assert call(at.fake.sent[1]) == expected
    assert call(at.fake.sent[0]) == bare
    file = f"{at.url}/files/picture"
    answers_links = provider in ("fal-ai", "replicate")
    assert plain.data[0].url == file if answers_links else base64.b64decode(plain.data[0].b64_json) == PIXEL
    assert base64.b64decode(packed.data[0].b64_json) == PIXEL
    assert (linked.data[0].url, linked.data[0].b64_json) == (file, None)
    assert len(at.fake.fetched) == (1 if answers_links else 0)
    assert all("authorization" not in fetched.headers for fetched in at.fake.fetched)
    assert "quality" in logged[1].attempts[0].dropped
    priced = (25_000_000, "priced") if provider == "fal-ai" else (0, "unpriced")
    assert [(event.tokens.images, event.cost_nanos, event.cost_basis) for event in logged] == [
        (1, *priced)
    ] * 3


@pytest.mark.proves(provider="huggingface", operation="images.generations")
async def test_a_picture_of_nebius(tmp_path: Path) -> None:
    """The fake judges it by OpenAI's types."""
    async with place(tmp_path) as at:
        answer = await at.draw("nebius", size="512x256", extra_body={"seed": 7, "guidance_scale": 3})
        (logged,) = await at.gateway.logged()

    (sent,) = at.fake.sent
    assert (sent.path, sent.body) == (
        "/nebius/v1/images/generations",
        {
            "prompt": "a cat", "model": "black-forest-labs/flux-dev", "response_format": "b64_json", "seed": 7,
            "width": 512, "height": 256,
        },
    )  # fmt: skip
    assert base64.b64decode(answer.data[0].b64_json) == PIXEL
    assert logged.attempts[0].dropped == ("guidance_scale",)


@pytest.mark.parametrize("provider", ["fal-ai", "replicate"])
async def test_a_model_that_changes_another_is_named_with_it(tmp_path: Path, provider: str) -> None:
    async with place(tmp_path) as at:
        await at.openai.images.generate(model=f"huggingface/{provider}/{ADAPTER}", prompt="a cat")
        expected = await at.theirs(provider, "text-to-image", ADAPTER, "a cat")

    assert call(at.fake.sent[0]) == expected


@pytest.mark.parametrize("provider", ["fal-ai", "replicate", "together"])
@pytest.mark.proves(provider="huggingface", operation="images.edits")
async def test_a_picture_is_changed(tmp_path: Path, provider: str) -> None:
    async with place(tmp_path) as at:
        at.fake.polls = 2
        answer = await at.edit(
            provider, size="512x256", response_format="b64_json", extra_body={"num_inference_steps": 4}
        )
        asked: dict[str, Any] = {"prompt": "a hat", "num_inference_steps": 4}
        sides = {"width": 512, "height": 256}
        asked |= {"target_size": sides} if provider == "fal-ai" else sides
        if provider == "together":
            asked["response_format"] = "b64_json"
        picture = MimeBytes(PIXEL, "image/png")
        expected = await at.theirs(provider, "image-to-image", EDITOR, picture, **asked)
        (logged,) = await at.gateway.logged()

    assert call(at.fake.sent[0]) == expected
    assert base64.b64decode(answer.data[0].b64_json) == PIXEL
    assert (logged.endpoint, logged.tokens.images) == ("images.edits", 1)
    followed = [(sent.method, sent.path) for sent in at.fake.sent[1:]]
    status = ("GET", f"{QUEUE}/status?_subdomain=queue")
    assert followed == (
        [status, status, ("GET", f"{QUEUE}?_subdomain=queue")] if provider == "fal-ai" else []
    )


@pytest.mark.parametrize("provider", ["deepinfra", "fal-ai", "replicate", "together"])
@pytest.mark.proves(provider="huggingface", operation="audio.speech")
async def test_a_text_is_spoken(tmp_path: Path, provider: str) -> None:
    linked = provider in ("fal-ai", "replicate")
    async with place(tmp_path) as at:
        model = f"huggingface/{provider}/{SPEAKER}"
        spoken = await at.openai.audio.speech.with_raw_response.create(
            model=model, input="Hello", voice="af_sky"
        )
        told = await at.openai.audio.speech.with_raw_response.create(
            model=model, input="Hello", voice="alloy", instructions="Gladly."
        )
        expected = await at.theirs(provider, "text-to-speech", SPEAKER, "Hello", voice="af_sky")
        logged = await at.gateway.logged(2)

    assert call(at.fake.sent[0]) == expected
    assert spoken.content == (SOUND if linked else OTHER_SOUND)
    assert spoken.headers["content-type"] == ("audio/flac" if linked else "audio/mpeg")
    dropped = "instructions, voice" if linked else "instructions"
    assert told.headers["x-finops-dropped-params"].replace(",", ", ").replace("  ", " ") == dropped
    assert (logged[0].tokens.characters, logged[0].cost_basis) == (5, "unpriced")


@pytest.mark.parametrize("provider", ["deepinfra", "fal-ai", "replicate"])
@pytest.mark.proves(provider="huggingface", operation="audio.transcriptions")
async def test_a_recording_is_written_down(tmp_path: Path, provider: str) -> None:
    async with place(tmp_path) as at:
        model = f"huggingface/{provider}/{LISTENER}"
        heard = await at.openai.audio.transcriptions.create(
            model=model, file=("a.flac", SOUND), language="en"
        )
        text: Any = await at.openai.audio.transcriptions.create(
            model=model, file=("a.flac", SOUND), response_format="text"
        )
        further = {} if provider == "replicate" else {"language": "en"}
        recording = MimeBytes(SOUND, "audio/flac")
        expected = await at.theirs(provider, "automatic-speech-recognition", LISTENER, recording, **further)
        logged, _ = await at.gateway.logged(2)

    assert comparable(call(at.fake.sent[0])) == comparable(expected)
    assert heard.text == text == HEARD
    assert logged.attempts[0].dropped == (("language",) if provider == "replicate" else ())
    assert logged.cost_basis == "unpriced"


def comparable(call: Any) -> Any:
    """Without what machines call a FLAC: the kind is taken from the client, whose tables differ."""
    path, kind, prefer, body = call
    return (
        path,
        kind,
        prefer,
        msgspec.json.decode(msgspec.json.encode(body).replace(b"audio/x-flac", b"audio/flac")),
    )


@pytest.mark.parametrize(
    ("output", "text"),
    [
        (HEARD, HEARD),
        ([HEARD, "and more"], HEARD),
        ({"transcription": "Guten Morgen.", "translation": HEARD}, HEARD),
        ([{"transcription": HEARD}], HEARD),
        ({"transcription": "?", "txt_file": "FILE"}, HEARD),
    ],
)
async def test_a_transcript_of_replicates_has_many_forms(tmp_path: Path, output: Any, text: str) -> None:
    async with place(tmp_path) as at:
        if isinstance(output, dict) and "txt_file" in output:
            output = output | {"txt_file": f"{at.url}/files/text"}
        at.fake.prediction = {"output": output}
        heard = await at.openai.audio.transcriptions.create(
            model=f"huggingface/replicate/{LISTENER}", file=("a.flac", SOUND)
        )

    assert heard.text == text
