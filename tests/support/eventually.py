"""Waiting for a condition, with a deadline: the tests' only way to wait.

A deadline is there to end a test that has failed, not to measure: it is far beyond what a slow, busy machine needs.
"""

import asyncio
import inspect
from collections.abc import Awaitable, Callable
from typing import TypeVar, overload

Result = TypeVar("Result")
INTERVAL_S = 0.01


@overload
async def eventually(condition: Callable[[], Awaitable[Result]], timeout_s: float = ...) -> Result: ...


@overload
async def eventually(condition: Callable[[], Result], timeout_s: float = ...) -> Result: ...


async def eventually(condition: Callable[[], Result | Awaitable[Result]], timeout_s: float = 30.0) -> Result:
    """The first truthy answer of `condition`. Raises AssertionError with the last answer when the time is over."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + timeout_s
    while True:
        answer = condition()
        result: Result = await answer if inspect.isawaitable(answer) else answer
        if result:
            return result
        if loop.time() >= deadline:
            raise AssertionError(f"not true within {timeout_s:g} s; the last answer was {result!r}")
        await asyncio.sleep(INTERVAL_S)
