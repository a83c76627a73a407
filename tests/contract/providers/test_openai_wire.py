"""OpenAI's own SDK takes each fake that speaks its format for the vendor that it fakes, with all of that vendor's quirks."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import openai
import pytest

from tests.support.eventually import eventually
from tests.support.providers.openai_wire import FakeOpenAI, running_openai
from tests.support.providers.quirks import QUIRKS
from tests.support.providers.script import REFUSAL, RETRY_AFTER_S, Call, Turn
from tests.support.upstream.answers import PIXEL

OWN_SDK = ("mistral",)
"""See test_mistral."""
KINDS = [kind for kind in QUIRKS if kind not in OWN_SDK]
HELLO: Any = [{"role": "user", "content": "Hi"}]
each = pytest.mark.parametrize("kind", KINDS)


@asynccontextmanager
async def sdk(kind: str) -> AsyncIterator[tuple[FakeOpenAI, openai.AsyncOpenAI]]:
    fake = FakeOpenAI(QUIRKS[kind])
    async with (
        running_openai(fake) as url,
        openai.AsyncOpenAI(base_url=url, api_key=fake.key, max_retries=0) as client,
    ):
        yield fake, client


@each
async def test_chats_whole_and_streamed(kind: str) -> None:
    async with sdk(kind) as (fake, client):
        fake.play(Turn(thought="Hm, well."))
        whole = await client.chat.completions.create(model="m", messages=HELLO)
        async with client.chat.completions.stream(
            model="m", messages=HELLO, stream_options={"include_usage": True}
        ) as stream:
            final = await stream.get_final_completion()

    for answer in (whole, final):
        said = answer.choices[0].message
        assert (said.content, answer.choices[0].finish_reason) == (Turn().text, "stop")
        assert answer.usage is not None and answer.usage.completion_tokens == 14
        if fake.quirks.thought:
            assert (said.model_extra or {})[fake.quirks.thought] == "Hm, well."


@each
async def test_calls_of_tools(kind: str) -> None:
    calls = (Call("a1", "look", {"city": "Oslo"}), Call("b2", "listen", {}))
    async with sdk(kind) as (fake, client):
        fake.play(Turn(calls=calls))
        whole: Any = await client.chat.completions.create(model="m", messages=HELLO)
        async with client.chat.completions.stream(model="m", messages=HELLO) as stream:
            final: Any = await stream.get_final_completion()

    for answer in (whole, final):
        found = [
            (call.id, call.function.name, call.function.arguments)
            for call in answer.choices[0].message.tool_calls
        ]
        assert found == [("a1", "look", '{"city":"Oslo"}'), ("b2", "listen", "{}")]


@each
async def test_refusals_limits_and_its_models(kind: str) -> None:
    async with sdk(kind) as (fake, client):
        for fault, error in (
            ("refused", openai.BadRequestError),
            ("denied", openai.AuthenticationError),
            ("limited", openai.RateLimitError),
            ("overloaded", openai.InternalServerError),
        ):
            fake.play(Turn(fault=fault))  # type: ignore[arg-type]  # one of the faults
            with pytest.raises(error) as failed:
                await client.chat.completions.create(model="m", messages=HELLO)
            assert REFUSAL in failed.value.response.text
            if fault == "limited":
                wait = failed.value.response.headers.get("retry-after")
                assert wait == (str(RETRY_AFTER_S) if fake.quirks.retry_after else None)
        fake.play(Turn())
        if fake.quirks.lists:
            assert [model.id async for model in client.models.list()] == ["some-model"]
        else:
            with pytest.raises(openai.NotFoundError):
                await client.models.list()


@each
async def test_streams_that_go_wrong(kind: str) -> None:
    async def streamed(client: openai.AsyncOpenAI) -> list[Any]:
        stream = await client.chat.completions.create(model="m", messages=HELLO, stream=True)
        return [chunk async for chunk in stream]

    async with sdk(kind) as (fake, client):
        fake.play(Turn(fault="error event"))
        with pytest.raises(openai.APIError):
            await streamed(client)
        fake.play(Turn(fault="break"))
        with pytest.raises(openai.APIConnectionError):
            await streamed(client)
        fake.play(Turn(fault="early"))
        chunks = await streamed(client)
        assert chunks and chunks[-1].choices[0].finish_reason is None
        fake.play(Turn(fault="stall"))
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(streamed(client), 0.3)
        await eventually(lambda: fake.left.is_set(), 2.0)
        fake.play(Turn(fault="error in 200"))
        answer = await client.chat.completions.create(model="m", messages=HELLO)
        assert REFUSAL in str(answer.model_extra)


@each
async def test_what_openais_types_do_not_know(kind: str) -> None:
    """The lenient ignore it; the strict refuse it by name, however deep it stands."""
    strange: Any = [{"role": "user", "content": [{"type": "text", "text": "Hi", "cache_control": {}}]}]
    async with sdk(kind) as (fake, client):
        asked = client.chat.completions.create(model="m", messages=strange, extra_body={"strange": 1})
        if fake.quirks.strict:
            with pytest.raises(openai.BadRequestError):
                await asked
            assert fake.refused == [".strange is unknown", ".messages[0].content[0].cache_control is unknown"]
        else:
            await asked
        for name in sorted(fake.quirks.refuses):
            with pytest.raises(openai.BadRequestError) as refused:
                await client.chat.completions.create(model="m", messages=HELLO, extra_body={name: 1})
            assert name in refused.value.response.text


async def test_the_other_operations() -> None:
    async with sdk("openai") as (fake, client):
        assert (await client.embeddings.create(model="m", input="a")).data[0].embedding == [0.25, -0.5, 1.0]
        assert (await client.completions.create(model="m", prompt="a")).choices[0].text == Turn().text
        assert (await client.images.generate(model="m", prompt="a", n=2)).data
        assert (await client.images.edit(model="m", prompt="a", image=("a.png", PIXEL))).data
        heard = await client.audio.transcriptions.create(
            model="m", file=("a.wav", b"RIFF"), timestamp_granularities=["word"], temperature=0.5
        )
        assert heard.text == "Hello there."
        assert (await client.audio.speech.create(model="m", voice="alloy", input="a")).content
        assert not (await client.moderations.create(model="m", input="a")).results[0].flagged
        fake.play(Turn(calls=(Call("a1", "look", {"city": "Oslo"}),)))
        async with client.responses.stream(model="m", input="a") as stream:
            (called,) = (await stream.get_final_response()).output
        assert called.type == "function_call" and called.arguments == '{"city":"Oslo"}'
        with pytest.raises(openai.BadRequestError, match="strange"):
            await client.images.generate(model="m", prompt="a", extra_body={"strange": 1})
        assert [asked.path for asked in fake.asked][-1] == "/responses"


async def test_what_a_model_does_not_do() -> None:
    """OpenAI refuses it by name, although its types know it."""
    async with sdk("openai") as (fake, client):
        with pytest.raises(openai.BadRequestError, match="temperature"):
            await client.chat.completions.create(model="gpt-5", messages=HELLO, temperature=0.7)
        with pytest.raises(openai.BadRequestError, match="top_p"):
            await client.responses.create(model="gpt-5.1", input="a", top_p=0.5, reasoning={"effort": "low"})
        with pytest.raises(openai.BadRequestError, match="style"):
            await client.images.generate(model="gpt-image-2", prompt="a", style="vivid")
        with pytest.raises(openai.BadRequestError, match="size"):
            await client.images.generate(model="gpt-image-2", prompt="a", size="1000x1000")
        assert (await client.images.generate(model="gpt-image-2", prompt="a", size="1536x864")).data
        assert (await client.chat.completions.create(model="gpt-5.1", messages=HELLO, temperature=0.7)).id
        assert len(fake.refused) == 4


ENCRYPTED: Any = {"store": False, "include": ["reasoning.encrypted_content"]}
ASKED: Any = {"role": "user", "content": "Hi"}
RESPONDING = pytest.mark.parametrize("kind", ["openai", "azure", "xai", "openrouter"])


async def answered(client: openai.AsyncOpenAI, streamed: bool, **asked: Any) -> list[Any]:
    """The items of a response, as a client sends them back."""
    if streamed:
        async with client.responses.stream(model="m", **asked) as stream:
            response: Any = await stream.get_final_response()
    else:
        response = await client.responses.create(model="m", **asked)
    return [item.model_dump(exclude_none=True, exclude={"parsed_arguments"}) for item in response.output]


def results(items: list[Any]) -> list[Any]:
    calls = [item for item in items if item["type"] == "function_call"]
    return [{"type": "function_call_output", "call_id": call["call_id"], "output": "1"} for call in calls]


@RESPONDING
@pytest.mark.parametrize("streamed", [False, True])
@pytest.mark.parametrize("how", [{}, ENCRYPTED], ids=["stored", "encrypted"])
async def test_items_of_responses_come_back(kind: str, streamed: bool, how: Any) -> None:
    async with sdk(kind) as (fake, client):
        fake.play(Turn(thought="Hm.", calls=(Call("a1", "look", {"city": "Oslo"}), Call("b2", "listen", {}))))
        items = [ASKED]
        for _ in range(2):
            said = await answered(client, streamed, input=items, **how)
            items += [*said, *results(said)]

        assert [item["type"] for item in said] == ["reasoning", "function_call", "function_call"]
        assert said[0]["summary"] == [{"type": "summary_text", "text": "Hm."}]
        assert ("encrypted_content" in said[0]) is bool(how)
        assert fake.refused == []


@RESPONDING
@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"encrypted_content": "finops1."}, "could not be decrypted"),
        ({"encrypted_content": None}, "not found"),
        ({"id": "fc_1"}, "does not begin with 'rs'"),
        ({"id": "rs_1:2"}, "other characters"),
        ({"id": "rs_" + "x" * 62}, "too long"),
    ],
)
async def test_reasoning_that_is_not_its_own_is_refused(kind: str, changes: Any, problem: str) -> None:
    async with sdk(kind) as (fake, client):
        fake.play(Turn(thought="Hm."))
        thought, said = await answered(client, False, input=[ASKED], **ENCRYPTED)
        with pytest.raises(openai.BadRequestError) as refused:
            await answered(client, False, input=[ASKED, thought | changes, said, ASKED], **ENCRYPTED)
        assert problem in refused.value.response.text


@pytest.mark.parametrize("kind", ["openai", "azure"])
async def test_items_as_codex_sends_them_are_openais_alone_to_take(kind: str) -> None:
    async with sdk(kind) as (fake, client):
        said = {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "Hi"}]}
        asked = answered(client, False, input=[ASKED, said, ASKED])
        if fake.quirks.bare_items:
            await asked
        else:
            with pytest.raises(openai.BadRequestError, match="output_text"):
                await asked


async def test_calls_and_their_results_come_in_pairs_and_items_once() -> None:
    async with sdk("openai") as (fake, client):
        fake.play(Turn(calls=(Call("a1", "look", {}),)))
        (call,) = await answered(client, False, input=[ASKED])
        (result,) = results([call])
        for items, problem in (
            ([ASKED, call], "no output for the call 'a1'"),
            ([ASKED, result], "no call for the output of 'a1'"),
            ([ASKED, call, result, call], "duplicate item"),
            ([ASKED, call | {"call_id": "x" * 65}, result | {"call_id": "x" * 65}], "too long"),
        ):
            with pytest.raises(openai.BadRequestError, match=problem):
                await answered(client, False, input=items)
