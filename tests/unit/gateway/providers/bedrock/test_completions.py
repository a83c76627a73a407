"""Prompts as Bedrock's models take them in InvokeModel, judged by botocore and by the models' documented types."""

from typing import Any
from urllib.parse import urlsplit

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from openai.types import Completion

from services.gateway.providers.bedrock.adapter import BedrockAdapter
from services.gateway.providers.body import JsonBody
from services.gateway.providers.errors import BadRequest
from services.gateway.providers.operations import Operation
from services.gateway.providers.port import Answer, Prepared, Target
from services.gateway.providers.usage import Usage
from shared.events import Tokens
from tests.support.providers.aws_model import serialized
from tests.support.providers.bedrock import CLAUDE
from tests.support.providers.bedrock_text import (
    DEEPSEEK,
    INPUT_HEADER,
    LLAMA,
    MISTRAL,
    MODELS,
    Saying,
    takes_prompts,
    whole,
    wrong_in,
)
from tests.unit.gateway.providers.bedrock.build import json_body, target

ARN = "arn:aws:bedrock:us-east-1:123456789012:application-inference-profile/abc123def456"
NAMED_ARN = "arn:aws:bedrock:us-east-1:123456789012:inference-profile/us.meta.llama3-3-70b-instruct-v1:0"
SAYING = Saying("Grüße from Oslo.", prompt=4, completion=9)


def built(model: str, to: Target | None = None, **fields: Any) -> tuple[dict[str, Any], Prepared]:
    """What the model is asked, at the address and with the headers that botocore would send it with."""
    to = to or target(model)
    prepared = BedrockAdapter().build(Operation.COMPLETIONS, to, json_body(**({"prompt": "Once"} | fields)))
    sent = prepared.request.body
    assert isinstance(sent, bytes)
    assert wrong_in(model, sent) == ""
    name = "InvokeModelWithResponseStream" if prepared.streams else "InvokeModel"
    theirs = serialized("bedrock-runtime", name, _params(prepared, to, sent))
    assert (prepared.request.method, urlsplit(prepared.request.url).path) == (
        theirs["method"],
        theirs["url_path"],
    )
    for header, value in theirs["headers"].items():
        assert prepared.request.headers[header.lower()] == value
    return msgspec.json.decode(sent), prepared


def _params(prepared: Prepared, to: Target, sent: bytes) -> dict[str, Any]:
    headers = prepared.request.headers
    params = {"modelId": to.model_on_wire, "body": sent, "contentType": headers["content-type"]}
    for name in ("guardrailIdentifier", "guardrailVersion"):
        if (value := headers.get(f"x-amzn-bedrock-{name.lower()}")) is not None:
            params[name] = value
    return params


def refused(model: str, **fields: Any) -> str | None:
    with pytest.raises(BadRequest) as error:
        BedrockAdapter().build(
            Operation.COMPLETIONS, target(model), json_body(**({"prompt": "Once"} | fields))
        )
    return error.value.param


SAMPLING = {"max_tokens": 9, "temperature": 0.5, "top_p": 0.25}


@pytest.mark.parametrize(
    ("model", "fields", "expected", "dropped"),
    [
        (LLAMA, {}, {}, ()),
        (LLAMA, SAMPLING, {"max_gen_len": 9, "temperature": 0.5, "top_p": 0.25}, ()),
        (LLAMA, {"top_k": 5, "seed": 1, "user": "ann"}, {}, ("seed", "top_k")),
        (MISTRAL, SAMPLING | {"stop": "END", "top_k": 5}, SAMPLING | {"stop": ["END"], "top_k": 5}, ()),
        (DEEPSEEK, SAMPLING | {"stop": ["\n", ""]}, SAMPLING | {"stop": ["\n"]}, ()),
        (DEEPSEEK, {"top_k": 5, "logit_bias": {"5": 1}}, {}, ("logit_bias", "top_k")),
        (MISTRAL, {"temperature": 1.5, "top_p": 1}, {"temperature": 1, "top_p": 1}, ("temperature",)),
        (
            LLAMA,
            {"prompt": ["Once"], "n": 1, "best_of": 1, "echo": False, "suffix": None, "logprobs": None,
             "stop": None, "frequency_penalty": 0, "presence_penalty": 0.5},
            {},
            ("presence_penalty",),
        ),
    ],
)  # fmt: skip
def test_what_is_asked(
    model: str, fields: dict[str, Any], expected: dict[str, Any], dropped: tuple[str, ...]
) -> None:
    sent, prepared = built(model, **fields)

    assert sent == {"prompt": "Once", **expected}
    assert prepared.dropped == dropped
    assert not prepared.streams


