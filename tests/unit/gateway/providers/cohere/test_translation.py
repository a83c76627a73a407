"""Any request goes out in Cohere's own terms or is refused by name; any cut of a stream ends cleanly."""

import json
from itertools import pairwise
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.gateway.providers.cohere.adapter import CohereAdapter
from services.gateway.providers.errors import BadRequest, Unsupported, UpstreamError
from services.gateway.providers.operations import Operation
from tests.support.providers.chat_requests import allowed_by_openai, chat_requests
from tests.support.providers.cohere import (
    call_events,
    chat_answer,
    chat_events,
    framed,
    judge,
    text_events,
)
from tests.support.targets import json_body, relay_options, target

ADAPTER = CohereAdapter()
WHOLE = b"".join(
    framed(
        chat_events(
            *text_events("Let me think.", kind="thinking"),
            *text_events("Hé", "llo", index=1),
            *call_events(0, "look_1", "look", '{"at":', "1}"),
        )
    )
)


def relayed(*chunks: bytes) -> tuple[Any, list[Any]]:
    """The relay at its end, and the events that the client got, `[DONE]` included as a text."""
    relay = ADAPTER.relay(Operation.CHAT, relay_options(send_usage=True, cost="0.5"))
    sent = b"".join([*(relay.feed(chunk) for chunk in chunks), relay.end()])
    events = [block.removeprefix(b"data: ") for block in sent.split(b"\n\n") if block]
    return relay, [event.decode() if event == b"[DONE]" else json.loads(event) for event in events]


@settings(max_examples=300, deadline=None)
@given(chat_requests)
def test_a_request_is_translated_or_refused_by_name(request: dict[str, Any]) -> None:
    allowed_by_openai(request)
    try:
        prepared = ADAPTER.build(
            Operation.CHAT, target("cohere", "command-a"), json_body(json.dumps(request))
        )
    except BadRequest as error:
        assert error.param
        return

    assert isinstance(prepared.request.body, bytes)
    body = msgspec.json.decode(prepared.request.body)
    judge("/v2/chat", body)
    assert len(body["messages"]) == len(request["messages"])


@given(st.integers(0, len(WHOLE)))
def test_a_stream_cut_anywhere_ends_in_an_error_or_whole(place: int) -> None:
    relay, events = relayed(WHOLE[:place])

    assert events[-1] == "[DONE]" and relay.done
    if relay.error is None:
        assert relay.usage().tokens.prompt == 11
        assert relay.finish_reason == "stop"
    else:
        assert "error" in events[-2]
        assert relay.usage().estimated


@given(st.lists(st.integers(0, len(WHOLE)), max_size=6).map(sorted))
def test_it_makes_no_difference_where_the_network_cuts(places: list[int]) -> None:
    _, expected = relayed(WHOLE)
    pieces = [WHOLE[start:end] for start, end in pairwise([0, *places, len(WHOLE)])]
    _, events = relayed(*[piece for piece in pieces if piece])

    for event in (*expected, *events):
        if isinstance(event, dict):
            event.pop("created")
    assert events == expected


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (b'{"message":"model is overloaded"}', "overloaded"),
        (b"<html>", "stream"),
        (b'data: {"message":"no such model"}\n\n', "no such model"),
        (b"data: [1]\n\n", "another format"),
        (json.dumps(chat_answer()).encode(), "plain JSON"),
    ],
)
def test_what_is_no_stream_is_an_error(answer: bytes, message: str) -> None:
    relay, events = relayed(answer)

    assert relay.error is not None
    assert message in events[-2]["error"]["message"] or message == "stream"
    assert not relay.started


