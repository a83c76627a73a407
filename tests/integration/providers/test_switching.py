"""Tool loops at /v1/responses that change their provider in the middle, as clients run them that keep the conversation
themselves: calls side by side, reasoning that only its provider can read, nothing stored."""

from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from tests.support.providers.features import holds
from tests.support.providers.houses import KINDS
from tests.support.providers.script import Call, Document, Turn
from tests.support.providers.street import Street

pytestmark = pytest.mark.asyncio(loop_scope="module")

Items = list[Document]
Client = Callable[[Street, str, Items], Awaitable[Items]]
NATIVE = ("openai", "azure", "xai", "openrouter")
"""They speak the format themselves."""
THROUGH_CHAT = tuple(kind for kind in KINDS if kind not in (*NATIVE, "replicate"))
"""The others that have tools."""
SIGNING = ("anthropic", "bedrock", "gemini", "vertex")
"""They sign what a model thought or called, and want it back."""
TAKES_BACK = {
    "groq": "reasoning",
    "cerebras": "reasoning",
    "vllm": "reasoning_content",
    "sgl": "reasoning_content",
}
"""They take a model's reasoning back as they gave it, in this field."""
TOOLS = [
    {
        "type": "function",
        "name": "look",
        "description": "Look at a city.",
        "strict": False,
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}},
    }
]
FIELDS: Any = {
    "instructions": "You are a careful agent.",
    "tools": TOOLS,
    "parallel_tool_calls": True,
    "reasoning": {"effort": "low", "summary": "auto"},
    "include": ["reasoning.encrypted_content"],
    "store": False,
}


async def as_agents(street: Street, model: str, items: Items) -> Items:
    """As OpenAI's Agents SDK: whole answers, whose items go back with all that was in them."""
    asked: Any = items
    response = await street.openai.responses.create(model=model, input=asked, **FIELDS)
    return [item.model_dump(exclude_unset=True) for item in response.output]


async def as_codex(street: Street, model: str, items: Items) -> Items:
    """As Codex: streams, whose items go back without their ids and whatever else a model need not read."""
    asked: Any = items
    stream = await street.openai.responses.create(
        model=model,
        input=asked,
        stream=True,
        prompt_cache_key="session-1",
        extra_body={"client_metadata": {"x-codex-installation-id": "i-1"}},
        **FIELDS,
    )
    return [
        _bare(event.item.model_dump()) async for event in stream if event.type == "response.output_item.done"
    ]


def _bare(item: Document) -> Document:
    kept = {
        "reasoning": ("type", "summary", "encrypted_content"),
        "function_call": ("type", "call_id", "name", "arguments"),
        "message": ("type", "role", "content"),
    }[item["type"]]
    bare = {name: item[name] for name in kept}
    if item["type"] == "message":
        bare["content"] = [{"type": part["type"], "text": part["text"]} for part in item["content"]]
    return bare


def results(items: Items) -> Items:
    calls = [item for item in items if item["type"] == "function_call"]
    return [{"type": "function_call_output", "call_id": call["call_id"], "output": "rain"} for call in calls]


def thinking(thought: str, *ids: str) -> Turn:
    return Turn(thought=thought, calls=tuple(Call(id, "look", {"city": "Oslo"}) for id in ids))


def reasoning_in(body: Document) -> list[str]:
    """What only the server itself can read of a native request."""
    return [item["encrypted_content"] for item in body["input"] if item.get("type") == "reasoning"]


async def loop(
    street: Street, client: Client, chat: str, native: str
) -> tuple[list[Document], list[Document]]:
    """Two calls at the one, a call at the other, an answer at the first, and another question to the other.

    Gives the requests that each of them received.
    """
    before = {kind: len(street.received(kind)) for kind in (chat, native)}
    items: Items = [{"role": "user", "content": "How is the weather?"}]
    for kind, turn in (
        (chat, thinking("I look at both.", "callab121", "callab122")),
        (native, thinking("And once more.", "callab123")),
        (chat, thinking("The same again.", "callab124")),
        (chat, Turn(text="It rains.", thought="That will do.")),
    ):
        said = await client(street, street.play(kind, turn), items)
        assert [item["call_id"] for item in said if item["type"] == "function_call"] == [
            c.id for c in turn.calls
        ]
        items += said + results(said)
    items.append({"role": "user", "content": "And tomorrow?"})
    (*_, last) = await client(street, street.play(native, Turn(text="Sun.")), items)
    assert last["content"][0]["text"] == "Sun."
    return street.received(chat)[before[chat] :], street.received(native)[before[native] :]


def check(chat: str, at_chat: list[Document], at_native: list[Document]) -> None:
    """Nothing of the conversation is lost, and each gets back what is its own and nothing else."""
    first, second = at_native
    assert reasoning_in(first) == []
    (own,) = reasoning_in(second)
    assert own.startswith("gAAAA")
    calls = [item["call_id"] for item in second["input"] if item.get("type") == "function_call"]
    assert calls == ["callab121", "callab122", "callab123", "callab124"]

    again, last = at_chat[1:]
    for id in ("callab121", "callab122", "callab123"):
        assert holds(id)(again) and holds(id)(last)
    assert holds("callab124")(last)
    assert not holds("gAAAA")(last) and not holds("finops1.")(last)
    if chat in SIGNING:
        assert holds("c2ln", "signed by the fake")(again)
    if (field := TAKES_BACK.get(chat)) is not None:
        thoughts = [message.get(field) for message in last["messages"] if message["role"] == "assistant"]
        assert thoughts == ["I look at both.", None, "The same again."]


@pytest.mark.parametrize("chat", THROUGH_CHAT)
async def test_an_agent_goes_from_any_chat_to_openai_and_back(street: Street, chat: str) -> None:
    check(chat, *await loop(street, as_agents, chat, "openai"))


@pytest.mark.parametrize("native", NATIVE)
async def test_an_agent_goes_from_claude_to_any_that_speaks_the_format_and_back(
    street: Street, native: str
) -> None:
    check("anthropic", *await loop(street, as_agents, "anthropic", native))


@pytest.mark.parametrize("chat", THROUGH_CHAT)
async def test_codex_goes_from_any_chat_to_openai_and_back(street: Street, chat: str) -> None:
    check(chat, *await loop(street, as_codex, chat, "openai"))


async def test_what_is_left_out_on_the_way_is_told(street: Street) -> None:
    items: Any = [{"role": "user", "content": "Hi"}]
    items += await as_agents(street, street.play("anthropic", Turn(thought="Hm.")), items)
    model = street.play("openai", Turn())
    raw = await street.openai.responses.with_raw_response.create(
        model=model, input=[*items, *items[:1]], extra_body={"client_metadata": {"a": "b"}}
    )

    assert raw.headers["x-finops-dropped-params"] == "client_metadata, input.reasoning"
    assert (await street.logged(raw)).outcome == "success"
