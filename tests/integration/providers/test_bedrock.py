"""Bedrock through a whole gateway, with OpenAI's own SDK at one end and a fake that botocore can talk to at the other."""

import base64
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import anthropic
import msgspec
import openai
import pydantic
import pytest

from services.gateway.providers.bedrock.tools import ANSWER_TOOL
from shared.governance.model import Credential, PriceOverride, Provider
from shared.pricing.genai import schedule_for
from tests.support.eventually import eventually
from tests.support.gateway import RunningGateway, running_gateway
from tests.support.providers.bedrock import API_KEY, CLAUDE, STATIC, FakeBedrock, Reply, running_bedrock

MODEL = f"bedrock/{CLAUDE}"
ARN = "arn:aws:bedrock:eu-west-1:123456789012:application-inference-profile/abc123def456"
PICTURE = base64.b64encode(b"\x89PNG\r\n\x1a\n picture").decode()
PRICE = PriceOverride(
    model=MODEL,
    input_per_million_nanos=1_000_000_000,
    output_per_million_nanos=2_000_000_000,
    cached_read_per_million_nanos=0,
)
CACHED = {"inputTokens": 10, "outputTokens": 5, "totalTokens": 35, "cacheReadInputTokens": 20}
WEATHER: Any = {
    "type": "function",
    "function": {
        "name": "weather",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    },
}


@dataclass
class Stage:
    fake: FakeBedrock
    gateway: RunningGateway
    client: openai.AsyncOpenAI
    provider: Provider

    async def ask(self, text: str = "Hi", model: str = MODEL, **fields: Any) -> Any:
        return await self.client.chat.completions.create(
            model=model, messages=[{"role": "user", "content": text}], **fields
        )


@pytest.fixture
async def stage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Stage]:
    monkeypatch.setenv("AWS_TEST_KEYS", STATIC)
    monkeypatch.setenv("AWS_TEST_API_KEY", API_KEY)
    async with running_bedrock() as (fake, url):
        provider = Provider(
            name="bedrock",
            type="bedrock",
            base_url=url,
            credentials=(Credential(name="main", env="AWS_TEST_KEYS", aliases={"mine": ARN}),),
            options={"region": "eu-central-1"},
        )
        async with (
            running_gateway(tmp_path, provider, PRICE) as gateway,
            openai.AsyncOpenAI(base_url=f"{gateway.url}/v1", api_key="none", max_retries=0) as client,
        ):
            yield Stage(fake, gateway, client, provider)


async def test_a_signed_chat_is_answered_and_priced(stage: Stage) -> None:
    stage.fake.replies.append(Reply(usage=CACHED))

    answer = await stage.ask(temperature=0.3, seed=1)

    assert answer.choices[0].message.content == "Hello from Bedrock."
    assert (answer.usage.prompt_tokens, answer.usage.completion_tokens) == (30, 5)
    assert answer.usage.prompt_tokens_details.cached_tokens == 20
    assert stage.fake.asked[0].region == "eu-central-1"
    assert stage.fake.asked[0].params["inferenceConfig"] == {"temperature": 0.3}
    (logged,) = await stage.gateway.logged()
    assert (logged.provider, logged.model, logged.finish_reason) == ("bedrock", CLAUDE, "stop")
    assert (logged.cost_nanos, logged.cost_basis) == (10_000 + 10_000, "priced")


async def test_a_stream_is_answered_and_priced(stage: Stage) -> None:
    stage.fake.replies.append(Reply([{"text": "one two three four five"}], usage=CACHED))

    stream = await stage.ask(stream=True, stream_options={"include_usage": True})
    chunks = [chunk async for chunk in stream]

    text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
    assert text == "one two three four five"
    assert chunks[-1].usage.prompt_tokens == 30
    (logged,) = await stage.gateway.logged()
    assert (logged.cost_nanos, logged.outcome, logged.finish_reason) == (20_000, "success", "stop")


async def test_an_api_key_and_an_inference_profile_by_its_arn(stage: Stage) -> None:
    by_key = Provider(
        name="keyed",
        type="bedrock",
        base_url=stage.provider.base_url,
        credentials=(Credential(name="main", env="AWS_TEST_API_KEY"),),
    )
    await stage.gateway.govern(by_key)

    async def answered() -> Any:
        try:
            return await stage.ask(model=f"keyed/{ARN}")
        except openai.NotFoundError:
            return None

    await eventually(answered)
    await stage.ask(model="bedrock/mine")

    assert [asked.params["modelId"] for asked in stage.fake.asked] == [ARN, ARN]
    assert stage.fake.asked[0].headers["authorization"] == f"Bearer {API_KEY}"
    assert stage.fake.asked[1].region == "eu-west-1"
    assert stage.fake.asked[1].path == f"/model/{ARN.replace(':', '%3A').replace('/', '%2F')}/converse"


