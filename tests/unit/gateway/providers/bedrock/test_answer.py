"""Whole answers of Converse, made out of the service's model, and errors."""

from typing import Any

import msgspec
import pytest

from services.gateway.providers.bedrock.adapter import BedrockAdapter
from services.gateway.providers.bedrock.tools import ANSWER_TOOL
from services.gateway.providers.operations import Operation
from services.gateway.providers.port import Answer
from services.gateway.providers.usage import Usage
from services.gateway.upstream_errors import blame
from shared.events import Tokens
from tests.support.providers.aws_model import json_of, operation
from tests.support.providers.bedrock import USAGE
from tests.unit.gateway.providers.bedrock.build import chat_body


def read(*content: dict[str, Any], stop: str = "end_turn", usage: dict[str, Any] | None = None) -> Answer:
    answer = {
        "output": {"message": {"role": "assistant", "content": list(content)}},
        "stopReason": stop,
        "usage": usage or USAGE,
        "metrics": {"latencyMs": 1},
    }
    sent = msgspec.json.encode(json_of(operation("bedrock-runtime", "Converse").output_shape, answer))
    return BedrockAdapter().read_answer(Operation.CHAT, chat_body(), {}, sent)


def message(answer: Answer) -> Any:
    return msgspec.json.decode(answer.body)["choices"][0]["message"]


def test_text_reasoning_and_calls() -> None:
    answer = read(
        {"reasoningContent": {"reasoningText": {"text": "Hmm", "signature": "c2ln"}}},
        {"reasoningContent": {"redactedContent": b"secret"}},
        {"text": "It is "},
        {"text": "sunny."},
        {"toolUse": {"toolUseId": "t1", "name": "weather", "input": {"city": "Oslo"}}},
        stop="tool_use",
    )

    said = message(answer)
    assert said["content"] == "It is sunny."
    assert said["reasoning_content"] == "Hmm"
    assert [detail.get("signature") or detail.get("data") for detail in said["reasoning_details"]] == [
        "c2ln",
        "c2VjcmV0",
    ]
    assert said["tool_calls"] == [
        {"id": "t1", "type": "function", "function": {"name": "weather", "arguments": '{"city":"Oslo"}'}}
    ]
    assert answer.finish_reason == "tool_calls"
    assert answer.usage == Usage(Tokens(prompt=20, completion=5))


def test_a_structured_answer_is_the_text() -> None:
    use = {"toolUseId": "t1", "name": ANSWER_TOOL, "input": {"name": "Oslo"}}

    answer = read({"text": "Here you are:"}, {"toolUse": use}, stop="tool_use")

    assert message(answer)["content"] == '{"name":"Oslo"}'
    assert answer.finish_reason == "stop"


def test_the_trace_of_a_guardrail_is_passed_on() -> None:
    trace = {"guardrail": {"modelOutput": ["no"]}}
    answer = {
        "output": {"message": {"role": "assistant", "content": [{"text": "Blocked."}]}},
        "stopReason": "guardrail_intervened",
        "usage": USAGE,
        "metrics": {"latencyMs": 1},
        "trace": trace,
    }
    sent = msgspec.json.encode(json_of(operation("bedrock-runtime", "Converse").output_shape, answer))

    read_answer = BedrockAdapter().read_answer(Operation.CHAT, chat_body(), {}, sent)

    assert msgspec.json.decode(read_answer.body)["trace"] == trace
    assert read_answer.finish_reason == "content_filter"


@pytest.mark.parametrize("reason", ["malformed_model_output", "malformed_tool_use"])
def test_a_model_that_went_wrong_gave_no_answer_but_was_paid_for(reason: str) -> None:
    answer = read({"text": "Let me"}, stop=reason)

    assert answer.error is not None
    assert (answer.error.status, answer.error.upstream_code) == (502, reason)
    assert blame(answer.error) == "model"  # nobody else's requests must suffer for it
    assert answer.usage == Usage(Tokens(prompt=20, completion=5))


def test_citations_and_pictures() -> None:
    cited = {
        "content": [{"text": "Sunny."}],
        "citations": [{"title": "Weather", "location": {"web": {"url": "https://e.com"}}}, {"title": "none"}],
    }

    said = message(
        read({"citationsContent": cited}, {"image": {"format": "png", "source": {"bytes": b"abc"}}})
    )

    assert said["content"] == "Sunny."
    assert [one["url_citation"]["url"] for one in said["annotations"]] == ["https://e.com"]
    assert said["images"][0]["image_url"]["url"] == "data:image/png;base64,YWJj"


@pytest.mark.parametrize("total", [45, 75])
def test_cached_tokens_come_beside_the_input(total: int) -> None:
    usage = {
        "inputTokens": 40,
        "outputTokens": 5,
        "totalTokens": total,
        "cacheReadInputTokens": 20,
        "cacheWriteInputTokens": 10,
    }

    answer = read({"text": "x"}, usage=usage)

    assert answer.usage.tokens == Tokens(prompt=70, completion=5, cached_read=20, cache_write=10)


def test_what_is_cached_for_an_hour_is_counted_apart() -> None:
    usage = {
        "inputTokens": 1,
        "outputTokens": 5,
        "totalTokens": 106,
        "cacheWriteInputTokens": 100,
        "cacheDetails": [{"ttl": "1h", "inputTokens": 60}, {"ttl": "5m", "inputTokens": 40}],
    }

    answer = read({"text": "x"}, usage=usage)

    assert (answer.usage.tokens.cache_write, answer.usage.tokens.cache_write_1h) == (100, 60)


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b'{"Output":{"__type":"com.amazon.coral.service#UnknownOperationException"},"Version":"1.0"}', 502),
        (b'{"__type":"com.amazon#ThrottlingException","message":"slow"}', 429),
        (b"not json", 502),
        (b"[]", 502),
    ],
)
def test_a_success_that_is_none(body: bytes, status: int) -> None:
    answer = BedrockAdapter().read_answer(Operation.CHAT, chat_body(), {}, body)

    assert answer.error is not None
    assert answer.error.status == status


@pytest.mark.parametrize(
    "name", [error.name for error in operation("bedrock-runtime", "Converse").error_shapes]
)
def test_every_error_that_the_model_knows(name: str) -> None:
    shape = next(e for e in operation("bedrock-runtime", "Converse").error_shapes if e.name == name)
    announced = shape.metadata["error"]["httpStatusCode"]
    ours = {
        "ModelNotReadyException": 503,
        "ModelErrorException": 502,
        "ModelTimeoutException": 504,
    }.get(name, announced)
    headers = {"x-amzn-errortype": f"{name}:http://internal.amazon.com/", "retry-after": "2"}

    error = BedrockAdapter().map_error(announced, headers, b'{"message":"No."}')

    assert (error.status, error.message, error.upstream_code, error.retry_after_s) == (ours, "No.", name, 2.0)
    assert error.retryable == (ours >= 500 or ours in (403, 429))


def test_an_error_without_a_name() -> None:
    error = BedrockAdapter().map_error(502, {"content-type": "text/html"}, b"<html>")

    assert (error.status, error.retryable) == (502, True)
    assert BedrockAdapter().map_error(418, {}, b"{}").message == "Bedrock answered 418."
