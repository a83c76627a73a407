"""Text completions of Bedrock through a whole gateway: OpenAI's SDK at one end, a fake that botocore and the models' own
types can talk to at the other."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import openai
import pytest

from shared.events import RequestLogged
from shared.governance.model import Credential, PriceOverride, Provider
from tests.support.eventually import eventually
from tests.support.gateway import RunningGateway, running_gateway
from tests.support.providers.bedrock import CLAUDE, STATIC, FakeBedrock, Reply, running_bedrock
from tests.support.providers.bedrock_text import DEEPSEEK, LLAMA, MISTRAL, MODELS
from tests.support.providers.script import REFUSAL

TEXT = "one two three four five six seven eight nine ten"
USAGE = {"inputTokens": 25, "outputTokens": 10}
ARN = "arn:aws:bedrock:eu-west-1:123456789012:application-inference-profile/abc123def456"
BEHIND_ARN = "meta.llama4-scout-17b-instruct-v1:0"
INPUT_NANOS, OUTPUT_NANOS = 1_000, 2_000
COST = 25 * INPUT_NANOS + 10 * OUTPUT_NANOS


def said(fault: str = "", *, counted: bool = True, **fields: Any) -> Reply:
    return Reply([{"text": TEXT}], usage=dict(USAGE) if counted else {}, fault=fault, **fields)


@dataclass
class Stage:
    fake: FakeBedrock
    gateway: RunningGateway
    client: openai.AsyncOpenAI

    async def ask(self, model: str = LLAMA, prompt: Any = "Once", **fields: Any) -> Any:
        return await self.client.completions.create(model=f"bedrock/{model}", prompt=prompt, **fields)

    async def logged(self) -> RequestLogged:
        (logged,) = await self.gateway.logged()
        return logged

    def sent(self, at: int = -1) -> Any:
        return msgspec.json.decode(self.fake.asked[at].body)


@pytest.fixture
async def stage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Stage]:
    monkeypatch.setenv("AWS_TEST_KEYS", STATIC)
    async with running_bedrock() as (fake, url):
        fake.behind[ARN] = BEHIND_ARN
        provider = Provider(
            name="bedrock",
            type="bedrock",
            base_url=url,
            credentials=(Credential(name="main", env="AWS_TEST_KEYS", aliases={BEHIND_ARN: ARN}),),
            options={"region": "eu-central-1", "guardrail_identifier": "guard1"},
        )
        prices = [
            PriceOverride(
                model=f"bedrock/{model}",
                input_per_million_nanos=INPUT_NANOS * 1_000_000,
                output_per_million_nanos=OUTPUT_NANOS * 1_000_000,
            )
            for model in MODELS
        ]
        async with (
            running_gateway(tmp_path, provider, *prices) as gateway,
            openai.AsyncOpenAI(base_url=f"{gateway.url}/v1", api_key="none", max_retries=0) as client,
        ):
            yield Stage(fake, gateway, client)


@pytest.mark.proves(provider="bedrock", operation="completions")
@pytest.mark.parametrize("model", MODELS)
async def test_a_prompt_is_completed_and_priced(stage: Stage, model: str) -> None:
    stage.fake.replies.append(said())

    raw = await stage.client.completions.with_raw_response.create(
        model=f"bedrock/{model}", prompt="Once", max_tokens=10, temperature=0.5, seed=1
    )

    answer = raw.parse()
    assert (answer.object, answer.choices[0].text, answer.choices[0].finish_reason) == (
        "text_completion",
        TEXT,
        "stop",
    )
    assert answer.usage is not None and answer.usage.total_tokens == 35
    assert raw.headers["x-finops-dropped-params"] == "seed"
    limit = "max_gen_len" if model == LLAMA else "max_tokens"
    assert stage.sent() == {"prompt": "Once", limit: 10, "temperature": 0.5}
    (asked,) = stage.fake.asked
    assert (asked.operation, asked.params["modelId"], asked.region) == ("InvokeModel", model, "eu-central-1")
    assert asked.params["guardrailIdentifier"] == "guard1"
    logged = await stage.logged()
    assert (logged.endpoint, logged.model, logged.outcome) == ("completions", model, "success")
    assert (logged.cost_nanos, logged.cost_basis) == (COST, "priced")
    assert (logged.tokens.prompt, logged.tokens.completion, logged.finish_reason) == (25, 10, "stop")
    assert msgspec.json.decode(logged.request)["prompt"] == "Once"
    assert msgspec.json.decode(logged.response)["choices"][0]["text"] == TEXT


@pytest.mark.proves(provider="bedrock", operation="completions")
@pytest.mark.parametrize("model", MODELS)
async def test_a_stream_is_completed_and_priced(stage: Stage, model: str) -> None:
    stage.fake.replies.append(said())

    stream = await stage.ask(model, stream=True, stream_options={"include_usage": True})
    chunks = [chunk async for chunk in stream]

    spoken = [chunk.choices[0] for chunk in chunks if chunk.choices]
    assert "".join(choice.text for choice in spoken) == TEXT
    assert len(spoken) > 3 and spoken[-1].finish_reason == "stop"
    assert (chunks[-1].usage.prompt_tokens, chunks[-1].usage.completion_tokens) == (25, 10)
    assert stage.fake.asked[0].operation == "InvokeModelWithResponseStream"
    assert stage.fake.asked[0].params["guardrailIdentifier"] == "guard1"
    logged = await stage.logged()
    assert (logged.endpoint, logged.outcome, logged.finish_reason) == ("completions", "success", "stop")
    assert (logged.cost_nanos, logged.cost_basis) == (COST, "priced")
    assert logged.response_kind == "sse" and TEXT[:6] in str(bytes(logged.response))


@pytest.mark.parametrize("stream", [False, True])
async def test_what_nobody_counts_is_estimated_and_marked(stage: Stage, stream: bool) -> None:
    stage.fake.replies.append(said(counted=False))

    answer = await stage.ask(MISTRAL, stream=stream)
    if stream:
        assert [chunk async for chunk in answer][-1].choices[0].finish_reason == "stop"

    logged = await stage.logged()
    assert (logged.outcome, logged.cost_basis) == ("success", "estimated")
    tokens = logged.tokens
    assert tokens.prompt > 0 and tokens.completion > 0
    assert logged.cost_nanos == tokens.prompt * INPUT_NANOS + tokens.completion * OUTPUT_NANOS


async def test_a_model_behind_an_arn_is_told_by_its_name(stage: Stage) -> None:
    stage.fake.replies += [said(), said(stop_reason="max_tokens")]

    await stage.ask(BEHIND_ARN)
    stream = await stage.ask(BEHIND_ARN, stream=True)
    chunks = [chunk async for chunk in stream]

    assert [asked.params["modelId"] for asked in stage.fake.asked] == [ARN, ARN]
    assert stage.fake.asked[0].region == "eu-west-1"
    assert chunks[-1].choices[0].finish_reason == "length"


@pytest.mark.parametrize(
    ("model", "fields", "param"),
    [
        (CLAUDE, {}, "model"),
        (ARN, {}, "model"),
        (LLAMA, {"stop": "END"}, "stop"),
        (DEEPSEEK, {"prompt": [1, 2, 3]}, "prompt"),
        (MISTRAL, {"n": 2}, "n"),
    ],
)
async def test_what_cannot_be_is_refused_by_name_before_anybody_is_asked(
    stage: Stage, model: str, fields: dict[str, Any], param: str
) -> None:
    with pytest.raises(openai.BadRequestError) as refused:
        await stage.ask(model, **fields)

    assert refused.value.param == param
    assert refused.value.code == "invalid_request"
    assert stage.fake.asked == []


@pytest.mark.parametrize(
    ("reply", "status"),
    [
        (Reply(status=429, error="ThrottlingException", headers={"retry-after": "3"}), 429),
        (Reply(status=400, error="ValidationException"), 400),
        (Reply(status=403, error="AccessDeniedException"), 502),
        (Reply(fault="error-200"), 429),
        (Reply(fault="garbage"), 502),
    ],
)
@pytest.mark.parametrize("stream", [False, True])
async def test_errors_are_told_in_openais_terms(
    stage: Stage, reply: Reply, status: int, stream: bool
) -> None:
    stage.fake.replies += [reply] * 5

    with pytest.raises(openai.APIStatusError) as failed:
        await stage.ask(stream=stream)

    assert failed.value.status_code == status
    if reply.headers:
        assert failed.value.response.headers["retry-after"] == "3"
    logged = await stage.logged()
    assert (logged.outcome, logged.cost_nanos) == ("error", 0)


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("fault", ["cut", "early", "exception:modelStreamErrorException"])
async def test_a_stream_that_breaks_off_says_so_and_is_billed(stage: Stage, model: str, fault: str) -> None:
    stage.fake.replies.append(said(fault))

    stream = await stage.ask(model, stream=True)
    spoken = ""
    with pytest.raises(openai.APIError) as broken:
        async for chunk in stream:
            spoken += chunk.choices[0].text

    assert spoken and TEXT.startswith(spoken) and spoken != TEXT
    assert "exception" not in fault or REFUSAL in broken.value.message
    logged = await stage.logged()
    tokens = logged.tokens
    assert logged.outcome == "error"
    assert tokens.prompt == 25 if model == LLAMA else tokens.prompt > 0
    assert 0 < tokens.completion <= 20
    assert logged.cost_nanos == tokens.prompt * INPUT_NANOS + tokens.completion * OUTPUT_NANOS


async def test_leaving_a_stream_that_stalls_closes_the_connection(stage: Stage) -> None:
    stage.fake.replies.append(said("stall"))

    stream = await stage.ask(stream=True)
    await anext(aiter(stream))
    await stream.close()

    async def closed() -> bool:
        return stage.fake.left.is_set()

    assert await eventually(closed)
