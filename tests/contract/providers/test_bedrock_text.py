"""Clients that know Bedrock's models read what the fake says for those that take a bare prompt, so it says it right."""

import asyncio
from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import Any

import botocore.config
import botocore.session
import msgspec
import pytest
from botocore.exceptions import ClientError, EventStreamError
from langchain_aws.llms.bedrock import BedrockLLM, LLMInputOutputAdapter

from services.gateway.providers.bedrock.adapter import BedrockAdapter
from services.gateway.providers.body import parse_json
from services.gateway.providers.operations import Operation
from tests.support.providers.bedrock import ACCESS_KEY, SECRET_KEY, Reply, running_bedrock
from tests.support.providers.bedrock_text import (
    INPUT_HEADER,
    LLAMA,
    MISTRAL,
    MODELS,
    OUTPUT_HEADER,
    text_in,
)
from tests.support.providers.judges import target_of

TEXT = "Grüße from Oslo, it is sunny."
REPLY = Reply([{"text": TEXT}], usage={"inputTokens": 4, "outputTokens": 9})
PROMPT = b'{"prompt":"Once"}'


@contextmanager
def client(url: str) -> Iterator[Any]:
    runtime = botocore.session.Session().create_client(
        "bedrock-runtime",
        region_name="eu-west-1",
        endpoint_url=url,
        aws_access_key_id=ACCESS_KEY,
        aws_secret_access_key=SECRET_KEY,
        config=botocore.config.Config(retries={"total_max_attempts": 1}),
    )
    with closing(runtime):
        yield runtime


def invoked(url: str, model: str, body: bytes = PROMPT) -> tuple[bytes, dict[str, str]]:
    with client(url) as runtime:
        answer = runtime.invoke_model(modelId=model, body=body)
        return answer["body"].read(), answer["ResponseMetadata"]["HTTPHeaders"]


def streamed(url: str, model: str) -> list[bytes]:
    with client(url) as runtime:
        answer = runtime.invoke_model_with_response_stream(modelId=model, body=PROMPT)
        with closing(answer["body"]) as events:
            return [event["chunk"]["bytes"] for event in events]


@pytest.mark.parametrize("model", MODELS)
async def test_botocore_reads_the_whole_and_its_parts(model: str) -> None:
    async with running_bedrock() as (fake, url):
        fake.replies += [REPLY, REPLY]

        whole, headers = await asyncio.to_thread(invoked, url, model)
        parts = await asyncio.to_thread(streamed, url, model)

    assert text_in(model, [whole]) == text_in(model, parts) == TEXT
    assert (headers[INPUT_HEADER], headers[OUTPUT_HEADER]) == ("4", "9")
    last = msgspec.json.decode(parts[-1])["amazon-bedrock-invocationMetrics"]
    assert (last["inputTokenCount"], last["outputTokenCount"]) == (4, 9)
    assert [asked.operation for asked in fake.asked] == ["InvokeModel", "InvokeModelWithResponseStream"]


async def test_botocore_raises_what_breaks_a_stream() -> None:
    async with running_bedrock() as (fake, url):
        fake.replies.append(Reply([{"text": TEXT}], fault="exception:modelTimeoutException"))

        with pytest.raises(EventStreamError, match="modelTimeoutException"):
            await asyncio.to_thread(streamed, url, LLAMA)


@pytest.mark.parametrize(
    ("model", "body"),
    [
        (LLAMA, b'{"prompt":"Once","stop":["."]}'),
        (LLAMA, b'{"prompt":"Once","max_tokens":5}'),
        (MISTRAL, b'{"prompt":"Once","temperature":1.5}'),
        (MISTRAL, b'{"messages":[]}'),
    ],
)
async def test_the_fake_refuses_what_the_models_do_not_take(model: str, body: bytes) -> None:
    async with running_bedrock() as (_, url):
        with pytest.raises(ClientError, match="ValidationException.*Malformed input request"):
            await asyncio.to_thread(invoked, url, model, body)


@pytest.mark.parametrize("model", MODELS)
async def test_langchains_client_takes_the_fake_for_bedrock(model: str) -> None:
    async with running_bedrock() as (fake, url):
        fake.replies += [REPLY, REPLY]
        with client(url) as runtime:
            llm = BedrockLLM(client=runtime, model_id=model, max_tokens=9, temperature=0.5)

            whole = await asyncio.to_thread(llm.invoke, "Once")
            pieces = await asyncio.to_thread(lambda: list(llm.stream("Once")))

    assert whole == "".join(pieces) == TEXT
    assert len(pieces) > 1


@pytest.mark.parametrize("model", MODELS)
async def test_langchain_counts_the_tokens_that_the_fake_counts(model: str) -> None:
    provider = model.removeprefix("us.").partition(".")[0]
    async with running_bedrock() as (fake, url):
        fake.replies += [REPLY, REPLY]
        body, headers = await asyncio.to_thread(invoked, url, model)
        parts = await asyncio.to_thread(streamed, url, model)

    read = LLMInputOutputAdapter.prepare_output(
        provider, {"body": _Readable(body), "ResponseMetadata": {"HTTPHeaders": headers}}
    )
    stream = {"body": [{"chunk": {"bytes": part}} for part in parts]}
    last = list(LLMInputOutputAdapter.prepare_output_stream(provider, stream))[-1]
    assert read["text"] == TEXT
    assert (read["usage"]["prompt_tokens"], read["usage"]["completion_tokens"]) == (4, 9)
    told = (getattr(last, "generation_info", None) or {})["usage_metadata"]
    assert (told["input_tokens"], told["output_tokens"]) == (4, 9)


@pytest.mark.parametrize("model", MODELS)
def test_the_gateway_asks_as_langchain_does(model: str) -> None:
    asked = {"model": "m", "prompt": "Once", "max_tokens": 9, "temperature": 0.5, "top_p": 0.25}

    prepared = BedrockAdapter().build(
        Operation.COMPLETIONS, target_of("bedrock", model), parse_json(msgspec.json.encode(asked))
    )

    theirs = LLMInputOutputAdapter.prepare_input(
        model.removeprefix("us.").partition(".")[0],
        {"top_p": 0.25},
        "Once",
        max_tokens=9,
        temperature=0.5,
    )
    assert isinstance(prepared.request.body, bytes)
    assert msgspec.json.decode(prepared.request.body) == theirs


class _Readable:
    def __init__(self, body: bytes) -> None:
        self._body = body

    def read(self) -> bytes:
        return self._body
