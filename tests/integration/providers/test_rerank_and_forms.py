"""Operations of the OpenAI wire beside chat: ranking at a server of one's own, variations, translations."""

from pathlib import Path
from typing import Any

import cohere
import msgspec
import openai
import pytest

from shared.governance.model import PriceOverride, Provider
from tests.support.gateway import mock_provider, running_gateway, served
from tests.support.upstream import running_upstream
from tests.support.upstream.answers import PIXEL
from tests.support.upstream.app import Receive, Scope, Send


class Ranker:
    """A server in the manner of vLLM: it ranks at `/rerank`, and below `/v1` where it is told to."""

    def __init__(self, *, below_v1: bool) -> None:
        self.paths: list[str] = []
        self._below_v1 = below_v1

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.paths.append(scope["path"])
        asked: dict[str, Any] = msgspec.json.decode((await receive())["body"])
        known = scope["path"] == "/rerank" or self._below_v1
        results = [
            {"index": index, "document": {"text": text}, "relevance_score": 0.5}
            for index, text in enumerate(asked["documents"])
        ]
        answer = {"id": "r-1", "model": asked["model"], "usage": {"total_tokens": 56}, "results": results}
        body = msgspec.json.encode(answer if known else {"detail": "Not Found"})
        headers = [(b"content-type", b"application/json")]
        await send({"type": "http.response.start", "status": 200 if known else 404, "headers": headers})
        await send({"type": "http.response.body", "body": body})


@pytest.mark.parametrize("below_v1", [True, False])
@pytest.mark.proves(provider="vllm", operation="rerank")
async def test_a_ranking_is_asked_for_at_both_addresses(tmp_path: Path, below_v1: bool) -> None:
    server = Ranker(below_v1=below_v1)
    price = PriceOverride(model="mine/bge-reranker", input_per_million_nanos=1_000_000_000)
    async with served(server) as url:
        provider = Provider(name="mine", type="vllm", base_url=f"{url}/v1", models=("bge-reranker",))
        async with (
            running_gateway(tmp_path, provider, price) as gateway,
            cohere.AsyncClient(api_key="none", base_url=gateway.url) as client,
        ):
            ranking = await client.rerank(model="mine/bge-reranker", query="q", documents=["a", "b"])
            (logged,) = await gateway.logged()

    assert [item.index for item in ranking.results] == [0, 1]
    assert server.paths == (["/v1/rerank"] if below_v1 else ["/v1/rerank", "/rerank"])
    assert (logged.tokens.prompt, logged.cost_nanos, logged.cost_basis) == (56, 56_000, "priced")
    assert len(logged.attempts) == 1


async def test_a_provider_that_cannot_rank_is_not_asked(tmp_path: Path) -> None:
    async with (
        running_upstream() as upstream,
        running_gateway(tmp_path, mock_provider(upstream.url)) as gateway,
        gateway.http.post(
            "/v1/rerank", json={"model": "mock/gpt-4o-mini", "query": "q", "documents": ["a"]}
        ) as response,
    ):
        assert response.status == 400
        assert (await response.json())["error"]["code"] == "operation_not_supported"
        assert upstream.app.requests == []


async def test_variations_and_translations(tmp_path: Path) -> None:
    price = PriceOverride(model="mock/dall-e-2", per_image_nanos=20_000_000)
    provider = {"models": ("dall-e-2", "whisper-1")}
    async with (
        running_upstream() as upstream,
        running_gateway(tmp_path, mock_provider(upstream.url, **provider), price) as gateway,
        openai.AsyncOpenAI(base_url=f"{gateway.url}/v1", api_key="none", max_retries=0) as client,
    ):
        with pytest.warns(DeprecationWarning):
            pictures = await client.images.create_variation(
                model="mock/dall-e-2", image=("a.png", PIXEL), size="512x512"
            )
        with pytest.warns(DeprecationWarning):
            heard = await client.audio.translations.create(
                model="mock/whisper-1", file=("a.wav", b"RIFF"), response_format="json"
            )

        assert pictures.data is not None and len(pictures.data) == 1
        assert heard.text == "mock transcript"
        paths = [request["path"] for request in upstream.app.requests]
        assert paths == ["/images/variations", "/audio/translations"]
        first, second = await gateway.logged(2)
        assert (first.endpoint, first.tokens.images) == ("images.variations", 1)
        assert first.cost_nanos == 20_000_000
        assert (second.endpoint, second.tokens.audio_ms) == ("audio.translations", 7000)