@pytest.mark.parametrize("stream", [False, True])
async def test_a_round_of_tools_keeps_the_signature(stage: Stage, stream: bool) -> None:
    thought = {"reasoningContent": {"reasoningText": {"text": "Use tools.", "signature": "c2ln"}}}
    uses = [
        {"toolUse": {"toolUseId": f"t{at}", "name": "weather", "input": {"city": city}}}
        for at, city in enumerate(("Oslo", "Rome"))
    ]
    stage.fake.replies.append(Reply([thought, *uses], "tool_use"))
    messages: list[Any] = [{"role": "user", "content": "Where is it warmer?"}]
    fields: Any = {"model": MODEL, "tools": [WEATHER], "reasoning_effort": "low"}
    if stream:
        async with stage.client.chat.completions.stream(messages=messages, **fields) as events:
            asked = (await events.get_final_completion()).choices[0]
    else:
        asked = (await stage.client.chat.completions.create(messages=messages, **fields)).choices[0]
    assert asked.finish_reason == "tool_calls"
    calls = asked.message.tool_calls or []
    assert [call.function.arguments for call in calls if call.type == "function"] == [
        '{"city":"Oslo"}',
        '{"city":"Rome"}',
    ]

    messages.append(asked.message.model_dump(exclude_none=True))
    messages += [{"role": "tool", "tool_call_id": call.id, "content": "warm"} for call in calls]
    answer = await stage.client.chat.completions.create(messages=messages, **fields)

    assert answer.choices[0].message.content == "Hello from Bedrock."
    sent = stage.fake.asked[-1].params["messages"]
    assert sent[1]["content"] == [thought, *uses]
    assert [block["toolResult"]["toolUseId"] for block in sent[2]["content"]] == ["t0", "t1"]


class City(pydantic.BaseModel):
    city: str
    population: int


async def test_a_schema_is_kept(stage: Stage) -> None:
    said = {"city": "Paris", "population": 2_100_000}
    use = {"toolUse": {"toolUseId": "t1", "name": ANSWER_TOOL, "input": said}}
    stage.fake.replies += [Reply([use], "tool_use"), Reply([use], "tool_use")]

    answer = await stage.client.chat.completions.parse(
        model=MODEL, messages=[{"role": "user", "content": "Paris?"}], response_format=City
    )
    async with stage.client.chat.completions.stream(
        model=MODEL, messages=[{"role": "user", "content": "Paris?"}], response_format=City
    ) as events:
        streamed = await events.get_final_completion()

    assert answer.choices[0].message.parsed == City(city="Paris", population=2_100_000)
    assert streamed.choices[0].message.parsed == answer.choices[0].message.parsed
    assert stage.fake.asked[0].params["toolConfig"]["toolChoice"] == {"tool": {"name": ANSWER_TOOL}}


@pytest.mark.parametrize(
    ("reply", "status", "calls"),
    [
        (Reply(status=429, error="ThrottlingException", headers={"retry-after": "3"}), 429, 1),
        (Reply(status=400, error="ValidationException"), 400, 1),
        (Reply(status=403, error="AccessDeniedException"), 502, 1),
        (Reply(fault="error-200"), 429, 1),
    ],
)
async def test_errors_are_told_in_openais_terms(stage: Stage, reply: Reply, status: int, calls: int) -> None:
    stage.fake.replies.append(reply)

    with pytest.raises(openai.APIStatusError) as failed:
        await stage.ask()

    assert failed.value.status_code == status
    assert len(stage.fake.asked) == calls
    if reply.headers:
        assert failed.value.response.headers["retry-after"] == "3"


@pytest.mark.parametrize("fault", ["cut", "early", "exception:modelStreamErrorException"])
async def test_a_stream_that_breaks_off_says_so_and_is_billed(stage: Stage, fault: str) -> None:
    stage.fake.replies.append(Reply([{"text": "A long answer that will never be whole."}], fault=fault))

    stream = await stage.ask(stream=True)
    with pytest.raises(openai.APIError):
        async for _ in stream:
            pass

    (logged,) = await stage.gateway.logged()
    assert (logged.outcome, logged.cost_basis) == ("error", "estimated")
    assert logged.tokens.completion > 0


