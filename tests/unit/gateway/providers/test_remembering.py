"""What was looked up once is known: nobody waits for it again, and nobody waits for somebody else's question."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from services.gateway.providers import remembering
from services.gateway.providers.remembering import LookUp, RememberingClient
from services.gateway.upstream.port import (
    UpstreamConnectFailed,
    UpstreamRequest,
    UpstreamResponse,
    UpstreamTimedOut,
    UpstreamTimeouts,
)
from services.gateway.upstream.whole import WholeResponse

Answer = Callable[[UpstreamRequest], Awaitable[UpstreamResponse]]


class Network:
    """Answers as it is told, and keeps what it was asked."""

    def __init__(self, answer: Answer) -> None:
        self.answer = answer
        self.sent: list[UpstreamRequest] = []

    async def send(self, request: UpstreamRequest) -> UpstreamResponse:
        self.sent.append(request)
        return await self.answer(request)

    async def close(self) -> None:
        raise AssertionError("the network belongs to somebody else")


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def saying(body: bytes, status: int = 200) -> Answer:
    async def answer(request: UpstreamRequest) -> UpstreamResponse:
        return WholeResponse(body, status)

    return answer


async def down(request: UpstreamRequest) -> UpstreamResponse:
    raise UpstreamConnectFailed("down")


async def never(request: UpstreamRequest) -> UpstreamResponse:
    await asyncio.Event().wait()
    raise AssertionError("it is never answered")


def look_up(url: str = "http://hub/a", secret: str = "s", total: float = 900.0) -> LookUp:
    headers = {"authorization": secret}
    return LookUp("GET", url, headers, None, UpstreamTimeouts(total=total))


async def said(client: RememberingClient, request: UpstreamRequest) -> tuple[int, bytes]:
    response = await client.send(request)
    return response.status, await response.read(1_000)


@pytest.fixture
def clock() -> Clock:
    return Clock()


async def test_an_answer_is_remembered_for_its_address_and_credential_alone(clock: Clock) -> None:
    network = Network(saying(b"one"))
    client = RememberingClient(network, clock)
    for request in (look_up(), look_up(), look_up(secret="t"), look_up("http://hub/b"), look_up()):
        assert await said(client, request) == (200, b"one")

    assert len(network.sent) == 3
    assert all(type(request) is UpstreamRequest for request in network.sent)


async def test_other_requests_pass_as_they_are(clock: Clock) -> None:
    network = Network(saying(b"one"))
    client = RememberingClient(network, clock)
    plain = UpstreamRequest("GET", "http://hub/a", {})
    for _ in range(2):
        await client.send(plain)

    assert network.sent == [plain, plain]


async def test_an_old_answer_is_given_while_a_new_one_is_asked_for(clock: Clock) -> None:
    network = Network(saying(b"old"))
    client = RememberingClient(network, clock)
    await said(client, look_up())
    network.answer = saying(b"new")
    clock.now = remembering.FRESH_S

    assert await said(client, look_up()) == (200, b"old")
    await asyncio.sleep(0)  # the question in the background gets its turn
    await asyncio.sleep(0)
    assert await said(client, look_up()) == (200, b"new")
    assert len(network.sent) == 2


async def test_an_old_answer_outlives_failures_but_not_for_ever(clock: Clock) -> None:
    network = Network(saying(b"old"))
    client = RememberingClient(network, clock)
    await said(client, look_up())
    network.answer = down
    clock.now = remembering.FRESH_S
    for _ in range(3):
        assert await said(client, look_up()) == (200, b"old")
        await asyncio.sleep(0)
    assert len(network.sent) == 2, "a failed question is not repeated at once"

    clock.now = remembering.KEPT_S
    with pytest.raises(UpstreamConnectFailed):
        await client.send(look_up())


async def test_a_refusal_is_believed_for_a_moment_and_a_failure_is_not(clock: Clock) -> None:
    network = Network(saying(b"no", 404))
    client = RememberingClient(network, clock)
    for _ in range(2):
        assert await said(client, look_up()) == (404, b"no")
    assert len(network.sent) == 1
    clock.now = remembering.REFUSAL_S
    network.answer = saying(b"busy", 503)
    for _ in range(2):
        assert await said(client, look_up()) == (503, b"busy")
    network.answer = saying(b"slow down", 429)
    for _ in range(2):
        assert await said(client, look_up()) == (429, b"slow down")

    assert len(network.sent) == 5


async def test_many_who_ask_at_once_share_one_question_and_one_may_leave(clock: Clock) -> None:
    go = asyncio.Event()

    async def later(request: UpstreamRequest) -> UpstreamResponse:
        if request.url.endswith("a"):
            await go.wait()
        return WholeResponse(request.url[-1].encode())

    network = Network(later)
    client = RememberingClient(network, clock)
    first, second = (asyncio.create_task(said(client, look_up())) for _ in range(2))
    await asyncio.sleep(0)
    first.cancel()
    assert await said(client, look_up("http://hub/b")) == (200, b"b"), "nobody else waits"
    go.set()

    assert await second == (200, b"a")
    assert len(network.sent) == 2


async def test_nobody_waits_longer_than_the_request_has(clock: Clock) -> None:
    client = RememberingClient(Network(never), clock)
    with pytest.raises(UpstreamTimedOut):
        await client.send(look_up(total=0.01))
    await client.close()


async def test_only_so_many_answers_are_kept(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remembering, "MAX_KEPT", 2)
    network = Network(saying(b"one"))
    client = RememberingClient(network, clock)
    for name in "abcbca":
        await said(client, look_up(f"http://hub/{name}"))

    assert [request.url[-1] for request in network.sent] == ["a", "b", "c", "a"]
