"""Requests that want a token get one; what goes wrong on the way is the same kind of failure as any other."""

from dataclasses import replace

import pytest

from services.gateway.providers.token_client import TokenClient, with_token
from services.gateway.providers.tokens import Fetch, Token, TokenRefused, TokenUnavailable
from services.gateway.upstream.port import UpstreamConnectFailed, UpstreamRequest, UpstreamResponse


class Network:
    """Answers with 401 to every request, and keeps them."""

    def __init__(self) -> None:
        self.sent: list[UpstreamRequest] = []

    async def send(self, request: UpstreamRequest) -> UpstreamResponse:
        self.sent.append(request)
        raise UpstreamConnectFailed("no network in unit tests")

    async def close(self) -> None:
        raise AssertionError("the network belongs to somebody else")


def fetch_for(secret: str) -> Fetch:
    async def fetch() -> Token:
        if secret == "down":
            raise TokenUnavailable("down")
        if secret == "wrong":
            raise TokenRefused("wrong")
        return Token(f"token of {secret}", 4e9, {"x-goog-user-project": f"project of {secret}"})

    return fetch


REQUEST = UpstreamRequest("POST", "http://x/", {"accept": "*/*"}, b"{}")


async def test_each_credential_has_its_own_token() -> None:
    network = Network()
    client = TokenClient(network, fetch_for)
    for request in (with_token(REQUEST, "a"), with_token(REQUEST, "b"), REQUEST):
        with pytest.raises(UpstreamConnectFailed):
            await client.send(request)
    await client.close()

    assert [request.headers.get("authorization") for request in network.sent] == [
        "Bearer token of a",
        "Bearer token of b",
        None,
    ]
    assert [request.headers.get("x-goog-user-project") for request in network.sent] == [
        "project of a",
        "project of b",
        None,
    ]
    assert all(type(request) is UpstreamRequest for request in network.sent)


async def test_a_token_server_that_is_down_is_a_provider_that_cannot_be_reached() -> None:
    network = Network()
    with pytest.raises(UpstreamConnectFailed, match="down"):
        await TokenClient(network, fetch_for).send(with_token(REQUEST, "down"))
    assert network.sent == []


async def test_a_refused_credential_is_an_answer_of_401() -> None:
    network = Network()
    answer = await TokenClient(network, fetch_for).send(with_token(REQUEST, "wrong"))

    assert answer.status == 401
    assert b"wrong" in await answer.read(1_000)
    assert network.sent == []


async def test_a_request_knows_the_tokens_that_it_was_sent_with() -> None:
    asked = with_token(REQUEST, "a")

    with pytest.raises(UpstreamConnectFailed):
        await TokenClient(Network(), fetch_for).send(replace(asked, url="http://elsewhere/"))

    assert asked.tokens == ["token of a"]
    assert "token of a" not in repr(asked)