async def test_what_is_no_stream_at_all_is_an_error(stage: Stage) -> None:
    stage.fake.replies += [Reply(fault="garbage")] * 5

    with pytest.raises(openai.APIStatusError):
        await stage.ask(stream=True)


async def test_leaving_a_stream_that_stalls_closes_the_connection(stage: Stage) -> None:
    stage.fake.replies.append(Reply([{"text": "one two three four"}], fault="stall"))

    stream = await stage.ask(stream=True)
    await anext(aiter(stream))
    await stream.close()

    async def closed() -> bool:
        return stage.fake.left.is_set()

    assert await eventually(closed)


@pytest.mark.proves(provider="bedrock", operation="embeddings")
async def test_embeddings_of_titan_take_a_call_for_each_text(stage: Stage) -> None:
    for vector in ([0.5, -0.25], [1.0, 2.0]):
        body = msgspec.json.encode({"embedding": vector, "inputTextTokenCount": 3})
        stage.fake.replies.append(Reply(body=body))

    answer = await stage.client.embeddings.create(
        model="bedrock/amazon.titan-embed-text-v2:0", input=["a", "b"], dimensions=256
    )

    assert sorted(one.embedding for one in answer.data) == [[0.5, -0.25], [1.0, 2.0]]
    assert answer.usage.prompt_tokens == 6
    sent = sorted(msgspec.json.decode(asked.body)["inputText"] for asked in stage.fake.asked)
    assert sent == ["a", "b"]
    (logged,) = await stage.gateway.logged()
    assert (logged.cost_basis, logged.tokens.prompt) == ("priced", 6)


@pytest.mark.proves(provider="bedrock", operation="embeddings")
async def test_embeddings_of_cohere(stage: Stage) -> None:
    body = msgspec.json.encode({"embeddings": {"float": [[0.5], [1.0]]}, "id": "x", "texts": ["a", "b"]})
    stage.fake.replies.append(Reply(body=body, headers={"x-amzn-bedrock-input-token-count": "7"}))

    answer = await stage.client.embeddings.create(
        model="bedrock/cohere.embed-english-v3", input=["a", "b"], encoding_format="float"
    )

    assert [one.embedding for one in answer.data] == [[0.5], [1.0]]
    assert answer.usage.prompt_tokens == 7
    assert msgspec.json.decode(stage.fake.asked[0].body)["input_type"] == "search_document"


async def test_an_error_of_one_of_several_calls_is_the_error_of_all(stage: Stage) -> None:
    body = msgspec.json.encode({"embedding": [1.0], "inputTextTokenCount": 3})
    stage.fake.replies += [Reply(body=body), Reply(status=400, error="ValidationException")]

    with pytest.raises(openai.BadRequestError, match="the fake says no"):
        await stage.client.embeddings.create(model="bedrock/amazon.titan-embed-text-v2:0", input=["a", "b"])


@pytest.mark.parametrize(
    ("model", "sent"),
    [
        (
            "amazon.nova-canvas-v1:0",
            {
                "taskType": "TEXT_IMAGE",
                "textToImageParams": {"text": "a cat"},
                "imageGenerationConfig": {"numberOfImages": 1, "width": 1280, "height": 720},
            },
        ),
        ("stability.sd3-5-large-v1:0", {"prompt": "a cat", "output_format": "png", "aspect_ratio": "16:9"}),
    ],
)
@pytest.mark.proves(provider="bedrock", operation="images.generations")
async def test_pictures(stage: Stage, model: str, sent: dict[str, Any]) -> None:
    stage.fake.replies.append(Reply(body=msgspec.json.encode({"images": [PICTURE]})))

    answer = await stage.client.images.generate(model=f"bedrock/{model}", prompt="a cat", size="1280x720")

    assert [one.b64_json for one in answer.data or ()] == [PICTURE]
    assert msgspec.json.decode(stage.fake.asked[0].body) == sent
    (logged,) = await stage.gateway.logged()
    assert logged.tokens.images == 1


async def test_a_picture_that_was_filtered_out_is_an_error(stage: Stage) -> None:
    body = msgspec.json.encode({"images": [], "seeds": [], "finish_reasons": ["Filter reason: prompt"]})
    stage.fake.replies.append(Reply(body=body))

    with pytest.raises(openai.BadRequestError, match="Filter reason"):
        await stage.client.images.generate(model="bedrock/stability.stable-image-core-v1:1", prompt="x")


