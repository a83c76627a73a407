"""An upstream client that remembers the answers to look-ups, so that a request nearly never waits for one."""

import asyncio
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from services.gateway.upstream.port import (
    UpstreamClient,
    UpstreamFault,
    UpstreamRequest,
    UpstreamResponse,
    UpstreamTimedOut,
    UpstreamTimeouts,
)
from services.gateway.upstream.whole import WholeResponse
from shared.telemetry import get_logger

log = get_logger(__name__)

FRESH_S: Final = 600.0
"""An answer is given as it is for so long; then another is asked for in the background."""
KEPT_S: Final = 86_400.0
"""An answer is given for so long while no newer one can be had."""
REFUSAL_S: Final = 30.0
"""That there is no such thing is believed for so long."""
PAUSE_S: Final = 20.0
"""Between two questions in the background, when one has failed."""
MAX_KEPT: Final = 10_000
MAX_ANSWER_BYTES: Final = 1_048_576
TIMES: Final = UpstreamTimeouts(connect=5.0, first_byte=10.0, between_chunks=10.0, total=15.0)
"""Of the question itself, which belongs to no request; who waits for it may leave before."""
_TOO_MANY: Final = 429


class LookUp(UpstreamRequest):
    """A question whose answer is remembered: for each address and credential one."""


@dataclass(slots=True)
class _Known:
    """An answer. Times are of the client's clock."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    fresh_until: float
    kept_until: float

    def response(self) -> UpstreamResponse:
        return WholeResponse(self.body, self.status, self.headers)


_Key = tuple[str, str]


class RememberingClient:
    """See UpstreamClient. However many ask the same at once, one question is under way at most.

    Only those who ask for what is not known yet wait for an answer. Failures are told to them, and not remembered.
    """

    def __init__(self, network: UpstreamClient, now: Callable[[], float] = time.monotonic) -> None:
        """`network` belongs to whoever made it; `close` leaves it open."""
        self._network = network
        self._now = now
        self._known: dict[_Key, _Known] = {}
        self._asking: dict[_Key, asyncio.Task[_Known]] = {}

    async def send(self, request: UpstreamRequest) -> UpstreamResponse:
        if not isinstance(request, LookUp):
            return await self._network.send(request)
        key = request.url, request.headers.get("authorization", "")
        known, now = self._known.get(key), self._now()
        if known is not None and now < known.kept_until:
            if now >= known.fresh_until:
                known.fresh_until = now + PAUSE_S
                self._ask(key, request)
            return known.response()
        try:
            async with asyncio.timeout(request.timeouts.total):
                # One who leaves must not take the others' answer along.
                return (await asyncio.shield(self._ask(key, request))).response()
        except TimeoutError as error:
            raise UpstreamTimedOut("total", request.timeouts.total) from error

    async def close(self) -> None:
        """End the questions that are under way."""
        asking = list(self._asking.values())
        for task in asking:
            task.cancel()
        await asyncio.gather(*asking, return_exceptions=True)

    def _ask(self, key: _Key, request: LookUp) -> asyncio.Task[_Known]:
        task = self._asking.get(key)
        if task is None:
            question = UpstreamRequest(request.method, request.url, request.headers, request.body, TIMES)
            task = asyncio.create_task(self._answer(key, question), name="look-up")
            self._asking[key] = task
            task.add_done_callback(lambda done: self._ended(key, done))
        return task

    async def _answer(self, key: _Key, question: UpstreamRequest) -> _Known:
        response = await self._network.send(question)
        try:
            body = await response.read(MAX_ANSWER_BYTES)
        finally:
            response.close()
        now, good = self._now(), response.status < 400
        fresh_until = now + (FRESH_S if good else REFUSAL_S)
        known = _Known(
            response.status, response.headers, body, fresh_until, now + KEPT_S if good else fresh_until
        )
        if good or response.status < 500 and response.status != _TOO_MANY:
            self._keep(key, known)
        else:
            log.warning("look_up_failed", url=question.url, status=response.status)
        return known

    def _keep(self, key: _Key, known: _Known) -> None:
        self._known.pop(key, None)
        if len(self._known) >= MAX_KEPT:
            del self._known[next(iter(self._known))]
        self._known[key] = known

    def _ended(self, key: _Key, task: asyncio.Task[_Known]) -> None:
        self._asking.pop(key, None)
        if not task.cancelled() and (error := task.exception()) is not None:
            if not isinstance(error, UpstreamFault):
                log.error("look_up_failed", url=key[0], exc_info=error)
            else:
                log.warning("look_up_failed", url=key[0], reason=str(error))
