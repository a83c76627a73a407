"""Anthropic's clients before models of every provider: what they ask for arrives or is told, what they get is theirs."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anthropic
import openai
import pytest

from shared.governance.model import Credential, Provider
from tests.support.gateway import RunningGateway, running_gateway
from tests.support.providers.openai_wire import FakeOpenAI, running_openai
from tests.support.providers.quirks import QUIRKS
from tests.support.providers.script import Call, Document, Turn

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
