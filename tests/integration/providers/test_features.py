"""What each chat provider makes of each feature: it arrives in the provider's terms, is left out, or is refused by name.

The fakes judge every request by the vendor's own types; what stands in it where is in tests/support/providers/features.py.
"""

from collections.abc import Callable, Sequence
from typing import Any

import openai
import pytest

from tests.support.conformance.tables import LEFT_OUT, NOT_OFFERED, REFUSED, YES
from tests.support.providers.features import ASKINGS, FAMILIES, LOOK, Asking, at, holds
from tests.support.providers.houses import KINDS, cost_of
from tests.support.providers.script import Call, Turn
from tests.support.providers.street import Street

pytestmark = pytest.mark.asyncio(loop_scope="module")

Cell = Callable[[str, str, str], None]
HELLO: Any = [{"role": "user", "content": "Hi"}]
THOUGHT = "Let me think about that."
NO_REASONING = ("openai", "azure", "perplexity", "replicate")
"""Their chats do not tell what a model thinks."""
NO_CACHE = ("replicate",)
SIGNING = ("anthropic", "bedrock", "gemini", "vertex")
"""They sign what a model thought or called, and want it back."""
OWN_COST = {"openrouter": 950_000, "perplexity": 5_039_000}
"""They say themselves what a request costs, here in nano-dollars."""
BESIDE = {"xai": 6, "gemini": 7, "vertex": 7}
"""Tokens of thought that they do not count among those of the answer."""


def each(kinds: Sequence[str] = KINDS) -> pytest.MarkDecorator:
    marked = [pytest.param(kind, marks=pytest.mark.proves(provider=kind, operation="chat")) for kind in kinds]
    return pytest.mark.parametrize("kind", marked)


async def becomes(street: Street, kind: str, asking: Asking) -> str:
    """What a provider makes of it. Fails when it is lost without a word."""
    model = street.play(kind, Turn(text='{"name":"Oslo"}'))
    before = len(street.received(kind))
    fields: Any = {"messages": HELLO, **asking.fields}
    try:
        raw = await street.openai.chat.completions.with_raw_response.create(model=model, **fields)
    except openai.BadRequestError as refused:
        assert asking.param in f"{refused.param} {refused.message}"
        assert len(street.received(kind)) == before
        return REFUSED
    (body,) = street.received(kind)[before:]
    dropped = raw.headers.get("x-finops-dropped-params", "").split(", ")
    left_out = any(name.rpartition(".")[2] == asking.param for name in dropped)
    found = at(body, asking.places.get(FAMILIES.get(kind, "openai"), ""))
    arrived = found is not None and asking.wanted(found)
    assert arrived is not left_out, f"at {asking.places}: {found}"
    return YES if arrived else LEFT_OUT


@each()
@pytest.mark.parametrize("asking", [pytest.param(asking, id=asking.feature) for asking in ASKINGS])
async def test_what_is_asked_for_arrives_or_is_told(
    street: Street, cell: Cell, kind: str, asking: Asking
) -> None:
    cell(kind, asking.feature, await becomes(street, kind, asking))


@each()
async def test_what_a_model_thinks_comes_in_a_field_of_its_own(street: Street, cell: Cell, kind: str) -> None:
    if kind in NO_REASONING:
        cell(kind, "reasoning out", NOT_OFFERED)
        return
    model = street.play(kind, Turn(thought=THOUGHT))
    whole = await street.openai.chat.completions.create(model=model, messages=HELLO)
    async with street.openai.chat.completions.stream(model=model, messages=HELLO) as stream:
        streamed = await stream.get_final_completion()

    for said in (whole.choices[0].message, streamed.choices[0].message):
        assert said.content == Turn().text
        extra = said.model_extra or {}
        assert (extra.get("reasoning_content") or extra.get("reasoning")) == THOUGHT
    cell(kind, "reasoning out", YES)


@pytest.mark.parametrize("kind", BESIDE)
async def test_tokens_of_thought_are_billed_wherever_they_are_counted(street: Street, kind: str) -> None:
    model = street.play(kind, Turn(thought=THOUGHT, prompt=25, completion=14))
    whole = await street.openai.chat.completions.with_raw_response.create(model=model, messages=HELLO)
    stream = await street.openai.chat.completions.create(model=model, messages=HELLO, stream=True)
    async for _ in stream:
        pass

    for response in (whole, stream.response):
        logged = await street.logged(response)
        assert (logged.tokens.completion, logged.tokens.reasoning) == (14 + BESIDE[kind], BESIDE[kind])
        assert logged.cost_nanos == cost_of(25, 14 + BESIDE[kind])


