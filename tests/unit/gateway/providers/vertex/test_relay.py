"""A stream of Vertex's is read in whichever format it comes, wherever the network cuts it."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.gateway.providers.port import RelayOptions
from services.gateway.providers.sse import blocks, data_of
from services.gateway.providers.vertex.relay import VertexRelay, format_of
from tests.support.providers import anthropic
from tests.support.providers.gemini import status
from tests.support.upstream.answers import stream_pieces
from tests.support.upstream.directives import read_directives

OPTIONS = RelayOptions(
    send_usage=True, cost_of=lambda usage: None, prompt_estimate=5, transcript_limit=1_000_000, model="m"
)
GOOGLE = (
    b'data: {"candidates":[{"content":{"parts":[{"text":"Bon"}]}}]}\r\n\r\n'
    b'data: {"candidates":[{"content":{"parts":[{"text":"jour."}]},"finishReason":"STOP"}],'
    b'"usageMetadata":{"promptTokenCount":7,"candidatesTokenCount":2}}\r\n\r\n'
)
CLAUDE = anthropic.wire(*anthropic.events(anthropic.text("Bonjour.")))
OPENAI = b"".join(
    stream_pieces(
        "chat.completions", "m", read_directives(b"mock(completion=2; prompt=7)"), include_usage=True
    )[0]
)


def run(stream: bytes, cut: int) -> tuple[VertexRelay, str]:
    relay = VertexRelay(OPTIONS)
    sent = relay.feed(stream[:cut]) + relay.feed(stream[cut:]) + relay.end()
    data = [data_of(block) for block in blocks(sent)]
    chunks = [json.loads(one) for one in data if one and one != b"[DONE]"]
    assert data[-1] == b"[DONE]"
    texts = [one["choices"][0]["delta"].get("content") for one in chunks if one.get("choices")]
    return relay, "".join(text or "" for text in texts)


@pytest.mark.parametrize(
    ("stream", "text"), [(GOOGLE, "Bonjour."), (CLAUDE, "Bonjour."), (OPENAI, "word word ")]
)
@given(data=st.data())
@settings(max_examples=60, deadline=None)
def test_each_format_is_read(stream: bytes, text: str, data: st.DataObject) -> None:
    relay, found = run(stream, data.draw(st.integers(0, len(stream))))

    assert found == text
    assert (relay.error, relay.finish_reason, relay.done) == (None, "stop", True)
    assert relay.received_bytes == len(stream)
    assert not relay.usage().estimated


@pytest.mark.parametrize("stream", [GOOGLE, CLAUDE, OPENAI])
@given(data=st.data())
@settings(max_examples=60, deadline=None)
def test_a_stream_cut_anywhere_ends_in_an_error_or_is_whole(stream: bytes, data: st.DataObject) -> None:
    relay = VertexRelay(OPTIONS)
    end = data.draw(st.integers(0, len(stream) - 1))
    sent = relay.feed(stream[:end]) + relay.end()

    assert sent.endswith(b"data: [DONE]\n\n")
    assert (relay.error is None) is bool(relay.finish_reason)


def test_an_error_in_plain_json_is_told_before_anything_was_sent() -> None:
    relay = VertexRelay(OPTIONS)
    relay.feed(json.dumps([status(429, "Slow.", "RESOURCE_EXHAUSTED")]).encode())
    relay.end()

    assert relay.error is not None
    assert (relay.error.status, relay.started) == (429, False)


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (b'{"candidates":[]}', "google"),
        (b'[{"error":{}}]', "google"),
        (b'{"type":"message"}', "anthropic"),
        (b'{"object":"error","type":"x"}', "openai"),
        (b"<html>", "google"),
    ],
)
def test_formats_are_told_apart(body: bytes, expected: str) -> None:
    assert format_of(body) == expected
