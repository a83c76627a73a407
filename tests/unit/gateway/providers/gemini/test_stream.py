"""A stream of Gemini's, cut anywhere, in any packets: whole, or a clean error with what was used so far."""

import json
from typing import Any

import pytest
from google.genai import types
from hypothesis import given, settings
from hypothesis import strategies as st

from services.gateway.providers.chat.translate import TranslatedRelay
from services.gateway.providers.gemini.stream import GeminiTranslator
from services.gateway.providers.port import RelayOptions
from services.gateway.providers.sse import blocks, data_of
from services.gateway.providers.wire_errors import stream_cut
from tests.support.providers.gemini import SIGNATURE, status

OPTIONS = RelayOptions(
    send_usage=True, cost_of=lambda usage: None, prompt_estimate=5, transcript_limit=1_000_000, model="m"
)


def response(
    *parts: types.Part, finish: str | None = None, index: int = 0, **fields: Any
) -> types.GenerateContentResponse:
    candidate = types.Candidate(
        content=types.Content(role="model", parts=list(parts)),
        finish_reason=types.FinishReason(finish) if finish else None,
        index=index,
    )
    return types.GenerateContentResponse(
        candidates=[candidate], response_id="r1", model_version="gemini-x", **fields
    )


def usage(completion: int, thoughts: int = 0) -> types.GenerateContentResponseUsageMetadata:
    audio = types.ModalityTokenCount(modality=types.MediaModality.AUDIO, token_count=2)
    return types.GenerateContentResponseUsageMetadata(
        prompt_token_count=11,
        candidates_token_count=completion,
        thoughts_token_count=thoughts,
        cached_content_token_count=4,
        prompt_tokens_details=[audio],
    )


def wire(*responses: types.GenerateContentResponse | dict[str, Any], line_end: str = "\r\n") -> bytes:
    out = b""
    for one in responses:
        data = (
            json.dumps(one)
            if isinstance(one, dict)
            else one.model_dump_json(by_alias=True, exclude_none=True)
        )
        out += f"data: {data}{line_end}{line_end}".encode()
    return out


STREAM = wire(
    response(types.Part(text="Hm… ", thought=True), usage_metadata=usage(0, 3)),
    response(types.Part(text="Grüße "), usage_metadata=usage(2, 3)),
    response(types.Part(text="dir.", thought_signature=SIGNATURE), usage_metadata=usage(3, 3)),
    response(
        types.Part(
            function_call=types.FunctionCall(name="look", args={"at": "ü"}), thought_signature=SIGNATURE
        ),
        types.Part(function_call=types.FunctionCall(id="own", name="hear", args={})),
        finish="STOP",
        usage_metadata=usage(9, 3),
    ),
)


def chunks_of(sent: bytes) -> list[Any]:
    data = [data_of(block) for block in blocks(sent)]
    assert data[-1] == b"[DONE]"
    return [json.loads(one) for one in data[:-1] if one is not None]


def run(stream: bytes, cuts: list[int] | None = None) -> tuple[TranslatedRelay, list[Any]]:
    relay = TranslatedRelay(OPTIONS, GeminiTranslator())
    places = [0, *sorted(cuts or ()), len(stream)]
    sent = b"".join(relay.feed(stream[a:b]) for a, b in zip(places, places[1:], strict=False))
    sent += relay.end()
    return relay, chunks_of(sent)


def text_in(chunks: list[Any], name: str = "content") -> str:
    deltas = [chunk["choices"][0]["delta"] for chunk in chunks if chunk.get("choices")]
    return "".join(delta.get(name) or "" for delta in deltas)


def test_everything_of_an_answer_arrives() -> None:
    relay, chunks = run(STREAM)

    assert (text_in(chunks), text_in(chunks, "reasoning_content")) == ("Grüße dir.", "Hm… ")
    assert {(chunk["id"], chunk["model"]) for chunk in chunks} == {("r1", "gemini-x")}
    calls = [
        call
        for chunk in chunks
        if chunk["choices"]
        for call in chunk["choices"][0]["delta"].get("tool_calls", ())
    ]
    assert [(call["index"], call["function"].get("arguments")) for call in calls] == [
        (0, ""), (0, '{"at":"ü"}'), (1, ""), (1, "{}"),
    ]  # fmt: skip
    assert calls[0]["extra_content"]["google"]["thought_signature"]
    assert calls[2]["id"] == "own"
    assert relay.finish_reason == "tool_calls"
    tokens = relay.usage().tokens
    assert (tokens.prompt, tokens.completion, tokens.reasoning, tokens.cached_read, tokens.prompt_audio) == (
        11, 12, 3, 4, 2,
    )  # fmt: skip