@pytest.mark.parametrize("answer", [b"", b"[]", b'{"message": {}}', b'{"results": 1}', b'{"id":"x"}'])
@pytest.mark.parametrize("operation", [Operation.CHAT, Operation.EMBEDDINGS, Operation.RERANK])
def test_a_whole_answer_that_is_none_is_an_error(operation: Operation, answer: bytes) -> None:
    body = json_body('{"model":"c/m","input":"a","query":"q","documents":["a"],"messages":[]}')

    assert ADAPTER.read_answer(operation, body, {}, answer).error is not None


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ('"documents":["a"]', "query"),
        ('"query":"q"', "documents"),
        ('"query":"q","documents":[]', "documents"),
        ('"query":"q","documents":[{"title":"x"}]', "documents"),
        ('"query":"q","documents":["a"],"top_n":0', "top_n"),
        ('"query":"q","documents":["a"],"return_documents":"yes"', "return_documents"),
    ],
)
def test_a_ranking_that_lacks_something_is_refused_by_name(fields: str, param: str) -> None:
    with pytest.raises(BadRequest) as refused:
        ADAPTER.build(Operation.RERANK, target("cohere"), json_body(f'{{"model":"c/m",{fields}}}'))

    assert refused.value.param == param


def test_the_list_of_models_goes_on_where_it_says_so() -> None:
    asked = ADAPTER.models_request(target("cohere"))
    assert asked is not None
    answer = b'{"models":[{"name":"a"}],"next_page_token":"x/y"}'

    following = ADAPTER.next_models_request(target("cohere"), asked, answer)

    assert ADAPTER.read_models(answer) == ("a",)
    assert following is not None and following.url == f"{asked.url}&page_token=x%2Fy"
    assert ADAPTER.next_models_request(target("cohere"), following, b'{"models":[]}') is None


def test_a_ranking_that_cohere_does_not_count_is_estimated_by_its_documents() -> None:
    documents = json.dumps(["d"] * 101)
    body = json_body(f'{{"model":"c/m","query":"q","documents":{documents},"rank_fields":["x"]}}')
    answer = b'{"results":[{"index":0,"relevance_score":0.5}]}'

    read = ADAPTER.read_answer(Operation.RERANK, body, {}, answer)

    assert (read.usage.tokens.search_units, read.usage.estimated) == (2, True)
    assert ADAPTER.build(Operation.RERANK, target("cohere"), body).dropped == ("rank_fields",)


def test_other_operations_are_not_offered() -> None:
    with pytest.raises(Unsupported):
        ADAPTER.build(Operation.IMAGES, target("cohere"), json_body('{"model":"c/m","prompt":"a"}'))
    with pytest.raises(UpstreamError):
        ADAPTER.read_models(b"[]")


OFF: Any = {"thinking": {"type": "disabled"}}
ADAPTIVE: Any = {"thinking": {"type": "adaptive"}}


@pytest.mark.parametrize(
    ("model", "asked", "thinking", "dropped"),
    [
        ("command-a-reasoning-08-2025", OFF, {"type": "disabled"}, ()),
        ("command-a-reasoning-08-2025", ADAPTIVE, {"type": "enabled"}, ()),
        ("command-a-plus", ADAPTIVE, {"type": "enabled"}, ()),
        ("8a5bf1e0-ft", {"reasoning_effort": "low"}, {"type": "enabled", "token_budget": 1024}, ()),
        ("command-r-08-2024", OFF, None, ()),
        ("command-r-plus-08-2024", {"reasoning_effort": "none"}, None, ()),
        ("command-r7b-12-2024", ADAPTIVE, None, ("thinking",)),
        ("command-a-03-2025", {"reasoning_effort": "max"}, None, ("reasoning_effort",)),
        ("command-a-vision-07-2025", {"reasoning": {"effort": "low"}}, None, ("reasoning",)),
        ("c4ai-aya-expanse-32b", ADAPTIVE, None, ("thinking",)),
        ("command", ADAPTIVE, None, ("thinking",)),
    ],
)
def test_only_models_that_think_are_told_how(
    model: str, asked: dict[str, Any], thinking: Any, dropped: tuple[str, ...]
) -> None:
    body = json_body(json.dumps({"model": "m", "messages": [{"role": "user", "content": "Hi"}], **asked}))

    prepared = ADAPTER.build(Operation.CHAT, target("cohere", model), body)

    assert isinstance(prepared.request.body, bytes)
    sent = json.loads(prepared.request.body)
    judge("/v2/chat", sent)
    assert (sent.get("thinking"), prepared.dropped) == (thinking, dropped)
