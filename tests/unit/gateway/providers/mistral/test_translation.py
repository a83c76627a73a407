"""Any request goes out in Mistral's own terms or is refused by name; answers come in OpenAI's."""

import json
import re
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mistralai.client import models
from openai.types.audio import TranscriptionTextDeltaEvent, TranscriptionTextDoneEvent
from openai.types.chat import ChatCompletion

from services.gateway.providers.errors import BadRequest
from services.gateway.providers.mistral.adapter import MistralAdapter
from services.gateway.providers.mistral.turns import own_id
from services.gateway.providers.multipart import parse_multipart
from services.gateway.providers.operations import Operation
from tests.support.providers.chat_requests import allowed_by_openai, chat_requests
from tests.support.providers.mistral_types import (
    THOUGHT_AND_TEXT,
    answer,
    judge,
    stream,
    transcript_events,
    wrong_in_order,
)
from tests.support.targets import form, json_body, relay_options, target

ADAPTER = MistralAdapter()


BETWEEN = ["tool", "assistant", "user"]


def _roles(sent: dict[str, Any]) -> list[str]:
    return [message["role"] for message in sent["messages"]]


def built(operation: Operation, **fields: Any) -> tuple[dict[str, Any], tuple[str, ...]]:
    body = json_body(json.dumps({"model": "mistral/m", **fields}))
    prepared = ADAPTER.build(operation, target("mistral", "m"), body)
    assert isinstance(prepared.request.body, bytes)
    return json.loads(prepared.request.body), prepared.dropped


def chat(*parts: dict[str, Any], **fields: Any) -> tuple[dict[str, Any], tuple[str, ...]]:
    content: Any = list(parts) or "hi"
    return built(Operation.CHAT, messages=[{"role": "user", "content": content}], **fields)


@settings(max_examples=300, deadline=None)
@given(chat_requests)
def test_a_request_is_what_the_sdk_could_send_or_is_refused_by_name(request: dict[str, Any]) -> None:
    allowed_by_openai(request)
    try:
        sent, _ = built(Operation.CHAT, **request)
    except BadRequest as error:
        assert error.param
        return

    judge(models.ChatCompletionRequest, sent)
    between = [at for at in range(1, len(sent["messages"])) if _roles(sent)[at - 1 : at + 2] == BETWEEN]
    assert len(sent["messages"]) - len(request["messages"]) in range(len(between) + 1)
    assert wrong_in_order(sent["messages"]) == []


LOOP = [
    {"role": "user", "content": "hi"},
    {
        "role": "assistant",
        "content": "",
        "tool_calls": [
            {"id": id, "type": "function", "function": {"name": "f", "arguments": "{}"}}
            for id in ("call_Zz0123456789abcdef", "toolu_01", "abcDEF123")
        ],
    },
    {"role": "tool", "tool_call_id": "call_Zz0123456789abcdef", "content": "1"},
    {"role": "tool", "tool_call_id": "toolu_01", "content": "2"},
    {"role": "tool", "tool_call_id": "abcDEF123", "content": "3"},
    {"role": "user", "content": "and?"},
]


def test_a_loop_of_tools_that_began_elsewhere_goes_on() -> None:
    sent, dropped = built(Operation.CHAT, messages=LOOP)

    judge(models.ChatCompletionRequest, sent)
    assert wrong_in_order(sent["messages"]) == []
    assert _roles(sent) == ["user", "assistant", "tool", "tool", "tool", "assistant", "user"]
    called = [call["id"] for call in sent["messages"][1]["tool_calls"]]
    assert called == [message["tool_call_id"] for message in sent["messages"][2:5]]
    assert len(set(called)) == 3 and called[2] == "abcDEF123"
    assert built(Operation.CHAT, messages=LOOP)[0] == sent
    assert dropped == ()


def test_the_assistants_last_word_is_the_beginning_of_its_answer() -> None:
    begun = [{"role": "user", "content": "q"}, {"role": "assistant", "content": "The answer is "}]

    sent, _ = built(Operation.CHAT, messages=begun)

    judge(models.ChatCompletionRequest, sent)
    assert sent["messages"][-1] == begun[-1] | {"prefix": True}
    chosen = [begun[0], begun[1] | {"prefix": True}]
    assert built(Operation.CHAT, messages=chosen)[0]["messages"] == chosen
    for nobody in (LOOP[:2], [begun[0], begun[1] | {"prefix": False}], [{"role": "system", "content": "x"}]):
        with pytest.raises(BadRequest) as refused:
            built(Operation.CHAT, messages=nobody)
        assert refused.value.param == f"messages[{len(nobody) - 1}]"


