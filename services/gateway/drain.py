"""Stopping without dropping anybody: no longer ready, running requests end, then the rest may be closed."""

import asyncio
from collections.abc import Callable
from typing import Final

from starlette.types import ASGIApp, Receive, Scope, Send

from shared.telemetry import get_logger

log = get_logger(__name__)

GRACE_S: Final = 15.0
"""After the server has stopped accepting; it has given running requests their own time before."""


class Drain:
    """Counts requests that are at work. `fault` gives a reason why this gateway cannot serve, or nothing."""

    def __init__(self, fault: Callable[[], str]) -> None:
        self._fault = fault
        self._closing = False
        self._running = 0
        self._idle = asyncio.Event()
        self._idle.set()

    def not_ready(self) -> str:
        return "stopping" if self._closing else self._fault()

    def counting(self, app: ASGIApp) -> ASGIApp:
        """The app, with each of its requests counted while it runs."""

        async def counted(scope: Scope, receive: Receive, send: Send) -> None:
            self._running += 1
            try:
                await app(scope, receive, send)
            finally:
                self._running -= 1
                if self._running == 0 and self._closing:
                    self._idle.set()

        return counted

    async def close(self, grace_s: float = GRACE_S) -> None:
        """Wait until no request runs any more, at most `grace_s`."""
        self._closing = True
        if self._running == 0:
            return
        self._idle.clear()
        try:
            await asyncio.wait_for(self._idle.wait(), grace_s)
        except TimeoutError:
            log.warning("requests_still_running_at_the_end", running=self._running)
