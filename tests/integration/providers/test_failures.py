"""What clients, the log and the bill see of each chat provider's failures: refusals, limits, errors in good answers,
streams that break off, end early or stall, and usage that is never told."""

from collections.abc import Callable, Sequence
from typing import Any

import openai
import pytest

from services.gateway.circuits import QUOTA
from shared.events import RequestLogged
from tests.support.conformance.tables import NOT_OFFERED, YES
from tests.support.eventually import eventually
from tests.support.providers.houses import INPUT_NANOS, KINDS, OUTPUT_NANOS
from tests.support.providers.quirks import QUIRKS
from tests.support.providers.script import REFUSAL, RETRY_AFTER_S, Fault, Turn
from tests.support.providers.street import Street

pytestmark = pytest.mark.asyncio(loop_scope="module")

Cell = Callable[[str, str, str], None]
HELLO: Any = [{"role": "user", "content": "Hi"}]
ALWAYS_COUNTED = ("anthropic", "bedrock")
"""Their answers cannot be made without usage."""
NO_WAIT = frozenset(kind for kind, quirks in QUIRKS.items() if not quirks.retry_after) | {"replicate"}
"""They do not say how long to wait at their limit."""
LONG = Turn(text="one two three four five six seven eight nine ten", prompt=25, completion=10)


def each(kinds: Sequence[str] = KINDS) -> pytest.MarkDecorator:
    marked = [pytest.param(kind, marks=pytest.mark.proves(provider=kind, operation="chat")) for kind in kinds]
    return pytest.mark.parametrize("kind", marked)


def failing(fault: Fault) -> Turn:
    return Turn(text=LONG.text, prompt=LONG.prompt, completion=LONG.completion, fault=fault)


async def fails(street: Street, model: str, *, stream: bool = False) -> openai.APIStatusError:
    with pytest.raises(openai.APIStatusError) as failed:
        await street.openai.chat.completions.create(model=model, messages=HELLO, stream=stream)
    return failed.value


@each()
@pytest.mark.parametrize("stream", [False, True])
async def test_a_refusal_is_told_in_openais_shape(
    street: Street, cell: Cell, kind: str, stream: bool
) -> None:
    error = await fails(street, street.play(kind, failing("refused")), stream=stream)

    assert 400 <= error.status_code < 500 and REFUSAL in error.message
    assert isinstance(error.body, dict) and {"message", "type", "param", "code"} <= error.body.keys()
    logged = await street.logged(error.response)
    assert (logged.outcome, logged.cost_nanos) == ("error", 0)
    cell(kind, "error", YES)


@each()
async def test_a_refused_key_is_the_operators_matter(street: Street, kind: str) -> None:
    error = await fails(street, street.play(kind, failing("denied")))

    assert (error.status_code, error.code) == (502, "provider_auth_failed")
    assert (await street.logged(error.response)).cost_nanos == 0


@each()
async def test_a_limit_stays_one_with_the_time_to_wait(street: Street, cell: Cell, kind: str) -> None:
    error = await fails(street, street.play(kind, failing("limited")))

    assert isinstance(error, openai.RateLimitError)
    told_s = QUOTA.rest_s if kind in NO_WAIT else RETRY_AFTER_S
    assert int(error.response.headers["retry-after"]) == told_s
    again = await fails(street, street.play(kind, failing("limited")))
    assert isinstance(again, openai.RateLimitError)
    assert 0 < int(again.response.headers["retry-after"]) <= told_s
    cell(kind, "rate limit", YES)


@each()
@pytest.mark.parametrize("stream", [False, True])
async def test_an_overloaded_provider_is_a_bad_gateway(street: Street, kind: str, stream: bool) -> None:
    error = await fails(street, street.play(kind, failing("overloaded")), stream=stream)

    assert error.status_code in (502, 503)
    assert REFUSAL in error.message or "overloaded" in error.message.lower()


@each()
@pytest.mark.parametrize("stream", [False, True])
async def test_an_error_in_a_good_answer_is_an_error(
    street: Street, cell: Cell, kind: str, stream: bool
) -> None:
    model = street.play(kind, failing("error in 200"))
    with pytest.raises(openai.APIError) as failed:
        answer: Any = await street.openai.chat.completions.create(model=model, messages=HELLO, stream=stream)
        # what began with something else than the error has a good status, and ends with it
        [chunk async for chunk in answer]

    if isinstance(failed.value, openai.APIStatusError):
        assert failed.value.status_code in (429, 502, 503)
        assert (await street.logged(failed.value.response)).outcome == "error"
    else:
        assert stream and REFUSAL in failed.value.message
        assert (await street.logged(answer.response)).outcome == "error"
    cell(kind, "error in 200", YES)


def is_billed(logged: RequestLogged) -> None:
    """For what was seen: no more than the whole of it, and not nothing."""
    assert logged.outcome == "error"
    assert logged.tokens.prompt > 0
    assert 0 < logged.tokens.completion <= 2 * LONG.completion
    priced = logged.tokens.prompt * INPUT_NANOS + logged.tokens.completion * OUTPUT_NANOS
    assert logged.cost_nanos == priced or logged.cost_basis == "provider"
    assert logged.cost_nanos > 0


@each()
@pytest.mark.parametrize(
    ("fault", "feature"),
    [("break", "broken stream"), ("early", "early end"), ("error event", "error event")],
)
async def test_a_stream_that_ends_before_its_end_says_so_and_is_billed(
    street: Street, cell: Cell, kind: str, fault: Fault, feature: str
) -> None:
    model = street.play(kind, failing(fault))
    stream = await street.openai.chat.completions.create(model=model, messages=HELLO, stream=True)
    said = ""
    with pytest.raises(openai.APIError) as broken:
        async for chunk in stream:
            said += (chunk.choices[0].delta.content or "") if chunk.choices else ""

    assert said and LONG.text.startswith(said) and said != LONG.text
    assert fault != "error event" or REFUSAL in broken.value.message
    is_billed(await street.logged(stream.response))
    cell(kind, feature, YES)


@each()
async def test_a_stream_that_stalls_is_given_up_left_and_billed(
    street: Street, cell: Cell, kind: str
) -> None:
    model = street.play(kind, failing("stall"))
    stream = await street.openai.chat.completions.create(model=model, messages=HELLO, stream=True)
    with pytest.raises(openai.APIError, match="in time"):
        async for _ in stream:
            pass

    is_billed(await street.logged(stream.response))
    await eventually(lambda: street.left(kind), 2.0)
    cell(kind, "stalled stream", YES)


@each()
@pytest.mark.parametrize("stream", [False, True])
async def test_usage_that_is_never_told_is_estimated_and_marked(
    street: Street, cell: Cell, kind: str, stream: bool
) -> None:
    if kind in ALWAYS_COUNTED:
        cell(kind, "no usage", NOT_OFFERED)
        return
    model = street.play(kind, failing("no usage"))
    chat = street.openai.chat.completions
    raw: Any = await chat.with_raw_response.create(model=model, messages=HELLO, stream=stream)
    if stream:
        chunks = [chunk async for chunk in raw.parse()]
        assert chunks[-1].choices[0].finish_reason == "stop"

    logged = await street.logged(raw)
    assert (logged.outcome, logged.cost_basis) == ("success", "estimated")
    assert logged.tokens.prompt > 0 and logged.tokens.completion > 0
    assert logged.cost_nanos == logged.tokens.prompt * INPUT_NANOS + logged.tokens.completion * OUTPUT_NANOS
    cell(kind, "no usage", YES)