@pytest.mark.parametrize(
    ("model", "fields", "param"),
    [
        (LLAMA, {"stop": ["END"]}, "stop"),
        (MISTRAL, {"stop": list("abcdefghijk")}, "stop"),
        (MISTRAL, {"top_k": 0}, "top_k"),
        (MISTRAL, {"max_tokens": 0}, "max_tokens"),
        (LLAMA, {"temperature": -1}, "temperature"),
        (LLAMA, {"temperature": "hot"}, "temperature"),
        (LLAMA, {"n": 2}, "n"),
        (LLAMA, {"best_of": 2}, "best_of"),
        (LLAMA, {"logprobs": 3}, "logprobs"),
        (LLAMA, {"echo": True}, "echo"),
        (LLAMA, {"suffix": "the end"}, "suffix"),
        (LLAMA, {"prompt": ["a", "b"]}, "prompt"),
        (LLAMA, {"prompt": [1, 2, 3]}, "prompt"),
        (LLAMA, {"prompt": [[1, 2, 3]]}, "prompt"),
        (LLAMA, {"prompt": ""}, "prompt"),
        (LLAMA, {"guardrailConfig": {"guardrailIdentifier": "mine"}}, "guardrailConfig"),
    ],
)
def test_what_would_mean_something_else_is_refused_by_name(
    model: str, fields: dict[str, Any], param: str
) -> None:
    assert refused(model, **fields) == param


@pytest.mark.parametrize(
    "model",
    [
        CLAUDE,
        "amazon.nova-pro-v1:0",
        "openai.gpt-oss-120b-1:0",
        "qwen.qwen3-32b-v1:0",
        "deepseek.v3-v1:0",
        "mistral.mistral-large-3-675b-instruct",
        "mistral.mistral-large-2407-v1:0",
        "cohere.command-r-v1:0",
        ARN,
    ],
)
def test_models_that_take_no_bare_prompt_are_refused_by_name(model: str) -> None:
    with pytest.raises(BadRequest, match="Llama.*Mistral.*DeepSeek.*chat completions") as error:
        BedrockAdapter().build(Operation.COMPLETIONS, target(model), json_body(prompt="Once"))

    assert error.value.param == "model"
    assert ("alias" in error.value.message) == (model == ARN)


@pytest.mark.parametrize(
    ("model", "alias", "called"),
    [
        ("us.meta.llama3-3-70b-instruct-v1:0", "", "us.meta.llama3-3-70b-instruct-v1:0"),
        ("eu-west-1/meta.llama3-8b-instruct-v1:0", "", "meta.llama3-8b-instruct-v1:0"),
        (NAMED_ARN, "", NAMED_ARN),
        ("meta.llama4-scout-17b-instruct-v1:0", ARN, ARN),
        ("llama", "us.meta.llama3-1-8b-instruct-v1:0", "us.meta.llama3-1-8b-instruct-v1:0"),
        ("mistral.mixtral-8x7b-instruct-v0:1", NAMED_ARN, NAMED_ARN),
    ],
)
@pytest.mark.parametrize("stream", [False, True])
def test_a_model_is_called_by_its_profile(model: str, alias: str, called: str, stream: bool) -> None:
    prepared = BedrockAdapter().build(
        Operation.COMPLETIONS,
        target(model, alias=alias),
        json_body(prompt="Once", max_tokens=5, stream=stream),
    )

    action = "invoke-with-response-stream" if stream else "invoke"
    theirs = serialized(
        "bedrock-runtime",
        "InvokeModelWithResponseStream" if stream else "InvokeModel",
        {"modelId": called, "body": b"{}"},
    )
    path = urlsplit(prepared.request.url).path
    assert (path, path.rpartition("/")[2]) == (theirs["url_path"], action)
    assert prepared.request.body == b'{"prompt":"Once","max_gen_len":5}'
    assert prepared.streams is stream


@pytest.mark.parametrize("stream", [False, True])
def test_the_operators_guardrail_stands_before_prompts_too(stream: bool) -> None:
    options = {"guardrail_identifier": "xyz", "guardrail_version": "2"}

    _, prepared = built(LLAMA, target(LLAMA, options=options), stream=stream)

    headers = prepared.request.headers
    assert headers["x-amzn-bedrock-guardrailidentifier"] == "xyz"
    assert headers["x-amzn-bedrock-guardrailversion"] == "2"


