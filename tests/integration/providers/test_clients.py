"""The vendors' own clients through the gateway, in front of every chat provider: helpers for streams, rounds of tools,
answers of a given form, OpenAI's responses and Anthropic's messages."""

import json
from collections.abc import Callable
from typing import Any

import anthropic
import openai
import pydantic
import pytest

from tests.support.conformance.tables import REFUSED, YES
from tests.support.providers.features import LOOK, OTHER, holds
from tests.support.providers.houses import KINDS, MODELS
from tests.support.providers.script import Call, Turn
from tests.support.providers.street import LISTED, Street, named

pytestmark = pytest.mark.asyncio(loop_scope="module")

Cell = Callable[[str, str, str], None]
HELLO: Any = [{"role": "user", "content": "Hi"}]
TEXT = Turn().text
CALLS = (Call("callone01", "look", {"city": "Oslo"}), Call("calltwo02", "listen", {}))
TOOLS: Any = [LOOK, OTHER]
RESPONSE_TOOLS: Any = [{"type": "function", "strict": False, **tool["function"]} for tool in TOOLS]
MESSAGE_TOOLS: Any = [
    {"name": tool["function"]["name"], "input_schema": tool["function"]["parameters"]} for tool in TOOLS
]
TOOLLESS = ("replicate",)
"""Models of texts alone: tools and forms are refused by name."""
STREAMED = pytest.mark.parametrize("streamed", [False, True])


class City(pydantic.BaseModel):
    name: str


def each(*operations: str) -> pytest.MarkDecorator:
    """A test for each kind, which proves these operations of it."""
    marked = [
        pytest.param(kind, marks=[pytest.mark.proves(provider=kind, operation=name) for name in operations])
        for kind in KINDS
    ]
    return pytest.mark.parametrize("kind", marked)


@each("chat", "stream")
async def test_a_chat_whole_and_by_the_streaming_helper(street: Street, kind: str) -> None:
    model = street.play(kind, Turn())
    whole = await street.openai.chat.completions.with_raw_response.create(model=model, messages=HELLO)
    async with street.openai.chat.completions.stream(
        model=model, messages=HELLO, stream_options={"include_usage": True}
    ) as stream:
        kinds = [event.type async for event in stream]
        final = await stream.get_final_completion()

    assert "content.delta" in kinds and "content.done" in kinds
    for answer in (whole.parse(), final):
        assert (answer.choices[0].message.content, answer.choices[0].finish_reason) == (TEXT, "stop")
        assert answer.usage is not None and (answer.usage.prompt_tokens, answer.usage.completion_tokens) == (
            25,
            14,
        )
    logged = await street.logged(whole)
    assert (logged.provider, logged.model, logged.outcome) == (kind, MODELS[kind], "success")


async def _called(street: Street, model: str, messages: Any, streamed: bool) -> Any:
    fields: Any = {"model": model, "messages": messages, "tools": TOOLS}
    if not streamed:
        return (await street.openai.chat.completions.create(**fields)).choices[0]
    async with street.openai.chat.completions.stream(**fields) as stream:
        return (await stream.get_final_completion()).choices[0]


@each("chat", "stream")
@STREAMED
async def test_a_round_of_two_tools_at_once(street: Street, cell: Cell, kind: str, streamed: bool) -> None:
    if kind in TOOLLESS:
        with pytest.raises(openai.BadRequestError) as refused:
            await _called(street, street.play(kind, Turn()), HELLO, streamed)
        assert refused.value.param == "tools"
        cell(kind, "parallel tools", REFUSED)
        cell(kind, "tool loop", REFUSED)
        return
    asked = await _called(street, street.play(kind, Turn(calls=CALLS)), HELLO, streamed)
    assert asked.finish_reason == "tool_calls"
    calls = asked.message.tool_calls
    found = [(call.function.name, json.loads(call.function.arguments)) for call in calls]
    assert found == [("look", {"city": "Oslo"}), ("listen", {})]
    assert len({call.id for call in calls}) == 2
    cell(kind, "parallel tools", YES)

    told = [
        {
            "id": call.id,
            "type": "function",
            "function": {"name": call.function.name, "arguments": call.function.arguments},
        }
        | ({"extra_content": extra} if (extra := (call.model_extra or {}).get("extra_content")) else {})
        for call in calls
    ]
    results = [
        {"role": "tool", "tool_call_id": call.id, "content": f"result of {call.function.name}"}
        for call in calls
    ]
    messages = [*HELLO, {"role": "assistant", "content": None, "tool_calls": told}, *results]
    answer = await _called(street, street.play(kind, Turn(text="Rain.")), messages, streamed)

    assert (answer.message.content, answer.finish_reason) == ("Rain.", "stop")
    body = street.received(kind)[-1]
    assert holds("result of look")(body) and holds("result of listen")(body)
    cell(kind, "tool loop", YES)


@each("chat", "stream")
@STREAMED
async def test_an_answer_of_a_given_form_is_parsed(
    street: Street, cell: Cell, kind: str, streamed: bool
) -> None:
    model = street.play(kind, Turn(text='{"name":"Oslo"}'))
    fields: Any = {"model": model, "messages": HELLO, "response_format": City}
    if kind in TOOLLESS:
        with pytest.raises(openai.BadRequestError) as refused:
            await street.openai.chat.completions.parse(**fields)
        assert refused.value.param == "response_format"
        cell(kind, "json schema", REFUSED)
        return
    if streamed:
        async with street.openai.chat.completions.stream(**fields) as stream:
            answer: Any = await stream.get_final_completion()
    else:
        answer = await street.openai.chat.completions.parse(**fields)

    assert answer.choices[0].message.parsed == City(name="Oslo")
    assert answer.choices[0].finish_reason == "stop"
    assert holds('"name"', '\\\\"name\\\\"')(street.received(kind)[-1])
    cell(kind, "json schema", YES)


