"""Any request becomes a prediction or is refused by name; any cut of a stream ends cleanly."""

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.gateway.providers.errors import BadRequest
from services.gateway.providers.operations import Operation
from services.gateway.providers.replicate.adapter import ReplicateAdapter
from tests.support.providers.chat_requests import allowed_by_openai, chat_requests
from tests.support.targets import json_body, relay_options, target

ADAPTER = ReplicateAdapter()
PREDICTION = {
    "id": "p1",
    "status": "succeeded",
    "logs": "Input token count: 9\nOutput token count: 4\n",
    "metrics": {"predict_time": 1.5},
}
WHOLE = (
    b": hi\n\nevent: output\nid: 1:0\ndata: H\xc3\xa9\n\nevent: output\nid: 1:1\ndata: llo\ndata: \ndata: there\n\n"
    b"event: done\nid: 1:2\ndata: {}\n\n\n\nevent: prediction\ndata: "
    + json.dumps(PREDICTION).encode()
    + b"\n\n"
)


def relayed(chunk: bytes) -> tuple[Any, list[Any]]:
    relay = ADAPTER.relay(Operation.CHAT, relay_options(send_usage=True))
    sent = relay.feed(chunk) + relay.end()
    events = [block.removeprefix(b"data: ") for block in sent.split(b"\n\n") if block]
    return relay, [event.decode() if event == b"[DONE]" else json.loads(event) for event in events]


@settings(max_examples=200, deadline=None)
@given(chat_requests, st.sampled_from(["meta/llama", "openai/gpt-5"]))
def test_a_request_is_translated_or_refused_by_name(request: dict[str, Any], model: str) -> None:
    allowed_by_openai(request)
    try:
        prepared = ADAPTER.build(Operation.CHAT, target("replicate", model), json_body(json.dumps(request)))
    except BadRequest as error:
        assert error.param
        return

    assert isinstance(prepared.request.body, bytes)
    body = msgspec.json.decode(prepared.request.body)
    assert set(body) <= {"input", "stream"}
    assert ("messages" in body["input"]) == (model == "openai/gpt-5")
    assert prepared.request.url == f"https://api.replicate.com/v1/models/{model}/predictions"


@given(st.integers(0, len(WHOLE)))
def test_a_stream_cut_anywhere_ends_in_an_error_or_whole(place: int) -> None:
    relay, events = relayed(WHOLE[:place])

    assert events[-1] == "[DONE]" and relay.done
    choices = [choice for event in events[:-1] for choice in event.get("choices", ())]
    text = "".join(choice["delta"].get("content", "") for choice in choices)
    if relay.error is None:
        assert text == "Héllo\n\nthere"
        assert relay.finish_reason == "stop"
    else:
        assert text in ("", "Hé", "Héllo\n\nthere"), "no part of a piece"
        assert "error" in events[-2]
        assert relay.usage().estimated


def test_tokens_are_read_from_the_log_where_the_metrics_have_none() -> None:
    relay, events = relayed(WHOLE)

    assert (relay.usage().tokens.prompt, relay.usage().tokens.completion) == (9, 4)
    assert not relay.usage().estimated
    assert events[-2]["usage"]["total_tokens"] == 13


@pytest.mark.parametrize("answer", [b"", b"[]", b'{"id":"x"}', b'{"id":"x","status":"processing"}'])
def test_a_whole_answer_that_is_none_is_an_error(answer: bytes) -> None:
    body = json_body('{"model":"r/a/b","messages":[]}')

    assert ADAPTER.read_answer(Operation.CHAT, body, {}, answer).error is not None
    relay, _ = relayed(answer)
    assert relay.error is not None


@pytest.mark.parametrize(
    ("following", "goes_on"),
    [
        ("https://api.replicate.com/v1/deployments?cursor=c", True),
        ("https://elsewhere.test/v1/deployments?cursor=c", False),
        (None, False),
    ],
)
def test_the_list_of_deployments_goes_on_at_the_same_server_only(
    following: str | None, goes_on: bool
) -> None:
    asked = ADAPTER.models_request(target("replicate"))
    assert asked is not None
    answer = json.dumps({"results": [{"owner": "acme", "name": "chatty"}], "next": following}).encode()

    more = ADAPTER.next_models_request(target("replicate"), asked, answer)

    assert ADAPTER.read_models(answer) == ("deployments/acme/chatty",)
    assert (more is not None) is goes_on
    assert more is None or (more.url, more.headers["authorization"]) == (following, "Bearer sk-upstream")
