"""Claude at Vertex AI through a whole gateway, for clients of OpenAI's and of Anthropic's."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import anthropic
import pytest

from tests.support.providers.anthropic import USAGE, judged
from tests.support.providers.vertex_stage import CLAUDE, PROJECT, REGION, TOKEN, Stage, vertex_stage


@pytest.fixture
async def stage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Stage]:
    async with vertex_stage(tmp_path, monkeypatch) as stage:
        yield stage


@pytest.mark.parametrize("stream", [False, True])
async def test_claude_is_asked_as_anthropics_sdk_asks(stage: Stage, stream: bool) -> None:
    stage.fake.tokens.append(TOKEN)
    model = CLAUDE
    async with anthropic.AsyncAnthropicVertex(
        base_url=f"{stage.url}/v1", region=REGION, project_id=PROJECT, access_token=TOKEN
    ) as theirs:
        said: Any = await theirs.messages.create(
            model=model,
            max_tokens=99,
            messages=[{"role": "user", "content": "Hi"}],
            stream=stream,
        )
        assert [event async for event in said] if stream else said.content[0].text == "Bonjour."
    answer = await stage.ask("Hi", f"vertex/{model}", stream=stream, max_tokens=99)
    if stream:
        text = "".join([chunk.choices[0].delta.content or "" async for chunk in answer if chunk.choices])
    else:
        text = answer.choices[0].message.content

    assert text == "Bonjour."
    assert stage.fake.paths[0] == stage.fake.paths[1]
    theirs_body, ours = stage.fake.bodies
    assert ours.keys() | {"stream"} == theirs_body.keys() | {"stream"}
    assert bool(ours.get("stream")) is stream
    assert ours.pop("anthropic_version") == theirs_body["anthropic_version"]
    judged("/messages", {"model": model, **ours})


AGENTS: Any = {
    "max_tokens": 9000,
    "system": [{"type": "text", "text": "Be brief.", "cache_control": {"type": "ephemeral", "ttl": "1h"}}],
    "messages": [{"role": "user", "content": "Hi"}],
    "thinking": {"type": "enabled", "budget_tokens": 4000},
    "tools": [
        {"type": "bash_20250124", "name": "bash"},
        {"type": "web_search_20250305", "name": "web_search", "max_uses": 3},
        {"name": "look", "input_schema": {"type": "object"}},
    ],
}
"""What only Claude's own format has, too."""


def anthropics_own(stage: Stage) -> anthropic.AsyncAnthropicVertex:
    stage.fake.tokens.append(TOKEN)
    return anthropic.AsyncAnthropicVertex(
        base_url=f"{stage.url}/v1", region=REGION, project_id=PROJECT, access_token=TOKEN, max_retries=0
    )


def before_the_gateway(stage: Stage) -> anthropic.AsyncAnthropic:
    return anthropic.AsyncAnthropic(base_url=stage.gateway.url, api_key="none", max_retries=0)


@pytest.mark.proves(provider="vertex", operation="messages")
@pytest.mark.parametrize("stream", [False, True])
async def test_anthropics_clients_reach_claude_untranslated(stage: Stage, stream: bool) -> None:
    async with anthropics_own(stage) as theirs, before_the_gateway(stage) as ours:
        for client, model in ((theirs, CLAUDE), (ours, f"vertex/{CLAUDE}")):
            if stream:
                async with client.messages.stream(model=model, **AGENTS) as events:
                    said = await events.get_final_message()
            else:
                said = await client.messages.create(model=model, **AGENTS)
            assert [block.type for block in said.content] == ["text"]
            assert (said.stop_reason, said.usage.output_tokens) == ("end_turn", USAGE["output_tokens"])

    assert stage.fake.paths[0] == stage.fake.paths[1]
    assert stage.fake.bodies[0] == stage.fake.bodies[1]
    (logged,) = await stage.gateway.logged()
    assert (logged.endpoint, logged.outcome, logged.finish_reason) == ("messages", "success", "stop")
    assert logged.tokens.prompt == 11 + 100 + 30


async def test_betas_stand_in_the_body(stage: Stage) -> None:
    betas = ["context-1m-2025-08-07", "interleaved-thinking-2025-05-14"]
    edits: Any = {"edits": [{"type": "clear_tool_uses_20250919"}]}
    async with anthropics_own(stage) as theirs, before_the_gateway(stage) as ours:
        asked: Any = {**AGENTS, "betas": betas, "context_management": edits}
        with pytest.raises(anthropic.BadRequestError, match="context_management"):
            await theirs.messages.create(model=CLAUDE, **AGENTS, extra_body={"context_management": edits})
        await ours.beta.messages.create(model=f"vertex/{CLAUDE}", **asked)
        await ours.messages.create(
            model=f"vertex/{CLAUDE}",
            **AGENTS,
            extra_body={"anthropic_beta": ["context-1m-2025-08-07"], "context_management": edits},
            extra_headers={"anthropic-beta": "interleaved-thinking-2025-05-14, context-1m-2025-08-07"},
        )
        with pytest.raises(anthropic.BadRequestError, match="anthropic_beta"):
            await ours.messages.create(model=f"vertex/{CLAUDE}", **AGENTS, extra_body={"anthropic_beta": "a"})
    await stage.ask("Hi", f"vertex/{CLAUDE}", extra_headers={"anthropic-beta": ",".join(betas)})

    assert [body["anthropic_beta"] for body in stage.fake.bodies] == [betas] * 3
    assert [body.get("context_management") for body in stage.fake.bodies] == [edits, edits, None]


async def test_what_vertex_refuses_of_a_clients_own_is_told_in_its_words(stage: Stage) -> None:
    async with before_the_gateway(stage) as ours:
        with pytest.raises(anthropic.BadRequestError, match="surprise"):
            await ours.messages.create(model=f"vertex/{CLAUDE}", **AGENTS, extra_body={"surprise": 1})

    assert stage.fake.bodies == []


@pytest.mark.parametrize(
    ("said", "sent"),
    [("2023-06-01", "vertex-2023-10-16"), ("2026-10-21", "2026-10-21"), ("2099-01-01", "")],
)
async def test_a_clients_version_is_kept_in_the_words_of_vertex(stage: Stage, said: str, sent: str) -> None:
    async with before_the_gateway(stage) as ours:
        asking = ours.messages.create(
            model=f"vertex/{CLAUDE}", **AGENTS, extra_headers={"anthropic-version": said}
        )
        if sent:
            await asking
        else:
            with pytest.raises(anthropic.BadRequestError, match="anthropic_version"):
                await asking

    assert [body["anthropic_version"] for body in stage.fake.bodies] == ([sent] if sent else [])
