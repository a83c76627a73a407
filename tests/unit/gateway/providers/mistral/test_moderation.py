"""Moderation is asked for in the types of Mistral's SDK, or refused by name; verdicts come in OpenAI's shape."""

import json
from typing import Any

import pytest
from hypothesis import given, settings
from mistralai.client import models
from openai.types import ModerationCreateParams, ModerationCreateResponse

from services.gateway.providers.errors import BadRequest
from services.gateway.providers.mistral.adapter import MistralAdapter
from services.gateway.providers.operations import Operation
from services.gateway.providers.port import Answer
from tests.support.providers.mistral_types import judge, moderation
from tests.support.providers.sdk_requests import Types
from tests.support.targets import json_body, target

ADAPTER = MistralAdapter()
MODEL = "mistral-moderation-2603"
PICTURE = {"type": "image_url", "image_url": {"url": "https://example.org/a.png"}}


def built(**fields: Any) -> tuple[dict[str, Any], tuple[str, ...]]:
    body = json_body(json.dumps({**fields, "model": f"mistral/{MODEL}"}))
    prepared = ADAPTER.build(Operation.MODERATIONS, target("mistral", MODEL), body)
    assert isinstance(prepared.request.body, bytes)
    assert prepared.request.url.endswith("/v1/moderations") and not prepared.streams
    sent = json.loads(prepared.request.body)
    judge(models.ClassificationRequest, sent)
    return sent, prepared.dropped


def refused(given: Any) -> str | None:
    with pytest.raises(BadRequest) as caught:
        built(input=given)
    return caught.value.param


def read(document: Any) -> Answer:
    body = json_body(json.dumps({"model": f"mistral/{MODEL}", "input": "I kill you"}))
    return ADAPTER.read_answer(Operation.MODERATIONS, body, {}, json.dumps(document).encode())


@settings(max_examples=200, deadline=None)
@given(Types().objects(ModerationCreateParams))
def test_a_request_is_what_the_sdk_could_send_or_is_refused_by_name(request: dict[str, Any]) -> None:
    try:
        sent, dropped = built(**request)
    except BadRequest as error:
        assert error.param is not None and error.param.startswith("input")
        assert not request["input"] or any(
            isinstance(item, dict) and item["type"] != "text" for item in request["input"]
        )
        return

    assert (sent["model"], dropped) == (MODEL, ())
    asked = request["input"]
    many = isinstance(asked, list) and all(isinstance(item, str) for item in asked)
    assert isinstance(sent["input"], list) == many


def test_texts_are_judged_one_by_one_and_the_parts_of_one_together() -> None:
    assert built(input="a")[0]["input"] == "a"
    assert built(input=["a", "b"])[0]["input"] == ["a", "b"]
    parts = [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]
    assert built(input=parts)[0]["input"] == "a\nb"
    assert built(input="a", metadata={"of": "us"}, user="u") == (
        {"model": MODEL, "input": "a", "metadata": {"of": "us"}},
        ("user",),
    )


def test_what_cannot_be_judged_is_refused_by_name() -> None:
    assert refused([{"type": "text", "text": "a"}, PICTURE]) == "input[1]"
    assert refused([PICTURE]) == "input[0]"
    assert refused([{"type": "text", "text": "a"}, "b"]) == "input[1]"
    assert refused([]) == refused(None) == refused("") == refused(7) == "input"


def test_a_verdict_is_flagged_by_its_categories() -> None:
    told = moderation(MODEL, {"violence_and_threats": True, "pii": False}, {"violence_and_threats": False})
    answer = read(told)

    found = ModerationCreateResponse.model_construct(**json.loads(answer.body))
    assert (found.id, found.model) == (told["id"], MODEL)
    first, second = json.loads(answer.body)["results"]
    assert first == {
        "flagged": True,
        "categories": {"violence_and_threats": True, "pii": False},
        "category_scores": {"violence_and_threats": 0.9, "pii": 0.01},
        "category_applied_input_types": {"violence_and_threats": ["text"], "pii": ["text"]},
    }
    assert second["flagged"] is False


def test_what_mistral_leaves_out_is_empty_and_what_it_says_itself_stays() -> None:
    silent, flagged = models.ModerationObject(), {"flagged": True, "categories": None, "why": "said so"}
    document = {"id": "m", "model": MODEL, "results": [json.loads(silent.model_dump_json()), flagged]}
    first, second = json.loads(read(document).body)["results"]

    assert first == {
        "flagged": False, "categories": {}, "category_scores": {}, "category_applied_input_types": {},
    }  # fmt: skip
    assert (second["flagged"], second["categories"], second["why"]) == (True, {}, "said so")


def test_usage_is_what_mistral_says_or_estimated() -> None:
    told = moderation(MODEL, {"pii": False})
    assert read(told).usage.estimated and read(told).usage.tokens.prompt > 0
    reported = read(told | {"usage": {"prompt_tokens": 11, "total_tokens": 11}})
    assert (reported.usage.tokens.prompt, reported.usage.estimated) == (11, False)
    assert json.loads(reported.with_cost("0.5"))["usage"]["cost"] == 0.5


@pytest.mark.parametrize(
    "document",
    [
        {},
        [],
        {"results": None},
        {"results": [7]},
        {"results": [{"categories": 7}]},
        {"error": {"message": "no"}},
    ],
)
def test_an_answer_of_another_shape_is_an_error(document: Any) -> None:
    assert read(document).error is not None
