"""A real botocore client reads what the fake of Bedrock says, so the fake says it right."""

import asyncio
from contextlib import closing
from typing import Any

import botocore.config
import botocore.session
import pytest
from botocore.exceptions import ClientError, EventStreamError

from tests.support.providers.aws_model import event_frame
from tests.support.providers.bedrock import (
    ACCESS_KEY,
    CLAUDE,
    SECRET_KEY,
    USAGE,
    Reply,
    running_bedrock,
)

MESSAGES = [{"role": "user", "content": [{"text": "Hi"}]}]


def client(url: str, service: str = "bedrock-runtime", secret: str = SECRET_KEY) -> Any:
    return botocore.session.Session().create_client(
        service,
        region_name="eu-west-1",
        endpoint_url=url,
        aws_access_key_id=ACCESS_KEY,
        aws_secret_access_key=secret,
        config=botocore.config.Config(retries={"total_max_attempts": 1}),
    )


async def test_converse() -> None:
    async with running_bedrock() as (fake, url):
        runtime = client(url)

        answer = await asyncio.to_thread(runtime.converse, modelId=CLAUDE, messages=MESSAGES)

        runtime.close()
    assert answer["output"]["message"]["content"] == [{"text": "Hello from Bedrock."}]
    assert answer["usage"] == USAGE
    assert fake.asked[0].region == "eu-west-1"
    assert fake.asked[0].params == {"modelId": CLAUDE, "messages": MESSAGES}


async def test_converse_stream() -> None:
    reply = Reply(
        [
            {"reasoningContent": {"reasoningText": {"text": "Hmm, well.", "signature": "c2ln"}}},
            {"text": "It is sunny."},
            {"toolUse": {"toolUseId": "t1", "name": "weather", "input": {"city": "Oslo"}}},
        ],
        "tool_use",
    )
    async with running_bedrock() as (fake, url):
        fake.replies.append(reply)

        events = await asyncio.to_thread(stream_of, url)

    deltas = [event["contentBlockDelta"]["delta"] for event in events if "contentBlockDelta" in event]
    assert "".join(delta.get("text", "") for delta in deltas) == "It is sunny."
    assert "".join(delta["toolUse"]["input"] for delta in deltas if "toolUse" in delta) == '{"city":"Oslo"}'
    assert {"reasoningContent": {"signature": "c2ln"}} in deltas
    assert events[-2] == {"messageStop": {"stopReason": "tool_use"}}
    assert events[-1]["metadata"]["usage"] == USAGE


def stream_of(url: str) -> list[dict[str, Any]]:
    runtime = client(url)
    try:
        with closing(runtime.converse_stream(modelId=CLAUDE, messages=MESSAGES)["stream"]) as events:
            return list(events)
    finally:
        runtime.close()


async def test_an_exception_inside_a_stream() -> None:
    async with running_bedrock() as (fake, url):
        fake.replies.append(Reply(fault="exception:throttlingException"))

        with pytest.raises(EventStreamError, match="throttlingException"):
            await asyncio.to_thread(stream_of, url)


async def test_errors_have_names() -> None:
    async with running_bedrock() as (fake, url):
        fake.replies.append(Reply(status=429, error="ThrottlingException"))
        runtime = client(url)

        with pytest.raises(runtime.exceptions.ThrottlingException, match="the fake says no"):
            await asyncio.to_thread(runtime.converse, modelId=CLAUDE, messages=MESSAGES)

        runtime.close()


async def test_a_wrong_signature_is_refused() -> None:
    async with running_bedrock() as (_, url):
        runtime = client(url, secret="another")

        with pytest.raises(ClientError, match="InvalidSignatureException"):
            await asyncio.to_thread(runtime.converse, modelId=CLAUDE, messages=MESSAGES)

        runtime.close()


async def test_a_count_of_tokens() -> None:
    asked = {"converse": {"messages": MESSAGES, "system": [{"text": "Be brief."}]}}
    async with running_bedrock() as (fake, url):
        runtime = client(url)

        counted = await asyncio.to_thread(runtime.count_tokens, modelId=CLAUDE, input=asked)
        for uncounted in (f"eu.{CLAUDE}", "amazon.nova-pro-v1:0"):
            with pytest.raises(runtime.exceptions.ValidationException, match="support counting tokens"):
                await asyncio.to_thread(runtime.count_tokens, modelId=uncounted, input=asked)

        runtime.close()
    assert counted["inputTokens"] == USAGE["inputTokens"]
    assert fake.asked[0].params == {"modelId": CLAUDE, "input": asked}


DOCUMENT = {"document": {"format": "pdf", "name": "a", "source": {"bytes": b"%PDF-1.7"}}}
OPEN = '{"type":"object","properties":{"tags":{"type":"object"}},"additionalProperties":false}'
FORMAT = {"type": "json_schema", "structure": {"jsonSchema": {"schema": OPEN}}}


@pytest.mark.parametrize(
    ("asked", "wrong"),
    [
        ({"messages": [{"role": "user", "content": [DOCUMENT]}]}, "must come with a text"),
        ({"outputConfig": {"textFormat": FORMAT}}, "additionalProperties"),
        ({"modelId": "anthropic.claude-opus-5", "outputConfig": {"effort": "max"}}, "thinking disabled"),
    ],
)
async def test_what_the_service_refuses_although_its_shapes_allow_it(asked: Any, wrong: str) -> None:
    async with running_bedrock() as (_, url):
        runtime = client(url)

        with pytest.raises(runtime.exceptions.ValidationException, match=wrong):
            await asyncio.to_thread(runtime.converse, **{"modelId": CLAUDE, "messages": MESSAGES, **asked})

        runtime.close()


async def test_the_list_of_models() -> None:
    arn = f"arn:aws:bedrock:us-east-1::foundation-model/{CLAUDE}"
    async with running_bedrock() as (fake, url):
        fake.models = [{"modelArn": arn, "modelId": CLAUDE, "inferenceTypesSupported": ["ON_DEMAND"]}]
        control = client(url, "bedrock")

        answer = await asyncio.to_thread(control.list_foundation_models)

        control.close()
    assert [model["modelId"] for model in answer["modelSummaries"]] == [CLAUDE]


@pytest.mark.parametrize(
    ("event", "params"),
    [
        ("contentBlockDelta", {"contentBlockIndex": 0, "delta": {"words": "x"}}),
        ("messageStop", {"stopReason": "tired"}),
        ("messageStart", {}),
    ],
)
def test_no_frame_can_be_made_that_the_service_could_not_send(event: str, params: dict[str, Any]) -> None:
    with pytest.raises(ValueError):
        event_frame(event, params)