@given(st.lists(st.text(), unique=True, max_size=50))
def test_ids_stay_apart_and_are_made_once(ids: list[str]) -> None:
    own = [own_id(id) for id in ids]

    assert len(set(own)) == len(own)
    assert [own_id(id) for id in own] == own
    assert all(re.fullmatch("[A-Za-z0-9]{9}", id) for id in own)


def test_a_full_context_is_a_length_to_openais_clients() -> None:
    body = json_body('{"model":"mistral/m","messages":[]}')
    whole = json.loads(answer("Hello"))
    whole["choices"][0]["finish_reason"] = "model_length"
    models.ChatCompletionResponse.model_validate(whole)

    read = ADAPTER.read_answer(Operation.CHAT, body, {}, json.dumps(whole).encode())

    assert ChatCompletion.model_validate_json(read.body).choices[0].finish_reason == "length"
    assert read.finish_reason == "length"

    relay = ADAPTER.relay(Operation.CHAT, relay_options(send_usage=True))
    events = b"".join(stream({"role": "assistant", "content": "Hel"}, {"content": "lo"}))
    sent = relay.feed(events.replace(b'"finish_reason":"stop"', b'"finish_reason":"model_length"'))
    assert b'"finish_reason":"length"' in sent and b"model_length" not in sent
    assert relay.finish_reason == "length"


def test_what_mistral_has_goes_out_by_its_own_name() -> None:
    own = {
        "top_k": 5,
        "repetition_penalty": 1.1,
        "prompt_cache_key": "k",
        "logprobs": True,
        "top_logprobs": 2,
        "safe_prompt": True,
        "metadata": {"a": "b"},
    }
    sent, dropped = chat(**own, seed=7, max_completion_tokens=9, repeat_penalty=2, tool_choice="required")

    judge(models.ChatCompletionRequest, sent)
    assert {name: sent[name] for name in own} == own
    assert (sent["random_seed"], sent["max_tokens"], sent["tool_choice"]) == (7, 9, "any")
    assert dropped == ()


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"web_search_options": {"user_location": None}}, "web_search_options"),
        ({"modalities": ["text", "audio"]}, "modalities"),
        ({"functions": [{"name": "f"}]}, "functions"),
        ({"tools": [{"type": "custom", "custom": {"name": "f"}}]}, "tools[0]"),
        ({"tool_choice": {"type": "allowed_tools", "allowed_tools": {"mode": "auto"}}}, "tool_choice"),
        ({"messages": [{"role": "function", "name": "f", "content": "x"}]}, "messages[0].role"),
        ({"messages": [{"role": "assistant", "audio": {"id": "a"}}]}, "messages[0].audio"),
        ({"prediction": {"content": 1}}, "prediction"),
    ],
)
def test_what_would_change_the_answer_is_refused_by_name(fields: dict[str, Any], param: str) -> None:
    with pytest.raises(BadRequest) as refused:
        built(Operation.CHAT, **({"messages": [{"role": "user", "content": "hi"}]} | fields))

    assert refused.value.param == param
    assert chat(web_search_options=None, modalities=["text"], functions=[]) == chat()