@given(cuts=st.lists(st.integers(0, len(STREAM)), max_size=6))
@settings(max_examples=100, deadline=None)
def test_it_makes_no_difference_where_the_network_cuts(cuts: list[int]) -> None:
    _, chunks = run(STREAM, cuts)

    assert text_in(chunks) == "Grüße dir."
    assert chunks[-1]["usage"]["completion_tokens"] == 12


@given(end=st.integers(0, len(STREAM) - 1), broken=st.booleans())
@settings(max_examples=200, deadline=None)
def test_a_stream_cut_anywhere_ends_in_an_error_and_is_billed(end: int, broken: bool) -> None:
    relay = TranslatedRelay(OPTIONS, GeminiTranslator())
    sent = relay.feed(STREAM[:end])
    sent += relay.fail(stream_cut()) if broken else relay.end()
    chunks = chunks_of(sent)

    whole = relay.finish_reason == "tool_calls"
    assert (relay.error is None) is whole
    assert ("error" in chunks[-1]) is not whole
    assert relay.usage().tokens.prompt == 11 or b"\r\n\r\n" not in STREAM[:end]


def test_lines_may_end_in_any_way_and_the_last_event_may_lack_its_end() -> None:
    stream = wire(response(types.Part(text="a")), response(finish="MAX_TOKENS"), line_end="\n").rstrip()
    relay, chunks = run(stream)

    assert (text_in(chunks), relay.finish_reason, relay.error) == ("a", "length", None)


def test_several_candidates_end_each_for_itself() -> None:
    first = response(types.Part(text="a"), finish="STOP")
    second = response(types.Part(text="b"), index=1)
    relay, _ = run(wire(second, first))
    assert relay.error is not None

    relay, chunks = run(wire(second, first, response(finish="SAFETY", index=1)))
    assert relay.error is None
    ends = {
        one["choices"][0]["index"]: one["choices"][0]["finish_reason"] for one in chunks if one["choices"]
    }
    assert ends == {0: "stop", 1: "content_filter"}


@pytest.mark.parametrize(
    ("stream", "code", "http_status"),
    [
        (wire(status(429, "Slow down.", "RESOURCE_EXHAUSTED")), "RESOURCE_EXHAUSTED", 429),
        (json.dumps([status(503, "Overloaded.", "UNAVAILABLE")]).encode(), "UNAVAILABLE", 503),
        (json.dumps(status(0, "What?", "PERMISSION_DENIED")).encode(), "PERMISSION_DENIED", 403),
        (b"<html>", "", 502),
        (b"data: {]\r\n\r\n", "", 502),
        (wire(response(finish="MALFORMED_FUNCTION_CALL")), "malformed_function_call", 502),
        (b"", "", 502),
    ],
)
def test_errors_at_the_beginning_are_told_before_anything_was_sent(
    stream: bytes, code: str, http_status: int
) -> None:
    relay, chunks = run(stream)

    assert not relay.started
    assert relay.error is not None
    assert (relay.error.upstream_code, relay.error.status) == (code, http_status)
    assert "error" in chunks[-1]


def test_pictures_and_sources_travel_along() -> None:
    found = types.GroundingMetadata(
        grounding_chunks=[
            types.GroundingChunk(web=types.GroundingChunkWeb(uri="https://a.example", title="A"))
        ]
    )
    last = response(types.Part(inline_data=types.Blob(data=b"x", mime_type="image/png")), finish="STOP")
    assert last.candidates
    last.candidates[0].grounding_metadata = found
    last.usage_metadata = usage(9)
    relay, chunks = run(wire(last))

    deltas = [chunk["choices"][0]["delta"] for chunk in chunks if chunk["choices"]]
    assert any(
        delta.get("images", [{}])[0].get("image_url") == {"url": "data:image/png;base64,eA=="}
        for delta in deltas
    )
    assert any(delta.get("annotations", [{}])[0].get("type") == "url_citation" for delta in deltas)
    assert relay.usage().tokens.images == 1
