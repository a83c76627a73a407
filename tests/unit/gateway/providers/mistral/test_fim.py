"""A text completion is asked for in the types of Mistral's SDK, or refused by name; what comes back is one of OpenAI's."""

import json
from typing import Any

import pytest
from hypothesis import given, settings
from mistralai.client import models
from openai.types import Completion
from openai.types.completion_create_params import CompletionCreateParamsNonStreaming

from services.gateway.providers.errors import BadRequest
from services.gateway.providers.mistral.adapter import MistralAdapter
from services.gateway.providers.operations import Operation
from tests.support.providers.mistral_types import answer, judge, stream
from tests.support.providers.sdk_requests import Types
from tests.support.targets import json_body, relay_options, target

ADAPTER = MistralAdapter()


def built(**fields: Any) -> tuple[dict[str, Any], tuple[str, ...]]:
    body = json_body(json.dumps({"prompt": "def f(", **fields, "model": "mistral/codestral"}))
    prepared = ADAPTER.build(Operation.COMPLETIONS, target("mistral", "codestral"), body)
    assert isinstance(prepared.request.body, bytes)
    assert prepared.request.url == "https://api.mistral.ai/v1/fim/completions"
    assert prepared.streams is bool(fields.get("stream"))
    sent = json.loads(prepared.request.body)
    judge(models.FIMCompletionRequest, sent)
    return sent, prepared.dropped


@settings(max_examples=300, deadline=None)
@given(Types().objects(CompletionCreateParamsNonStreaming))
def test_a_request_is_what_the_sdk_could_send_or_is_refused_by_name(request: dict[str, Any]) -> None:
    try:
        sent, dropped = built(**request)
    except BadRequest as error:
        assert error.param in ("prompt", "best_of", "echo", "logprobs", "n")
        return

    assert sent["model"] == "codestral"
    assert sent["prompt"] in (request["prompt"], *request["prompt"])
    never = {"frequency_penalty", "presence_penalty", "logit_bias", "user"}
    assert set(dropped) == {name for name in request.keys() & never if request[name] is not None}


def test_what_mistral_has_goes_out_by_its_own_name() -> None:
    own = {"suffix": "return", "min_tokens": 2, "prompt_cache_key": "k", "stop": ["a", "b"], "top_p": 0.5}
    sent, dropped = built(**own, seed=7, max_tokens=9, n=1, echo=False, logprobs=None)

    assert sent == {"model": "codestral", "prompt": "def f(", **own, "random_seed": 7, "max_tokens": 9}
    assert dropped == ()
    assert built(prompt=["a"])[0]["prompt"] == "a"
    streamed, dropped = built(stream=True, stream_options={"include_usage": True})
    assert (streamed["stream"], "stream_options" in streamed, dropped) == (True, False, ())


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"n": 2}, "n"),
        ({"best_of": 2}, "best_of"),
        ({"echo": True}, "echo"),
        ({"logprobs": 3}, "logprobs"),
        ({"prompt": ["a", "b"]}, "prompt"),
        ({"prompt": [1, 2]}, "prompt"),
        ({"prompt": ""}, "prompt"),
    ],
)
def test_what_would_change_the_answer_is_refused_by_name(fields: dict[str, Any], param: str) -> None:
    with pytest.raises(BadRequest) as refused:
        built(**fields)

    assert refused.value.param == param


def test_the_answer_of_a_chat_is_a_text() -> None:
    body = json_body('{"model":"mistral/codestral","prompt":"a"}')
    read = ADAPTER.read_answer(Operation.COMPLETIONS, body, {}, answer("x):"))

    found = Completion.model_validate_json(read.body)
    assert (found.object, found.choices[0].text, found.choices[0].finish_reason) == (
        "text_completion", "x):", "stop",
    )  # fmt: skip
    assert (read.usage.tokens.prompt, read.usage.tokens.completion, read.finish_reason) == (9, 4, "stop")
    assert json.loads(read.with_cost("0.5"))["usage"]["cost"] == 0.5
    too_long = answer("x").replace(b'"stop"', b'"model_length"')
    read = ADAPTER.read_answer(Operation.COMPLETIONS, body, {}, too_long)
    assert Completion.model_validate_json(read.body).choices[0].finish_reason == "length"
    assert read.finish_reason == "length"


@pytest.mark.parametrize("raw", [b"<html>", b"{}", b'{"choices":7}', b'{"error":{"message":"no"}}'])
def test_an_answer_of_another_shape_is_an_error(raw: bytes) -> None:
    body = json_body('{"model":"mistral/codestral","prompt":"a"}')

    assert ADAPTER.read_answer(Operation.COMPLETIONS, body, {}, raw).error is not None


@pytest.mark.parametrize("at_once", [True, False])
def test_a_stream_of_a_chat_is_one_of_texts(at_once: bool) -> None:
    relay = ADAPTER.relay(Operation.COMPLETIONS, relay_options(send_usage=True))
    events = stream({"role": "assistant", "content": ""}, {"content": "x"}, {"content": "):"})
    chunks = [b"".join(events)] if at_once else events
    sent = b"".join([relay.feed(chunk) for chunk in chunks]) + relay.end()

    found = [json.loads(line[6:]) for line in sent.splitlines() if line.startswith(b"data: {")]
    assert {chunk["object"] for chunk in found} == {"text_completion"}
    assert "".join(chunk["choices"][0]["text"] for chunk in found if chunk["choices"]) == "x):"
    assert [chunk["choices"][0]["finish_reason"] for chunk in found[:-1]] == [None, None, "stop"]
    assert found[-1]["usage"]["total_tokens"] == 13 and found[-1]["choices"] == []
    assert sent.endswith(b"data: [DONE]\n\n")
    assert relay.done and relay.finish_reason == "stop" and not relay.usage().estimated


def test_a_full_context_is_a_length_in_the_log_too() -> None:
    relay = ADAPTER.relay(Operation.COMPLETIONS, relay_options(send_usage=True))
    events = b"".join(stream({"content": "x"})).replace(b'"stop"', b'"model_length"')

    assert b'"finish_reason":"length"' in relay.feed(events)
    assert relay.finish_reason == "length"


def test_a_stream_that_ends_early_is_billed_by_what_was_seen() -> None:
    relay = ADAPTER.relay(Operation.COMPLETIONS, relay_options())
    events = stream({"role": "assistant", "content": "x" * 40}, {"content": "):"})
    relay.feed(events[0])
    relay.end()

    assert relay.error is not None
    assert relay.usage().estimated and relay.usage().tokens.completion > 5
