"""What goes wrong at the hub and at the inference providers behind Hugging Face's router, and who is kept waiting."""

import asyncio
import base64
from collections.abc import Callable
from pathlib import Path
from typing import Any

import openai
import pytest

from services.gateway.circuits import PROVIDER
from shared.governance.model import Timeouts
from tests.support.eventually import eventually
from tests.support.providers.hub_place import QUEUE, Place, place
from tests.support.providers.inference import (
    ADAPTER,
    EDITOR,
    EMBEDDER,
    OLD_EMBEDDER,
    PAINTER,
    SPEAKER,
)
from tests.support.upstream.answers import PIXEL


async def test_who_serves_a_model_is_asked_once_and_by_its_old_name_too(tmp_path: Path) -> None:
    async with place(tmp_path) as at:
        at.fake.hub_listed = True
        for name in (EMBEDDER, EMBEDDER, OLD_EMBEDDER, OLD_EMBEDDER):
            await at.openai.embeddings.create(model=f"huggingface/together/{name}", input="a")

    asked = [(sent.path.partition("?")[0], sent.headers["authorization"]) for sent in at.fake.looked_up]
    bearer = f"Bearer {at.fake.key}"
    assert asked == [(f"/api/models/{EMBEDDER}", bearer), (f"/api/models/{OLD_EMBEDDER}", bearer)]
    assert at.fake.looked_up[0].path.endswith("?expand=inferenceProviderMapping")


async def test_a_slow_hub_is_waited_for_by_nobody_else(tmp_path: Path) -> None:
    async with place(tmp_path) as at:
        await at.draw("fal-ai")
        at.fake.hub_answers.clear()
        waiting = asyncio.create_task(
            at.openai.embeddings.create(model=f"huggingface/together/{EMBEDDER}", input="a")
        )
        await eventually(lambda: len(at.fake.looked_up) == 2)
        await at.draw("fal-ai")
        await at.openai.chat.completions.create(
            model="huggingface/groq/openai/gpt-oss-120b", messages=[{"role": "user", "content": "hi"}]
        )
        assert not waiting.done()
        at.fake.hub_answers.set()
        assert (await waiting).data


@pytest.mark.parametrize(
    ("model", "says"),
    [
        ("groq/openai/gpt-oss-120b", "groq.*does not offer images.generations.*fal-ai, hf-inference, nebius"),
        ("nobody/acme/thing", "nobody"),
        (f"sambanova/{PAINTER}", "fal-ai"),
        (f"together/{ADAPTER}", f"for image-to-image, not for text-to-image.*huggingface/fal-ai/{ADAPTER}"),
        (
            f"nscale/{ADAPTER}",
            f"not served.*work: huggingface/fal-ai/{ADAPTER}, huggingface/replicate/{ADAPTER}",
        ),
        (f"fal-ai/{EDITOR}", "no other inference provider"),
        ("fal-ai/acme/nothing", "no model acme/nothing"),
        ("fal-ai/acme/a b", "{org}/{model}"),
        ("fal-ai/acme/../spaces", "{org}/{model}"),
    ],
)
async def test_what_does_not_exist_is_refused_with_what_would_work(
    tmp_path: Path, model: str, says: str
) -> None:
    async with place(tmp_path) as at:
        with pytest.raises(openai.BadRequestError, match=says) as refused:
            await at.openai.images.generate(model=f"huggingface/{model}", prompt="a cat")

    assert (refused.value.status_code, refused.value.param) == (400, "model")
    assert "somebody-new" not in refused.value.message, "whose form is not known"
    assert at.fake.sent == []


async def test_a_model_that_is_not_served_leaves_the_turn_to_the_next(tmp_path: Path) -> None:
    async with place(tmp_path) as at:
        drawn = await at.openai.images.generate(
            model=f"huggingface/nscale/{ADAPTER}",
            prompt="a cat",
            extra_body={"fallbacks": [f"huggingface/fal-ai/{ADAPTER}"]},
        )

    assert drawn.data and drawn.data[0].url == f"{at.url}/files/picture"