@pytest.mark.proves(provider="bedrock", operation="images.edits")
async def test_a_picture_is_changed(stage: Stage) -> None:
    stage.fake.replies.append(Reply(body=msgspec.json.encode({"images": [PICTURE]})))

    answer = await stage.client.images.edit(
        model="bedrock/amazon.nova-canvas-v1:0", prompt="a hat", image=("a.png", b"abc", "image/png")
    )

    assert [one.b64_json for one in answer.data or ()] == [PICTURE]
    assert msgspec.json.decode(stage.fake.asked[0].body)["taskType"] == "IMAGE_VARIATION"


async def test_clients_of_other_formats(stage: Stage) -> None:
    thought = {"reasoningContent": {"reasoningText": {"text": "Hmm", "signature": "c2ln"}}}
    stage.fake.replies += [Reply(), Reply(), Reply([thought, {"text": "Hello."}])]
    async with stage.client.responses.stream(model=MODEL, input="Hi") as events:
        async for _ in events:
            pass
        responded = await events.get_final_response()
    whole = await stage.client.responses.create(model=MODEL, input="Hi")
    async with (
        anthropic.AsyncAnthropic(base_url=stage.gateway.url, api_key="none", max_retries=0) as client,
        client.messages.stream(
            model=MODEL,
            max_tokens=4000,
            thinking={"type": "enabled", "budget_tokens": 2048},
            messages=[{"role": "user", "content": "Hi"}],
        ) as spoken,
    ):
        message = await spoken.get_final_message()

    assert responded.output_text == whole.output_text == "Hello from Bedrock."
    assert [block.type for block in message.content] == ["thinking", "text"]
    assert getattr(message.content[0], "signature", "") == "c2ln"
    extra = stage.fake.asked[-1].params["additionalModelRequestFields"]
    assert extra == {"thinking": {"type": "enabled", "budget_tokens": 2048}}


@pytest.mark.proves(provider="bedrock", operation="rerank")
async def test_ranking(stage: Stage) -> None:
    body = {"model": "bedrock/cohere.rerank-v3-5:0", "query": "q", "documents": ["a", "b", "c"], "top_n": 2}

    async with stage.gateway.http.post("/v1/rerank", json=body) as response:
        answer = await response.json()

    assert response.status == 200, answer
    assert [one["index"] for one in answer["results"]] == [2, 1]
    config = stage.fake.asked[0].params["rerankingConfiguration"]["bedrockRerankingConfiguration"]
    assert config["modelConfiguration"]["modelArn"].endswith(
        "eu-central-1::foundation-model/cohere.rerank-v3-5:0"
    )


async def test_the_list_of_models_limits_nobody(stage: Stage) -> None:
    def listed(model: str, *kinds: str) -> dict[str, Any]:
        arn = f"arn:aws:bedrock:eu-central-1::foundation-model/{model}"
        return {"modelId": model, "modelArn": arn, "inferenceTypesSupported": list(kinds)}

    def profile(name: str) -> dict[str, Any]:
        return {
            "inferenceProfileName": name,
            "inferenceProfileArn": f"arn:aws:bedrock:eu-central-1:123456789012:inference-profile/{name}",
            "inferenceProfileId": name,
            "models": [{"modelArn": f"arn:aws:bedrock:eu-central-1::foundation-model/{name}"}],
            "status": "ACTIVE",
            "type": "SYSTEM_DEFINED",
        }

    stage.fake.models = [listed("amazon.nova-pro-v1:0", "ON_DEMAND"), listed("amazon.titan-x", "PROVISIONED")]
    stage.fake.profiles = [profile("eu.amazon.nova-lite-v1:0"), profile("global.amazon.nova-2-lite-v1:0")]
    await stage.gateway.govern(msgspec.structs.replace(stage.provider, headers={"x-new": "1"}))

    async def names() -> list[str]:
        found = [model.id async for model in stage.client.models.list()]
        return [name for name in found if "amazon" in name]

    assert await eventually(names) == [
        "bedrock/amazon.nova-pro-v1:0",
        "bedrock/eu.amazon.nova-lite-v1:0",
        "bedrock/global.amazon.nova-2-lite-v1:0",
    ]
    answer = await stage.ask(model="bedrock/eu-west-3/eu.amazon.nova-lite-v1:0")
    assert answer.choices[0].message.content == "Hello from Bedrock."
    assert stage.fake.asked[0].region == "eu-west-3"
    assert stage.fake.asked[0].params["modelId"] == "eu.amazon.nova-lite-v1:0"


def test_prices_are_known_wherever_a_model_is_called() -> None:
    assert schedule_for("bedrock", "eu-west-3/eu.amazon.nova-lite-v1:0")
    assert schedule_for("bedrock", "amazon.nova-lite-v1:0")
