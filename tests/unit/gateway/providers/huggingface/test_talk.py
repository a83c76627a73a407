"""Where the files that a model made are fetched from, and with what."""

from collections.abc import Mapping, Sequence

import pytest

from services.gateway.providers.chat.images import Fetched
from services.gateway.providers.errors import UpstreamError
from services.gateway.providers.fetch import NotFetched
from services.gateway.providers.huggingface.talk import Talk
from services.gateway.providers.jobs import Leaver
from services.gateway.upstream.port import (
    UpstreamRequest,
    UpstreamResponse,
    UpstreamTimedOut,
    UpstreamTimeouts,
)
from services.gateway.upstream.whole import WholeResponse


class Network:
    """Has a file at every address."""

    def __init__(self) -> None:
        self.sent: list[UpstreamRequest] = []

    async def send(self, request: UpstreamRequest) -> UpstreamResponse:
        self.sent.append(request)
        return WholeResponse(b"own", headers={"content-type": "image/png"})

    async def close(self) -> None:
        raise AssertionError("the network belongs to somebody else")


async def public(urls: Sequence[str]) -> Mapping[str, Fetched]:
    if any("inner" in url for url in urls):
        raise NotFetched("it is not a public address")
    return {url: Fetched("image/webp", b"public") for url in urls}


def talk(network: Network, total: float = 900.0) -> Talk:
    headers = {"authorization": "Bearer hf_x"}
    timeouts = UpstreamTimeouts(total=total)
    request = UpstreamRequest("POST", "https://router.example.org/fal-ai", headers, None, timeouts)
    return Talk(network, request, public, Leaver())


async def test_the_routers_own_files_are_asked_of_it_without_the_credential() -> None:
    network = Network()
    file = await talk(network).file("https://router.example.org/files/a")

    assert (file.media_type, file.data) == ("image/png", b"own")
    (request,) = network.sent
    assert "authorization" not in request.headers


@pytest.mark.parametrize(
    "address", ["https://v3.fal.media/a", "https://router.example.org:444/a", "http://router.example.org/a"]
)
async def test_others_are_fetched_as_anybodys(address: str) -> None:
    network = Network()
    file = await talk(network).file(address)

    assert (file.media_type, file.data) == ("image/webp", b"public")
    assert network.sent == []


@pytest.mark.parametrize("address", ["https://inner.example.org/a", "data:image/png;base64,?"])
async def test_what_cannot_be_had_is_not_asked_for_again(address: str) -> None:
    with pytest.raises(UpstreamError, match="could not be fetched") as lost:
        await talk(Network()).file(address)

    assert (lost.value.status, lost.value.retryable) == (502, False)


async def test_nothing_is_fetched_when_the_time_is_over() -> None:
    for address in ("https://router.example.org/a", "https://v3.fal.media/a"):
        with pytest.raises(UpstreamTimedOut):
            await talk(Network(), total=0.0).file(address)
