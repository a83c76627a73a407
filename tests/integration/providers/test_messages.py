"""Anthropic's clients before models of every provider: what they ask for arrives or is told, what they get is theirs."""

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import anthropic
import openai
import pytest

from shared.governance.model import Credential, Provider
from tests.support.gateway import RunningGateway, running_gateway
from tests.support.providers.features import FAMILIES, at, holds
from tests.support.providers.houses import KINDS
from tests.support.providers.openai_wire import FakeOpenAI, running_openai
from tests.support.providers.quirks import QUIRKS
from tests.support.providers.script import Call, Document, Turn
from tests.support.providers.street import Street

ASK: Any = [{"role": "user", "content": "Hi"}]
LOOK: Any = {"name": "look", "input_schema": {"type": "object", "properties": {"path": {"type": "string"}}}}


class FakeSloppy(FakeOpenAI):
    """A model that writes arguments which are no JSON, or comes to its limit while it does."""

    written = '{"path": "/tmp/lo'
    finish_reason = "length"

    def chat_answer(self, body: Document) -> Document:
        answer = super().chat_answer(body)
        if self.turn.calls:
            (choice,) = answer["choices"]
            choice["finish_reason"] = self.finish_reason
            choice["message"]["tool_calls"][0]["function"]["arguments"] = self.written
        return answer


@asynccontextmanager
async def sloppy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[tuple[FakeSloppy, RunningGateway]]:
    fake = FakeSloppy(QUIRKS["vllm"])
    monkeypatch.setenv("SLOPPY_KEY", fake.key)
    async with running_openai(fake) as url:
        provider = Provider(
            name="vllm",
            type="vllm",
            base_url=url,
            models=("some-model",),
            credentials=(Credential(name="main", env="SLOPPY_KEY"),),
        )
        async with running_gateway(tmp_path, provider) as gateway:
            yield fake, gateway


@pytest.mark.parametrize(
    ("written", "finish_reason", "given_input", "stop_reason"),
    [
        ('{"path": "/tmp/log", "text": "Hel', "length", {"path": "/tmp/log"}, "max_tokens"),
        ('{"path": "/tmp/log",}', "tool_calls", {"path": "/tmp/log"}, "tool_use"),
        ("path=/tmp", "tool_calls", {"INVALID_JSON": "path=/tmp"}, "tool_use"),
    ],
)
async def test_what_a_model_wrote_is_not_held_against_its_provider(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    written: str,
    finish_reason: str,
    given_input: Any,
    stop_reason: str,
) -> None:
    async with sloppy(tmp_path, monkeypatch) as (fake, gateway):
        fake.written, fake.finish_reason = written, finish_reason
        fake.play(Turn(calls=(Call("callone01", "look", {}),)))
        async with (
            anthropic.AsyncAnthropic(base_url=gateway.url, api_key="none", max_retries=0) as client,
            openai.AsyncOpenAI(base_url=f"{gateway.url}/v1", api_key="none", max_retries=0) as other,
        ):
            for _ in range(6):
                message = await client.messages.create(
                    model="vllm/some-model", max_tokens=50, messages=ASK, tools=[LOOK]
                )
                (block,) = message.content
                assert block.type == "tool_use" and block.input == given_input
                assert message.stop_reason == stop_reason
            fake.play(Turn(text="Fine."))
            answer = await other.chat.completions.create(model="vllm/some-model", messages=ASK)

        assert answer.choices[0].message.content == "Fine."
        logged = await gateway.logged(7)
        assert {event.outcome for event in logged} == {"success"}
        assert {attempt.error_code for event in logged for attempt in event.attempts} == {""}
        async with gateway.http.get("/metrics") as response:
            assert "finops_gateway_open_circuits 0.0" in await response.text()


@dataclass(frozen=True, slots=True)
class Wish:
    """What a client of Anthropic's asks for: where each wire has it, and what is then there.

    `params`: the names by which it is told that it was left out.
    """

    name: str
    fields: Document
    params: tuple[str, ...]
    places: Mapping[str, str]
    wanted: Callable[[Any], bool]