asked = st.fixed_dictionaries(
    {"prompt": st.text(min_size=1) | st.lists(st.text(), max_size=2)},
    optional={
        "max_tokens": st.integers(-1, 5_000) | st.none(),
        "temperature": st.floats(0, 2) | st.none(),
        "top_p": st.floats(0, 1) | st.none(),
        "top_k": st.integers(-1, 300),
        "stop": st.none() | st.text(max_size=3) | st.lists(st.text(max_size=3), max_size=12),
        "n": st.integers(1, 2),
        "best_of": st.integers(1, 2),
        "echo": st.booleans(),
        "suffix": st.text(max_size=2),
        "logprobs": st.integers(0, 2) | st.none(),
        "seed": st.integers(),
        "stream": st.booleans(),
        "presence_penalty": st.floats(-2, 2),
        "user": st.text(max_size=3),
    },
)


@settings(max_examples=150, deadline=None)
@given(st.sampled_from(MODELS), asked)
def test_any_request_is_one_that_the_model_takes_or_is_refused_by_name(
    model: str, fields: dict[str, Any]
) -> None:
    try:
        sent, prepared = built(model, **fields)
    except BadRequest as error:
        assert error.param in fields
        return

    given_prompt = fields["prompt"]
    assert sent["prompt"] == (given_prompt if isinstance(given_prompt, str) else given_prompt[0])
    assert prepared.streams is bool(fields.get("stream"))


def answered(body: bytes, headers: dict[str, str], **fields: Any) -> tuple[Answer, Completion]:
    answer = BedrockAdapter().read_answer(Operation.COMPLETIONS, asking(**fields), headers, body)
    assert answer.error is None
    return answer, Completion.model_validate_json(answer.body, strict=True)


def asking(**fields: Any) -> JsonBody:
    return json_body(prompt="Once upon a time", **fields)


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("reason", ["stop", "length"])
def test_an_answer_is_openais(model: str, reason: Any) -> None:
    answer, read = answered(*whole(model, Saying("Grüße from Oslo.", 4, 9, reason)))

    assert (read.object, read.model) == ("text_completion", "bedrock/m")
    assert read.id.startswith("cmpl-")
    assert [(one.index, one.text, one.finish_reason) for one in read.choices] == [
        (0, "Grüße from Oslo.", reason)
    ]
    assert read.usage is not None
    assert (read.usage.prompt_tokens, read.usage.completion_tokens, read.usage.total_tokens) == (4, 9, 13)
    assert answer.usage == Usage(Tokens(prompt=4, completion=9))
    assert answer.finish_reason == reason
    priced = msgspec.json.decode(answer.with_cost("0.25"))
    assert priced["usage"]["cost"] == 0.25


def test_llama_counts_without_bedrock_and_the_others_do_not() -> None:
    uncounted = Saying("Hello there.", 4, 9, counted=False)

    estimates = {model: answered(*whole(model, uncounted))[0].usage for model in MODELS}

    assert estimates[LLAMA] == Usage(Tokens(prompt=4, completion=9))
    for model in (MISTRAL, DEEPSEEK):
        assert estimates[model].estimated
        assert estimates[model].tokens.prompt > 0 and estimates[model].tokens.completion > 0


def test_half_a_count_is_kept_and_the_rest_estimated() -> None:
    body, _ = whole(MISTRAL, SAYING)

    answer, read = answered(body, {INPUT_HEADER: "4"})

    assert (answer.usage.tokens.prompt, answer.usage.estimated) == (4, True)
    assert answer.usage.tokens.completion > 0
    assert read.usage is not None and read.usage.model_extra == {"estimated": True}


@pytest.mark.parametrize("model", MODELS)
def test_a_guardrail_that_steps_in_is_a_filter(model: str) -> None:
    answer, read = answered(*whole(model, Saying("I may not say that.", 4, 5, blocked=True)))

    assert (answer.finish_reason, read.choices[0].text) == ("content_filter", "I may not say that.")


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b'{"__type":"ThrottlingException","message":"slow"}', 429),
        (b'{"outputs":[]}', 502),
        (b'{"generation":5}', 502),
        (b"{}", 502),
        (b"<html>", 502),
        (b"[]", 502),
    ],
)
def test_a_success_that_is_none(body: bytes, status: int) -> None:
    answer = BedrockAdapter().read_answer(Operation.COMPLETIONS, asking(), {}, body)

    assert answer.error is not None
    assert answer.error.status == status


def test_the_judge_knows_whom_it_judges() -> None:
    assert all(takes_prompts(model) for model in MODELS)
    assert not takes_prompts(CLAUDE)
    assert wrong_in(LLAMA, b'{"prompt":"a","words":1}')
    assert wrong_in(MISTRAL, b'{"prompt":"a","stop":[""]}')
    assert wrong_in(DEEPSEEK, b'{"temperature":1}')
