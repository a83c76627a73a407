"""A background task that its owner cannot outlive, and that cannot die unseen."""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any, Final

from shared.telemetry import get_logger

STOP_WITHIN_S: Final = 15.0

_log = get_logger(__name__)


@asynccontextmanager
async def supervised(
    run: Callable[[], Coroutine[Any, Any, None]], stop: Callable[[], None], *, name: str
) -> AsyncIterator[None]:
    """Run `run()` while the context is open; leaving calls `stop()` and waits for it to return.

    If `run()` raises, the body of the context is cancelled and the error comes out of the context instead.
    """
    body = asyncio.current_task()
    if body is None:
        raise RuntimeError("supervised() needs a task to run in")
    failure: list[BaseException] = []
    is_leaving = False

    def ended(task: asyncio.Task[None]) -> None:
        error = None if task.cancelled() else task.exception()
        if error is not None:
            failure.append(error)
            _log.error("task_failed", task=name, reason=str(error), exc_info=error)
            if not is_leaving:
                body.cancel()

    task = asyncio.create_task(run(), name=name)
    task.add_done_callback(ended)
    try:
        yield
    except asyncio.CancelledError:
        if not failure:
            raise
        body.uncancel()
    finally:
        is_leaving = True
        await _finish(task, stop)
    if failure:
        raise failure[0]


async def _finish(task: asyncio.Task[None], stop: Callable[[], None]) -> None:
    if not task.done():
        stop()
    done, _ = await asyncio.wait({task}, timeout=STOP_WITHIN_S)
    if not done:
        _log.error("task_cancelled", task=task.get_name(), after_s=STOP_WITHIN_S)
        task.cancel()
        await asyncio.wait({task})
