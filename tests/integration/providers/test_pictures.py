"""Pictures that are changed at Vertex AI and varied at Bedrock, through a whole gateway."""

import base64
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import msgspec
import openai
import pytest

from tests.support.gateway import running_gateway
from tests.support.providers.bedrock import Reply
from tests.support.providers.gemini import PNG
from tests.support.providers.houses import House, known_to_gateways, running_house


@asynccontextmanager
async def housed(tmp_path: Path, kind: str) -> AsyncIterator[tuple[House, openai.AsyncOpenAI]]:
    """The fake of one provider, and OpenAI's client of a gateway before it, which knows no models of it."""
    async with running_house(kind) as house:
        with known_to_gateways(house):
            provider = msgspec.structs.replace(house.provider(), models=None)
            async with (
                running_gateway(tmp_path, provider) as gateway,
                openai.AsyncOpenAI(base_url=f"{gateway.url}/v1", api_key="none", max_retries=0) as client,
            ):
                yield house, client


@pytest.mark.proves(provider="vertex", operation="images.edits")
async def test_vertex_changes_a_picture(tmp_path: Path) -> None:
    async with housed(tmp_path, "vertex") as (house, client):
        changed = await client.images.edit(
            model="vertex/gemini-2.5-flash-image", prompt="a dog", image=("a.png", PNG, "image/png")
        )

        assert changed.data and base64.b64decode(changed.data[0].b64_json or "") == PNG
        assert "inlineData" in house.fake.bodies[0]["contents"][0]["parts"][0]


@pytest.mark.parametrize("kind", ["gemini", "vertex"])
async def test_google_is_asked_for_each_of_several_pictures(tmp_path: Path, kind: str) -> None:
    async with housed(tmp_path, kind) as (house, client):
        answer = await client.images.generate(model=f"{kind}/gemini-2.5-flash-image", prompt="a dog", n=3)

        assert [base64.b64decode(one.b64_json or "") for one in answer.data or ()] == [PNG] * 3
        assert len(house.fake.bodies) == 3
        assert all(sent == house.fake.bodies[0] for sent in house.fake.bodies)


@pytest.mark.proves(provider="bedrock", operation="images.variations")
async def test_bedrock_varies_a_picture(tmp_path: Path) -> None:
    async with housed(tmp_path, "bedrock") as (house, client):
        picture = base64.b64encode(PNG).decode()
        house.fake.replies.append(Reply(body=msgspec.json.encode({"images": [picture]})))
        with pytest.warns(DeprecationWarning):
            answer = await client.images.create_variation(
                model="bedrock/amazon.nova-canvas-v1:0", image=("a.png", PNG, "image/png")
            )

        assert [one.b64_json for one in answer.data or ()] == [picture]
        sent = msgspec.json.decode(house.fake.asked[0].body)
        assert sent["taskType"] == "IMAGE_VARIATION"
        assert sent["imageVariationParams"] == {"images": [picture]}
