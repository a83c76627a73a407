"""A gateway before the fakes of Hugging Face's router and hub, with the calls of its own library to judge it by."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from email import message_from_bytes, policy
from pathlib import Path
from typing import Any

import msgspec
import openai
from huggingface_hub.inference._providers import get_provider_helper

from shared.governance.model import PriceOverride
from tests.support.gateway import RunningGateway, running_gateway
from tests.support.providers.houses import known_to_gateways, running_house
from tests.support.providers.hub_client import ROUTER, hub_client_at
from tests.support.providers.inference import (
    EDITOR,
    EMBEDDER,
    JOB,
    PAINTER,
    FakeProviders,
    Sent,
)
from tests.support.upstream.answers import PIXEL

QUEUE = f"/fal-ai/fal-ai/flux-kontext/requests/{JOB}"
PRICES = (
    PriceOverride(model=f"huggingface/fal-ai/{PAINTER}", per_image_nanos=25_000_000),
    PriceOverride(model=f"huggingface/together/{EMBEDDER}", input_per_million_nanos=1_000_000_000),
)


@dataclass
class Place:
    """`openai` is a client of the gateway, `url` the address of the fakes."""

    fake: FakeProviders
    gateway: RunningGateway
    openai: openai.AsyncOpenAI
    url: str

    async def theirs(self, provider: str, task: str, model: str, inputs: Any, **parameters: Any) -> Any:
        """The call that the vendor's library would make: path, content type, what Replicate is told, and body."""

        def prepared() -> Any:
            helper: Any = get_provider_helper(provider, task, model)  # type: ignore[arg-type]  # a name
            return helper.prepare_request(
                inputs=inputs, parameters=parameters, headers={}, model=model, api_key=self.fake.key
            )

        with hub_client_at(self.url):
            request = await asyncio.to_thread(prepared)
        headers: Mapping[str, str] = request.headers
        assert headers["authorization"] == f"Bearer {self.fake.key}"
        body = request.json if request.json is not None else fields(request.data, headers["content-type"])
        path = request.url.removeprefix(ROUTER)
        return path, headers["content-type"].partition(";")[0], headers.get("prefer"), body

    def draw(self, provider: str, **fields: Any) -> Any:
        return self.openai.images.generate(
            model=f"huggingface/{provider}/{PAINTER}", prompt="a cat", **fields
        )

    def edit(self, provider: str, **fields: Any) -> Any:
        model = f"huggingface/{provider}/{EDITOR}"
        return self.openai.images.edit(model=model, prompt="a hat", image=("a.png", PIXEL), **fields)


def fields(form: bytes, content_type: str) -> dict[str, Any]:
    """A form as the fakes read it, by Python's own parser of mail."""
    head = f"Content-Type: {content_type}\r\n\r\n".encode()
    found: dict[str, Any] = {}
    part: Any
    for part in message_from_bytes(head + form, policy=policy.default).iter_parts():
        data, filename = part.get_payload(decode=True), part.get_filename()
        name = part["content-disposition"].params["name"]
        found[name] = data.decode() if filename is None else (data, filename, part.get_content_type())
    return found


def call(sent: Sent) -> Any:
    return sent.path, sent.headers["content-type"].partition(";")[0], sent.headers.get("prefer"), sent.body


@asynccontextmanager
async def place(tmp_path: Path, hub: str = "", **overrides: Any) -> AsyncIterator[Place]:
    async with running_house("huggingface") as house:
        root = house.url.removesuffix("/v1")
        with known_to_gateways(house):
            options = {"hub_url": hub or root}
            provider = msgspec.structs.replace(house.provider(), models=None, options=options, **overrides)
            async with (
                running_gateway(tmp_path, provider, *PRICES) as gateway,
                openai.AsyncOpenAI(base_url=f"{gateway.url}/v1", api_key="none", max_retries=0) as client,
            ):
                yield Place(house.fake.others, gateway, client, root)