@pytest.mark.parametrize(
    ("refusal", "status"),
    [
        ((500, {"error": "Internal Error"}, {}), 502),
        ((429, {"error": "Too many requests"}, {"retry-after": "60"}), 429),
        ((401, {"error": "Invalid credentials"}, {}), 502),
        ((200, ["?"], {}), 502),
        ((302, {}, {"location": "https://example.org/"}), 400),
    ],
)
async def test_a_hub_that_fails_is_told(tmp_path: Path, refusal: Any, status: int) -> None:
    async with place(tmp_path) as at:
        at.fake.hub_refusal = refusal
        for _ in range(PROVIDER.threshold + 1):
            with pytest.raises(openai.APIStatusError) as failed:
                await at.draw("fal-ai")
            assert failed.value.status_code == status
        metrics = await (await at.gateway.http.get("/metrics")).text()

    assert at.fake.sent == []
    resting = 1.0 if status == 429 else 0.0  # this model, as long as the hub wants to be left alone
    assert f"finops_gateway_open_circuits {resting}" in metrics


async def test_a_hub_that_is_away_is_told_and_chats_go_on(tmp_path: Path) -> None:
    async with place(tmp_path, hub="http://127.0.0.1:1") as at:
        for _ in range(PROVIDER.threshold + 1):
            with pytest.raises(openai.APIStatusError, match="hub could not be asked"):
                await at.draw("fal-ai")
        said = await at.openai.chat.completions.create(
            model="huggingface/groq/openai/gpt-oss-120b", messages=[{"role": "user", "content": "hi"}]
        )
        metrics = await (await at.gateway.http.get("/metrics")).text()

    assert said.choices
    assert "finops_gateway_open_circuits 0.0" in metrics


FAL = {"detail": [{"loc": ["body", "prompt"], "msg": "ensure it is shorter", "type": "value_error"}]}
REPLICATE = {"title": "Input validation failed", "detail": "prompt is too long", "status": 422}
TOGETHER = {
    "error": {
        "message": "Unable to access model",
        "type": "invalid_request_error",
        "param": "model",
        "code": "x",
    }
}


@pytest.mark.parametrize(
    ("provider", "refusal", "said"),
    [
        ("fal-ai", (422, FAL), "prompt: ensure it is shorter"),
        ("replicate", (422, REPLICATE), "prompt is too long"),
        ("together", (400, TOGETHER), "Unable to access model"),
        ("nscale", (422, {"detail": "no such size"}), "no such size"),
        ("nebius", (503, {"detail": "busy"}), "busy"),
        ("fal-ai", (200, {"detail": "out of memory"}), "out of memory"),
        ("replicate", (200, {"unknown": 1}), "not the JSON that was expected"),
    ],
)
async def test_what_a_provider_says_is_told(tmp_path: Path, provider: str, refusal: Any, said: str) -> None:
    async with place(tmp_path) as at:
        at.fake.refusal = refusal
        with pytest.raises(openai.APIStatusError, match=said) as failed:
            await at.draw(provider)
        (logged,) = await at.gateway.logged()

    assert failed.value.status_code == (refusal[0] if 400 <= refusal[0] < 500 else 502)
    assert (logged.outcome, logged.cost_nanos) == ("error", 0)


@pytest.mark.parametrize("provider", ["replicate", "fal-ai"])
async def test_a_job_that_fails_is_told(tmp_path: Path, provider: str) -> None:
    async with place(tmp_path) as at:
        at.fake.prediction = {"status": "failed", "error": "NSFW content detected", "output": None}
        at.fake.job_refusal = (422, {"detail": [{"loc": ["body"], "msg": "NSFW content detected"}]})
        with pytest.raises(openai.APIStatusError, match="NSFW content detected"):
            await at.edit(provider)

    assert at.fake.cancelled == 0


async def test_a_job_that_ends_otherwise_is_told(tmp_path: Path) -> None:
    async with place(tmp_path) as at:
        at.fake.job_status = "CANCELLED"
        with pytest.raises(openai.APIStatusError, match="ended as CANCELLED"):
            await at.edit("fal-ai")


