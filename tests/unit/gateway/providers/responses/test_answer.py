"""A whole chat completion as a response, judged by OpenAI's own types on both sides."""

import json
from typing import Any

import pytest
from openai.types.chat import ChatCompletion
from openai.types.responses import Response

from services.gateway.providers.chat.memory import Memory, remembered, sealed
from services.gateway.providers.errors import Unsupported
from services.gateway.providers.inbound import InboundAdapter
from services.gateway.providers.openai import OpenAIAdapter
from services.gateway.providers.operations import Operation
from services.gateway.providers.responses.format import ResponsesFormat
from shared.catalogue.provider_types import ProviderType
from tests.support.targets import json_body, target

USAGE = {
    "prompt_tokens": 10,
    "completion_tokens": 4,
    "total_tokens": 14,
    "prompt_tokens_details": {"cached_tokens": 3},
    "completion_tokens_details": {"reasoning_tokens": 2},
}
BODY = '{"model":"m","input":"hi","metadata":{"a":"b"},"temperature":0.5}'


def completion(finish: str = "stop", **message: Any) -> bytes:
    document = {
        "id": "chatcmpl-7",
        "object": "chat.completion",
        "created": 5,
        "model": "m-2026",
        "choices": [
            {
                "index": 0,
                "message": {"role": "assistant", "content": None, **message},
                "finish_reason": finish,
                "logprobs": None,
            }
        ],
        "usage": USAGE,
    }
    ChatCompletion.model_validate(document)
    return json.dumps(document).encode()


def response_to(chat: bytes, cost: str | None = None) -> Response:
    """What the client gets, as OpenAI's own type has it."""
    adapter = InboundAdapter(OpenAIAdapter(), ResponsesFormat(), json_body(BODY))
    answer = adapter.read_answer(Operation.RESPONSES, json_body(BODY), {}, chat)
    assert answer.error is None, answer.error
    return Response.model_validate_json(answer.with_cost(cost) if cost else answer.body)


def test_words_usage_and_what_was_asked() -> None:
    response = response_to(completion(content="Hello"), "0.25")

    assert (response.id, response.status, response.model) == ("resp_7", "completed", "m-2026")
    assert response.output_text == "Hello"
    assert (response.metadata, response.temperature) == ({"a": "b"}, 0.5)
    assert response.usage is not None
    assert (response.usage.input_tokens, response.usage.output_tokens) == (10, 4)
    assert response.usage.input_tokens_details.cached_tokens == 3
    assert response.usage.output_tokens_details.reasoning_tokens == 2
    assert response.usage.model_dump()["cost"] == 0.25


def test_reasoning_and_calls_come_in_order_and_remember_their_marks() -> None:
    call = {
        "id": "call_1",
        "type": "function",
        "function": {"name": "f", "arguments": "{}"},
        "extra_content": {"google": {"thought_signature": "t"}},
    }
    details = [{"type": "reasoning.text", "text": "Hm.", "signature": "s"}]
    response = response_to(
        completion("tool_calls", reasoning_content="Hm.", reasoning_details=details, tool_calls=[call])
    )

    thought, called = response.output
    assert thought.type == "reasoning" and thought.summary[0].text == "Hm."
    assert remembered(thought.encrypted_content) == Memory(details, {"call_1": call["extra_content"]})
    assert called.type == "function_call" and (called.call_id, called.name) == ("call_1", "f")


def test_sources_have_this_formats_own_shape() -> None:
    source = {"start_index": 0, "end_index": 2, "title": "Home", "url": "https://example.org"}
    (said,) = response_to(
        completion(content="Hi", annotations=[{"type": "url_citation", "url_citation": source}])
    ).output

    assert said.type == "message" and said.content[0].type == "output_text"
    (annotation,) = said.content[0].annotations
    assert annotation.type == "url_citation"
    assert (annotation.url, annotation.end_index) == ("https://example.org", 2)


def answer_to(chat: dict[str, Any]) -> Response:
    """Of a server that has words for the end of an answer that OpenAI's type does not know."""
    return response_to(json.dumps(chat).encode())


def called(at: int, arguments: str) -> dict[str, Any]:
    return {"id": f"call_{at}", "type": "function", "function": {"name": "f", "arguments": arguments}}


