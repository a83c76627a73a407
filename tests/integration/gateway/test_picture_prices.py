"""Pictures have their vendor's list price, by quality and size, and the log says enough to check it."""

import base64
import struct
from pathlib import Path
from typing import Any

import msgspec
import openai
import pytest
from openai.types import ImagesResponse

from shared.events import RequestLogged, RequestStarted, UsageRecorded
from shared.governance.model import Credential, PriceOverride, Provider
from shared.governance.money import usd_from_nanos
from shared.pricing.book import PriceBook
from shared.pricing.cost import cost_nanos
from shared.pricing.model import Picture
from tests.support.gateway import running_gateway, served
from tests.support.providers.bedrock import STATIC, Reply, running_bedrock
from tests.support.upstream.app import Receive, Scope, Send

NOVA = "amazon.nova-canvas-v1:0"


class Painter:
    """Answers as dall-e-3 does: with pictures, and nothing about them."""

    def __init__(self) -> None:
        self.asked: list[dict[str, Any]] = []

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.asked.append(msgspec.json.decode((await receive())["body"]))
        document = {"created": 1, "data": [{"b64_json": "QUJD", "revised_prompt": "A cat."}]}
        body = ImagesResponse.model_validate(document).model_dump_json(exclude_none=True).encode()
        head = [(b"content-type", b"application/json")]
        await send({"type": "http.response.start", "status": 200, "headers": head})
        await send({"type": "http.response.body", "body": body})


def checked(kind: str, *events: UsageRecorded | RequestLogged) -> None:
    """What an auditor does: the price book of this version, and nothing but the event."""
    for event in events:
        price = PriceBook().price(event.provider, kind, event.model, event.started_at_ms)
        assert price is not None
        assert event.price_version == PriceBook().version
        picture = Picture(event.image_quality, event.image_size)
        assert event.cost_nanos == cost_nanos(price.in_tier(event.service_tier), event.tokens, picture)


@pytest.mark.parametrize(
    ("asked", "sent", "nanos", "recorded"),
    [
        ({"quality": "hd", "size": "1792x1024"}, "1792x1024", 120_000_000, ("hd", "1792x1024")),
        ({"size": "512x512"}, "1024x1024", 40_000_000, ("standard", "1024x1024")),
        ({}, None, 40_000_000, ("standard", "1024x1024")),
    ],
)
async def test_dall_e_3(
    tmp_path: Path, asked: dict[str, Any], sent: str | None, nanos: int, recorded: tuple[str, str]
) -> None:
    painter = Painter()
    async with served(painter) as url:
        provider = Provider(name="p", type="openai", base_url=f"{url}/v1", models=("dall-e-3",))
        async with (
            running_gateway(tmp_path, provider) as gateway,
            openai.AsyncOpenAI(base_url=f"{gateway.url}/v1", api_key="none", max_retries=0) as client,
        ):
            answer = await client.images.with_raw_response.generate(
                model="p/dall-e-3", prompt="a cat", **asked
            )
            (logged,) = await gateway.logged()
            (started,) = await gateway.usage(RequestStarted)
            (usage,) = await gateway.usage(UsageRecorded)

    assert painter.asked[0].get("size") == sent
    assert answer.headers["x-finops-cost"] == usd_from_nanos(nanos)
    assert started.reserved_nanos == usage.cost_nanos == logged.cost_nanos == nanos
    assert usage.cost_basis == logged.cost_basis == "priced"
    assert (usage.image_quality, usage.image_size) == recorded == (logged.image_quality, logged.image_size)
    checked("openai", usage, logged)


async def test_the_operators_price_wins(tmp_path: Path) -> None:
    async with served(Painter()) as url:
        provider = Provider(name="p", type="openai", base_url=f"{url}/v1", models=("dall-e-3",))
        price = PriceOverride(model="p/dall-e-3", per_image_nanos=5)
        async with (
            running_gateway(tmp_path, provider, price) as gateway,
            openai.AsyncOpenAI(base_url=f"{gateway.url}/v1", api_key="none", max_retries=0) as client,
        ):
            await client.images.generate(model="p/dall-e-3", prompt="a cat", quality="hd")
            (logged,) = await gateway.logged()

    assert (logged.cost_nanos, logged.cost_basis) == (5, "priced")
    assert logged.price_version.startswith(PriceBook().version + "+")


def png(width: int, height: int) -> str:
    head = b"\x89PNG\r\n\x1a\n" + struct.pack(">I4sII", 13, b"IHDR", width, height)
    return base64.b64encode(head + bytes(9)).decode()


async def test_nova_canvas_by_what_it_drew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_TEST_KEYS", STATIC)
    async with running_bedrock() as (fake, url):
        keys = Credential(name="main", env="AWS_TEST_KEYS")
        provider = Provider(name="bedrock", type="bedrock", base_url=url, credentials=(keys,))
        fake.replies += [
            Reply(body=msgspec.json.encode({"images": [png(2048, 1024)] * 2})),
            Reply(body=msgspec.json.encode({"images": [png(1536, 1536)]})),
        ]
        async with (
            running_gateway(tmp_path, provider) as gateway,
            openai.AsyncOpenAI(base_url=f"{gateway.url}/v1", api_key="none", max_retries=0) as client,
        ):
            model = f"bedrock/{NOVA}"
            sides: Any = "2048x1024"
            await client.images.generate(model=model, prompt="a cat", n=2, quality="hd", size=sides)
            # as large as the picture it is made of
            await client.images.edit(
                model=model,
                prompt="a hat",
                image=("a.png", b"PNG"),
                extra_body={"mask_prompt": "the head"},
            )
            made, changed = await gateway.logged(2)
            started = await gateway.usage(RequestStarted)
            usage = await gateway.usage(UsageRecorded)

    assert (made.cost_nanos, made.image_quality, made.image_size) == (160_000_000, "premium", "2048x1024")
    assert (changed.cost_nanos, changed.image_quality, changed.image_size) == (
        60_000_000,
        "standard",
        "1536x1536",
    )
    held = {event.request_id: event.reserved_nanos for event in started}
    assert (held[made.request_id], held[changed.request_id]) == (160_000_000, 60_000_000)
    checked("bedrock", made, changed, *usage)
