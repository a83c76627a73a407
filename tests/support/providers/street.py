"""One gateway before all houses, with the vendors' clients in front of it."""

from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import anthropic
import openai
import pytest

from services.gateway.providers.chat.images import Fetched
from services.gateway.providers.fetch import Fetcher
from shared.events import RequestLogged
from shared.topics import REQUESTS
from tests.support.eventually import eventually
from tests.support.gateway import RunningGateway, running_gateway
from tests.support.providers.gemini import PNG
from tests.support.providers.houses import (
    KINDS,
    MODELS,
    House,
    known_to_gateways,
    price_of,
    running_house,
)
from tests.support.providers.script import Document, Fault, Turn

FAULTS: Final[tuple[Fault, ...]] = (
    "refused",
    "denied",
    "limited",
    "overloaded",
    "error in 200",
    "error event",
    "break",
    "early",
    "stall",
    "no usage",
)
STALL_S: Final = 0.3
LISTED: Final = "listed"
"""Behind a kind: the same provider, asked for its models."""


@dataclass
class Street:
    """`openai` and `anthropic` are clients of the gateway."""

    houses: dict[str, House]
    gateway: RunningGateway
    openai: openai.AsyncOpenAI
    anthropic: anthropic.AsyncAnthropic

    def play(self, kind: str, turn: Turn) -> str:
        """Have the fake answer so; gives the model to ask for.

        Each fault has a provider of its own name, so that its rests and circuits are nobody else's.
        """
        self.houses[kind].fake.play(turn)
        return f"{named(kind, turn.fault)}/{MODELS[kind]}"

    def received(self, kind: str) -> list[Document]:
        found: list[Document] = self.houses[kind].fake.received()
        return found

    def left(self, kind: str) -> bool:
        """The gateway has left a stream that stalls."""
        return bool(self.houses[kind].fake.left.is_set())

    async def logged(self, response: Any) -> RequestLogged:
        """What stands on the log of the request that this answers."""
        request_id = response.headers["x-request-id"]

        async def found() -> RequestLogged | None:
            events = await self.gateway.events(REQUESTS)
            mine = [
                event
                for event in events
                if isinstance(event, RequestLogged) and event.request_id == request_id
            ]
            assert len(mine) <= 1
            return mine[0] if mine else None

        logged = await eventually(found)
        assert logged is not None
        return logged


async def _picture_everywhere(fetcher: Fetcher, urls: Sequence[str]) -> dict[str, Fetched]:
    """The internet: every https address in a request leads to the same picture."""
    return {url: Fetched("image/png", PNG) for url in urls}


def named(kind: str, suffix: str) -> str:
    """The name of a provider of this kind."""
    return f"{kind}-{suffix.replace(' ', '-')}" if suffix else kind


@asynccontextmanager
async def running_street(directory: Path, *kinds: str) -> AsyncIterator[Street]:
    """All kinds, or these."""
    async with AsyncExitStack() as stack:
        patch = stack.enter_context(pytest.MonkeyPatch.context())
        patch.setattr(Fetcher, "fetch", _picture_everywhere)
        houses = [await stack.enter_async_context(running_house(kind)) for kind in kinds or KINDS]
        stack.enter_context(known_to_gateways(*houses))
        entities: list[Any] = []
        for house in houses:
            names = [named(house.kind, fault) for fault in ("", *FAULTS)]
            entities += [house.provider(name, stall_s=STALL_S) for name in names]
            entities += [price_of(name, house.kind) for name in names]
            entities.append(house.provider(named(house.kind, LISTED), listed=True))
        gateway = await stack.enter_async_context(running_gateway(directory, *entities))
        first = await stack.enter_async_context(
            openai.AsyncOpenAI(base_url=f"{gateway.url}/v1", api_key="none", max_retries=0)
        )
        second = await stack.enter_async_context(
            anthropic.AsyncAnthropic(base_url=gateway.url, api_key="none", max_retries=0)
        )
        yield Street({house.kind: house for house in houses}, gateway, first, second)
