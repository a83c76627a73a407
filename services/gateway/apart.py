"""Work on large bodies beside the event loop, so that other requests get their turn between its steps.

None of it gives way by itself: a step in C, such as decoding, holds the interpreter until it is done. One thread does
all of it, so that however many large bodies there are, nobody waits for more than one step.
"""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Final, ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")

_worker: Final = ThreadPoolExecutor(max_workers=1, thread_name_prefix="large-bodies")
"""Starts its thread with the first large body."""


async def apart(function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """What `function` gives back or raises. It must not touch what belongs to the event loop.

    When the caller is cancelled the work goes on to its end, for nothing.
    """
    return await asyncio.wrap_future(_worker.submit(function, *args, **kwargs))