@pytest.mark.parametrize("field", ["reasoning", "reasoning_content"])
def test_plain_reasoning_is_known_again_and_tells_where_it_came_from(field: str) -> None:
    thought, _ = response_to(completion(content="Hi", **{field: "Hm."})).output

    assert thought.type == "reasoning" and thought.summary[0].text == "Hm."
    assert thought.id.startswith("rs_finops_")
    assert remembered(thought.encrypted_content) == Memory(thought_in=field)  # type: ignore[arg-type]  # one of them


def test_no_item_of_two_answers_has_the_same_id_even_where_the_provider_says_the_same() -> None:
    calls = [called(0, "{}"), called(1, "{}")]
    answers = [
        response_to(completion("tool_calls", content="Hi", tool_calls=calls, reasoning_content="Hm."))
        for _ in range(2)
    ]

    ids = [item.id for answer in answers for item in answer.output]
    assert len(set(ids)) == len(ids) == 8


@pytest.mark.parametrize("finish", ["length", "model_length"])
@pytest.mark.parametrize("arguments", ['{"city": "Os', '{"city": "Oslo",}', "Oslo"])
def test_a_call_that_is_cut_off_is_incomplete_and_stays_as_it_was_written(
    finish: str, arguments: str
) -> None:
    chat = json.loads(completion(content="I look.", tool_calls=[called(0, "{}"), called(1, arguments)]))
    chat["choices"][0]["finish_reason"] = finish
    response = answer_to(chat)

    assert response.status == "incomplete"
    assert response.incomplete_details is not None
    assert response.incomplete_details.reason == "max_output_tokens"
    output: list[Any] = response.output
    assert [item.status for item in output] == ["completed", "completed", "incomplete"]
    assert output[-1].arguments == arguments


def test_sloppy_arguments_of_a_whole_answer_are_the_clients_to_read() -> None:
    (call,) = response_to(completion("tool_calls", tool_calls=[called(0, '{"a": 1,}')])).output

    assert call.type == "function_call"
    assert (call.status, call.arguments) == ("completed", '{"a": 1,}')


@pytest.mark.parametrize(
    ("finish", "told"), [("length", "max_output_tokens"), ("content_filter", "content_filter")]
)
def test_a_cut_off_answer_is_incomplete(finish: str, told: str) -> None:
    response = response_to(completion(finish, content="Hal"))

    assert response.status == "incomplete"
    assert response.incomplete_details is not None and response.incomplete_details.reason == told


def test_a_refusal_is_a_part_of_its_own() -> None:
    (message,) = response_to(completion(refusal="No.")).output

    assert message.type == "message"
    assert message.content[0].type == "refusal" and message.content[0].refusal == "No."


@pytest.mark.parametrize(
    "chat",
    [b"[]", b"<html>", b'{"choices":[]}', b'{"choices":4}', b'{"error":{"message":"no"}}', b'{"id":1}'],
)
def test_an_answer_that_is_no_chat_completion_is_an_error(chat: bytes) -> None:
    adapter = InboundAdapter(OpenAIAdapter(), ResponsesFormat(), json_body(BODY))

    assert adapter.read_answer(Operation.RESPONSES, json_body(BODY), {}, chat).error is not None


def test_a_provider_without_chats_cannot_answer_either() -> None:
    kind = ProviderType("voices", "openai", "http://x/v1", (), frozenset({"audio.speech"}))
    there = target()
    there = type(there)(there.provider, kind, there.model, "main", "", there.timeouts)
    adapter = InboundAdapter(OpenAIAdapter(), ResponsesFormat(), json_body(BODY))

    with pytest.raises(Unsupported):
        adapter.build(Operation.RESPONSES, there, json_body(BODY))


def test_what_was_changed_on_the_way_is_forgotten() -> None:
    whole = sealed(Memory([{"type": "reasoning.text"}]))

    assert whole is not None and remembered(whole).details
    for text in (whole[:-5], "finops1.%%%", "finops1.bnVsbA==", "gAAAA", "", None):
        assert remembered(text) == Memory()
    assert sealed(Memory()) is None
    assert Memory() == Memory(details=[], calls={}, thought_in="")
