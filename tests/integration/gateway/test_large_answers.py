"""Requests that may cost more than is left, or more than they probably will: a budget is not passed by a burst."""

import asyncio
from pathlib import Path

from shared.governance.reservation import MIN_SAMPLES
from tests.support.gateway import (
    MOCK_PRICE,
    RunningGateway,
    budget,
    mock_cost,
    mock_provider,
    running_gateway,
    virtual_key,
)
from tests.support.upstream import running_upstream

MODEL = "mock/gpt-4o-mini"
SAID = 16_000
"""Tokens that each of the burst's requests states, and uses."""


async def code_of(gateway: RunningGateway, secret: str, orders: str, max_tokens: int) -> str:
    answer = await gateway.chat(MODEL, f"mock({orders})", secret, max_tokens=max_tokens)
    document = await answer.json()
    return document["error"]["code"] if answer.status != 200 else "served"


async def test_one_request_that_may_take_more_than_all_begins_and_nothing_beside_it(tmp_path: Path) -> None:
    """Clients say the most that a model can: whoever has a small budget must not be refused for that for ever."""
    secret, key = virtual_key(budgets=(budget(mock_cost(0, 10_000)),))
    async with (
        running_upstream() as upstream,
        running_gateway(tmp_path, mock_provider(upstream.url), MOCK_PRICE, key) as gateway,
    ):
        await gateway.govern()
        orders = "prompt=1; completion=3; delay_ms=300"
        codes = await asyncio.gather(*[code_of(gateway, secret, orders, 50_000) for _ in range(10)])

        assert sorted(codes) == ["budget_reserved"] * 9 + ["served"]
        assert await code_of(gateway, secret, orders, 50_000) == "served"


async def test_what_will_probably_cost_more_than_is_left_does_not_begin(tmp_path: Path) -> None:
    secret, key = virtual_key(budgets=(budget(mock_cost(0, 3_000)),))
    async with (
        running_upstream() as upstream,
        running_gateway(tmp_path, mock_provider(upstream.url), MOCK_PRICE, key) as gateway,
    ):
        await gateway.govern()
        answer = await gateway.chat(MODEL, "mock(completion=50000)", secret, max_tokens=50_000)

        error = (await answer.json())["error"]
        assert (answer.status, error["code"]) == (402, "budget_exceeded")
        assert "max_tokens" in error["message"]
        assert upstream.app.requests == []


async def test_small_answers_do_not_open_the_door_for_a_burst_of_large_ones(tmp_path: Path) -> None:
    """What is learned from a client's titles and tags is no bound for the conversations that come after."""
    limit = mock_cost(0, 2 * SAID + SAID // 2)
    secret, key = virtual_key(budgets=(budget(limit),))
    async with (
        running_upstream() as upstream,
        running_gateway(tmp_path, mock_provider(upstream.url), MOCK_PRICE, key) as gateway,
    ):
        await gateway.govern()
        for _ in range(2 * MIN_SAMPLES):
            assert await code_of(gateway, secret, "prompt=1; completion=3", 100) == "served"

        burst = [
            code_of(gateway, secret, f"prompt=1; completion={SAID}; delay_ms=300", SAID) for _ in range(30)
        ]
        codes = await asyncio.gather(*burst)

        assert codes.count("served") == 2
        assert codes.count("budget_reserved") == 28
        logged = await gateway.logged(2 * MIN_SAMPLES + 30)
        assert sum(event.cost_nanos for event in logged) <= limit

        # nothing is held any more: the rest can be spent
        assert await code_of(gateway, secret, "prompt=1; completion=3", 100) == "served"
