"""Tokens counted by the providers that have a call for it, through a whole gateway and by Anthropic's own client."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import anthropic
import msgspec
import pytest

from shared.events import RequestLogged, UsageRecorded
from shared.governance.model import Provider
from tests.support.gateway import RunningGateway, running_gateway
from tests.support.providers.bedrock import CLAUDE, FakeBedrock, Reply
from tests.support.providers.gemini import FakeGoogle
from tests.support.providers.gemini_counts import CLAUDES_COUNT
from tests.support.providers.houses import MODELS, House, known_to_gateways, running_house
from tests.support.providers.script import Turn

PICTURE: Final = "iVBORw0KGgo="
GEMINI: Final = MODELS["gemini"]
VERTEX_CLAUDE: Final = "claude-opus-4-1@20250805"
ASKED: Final[dict[str, Any]] = {
    "system": "Be brief.",
    "messages": [
        {
            "role": "user",
            "content": [
                {"type": "text", "text": "Where is it warmer?"},
                {
                    "type": "image",
                    "source": {"type": "base64", "media_type": "image/png", "data": PICTURE},
                },
            ],
        },
        {
            "role": "assistant",
            "content": [{"type": "tool_use", "id": "toolu_1", "name": "look", "input": {"city": "Oslo"}}],
        },
        {
            "role": "user",
            "content": [{"type": "tool_result", "tool_use_id": "toolu_1", "content": "It rains."}],
        },
    ],
    "tools": [
        {
            "name": "look",
            "description": "Look.",
            "input_schema": {"type": "object", "properties": {"city": {"type": "string"}}},
        }
    ],
}
SHORT: Final[Any] = [{"role": "user", "content": "one two three four five"}]


@dataclass
class Stage:
    houses: dict[str, House]
    gateway: RunningGateway
    client: anthropic.AsyncAnthropic

    @property
    def aws(self) -> FakeBedrock:
        fake: FakeBedrock = self.houses["bedrock"].fake
        return fake

    def google(self, kind: str) -> FakeGoogle:
        fake: FakeGoogle = self.houses[kind].fake
        return fake

    async def count(self, model: str, messages: Any = SHORT, **fields: Any) -> int:
        return (
            await self.client.messages.count_tokens(model=model, messages=messages, **fields)
        ).input_tokens

    async def counted_for_nothing(self) -> RequestLogged:
        """What stands on the log of the only request."""
        (logged,) = await self.gateway.logged()
        used = await self.gateway.usage(UsageRecorded)
        assert (logged.endpoint, logged.outcome) == ("messages.count_tokens", "success")
        assert [(event.cost_nanos, event.tokens.prompt) for event in used] == [(0, 0)]
        return logged


def _open(house: House) -> Provider:
    """It, for any model that is asked for, without being asked for its models."""
    return msgspec.structs.replace(
        house.provider(),
        models=(
            house.provider().models[0],  # type: ignore[index]  # houses have models
            "aqa", VERTEX_CLAUDE, "claude-sonnet-4-6@default", "claude-3-haiku@20240307",
            "mistral-medium-3", f"eu.{CLAUDE}", "amazon.nova-pro-v1:0",
        ),
    )  # fmt: skip


@pytest.fixture
async def stage(tmp_path: Path) -> AsyncIterator[Stage]:
    async with (
        running_house("gemini") as gemini,
        running_house("vertex") as vertex,
        running_house("bedrock") as bedrock,
    ):
        houses = (gemini, vertex, bedrock)
        with known_to_gateways(*houses):
            async with (
                running_gateway(tmp_path, *map(_open, houses)) as gateway,
                anthropic.AsyncAnthropic(base_url=gateway.url, api_key="none", max_retries=0) as client,
            ):
                yield Stage({house.kind: house for house in houses}, gateway, client)


@pytest.mark.proves(provider=("gemini", "vertex"), operation="messages.count_tokens")
@pytest.mark.parametrize("kind", ["gemini", "vertex"])
async def test_google_counts_what_it_would_be_asked(stage: Stage, kind: str) -> None:
    fake = stage.google(kind)
    fake.play(Turn(prompt=321))

    assert await stage.count(f"{kind}/{GEMINI}", **ASKED) == 321

    logged = await stage.counted_for_nothing()
    assert (logged.provider, logged.model) == (kind, GEMINI)
    await stage.client.messages.create(model=f"{kind}/{GEMINI}", max_tokens=9, **ASKED)
    (path, chat_path), (count, chat) = fake.paths, fake.bodies
    assert path == chat_path.replace(":generateContent", ":countTokens")
    if kind == "gemini":
        count = count["generateContentRequest"]
        assert count.pop("model") == f"models/{GEMINI}"
    assert chat.pop("generationConfig") == {"maxOutputTokens": 9}
    assert count == chat
    assert set(count) == {"contents", "systemInstruction", "tools"}


@pytest.mark.proves(provider="vertex", operation="messages.count_tokens")
async def test_claude_on_vertex_is_counted_as_anthropics_client_asks(stage: Stage) -> None:
    house, fake = stage.houses["vertex"], stage.google("vertex")
    fake.tokens.append("ya29.the-sdks-own")
    async with anthropic.AsyncAnthropicVertex(
        base_url=f"{house.url}/v1", region="europe-west4", project_id="acme-1", access_token=fake.tokens[0]
    ) as theirs:
        judged = await theirs.messages.count_tokens(model=VERTEX_CLAUDE, messages=SHORT)

    assert await stage.count(f"vertex/{VERTEX_CLAUDE}") == judged.input_tokens == CLAUDES_COUNT

    await stage.counted_for_nothing()
    assert fake.paths[0] == fake.paths[1]
    assert fake.bodies[1] == fake.bodies[0]


async def test_claude_on_vertex_is_counted_with_all_that_it_would_be_asked(stage: Stage) -> None:
    fake = stage.google("vertex")
    choice: Any = {"type": "any"}

    await stage.count(f"vertex/{VERTEX_CLAUDE}", **ASKED, tool_choice=choice)

    await stage.client.messages.create(
        model=f"vertex/{VERTEX_CLAUDE}", max_tokens=9, **ASKED, tool_choice=choice
    )
    count, chat = fake.bodies
    assert count.pop("model") == VERTEX_CLAUDE
    assert chat.pop("max_tokens") == 9
    assert count == chat


@pytest.mark.parametrize("prefix", ["", "eu."])
@pytest.mark.proves(provider="bedrock", operation="messages.count_tokens")
async def test_bedrock_counts_what_it_would_be_asked(stage: Stage, prefix: str) -> None:
    """A profile is counted as the model behind it."""
    thinking: Any = {"type": "enabled", "budget_tokens": 2048}

    assert await stage.count(f"bedrock/{prefix}{CLAUDE}", **ASKED, thinking=thinking) == 20

    logged = await stage.counted_for_nothing()
    assert logged.model == prefix + CLAUDE
    await stage.client.messages.create(
        model=f"bedrock/{prefix}{CLAUDE}", max_tokens=4000, **ASKED, thinking=thinking
    )
    count, chat = stage.aws.asked
    assert count.params["modelId"] == CLAUDE
    assert chat.params.pop("inferenceConfig") == {"maxTokens": 4000}
    assert {"modelId": prefix + CLAUDE, **count.params["input"]["converse"]} == chat.params


@pytest.mark.parametrize(
    ("model", "asked"),
    [
        ("gemini/aqa", 1),
        ("vertex/claude-3-haiku@20240307", 1),
        ("vertex/mistral-medium-3", 0),
        ("bedrock/amazon.nova-pro-v1:0", 1),
    ],
)
async def test_a_model_that_nobody_counts_is_estimated(stage: Stage, model: str, asked: int) -> None:
    few = await stage.count(model)

    await stage.counted_for_nothing()
    assert 0 < few < await stage.count(model, messages=[{"role": "user", "content": "many words " * 200}])
    calls = sum(len(house.fake.received()) for house in stage.houses.values())
    assert calls == 2 * asked


async def test_a_location_without_a_counter_is_estimated(stage: Stage) -> None:
    stage.google("vertex").without_counter = {"europe-west4"}

    assert 0 < await stage.count(f"vertex/{VERTEX_CLAUDE}") < 100

    await stage.counted_for_nothing()


async def test_the_unnamed_version_of_claude_is_counted(stage: Stage) -> None:
    assert await stage.count("vertex/claude-sonnet-4-6@default") == CLAUDES_COUNT
    assert stage.google("vertex").bodies[0]["model"] == "claude-sonnet-4-6"


@pytest.mark.parametrize("model", [f"gemini/{GEMINI}", f"vertex/{GEMINI}", f"bedrock/{CLAUDE}"])
async def test_errors_of_the_count_are_told_in_anthropics_shape(stage: Stage, model: str) -> None:
    kind = model.partition("/")[0]
    stage.houses[kind].fake.play(Turn(fault="refused"))
    with pytest.raises(anthropic.BadRequestError) as refused:
        await stage.count(model)
    stage.houses[kind].fake.play(Turn(fault="limited"))
    with pytest.raises(anthropic.RateLimitError):
        await stage.count(model)

    body: Any = refused.value.body
    assert (body["type"], body["error"]["type"]) == ("error", "invalid_request_error")
    stage.houses[kind].fake.play(Turn())
    answer = await stage.client.messages.create(model=model, max_tokens=99, messages=SHORT)
    assert answer.content  # the limit was the counter's own


OF_CLAUDES_OWN: Final[dict[str, Any]] = {
    "messages": [
        {
            "role": "user",
            "content": [{"type": "document", "source": {"type": "file", "file_id": "file_011"}}],
        }
    ],
    "tools": [
        {"type": "bash_20250124", "name": "bash"},
        {"type": "web_search_20250305", "name": "web_search", "max_uses": 3},
        {
            "name": "look",
            "strict": True,
            "input_schema": {"type": "object", "properties": {"anything": {}}, "additionalProperties": False},
        },
    ],
    "mcp_servers": [{"type": "url", "name": "notes", "url": "https://example.org/mcp"}],
}
BETAS: Final = ["files-api-2025-04-14", "mcp-client-2025-11-20"]


async def test_claude_on_vertex_is_counted_with_what_is_its_own(stage: Stage) -> None:
    """The fake judges by the SDK's types, which know neither a container nor a limit on the answer in a count."""
    extra = {"container": "container_011", "max_tokens": 9, "speed": "fast"}

    counted = await stage.client.beta.messages.count_tokens(
        model=f"vertex/{VERTEX_CLAUDE}", betas=BETAS, extra_body=extra, **OF_CLAUDES_OWN
    )

    assert counted.input_tokens == CLAUDES_COUNT
    (asked,) = stage.google("vertex").bodies
    assert asked.pop("anthropic_beta") == [*BETAS, "token-counting-2024-11-01"]  # the client's own
    assert asked.pop("anthropic_version")
    assert asked == {"model": VERTEX_CLAUDE, "speed": "fast", **OF_CLAUDES_OWN}
    await stage.counted_for_nothing()


@pytest.mark.parametrize("model", [f"gemini/{GEMINI}", f"bedrock/{CLAUDE}", f"vertex/{GEMINI}"])
async def test_what_could_not_be_asked_is_estimated(stage: Stage, model: str) -> None:
    """Nobody is called for it: the chat would be refused, but a count need not be."""
    assert 0 < await stage.count(model, extra_body=OF_CLAUDES_OWN) < 1000

    assert [house.fake.received() for house in stage.houses.values()] == [[], [], []]
    await stage.counted_for_nothing()


async def test_an_answer_that_is_no_count_is_an_error(stage: Stage) -> None:
    stage.aws.replies += [Reply(fault="garbage")] * 2  # it is asked once more

    with pytest.raises(anthropic.APIStatusError) as caught:
        await stage.count(f"bedrock/{CLAUDE}")

    assert caught.value.status_code == 502
    (logged,) = await stage.gateway.logged()
    assert logged.cost_nanos == 0