@each()
@pytest.mark.parametrize("streamed", [False, True])
async def test_a_model_that_thinks_gets_back_what_it_needs_with_its_call(
    street: Street, cell: Cell, kind: str, streamed: bool
) -> None:
    if kind == "replicate":
        cell(kind, "signatures", NOT_OFFERED)  # it has no tools, see below
        return
    thought = THOUGHT if kind not in NO_REASONING else ""
    model = street.play(kind, Turn(thought=thought, calls=(Call("callab123", "look", {"city": "Oslo"}),)))
    fields: Any = {"model": model, "tools": [LOOK]}
    if streamed:
        async with street.openai.chat.completions.stream(messages=HELLO, **fields) as stream:
            asked = (await stream.get_final_completion()).choices[0].message
    else:
        asked = (await street.openai.chat.completions.create(messages=HELLO, **fields)).choices[0].message

    model = street.play(kind, Turn(text="Rain."))
    (call,) = asked.tool_calls or []
    result: Any = {"role": "tool", "tool_call_id": call.id, "content": "rain"}
    answer = await street.openai.chat.completions.create(
        messages=[*HELLO, told_back(asked), result], **fields
    )

    assert answer.choices[0].message.content == "Rain."
    signed = holds("c2ln", "signed by the fake")(street.received(kind)[-1])
    assert signed is (kind in SIGNING)
    cell(kind, "signatures", YES if kind in SIGNING else NOT_OFFERED)


def told_back(said: Any) -> Any:
    """A message as a client tells it to the model again: all that came with it, but for what only streams have."""
    message = said.model_dump(exclude_none=True, exclude={"parsed"})
    for call in message["tool_calls"]:
        call.pop("index", None)
        call["function"].pop("parsed_arguments", None)
    return message | {"role": "assistant"}


@each()
async def test_a_conversation_that_began_with_another_model_goes_on(
    street: Street, cell: Cell, kind: str
) -> None:
    """Whoever changes the model, or falls back to another, sends what the first one said as it came."""
    detail = {"type": "reasoning.text", "text": THOUGHT, "signature": "Zm9yZWlnbg==", "format": "anthropic"}
    said: Any = {
        "role": "assistant",
        "content": "It rains.",
        "refusal": None,
        "annotations": [],
        "reasoning_content": THOUGHT,
        "reasoning_details": [detail],
    }
    messages: Any = [*HELLO, said, {"role": "user", "content": "And now?"}]
    answer = await street.openai.chat.completions.create(model=street.play(kind, Turn()), messages=messages)

    assert answer.choices[0].message.content == Turn().text
    assert holds("It rains.")(street.received(kind)[-1])
    cell(kind, "foreign history", YES)


@each()
async def test_tokens_read_from_a_cache_are_counted_and_priced_apart(
    street: Street, cell: Cell, kind: str
) -> None:
    if kind in NO_CACHE:
        cell(kind, "cached usage", NOT_OFFERED)
        return
    model = street.play(kind, Turn(prompt=25, completion=14, cached=16))
    whole = await street.openai.chat.completions.with_raw_response.create(model=model, messages=HELLO)
    stream = await street.openai.chat.completions.create(
        model=model, messages=HELLO, stream=True, stream_options={"include_usage": True}
    )
    chunks = [chunk async for chunk in stream]

    for usage in (whole.parse().usage, chunks[-1].usage):
        assert usage is not None and usage.prompt_tokens_details is not None
        assert (usage.prompt_tokens, usage.completion_tokens) == (25, 14)
        assert usage.prompt_tokens_details.cached_tokens == 16
    for response in (whole, stream.response):
        logged = await street.logged(response)
        assert (logged.tokens.prompt, logged.tokens.cached_read, logged.tokens.completion) == (25, 16, 14)
        if kind in OWN_COST:
            assert (logged.cost_nanos, logged.cost_basis) == (OWN_COST[kind], "provider")
        else:
            assert (logged.cost_nanos, logged.cost_basis) == (cost_of(25, 14, 16), "priced")
    cell(kind, "cached usage", YES)
