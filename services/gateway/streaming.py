"""The client's side of a streamed answer, and the pump that moves events from the provider to it.

The status line is sent with the first event, so that a provider's failure before it is still a real HTTP error. When
the provider takes longer than one heartbeat interval, 200 and a comment go out, to keep proxies and people waiting;
a failure after that is an error event followed by `[DONE]`.
"""

import asyncio
from collections.abc import Awaitable, Sequence
from math import inf
from typing import Final

from services.gateway.incoming import Header, Incoming
from services.gateway.providers.port import Relay
from services.gateway.upstream.port import UpstreamResponse

HEARTBEAT: Final = b": heartbeat\n\n"
DRAIN_TIMEOUT_S: Final = 1.0
_STREAM_HEADERS: Final[tuple[Header, ...]] = (
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"cache-control", b"no-cache"),
    (b"x-accel-buffering", b"no"),
)


class StreamWriter:
    """Sends whole events, each at once; a comment when nothing was sent for `interval_s`.

    `started`: the status line has gone out (or is on its way), so that errors can only be events.
    """

    __slots__ = (
        "_beat_task", "_headers", "_incoming", "_interval_s", "_last", "_loop", "_timer", "first_event_at", "started",
    )  # fmt: skip

    def __init__(self, incoming: Incoming, headers: Sequence[Header], interval_s: float) -> None:
        self.started = False
        self.first_event_at: float | None = None
        """On the loop's clock."""
        self._incoming = incoming
        self._headers = headers
        self._interval_s = interval_s
        self._loop = asyncio.get_running_loop()
        self._last = self._loop.time()
        self._beat_task: asyncio.Task[None] | None = None
        self._timer = self._loop.call_later(interval_s, self._beat)

    def write(self, events: bytes) -> Awaitable[None]:
        if self.first_event_at is None:
            self.first_event_at = self._loop.time()
        return self._send(events) if self._beat_task is None else self._send_after_beat(events)

    async def quiet(self) -> None:
        """No more heartbeats: after this `started` stays as it is until something is sent."""
        self._timer.cancel()
        await self._settle_beat()

    async def close(self, events: bytes = b"") -> None:
        """Send the last events and end the answer."""
        await self.quiet()
        if not self.started:
            await self._start()
        await self._incoming.send({"type": "http.response.body", "body": events, "more_body": False})

    def abandon(self) -> None:
        """Nobody is there any more, or the answer is complete. May be called twice."""
        self._timer.cancel()
        if self._beat_task is not None:
            self._beat_task.cancel()

    async def _send(self, events: bytes) -> None:
        self._last = (
            inf  # while something is on its way to a slow client no comment may overtake it, nor is it due
        )
        if not self.started:
            await self._start()
        await self._incoming.send({"type": "http.response.body", "body": events, "more_body": True})
        self._last = self._loop.time()

    async def _send_after_beat(self, events: bytes) -> None:
        await self._settle_beat()
        await self._send(events)

    async def _start(self) -> None:
        self.started = self._incoming.answered = True
        headers = [*_STREAM_HEADERS, (b"x-request-id", self._incoming.request_id.encode()), *self._headers]
        await self._incoming.send({"type": "http.response.start", "status": 200, "headers": headers})

    def _beat(self) -> None:
        due = self._last + self._interval_s - self._loop.time()
        if due <= 0 and (self._beat_task is None or self._beat_task.done()):
            # From here on `write` waits for this task, so that nothing overtakes the status line.
            self._beat_task = self._loop.create_task(self._send(HEARTBEAT))
        wait_s = min(due, self._interval_s) if due > 0 else self._interval_s
        self._timer = self._loop.call_later(wait_s, self._beat)

    async def _settle_beat(self) -> None:
        if self._beat_task is not None:
            await self._beat_task
            self._beat_task = None


async def pump(response: UpstreamResponse, relay: Relay, writer: StreamWriter) -> bytes:
    """Move everything but the last events, which are returned, so that the end is on record before it is told.

    Raises UpstreamFault when the body breaks off; `relay` knows what was seen until then.
    """
    async for chunk in response.chunks():
        events = relay.feed(chunk)
        if relay.done:
            return events
        if events:
            await writer.write(events)
    return relay.end()