def test_what_openai_lets_be_left_out_is_said() -> None:
    sent, _ = chat(
        tools=[{"type": "function", "function": {"name": "f"}}, {"type": "image_generation"}],
        response_format={"type": "json_schema", "json_schema": {"name": "a"}},
        prediction={"type": "content", "content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]},
    )  # fmt: skip

    judge(models.ChatCompletionRequest, sent)
    assert sent["tools"][0]["function"]["parameters"] == {"type": "object", "properties": {}}
    assert sent["tools"][1] == {"type": "image_generation"}
    assert sent["response_format"]["json_schema"]["schema"] == {"type": "object"}
    assert sent["prediction"] == {"type": "content", "content": "ab"}


def test_tiers_are_named_as_mistral_does() -> None:
    assert chat(service_tier="auto")[0]["service_tier"] == "auto"
    assert chat(service_tier="default")[0]["service_tier"] == "standard_only"
    sent, dropped = chat(service_tier="flex")
    assert ("service_tier" in sent, dropped) == (False, ("service_tier",))


def test_documents_and_recordings_have_parts_of_their_own() -> None:
    pdf = "data:application/pdf;base64,JVBERi0="
    sent, _ = chat(
        {"type": "text", "text": "x"},
        {"type": "file", "file": {"file_data": pdf, "filename": "a.pdf"}},
        {"type": "input_audio", "input_audio": {"data": "AAAA", "format": "mp3"}},
    )

    judge(models.ChatCompletionRequest, sent)
    assert sent["messages"][0]["content"][1:] == [
        {"type": "document_url", "document_url": pdf, "document_name": "a.pdf"},
        {"type": "input_audio", "input_audio": "AAAA"},
    ]
    bare = {"type": "file", "file": {"file_data": "JVBERi0=", "filename": "a.pdf"}}
    unnamed = {"type": "file", "file": {"file_data": "data:application/octet-stream;base64,JVBERi0="}}
    elsewhere = {"type": "file", "file": {"file_data": "https://example.org/a.pdf"}}
    read = chat(bare, unnamed, elsewhere)[0]["messages"][0]["content"]
    assert [part["document_url"] for part in read] == [pdf, pdf, "https://example.org/a.pdf"]
    for file, param in (({"file_id": "file-1"}, "file"), ({"file_data": "no base64!"}, "file.file_data")):
        with pytest.raises(BadRequest) as refused:
            chat({"type": "file", "file": file})
        assert refused.value.param == f"messages[0].content[0].{param}"


def test_vectors_are_asked_for_in_mistrals_terms() -> None:
    sent, dropped = built(
        Operation.EMBEDDINGS, input=["a"], dimensions=256, encoding_format="base64", user="u"
    )

    judge(models.EmbeddingRequest, sent)
    assert (sent["output_dimension"], dropped) == (256, ("user",))


def test_a_transcript_is_asked_for_without_what_mistral_refuses() -> None:
    def sent(*fields: tuple[str, bytes]) -> set[str]:
        parts = [(name, None, value) for name, value in (("model", b"m"), *fields)]
        raw, kind = form([*parts, ("file", "a.wav", b"RIFF")])
        prepared = ADAPTER.build(Operation.TRANSCRIPTIONS, target("mistral", "m"), parse_multipart(raw, kind))
        assert isinstance(prepared.request.body, bytes)
        return set(parse_multipart(prepared.request.body, kind).summary())

    assert sent(("prompt", b"p"), ("response_format", b"json"), ("language", b"en")) == {
        "model", "language", "file",
    }  # fmt: skip
    with pytest.raises(BadRequest) as refused:
        sent(("response_format", b"srt"))
    assert refused.value.param == "response_format"


def test_what_is_thought_and_what_is_said_come_apart() -> None:
    body = json_body('{"model":"mistral/m","messages":[]}')
    read = ADAPTER.read_answer(Operation.CHAT, body, {}, answer(THOUGHT_AND_TEXT))

    message = ChatCompletion.model_validate_json(read.body).choices[0].message
    assert message.content == "Héllo"
    assert message.model_extra is not None and message.model_extra["reasoning_content"] == "Hm. Yes."
    assert (read.usage.tokens.prompt, read.finish_reason) == (9, "stop")
    assert json.loads(read.with_cost("0.5"))["usage"]["cost"] == 0.5
    plain = answer("Hello")
    assert ADAPTER.read_answer(Operation.CHAT, body, {}, plain).body == plain


@pytest.mark.parametrize("at_once", [True, False])
def test_they_come_apart_in_a_stream(at_once: bool) -> None:
    relay = ADAPTER.relay(Operation.CHAT, relay_options(send_usage=True))
    events = stream(
        {"role": "assistant", "content": ""},
        {"content": [THOUGHT_AND_TEXT[0]]},
        {"content": THOUGHT_AND_TEXT[1:]},
        {"content": "!"},
    )
    sent = relay.feed(b"".join(events)) if at_once else b"".join([relay.feed(event) for event in events])

    chunks = [json.loads(line[6:]) for line in sent.splitlines() if line.startswith(b"data: {")]
    deltas = [chunk["choices"][0]["delta"] for chunk in chunks if chunk["choices"]]
    assert "".join(delta.get("content") or "" for delta in deltas) == "Héllo!"
    assert "".join(delta.get("reasoning_content") or "" for delta in deltas) == "Hm. Yes."
    assert chunks[-1]["usage"]["total_tokens"] == 13
    assert relay.done and relay.finish_reason == "stop"


def test_a_transcripts_stream_has_openais_events_and_its_length() -> None:
    relay = ADAPTER.relay(Operation.TRANSCRIPTIONS, relay_options(cost="0.01"))
    sent = b"".join([relay.feed(event) for event in transcript_events("Hel", "lo")]) + relay.end()

    blocks = [block.splitlines() for block in sent.split(b"\n\n") if block]
    assert [name for name, _ in blocks] == [
        b"event: transcript.text.delta", b"event: transcript.text.delta", b"event: transcript.text.done",
    ]  # fmt: skip
    first, _, last = (json.loads(data.removeprefix(b"data: ")) for _, data in blocks)
    assert TranscriptionTextDeltaEvent.model_validate(first).delta == "Hel"
    assert TranscriptionTextDoneEvent.model_construct(**last).text == "Hello"
    assert last["usage"]["cost"] == 0.01
    assert relay.error is None and relay.usage().tokens.audio_ms == 5_000
