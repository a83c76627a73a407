"""A token source: one question at a time, renewed ahead of expiry, never in the way of a request that has a token."""

import asyncio

import pytest

from services.gateway.providers.tokens import (
    AHEAD_S,
    PAUSE_S,
    Token,
    TokenRefused,
    TokenSource,
    TokenUnavailable,
)

LIFE_S = 3_600.0


class Server:
    """Counts questions; answers once `gate` is open, with `failure` where it is set."""

    def __init__(self) -> None:
        self.now = 1_000_000.0
        self.asked = 0
        self.failure: Exception | None = None
        self.gate = asyncio.Event()
        self.gate.set()

    async def fetch(self, life_s: float = LIFE_S) -> Token:
        self.asked += 1
        number = self.asked
        await self.gate.wait()
        if self.failure is not None:
            raise self.failure
        return Token(f"token-{number}", self.now + life_s)


@pytest.fixture
def server() -> Server:
    return Server()


@pytest.fixture
def source(server: Server) -> TokenSource:
    return TokenSource(server.fetch, lambda: server.now)


async def settled() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


async def test_a_token_is_kept_while_it_is_good(server: Server, source: TokenSource) -> None:
    assert [await source.token() for _ in range(3)] == ["token-1"] * 3
    assert server.asked == 1


async def test_callers_share_one_question(server: Server, source: TokenSource) -> None:
    server.gate.clear()
    waiting = [asyncio.create_task(source.token()) for _ in range(10)]
    await settled()
    server.gate.set()

    assert set(await asyncio.gather(*waiting)) == {"token-1"}
    assert server.asked == 1


async def test_a_caller_that_leaves_does_not_take_the_others_token(
    server: Server, source: TokenSource
) -> None:
    server.gate.clear()
    leaver, stayer = asyncio.create_task(source.token()), asyncio.create_task(source.token())
    await settled()
    leaver.cancel()
    await settled()
    server.gate.set()

    assert await stayer == "token-1"
    assert leaver.cancelled()


async def test_renewal_ahead_of_expiry_holds_up_nobody(server: Server, source: TokenSource) -> None:
    await source.token()
    server.now += LIFE_S - AHEAD_S + 1
    server.gate.clear()

    assert await source.token() == "token-1"
    assert await source.token() == "token-1"
    server.gate.set()
    await settled()

    assert await source.token() == "token-2"
    assert server.asked == 2


async def test_a_failed_renewal_is_tried_again_after_a_pause_while_the_token_serves(
    server: Server, source: TokenSource
) -> None:
    await source.token()
    server.now += LIFE_S - AHEAD_S + 1
    server.failure = TokenUnavailable("down")
    assert await source.token() == "token-1"
    await settled()
    assert await source.token() == "token-1"
    await settled()
    assert server.asked == 2

    server.failure = None
    server.now += PAUSE_S
    assert await source.token() == "token-1"
    await settled()
    assert await source.token() == "token-3"


async def test_tokens_of_a_short_life_are_not_asked_for_with_every_request(server: Server) -> None:
    source = TokenSource(lambda: server.fetch(life_s=AHEAD_S / 2), lambda: server.now)
    for _ in range(5):
        await source.token()
        await settled()
    assert server.asked == 1

    server.now += PAUSE_S
    await source.token()
    await settled()
    assert server.asked == 2


async def test_an_expired_token_is_never_handed_out(server: Server, source: TokenSource) -> None:
    await source.token()
    server.now += LIFE_S - 1

    assert await source.token() == "token-2"


async def test_without_a_token_the_failure_is_the_callers(server: Server, source: TokenSource) -> None:
    server.failure = TokenRefused("no")
    with pytest.raises(TokenRefused):
        await source.token()

    server.failure = None
    assert await source.token() == "token-2"


async def test_a_forgotten_token_is_asked_for_anew(server: Server, source: TokenSource) -> None:
    await source.token()
    source.forget()

    assert await source.token() == "token-2"


async def test_closing_ends_what_is_under_way(server: Server, source: TokenSource) -> None:
    server.gate.clear()
    waiting = asyncio.create_task(source.token())
    await settled()

    await source.close()

    with pytest.raises(asyncio.CancelledError):
        await waiting