async def test_a_question_after_a_job_that_fails_does_not_make_another(tmp_path: Path) -> None:
    async with place(tmp_path) as at:
        at.fake.lookups_fail = [503, 429]
        await at.edit("fal-ai")
        assert [sent.method for sent in at.fake.sent] == ["POST", "GET", "GET", "GET", "GET"]
        at.fake.lookups_fail = [404]
        with pytest.raises(openai.APIStatusError, match="Try again"):
            await at.edit("fal-ai")
        await eventually(lambda: at.fake.cancelled == 1)


async def test_a_prediction_that_is_not_done_in_replicates_time_is_told(tmp_path: Path) -> None:
    async with place(tmp_path) as at:
        at.fake.prediction = {"status": "processing", "output": None}
        with pytest.raises(openai.APIStatusError, match="in time"):
            await at.draw("replicate")
        (logged,) = await at.gateway.logged()

    assert (logged.error_code, len(at.fake.sent)) == ("provider_timeout", 1), (
        "another would be paid for as well"
    )


async def test_a_job_without_an_end_is_given_up_and_cancelled(tmp_path: Path) -> None:
    async with place(tmp_path, timeouts=Timeouts(total=0.6)) as at:
        at.fake.polls = 1_000
        with pytest.raises(openai.APIStatusError):
            await at.edit("fal-ai")
        (logged,) = await at.gateway.logged()
        await eventually(lambda: at.fake.cancelled == 1)

    assert logged.error_code == "provider_timeout"


async def left_when(at: Place, there: Callable[[], bool]) -> None:
    """A client that asks for a change, and leaves as soon as something is there."""
    asking = asyncio.create_task(at.edit("fal-ai"))
    await eventually(there)
    asking.cancel()
    await asyncio.wait((asking,))


@pytest.mark.parametrize("polled", [True, False])
async def test_a_job_whose_client_left_is_asked_for_no_more_and_cancelled(
    tmp_path: Path, polled: bool
) -> None:
    async with place(tmp_path) as at:
        at.fake.polls = 1_000
        if not polled:
            at.fake.jobs_made.clear()
        await left_when(at, lambda: len(at.fake.sent) == (2 if polled else 1))
        (logged,) = await at.gateway.logged()
        assert logged.outcome == "cancelled"
        at.fake.jobs_made.set()
        await eventually(lambda: at.fake.cancelled == 1)

        last = at.fake.sent[-1]
        assert (last.method, last.path) == ("PUT", f"{QUEUE}/cancel?_subdomain=queue")
        assert last.headers["authorization"] == f"Bearer {at.fake.key}"
        assert len(at.fake.sent) == (3 if polled else 2)


async def test_a_file_somewhere_inside_is_not_fetched_nor_made_again(tmp_path: Path) -> None:
    outside = "http://127.0.0.2:9/files/picture"
    async with place(tmp_path) as at:
        at.fake.links = {"picture": outside, "sound": "https://169.254.169.254/latest"}
        linked = await at.draw("fal-ai")
        with pytest.raises(openai.APIStatusError, match="only https addresses are fetched"):
            await at.draw("fal-ai", response_format="b64_json")
        with pytest.raises(openai.APIStatusError, match="not a public address"):
            await at.openai.audio.speech.create(
                model=f"huggingface/replicate/{SPEAKER}", input="Hello", voice="alloy"
            )

    assert linked.data[0].url == outside
    assert len(at.fake.sent) == 3


async def test_a_file_that_is_gone_is_told(tmp_path: Path) -> None:
    async with place(tmp_path) as at:
        at.fake.links = {"picture": f"{at.url}/v1/nowhere"}
        with pytest.raises(
            openai.APIStatusError, match="could not be fetched: its address answers with status"
        ):
            await at.draw("fal-ai", response_format="b64_json")
        at.fake.links = {"picture": f"data:image/png;base64,{base64.b64encode(PIXEL).decode()}"}
        inline = await at.draw("fal-ai")

    assert base64.b64decode(inline.data[0].b64_json) == PIXEL
