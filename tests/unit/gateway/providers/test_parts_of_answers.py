"""What is billed of a whole answer that broke off: the request, and the words that came, in each vendor's shape."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.gateway.providers.estimate import estimate_answer, estimate_part, estimate_prompt
from services.gateway.providers.operations import Operation
from shared.pricing.estimate import estimate_tokens
from tests.support.targets import json_body

WORDS = "once upon a time " * 40
CHAT = json_body('{"model":"m","messages":[{"role":"user","content":"hello there"}]}')
SHAPES = {
    "openai": '{"id":"c","choices":[{"index":0,"message":{"role":"assistant","content":"%s',
    "completion": '{"id":"c","choices":[{"index":0,"text":"%s',
    "responses": '{"id":"r","output":[{"type":"message","content":[{"type":"output_text","text":"%s',
    "anthropic": '{"id":"m","role":"assistant","content":[{"type":"text","text":"%s',
    "gemini": '{"candidates":[{"content":{"parts":[{"text":"%s',
    "bedrock": '{"output":{"message":{"content":[{"text":"%s',
    "spaced": '{"choices": [{"message": {"role": "assistant", "content" : "%s',
}
TALK = (Operation.CHAT, Operation.COMPLETIONS, Operation.RESPONSES, Operation.MESSAGES)


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
def test_the_words_that_came_are_counted_and_little_else(shape: str) -> None:
    part = (shape % WORDS).encode()

    usage = estimate_part(Operation.CHAT, CHAT, part)

    words = estimate_tokens(len(WORDS))
    assert usage.estimated
    assert usage.tokens.prompt == estimate_prompt(Operation.CHAT, CHAT).prompt
    assert words <= usage.tokens.completion <= words + 15


@pytest.mark.parametrize("part", [b"{", b'{"id":"c","choices":[{"index":0,', b"\xff\x00"])
def test_nothing_said_is_nothing_billed_but_the_request(part: bytes) -> None:
    assert estimate_part(Operation.CHAT, CHAT, part).tokens == estimate_prompt(Operation.CHAT, CHAT)


@given(st.sampled_from(TALK), st.sampled_from(sorted(SHAPES)), st.integers(0, 800))
def test_more_of_an_answer_never_costs_less(operation: Operation, shape: str, cut: int) -> None:
    whole = (SHAPES[shape] % WORDS).encode()

    some = estimate_part(operation, CHAT, whole[:cut]).tokens
    all_ = estimate_part(operation, CHAT, whole).tokens

    assert some.prompt == all_.prompt
    assert 0 <= some.completion <= all_.completion <= estimate_tokens(len(whole))


def test_other_answers_cost_what_their_request_does() -> None:
    speech = json_body('{"model":"m","input":"read this out","voice":"v"}')
    assert estimate_part(Operation.SPEECH, speech, b"ID3") == estimate_answer(Operation.SPEECH, speech, b"")

    pictures = estimate_part(
        Operation.IMAGES, json_body('{"model":"m","prompt":"a cat","n":2}'), b'{"data":['
    )
    assert pictures.tokens.prompt > 0 and pictures.tokens.images == 0
