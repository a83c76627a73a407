"""An answer that was never on the network."""

import pytest

from services.gateway.upstream.port import UpstreamResponse, UpstreamTooLarge
from services.gateway.upstream.whole import WholeResponse


async def pieces(response: UpstreamResponse) -> list[bytes]:
    return [piece async for piece in response.chunks()]


async def test_it_is_a_success_in_json_unless_it_is_said_to_be_something_else() -> None:
    plain = WholeResponse(b"{}")
    refused = WholeResponse(b"no", 403, {"X-Reason": "keys"})

    assert (plain.status, plain.headers["Content-Type"]) == (200, "application/json")
    assert (refused.status, refused.headers["x-reason"]) == (403, "keys")


async def test_its_body_comes_in_one_piece_and_none_when_there_is_none() -> None:
    assert await pieces(WholeResponse(b"all of it")) == [b"all of it"]
    assert await pieces(WholeResponse(b"")) == []


async def test_it_keeps_to_the_limit_of_its_reader() -> None:
    assert await WholeResponse(b"1234").read(4) == b"1234"
    with pytest.raises(UpstreamTooLarge):
        await WholeResponse(b"1234").read(3)


async def test_nothing_is_left_once_it_is_given_back() -> None:
    response = WholeResponse(b"{}")

    await response.drain(1.0)

    assert await pieces(response) == []