BEDROCKS = "additionalModelRequestFields.thinking"
GOOGLES = "generationConfig.thinkingConfig"
WISHES = (
    Wish(
        "a budget",
        {"thinking": {"type": "enabled", "budget_tokens": 3000}, "max_tokens": 4096},
        ("thinking", "thinking.budget_tokens"),
        {
            "openai": "reasoning_effort",
            "openrouter": "reasoning.max_tokens",
            "mistral": "reasoning_effort",
            "anthropic": "thinking.budget_tokens",
            "bedrock": f"{BEDROCKS}.budget_tokens",
            "google": f"{GOOGLES}.thinkingBudget",
            "cohere": "thinking.token_budget",
            "replicate": "input.reasoning_effort",
        },
        lambda value: value in (3000, "low", "high"),
    ),
    Wish(
        "no thoughts",
        {"thinking": {"type": "disabled"}},
        ("thinking",),
        {
            "openrouter": "reasoning.enabled",
            "anthropic": "thinking.type",
            "bedrock": f"{BEDROCKS}.type",
            "google": f"{GOOGLES}.includeThoughts",
            "cohere": "thinking.type",
        },
        lambda value: value in ("disabled", False),
    ),
    Wish(
        "thoughts as it likes",
        {"thinking": {"type": "adaptive"}},
        ("thinking",),
        {
            "openrouter": "reasoning.enabled",
            "anthropic": "thinking.type",
            "bedrock": f"{BEDROCKS}.type",
            "google": f"{GOOGLES}.includeThoughts",
            "cohere": "thinking.type",
        },
        lambda value: value in ("adaptive", "enabled", True),
    ),
    Wish(
        "the highest effort",
        {"thinking": {"type": "adaptive"}, "output_config": {"effort": "max"}},
        ("output_config.effort",),
        {
            "openai": "reasoning_effort",
            "openrouter": "reasoning.effort",
            "mistral": "reasoning_effort",
            "anthropic": "output_config.effort",
            "bedrock": f"{BEDROCKS}.budget_tokens",
            "google": f"{GOOGLES}.thinkingLevel",
            "cohere": "thinking.type",
            "replicate": "input.reasoning_effort",
        },
        lambda value: value in ("max", "HIGH", "enabled", 4096 * 3 // 4),
    ),
    Wish(
        "the likeliest tokens",
        {"extra_body": {"top_k": 7}},
        ("top_k",),
        {
            "openai": "top_k",
            "openrouter": "top_k",
            "mistral": "top_k",
            "anthropic": "top_k",
            "bedrock": "additionalModelRequestFields.top_k",
            "google": "generationConfig.topK",
            "cohere": "k",
            "replicate": "input.top_k",
        },
        lambda value: value == 7,
    ),
)


NOTHING_TO_SAY = {("no thoughts", "bedrock"), ("the likeliest tokens", "anthropic")}
"""The one's model does not think unless it is told to; the other's API has no such parameter any more and says so."""


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize(
    ("wish", "kind"),
    [
        pytest.param(wish, kind, id=f"{wish.name}, {kind}")
        for wish in WISHES
        for kind in KINDS
        if (wish.name, kind) not in NOTHING_TO_SAY
    ],
)
async def test_a_setting_of_theirs_arrives_or_is_told(street: Street, kind: str, wish: Wish) -> None:
    model = street.play(kind, Turn())
    before = len(street.received(kind))
    fields: Any = {"max_tokens": 4096, "messages": ASK, **wish.fields}

    raw = await street.anthropic.messages.with_raw_response.create(model=model, **fields)

    (body,) = street.received(kind)[before:]
    family = kind if kind == "openrouter" else FAMILIES.get(kind, "openai")
    found = at(body, wish.places[family]) if family in wish.places else None
    dropped = raw.headers.get("x-finops-dropped-params", "").split(", ")
    assert wish.wanted(found) is not any(param in dropped for param in wish.params), (found, dropped)


CLAUDE_CODE = "claude-code-20250219,interleaved-thinking-2025-05-14,prompt-caching-scope-2026-01-05"


@pytest.mark.asyncio(loop_scope="module")
async def test_betas_reach_claude_at_bedrock_as_far_as_it_knows_them(street: Street) -> None:
    model = street.play("bedrock", Turn())

    raw = await street.anthropic.messages.with_raw_response.create(
        model=model, max_tokens=9, messages=ASK, extra_headers={"anthropic-beta": CLAUDE_CODE}
    )

    body = street.received("bedrock")[-1]
    assert body["additionalModelRequestFields"] == {"anthropic_beta": ["interleaved-thinking-2025-05-14"]}
    assert raw.headers["x-finops-dropped-params"] == "anthropic-beta"


HISTORY: Any = [
    {"role": "user", "content": "Is it so?"},
    {
        "role": "assistant",
        "content": [
            {"type": "server_tool_use", "id": "srvtoolu_1", "name": "web_search", "input": {"query": "so"}},
            {
                "type": "web_search_tool_result",
                "tool_use_id": "srvtoolu_1",
                "content": [
                    {"type": "web_search_result", "url": "u", "title": "t", "encrypted_content": "e"}
                ],
            },
            {"type": "text", "text": "It is."},
        ],
    },
    {
        "role": "user",
        "content": [
            {
                "type": "search_result",
                "source": "https://example.org",
                "title": "Doubts",
                "content": [{"type": "text", "text": "It never was."}],
            }
        ],
    },
]


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize("kind", KINDS)
async def test_a_conversation_with_traces_of_servers_goes_on_with_any_model(
    street: Street, kind: str
) -> None:
    model = street.play(kind, Turn())

    raw = await street.anthropic.messages.with_raw_response.create(
        model=model, max_tokens=9, messages=HISTORY
    )

    body = street.received(kind)[-1]
    assert holds("It is.")(body) and holds("It never was.")(body) and holds("Doubts")(body)
    dropped = raw.headers.get("x-finops-dropped-params", "").split(", ")
    traces = {"messages.server_tool_use", "messages.web_search_tool_result"}
    assert traces.issubset(dropped) is (kind != "anthropic")
    assert holds("srvtoolu_1")(body) is (kind == "anthropic")


THOUGHT = "Let me look around first."
SIGNED = ("anthropic", "bedrock")
"""They sign what they think."""
TAKES_ITS_THOUGHTS = ("xai", "openrouter", "nebius", "parasail", "cohere", "ollama", "vllm", "sgl")


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize("streamed", [False, True])
@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "replicate"])
async def test_in_a_loop_of_tools_a_model_gets_back_what_it_thought(
    street: Street, kind: str, streamed: bool
) -> None:
    asking: Any = {"max_tokens": 99, "tools": [LOOK]}
    model = street.play(kind, Turn(thought=THOUGHT, calls=(Call("callone01", "look", {"path": "/"}),)))
    if streamed:
        async with street.anthropic.messages.stream(model=model, messages=ASK, **asking) as stream:
            said: Any = await stream.get_final_message()
    else:
        said = await street.anthropic.messages.create(model=model, messages=ASK, **asking)
    (call,) = (block for block in said.content if block.type == "tool_use")
    told = [block.model_dump(exclude_none=True) for block in said.content]
    result: Any = {"type": "tool_result", "tool_use_id": call.id, "content": "a.txt"}
    loop: Any = [*ASK, {"role": "assistant", "content": told}, {"role": "user", "content": [result]}]

    model = street.play(kind, Turn(text="There is a.txt."))
    await street.anthropic.messages.create(model=model, messages=loop, **asking)
    body = street.received(kind)[-1]
    assert holds(THOUGHT)(body) is (kind in SIGNED + TAKES_ITS_THOUGHTS)

    answered: Any = [*loop, {"role": "assistant", "content": "There is a.txt."}, *ASK]
    await street.anthropic.messages.create(model=model, messages=answered, **asking)
    assert holds(THOUGHT)(street.received(kind)[-1]) is (kind in SIGNED)
