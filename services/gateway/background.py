"""Background work that must go on as long as the gateway does."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Final

from shared.telemetry import get_logger

log = get_logger(__name__)

RESTART_S: Final = 1.0


@asynccontextmanager
async def supervised(work: Callable[[], Awaitable[None]], name: str) -> AsyncIterator[None]:
    """Runs `work` in a task while the context is open; a fault is logged and the work begins again."""

    async def loop() -> None:
        while True:
            try:
                await work()
            except Exception:  # the supervisor: a fault of ours must not end the background work
                log.exception("background_work_restarts", work=name)
            await asyncio.sleep(RESTART_S)

    task = asyncio.create_task(loop(), name=name)
    try:
        yield
    finally:
        task.cancel()
        await asyncio.wait((task,))
