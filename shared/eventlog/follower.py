"""Keeps something up to date with a whole topic, outside any consumer group."""

import asyncio
from collections.abc import Callable

from shared.errors import LogUnavailable
from shared.eventlog.port import EventLog, Record
from shared.telemetry import get_logger

FIRST_BACKOFF_S = 0.1
LAST_BACKOFF_S = 5.0

log = get_logger("follower")


class Follower:
    """Calls `apply` with each record of `topic`, from the beginning, in offset order per partition, for ever.

    `apply` must not raise: a record it cannot use is its own to skip and count. If it does raise all the same,
    following ends, `failure` holds the exception, and `start` or `close` raises it.
    """

    def __init__(self, event_log: EventLog, topic: str, apply: Callable[[Record], None]) -> None:
        self._log = event_log
        self._topic = topic
        self._apply = apply
        self._positions: dict[int, int] = {}
        self._caught_up = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._last_error = ""

    @property
    def failure(self) -> BaseException | None:
        """What ended the following, if anything did."""
        if self._task is None or not self._task.done() or self._task.cancelled():
            return None
        return self._task.exception()

    async def start(self, timeout_s: float = 60.0) -> None:
        """Returns when everything that stood in the topic has been applied. Raises LogUnavailable after `timeout_s`."""
        self._task = asyncio.create_task(self._run(), name=f"follower of {self._topic}")
        waiter = asyncio.ensure_future(self._caught_up.wait())
        await asyncio.wait((self._task, waiter), timeout=timeout_s, return_when=asyncio.FIRST_COMPLETED)
        waiter.cancel()
        if self._task.done():
            await self._task
        if not self._caught_up.is_set():
            await self.close()
            reason = f": {self._last_error}" if self._last_error else "."
            raise LogUnavailable(f"{self._topic} could not be read to its end within {timeout_s:g} s{reason}")

    async def close(self) -> None:
        task, self._task = self._task, None
        if task is None:
            return
        task.cancel()
        await asyncio.wait((task,))
        if not task.cancelled():
            await task

    async def _run(self) -> None:
        backoff_s = FIRST_BACKOFF_S
        while True:
            try:
                async for batch in self._log.follow(self._topic, self._positions, caught_up=self._catch_up):
                    backoff_s = FIRST_BACKOFF_S
                    for record in batch:
                        self._apply(record)
                        self._positions[record.partition] = record.offset + 1
            except LogUnavailable as error:
                self._last_error = str(error)
                log.warning("follower_interrupted", topic=self._topic, error=str(error))
            await asyncio.sleep(backoff_s)
            backoff_s = min(2 * backoff_s, LAST_BACKOFF_S)

    async def _catch_up(self) -> None:
        self._caught_up.set()