@each("responses")
async def test_a_response_whole_and_by_the_streaming_helper(street: Street, kind: str) -> None:
    model = street.play(kind, Turn())
    whole = await street.openai.responses.create(model=model, input="Hi", instructions="Be brief.")
    async with street.openai.responses.stream(model=model, input="Hi") as stream:
        kinds = [event.type async for event in stream]
        streamed = await stream.get_final_response()

    assert kinds[:3] == ["response.created", "response.in_progress", "response.output_item.added"]
    assert kinds[-1] == "response.completed" and "response.output_text.delta" in kinds
    for response in (whole, streamed):
        assert (response.output_text, response.status) == (TEXT, "completed")
        assert response.usage is not None
        assert (response.usage.input_tokens, response.usage.output_tokens) == (25, 14)


async def _responded(street: Street, model: str, given: Any, streamed: bool) -> Any:
    fields: Any = {"model": model, "input": given, "tools": RESPONSE_TOOLS}
    if not streamed:
        return await street.openai.responses.create(**fields)
    async with street.openai.responses.stream(**fields) as stream:
        return await stream.get_final_response()


@each("responses")
@STREAMED
async def test_a_round_of_tools_by_responses(street: Street, kind: str, streamed: bool) -> None:
    given: Any = [{"role": "user", "content": "Hi"}]
    if kind in TOOLLESS:
        with pytest.raises(openai.BadRequestError):
            await _responded(street, street.play(kind, Turn()), given, streamed)
        return
    asked = await _responded(street, street.play(kind, Turn(calls=CALLS)), given, streamed)
    calls = [item for item in asked.output if item.type == "function_call"]
    assert [(call.name, json.loads(call.arguments)) for call in calls] == [
        ("look", {"city": "Oslo"}),
        ("listen", {}),
    ]

    given += [item.model_dump(exclude_none=True, exclude={"parsed_arguments"}) for item in asked.output]
    given += [
        {"type": "function_call_output", "call_id": call.call_id, "output": f"result of {call.name}"}
        for call in calls
    ]
    answer = await _responded(street, street.play(kind, Turn(text="Rain.")), given, streamed)
    assert answer.output_text == "Rain."
    assert holds("result of look")(street.received(kind)[-1])


@each("messages")
async def test_a_message_whole_and_by_the_streaming_helper(street: Street, kind: str) -> None:
    model = street.play(kind, Turn())
    fields: Any = {"model": model, "max_tokens": 200, "system": "Be brief.", "messages": HELLO}
    whole = await street.anthropic.messages.create(**fields)
    async with street.anthropic.messages.stream(**fields) as stream:
        text = "".join([piece async for piece in stream.text_stream])
        streamed = await stream.get_final_message()

    assert text == TEXT
    for message in (whole, streamed):
        assert [block.type for block in message.content] == ["text"]
        assert (message.content[0].text, message.stop_reason) == (TEXT, "end_turn")  # type: ignore[union-attr]  # see above
        assert (message.usage.input_tokens, message.usage.output_tokens) == (25, 14)
    assert holds("Be brief.")(street.received(kind)[-1])


@each("messages")
@STREAMED
async def test_a_round_of_tools_by_messages(street: Street, kind: str, streamed: bool) -> None:
    """As an agent asks: with markers for the cache on its instructions, its tools and its last words."""
    marker = {"type": "ephemeral"}
    tools = [*MESSAGE_TOOLS[:-1], MESSAGE_TOOLS[-1] | {"cache_control": marker}]
    system = [{"type": "text", "text": "Be brief.", "cache_control": marker}]
    asking: Any = {"max_tokens": 200, "tools": tools, "system": system}
    messages: Any = [
        {"role": "user", "content": [{"type": "text", "text": "Hi", "cache_control": marker}]},
    ]

    async def said(turn: Turn) -> Any:
        fields = {"model": street.play(kind, turn), "messages": messages, **asking}
        if not streamed:
            return await street.anthropic.messages.create(**fields)
        async with street.anthropic.messages.stream(**fields) as stream:
            return await stream.get_final_message()

    if kind in TOOLLESS:
        with pytest.raises(anthropic.BadRequestError):
            await said(Turn())
        return
    asked = await said(Turn(calls=CALLS))
    calls = [block for block in asked.content if block.type == "tool_use"]
    assert asked.stop_reason == "tool_use"
    assert [(call.name, call.input) for call in calls] == [("look", {"city": "Oslo"}), ("listen", {})]

    results = [
        {"type": "tool_result", "tool_use_id": call.id, "content": f"result of {call.name}"} for call in calls
    ]
    messages.append(
        {"role": "assistant", "content": [block.model_dump(exclude_none=True) for block in asked.content]}
    )
    messages.append({"role": "user", "content": results})
    answer = await said(Turn(text="Rain."))
    assert [block.text for block in answer.content] == ["Rain."]
    assert holds("result of look")(street.received(kind)[-1])


@each("messages.count_tokens")
async def test_tokens_are_counted_or_estimated(street: Street, kind: str) -> None:
    counted = await street.anthropic.messages.count_tokens(
        model=street.play(kind, Turn()), messages=[{"role": "user", "content": "one two three four five"}]
    )
    assert counted.input_tokens > 0
    if kind == "anthropic":
        assert street.received(kind)[-1]["messages"]


@each("models")
async def test_models_are_listed(street: Street, kind: str) -> None:
    """From the provider's own list; else those that are known, or configured."""
    listed = [model.id async for model in street.openai.models.list()]
    own = [name for name in listed if name.startswith(f"{named(kind, LISTED)}/")]
    assert f"{kind}/{MODELS[kind]}" in listed
    assert own or kind == "azure"
