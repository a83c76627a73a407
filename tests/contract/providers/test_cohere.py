"""Cohere's own client takes the fake for Cohere, and the gateway for a server that ranks."""

from pathlib import Path

import cohere
import pytest

from shared.governance.model import PriceOverride, Provider
from tests.support.gateway import running_gateway
from tests.support.providers.cohere import running_cohere

HELLO: cohere.ChatMessages = [cohere.UserChatMessageV2(content="hi")]


async def test_the_vendors_client_works_with_the_fake() -> None:
    async with (
        running_cohere() as (fake, url),
        cohere.AsyncClientV2(api_key="none", base_url=url) as client,
    ):
        said = await client.chat(model="command-a-03-2025", messages=HELLO)
        events = [event.type async for event in client.chat_stream(model="m", messages=HELLO)]
        vectors = await client.embed(
            model="embed-v4.0", input_type="search_query", texts=["a"], embedding_types=["float"]
        )
        ranking = await client.rerank(model="rerank-v3.5", query="q", documents=["a", "b"])
        heard = await client.audio.transcriptions.create(
            model="cohere-transcribe-03-2026", language="en", file=("a.wav", b"RIFF"), temperature=0.2
        )
        models = await client.models.list()
        fake.refusal = (429, {"message": "slow down"})
        with pytest.raises(cohere.TooManyRequestsError):
            await client.rerank(model="m", query="q", documents=["a"], request_options={"max_retries": 0})

    assert said.message.content is not None and said.message.content[0].type == "text"
    assert events[0] == "message-start" and events[-1] == "message-end"
    assert vectors.embeddings.float_ == [[0.25, -0.5, 0.0]]
    assert [item.index for item in ranking.results] == [1, 0]
    assert heard.text == "Hello there."
    assert len(models.models) == 4


@pytest.mark.proves(provider="cohere", operation="rerank")
async def test_the_vendors_client_ranks_through_the_gateway(tmp_path: Path) -> None:
    price = PriceOverride(model="cohere/rerank-v3.5", per_request_nanos=2_000_000)
    async with running_cohere() as (fake, url):
        fake.search_units = 3.0
        provider = Provider(name="cohere", type="cohere", base_url=url, models=("rerank-v3.5",))
        async with running_gateway(tmp_path, provider, price) as gateway:
            async with cohere.AsyncClient(api_key="none", base_url=gateway.url) as client:
                ranking = await client.rerank(
                    model="cohere/rerank-v3.5",
                    query="capital",
                    documents=["Paris", {"text": "Rome"}, "Oslo"],
                    top_n=2,
                    return_documents=True,
                )
            (logged,) = await gateway.logged()

    assert [(item.index, item.document and item.document.text) for item in ranking.results] == [
        (1, "Rome"),
        (0, "Paris"),
    ]
    assert ranking.meta is not None and ranking.meta.billed_units is not None
    assert ranking.meta.billed_units.search_units == 3
    assert fake.requests[0]["documents"] == ["Paris", "Rome", "Oslo"]
    assert (logged.endpoint, logged.cost_nanos, logged.cost_basis) == ("rerank", 6_000_000, "priced")
