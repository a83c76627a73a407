"""Notices that the client left while its request is at work elsewhere, and stops that work at once."""

import asyncio
from types import TracebackType
from typing import Self

from starlette.types import Receive

from services.gateway.incoming import ClientGone


class ClientWatch:
    """Around work that must stop when the client leaves: then the work is cancelled and ClientGone raised.

    The request's body must have been read. A cancellation from elsewhere (the server stops) passes through as it is.
    """

    __slots__ = ("_gone", "_receive", "_task", "_watcher")

    def __init__(self, receive: Receive) -> None:
        self._receive = receive
        self._gone = False
        self._task: asyncio.Task[object] | None = None
        self._watcher: asyncio.Task[None] | None = None

    def __enter__(self) -> Self:
        self._task = asyncio.current_task()
        self._watcher = asyncio.get_running_loop().create_task(self._watch())
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
        if not self._gone or self._task is None or not isinstance(error, asyncio.CancelledError):
            return
        if self._task.uncancel() == 0:
            raise ClientGone from None

    def stop(self) -> None:
        """From here on the client may leave."""
        if self._watcher is not None:
            self._watcher.cancel()
            self._watcher = None

    async def _watch(self) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            pass
        self._gone = True
        self._watcher = None
        if self._task is not None:
            self._task.cancel()
