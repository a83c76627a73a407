"""Mixed traffic: many clients at once, some of whom leave early, against an upstream that sometimes fails.

Each request carries a marker as its `user`, which the gateway records as the end user and passes on upstream: so one
request can be followed through every witness.
"""

import asyncio
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any, Final, Literal

import aiohttp

Fate = Literal["finish", "leave_waiting", "leave_reading", "upstream_error"]
"""What happens to a request: all is well; the client leaves before the response's headers, or amid a stream; the
upstream fails."""

CLIENT_TIMEOUT: Final = aiohttp.ClientTimeout(total=60)
POLL_INTERVAL_S: Final = 0.02
PATIENCE_S: Final = 0.15
"""How long a client that leaves before the headers waits; the upstream is told to take longer."""
NO_GATEWAY: Final = 503
BACK_OFF_S: Final = 0.2
"""How long a client waits before its next request when no gateway answered."""
BLOCK: Final = 100
"""A load that must go on does so by blocks of this many, each with the shares of its mix."""
MOST_TIMES: Final = 8
LONGEST_S: Final = 150.0
"""A load that is held open for longer, or for so many times its least count of requests, has failed."""
FAILURES: Final = ("status=500", "status=429", "status=400", "fault=error-event", "fault=cut")


@dataclass(frozen=True, slots=True)
class Planned:
    marker: str
    key: str
    stream: bool
    fate: Fate
    delay_ms: int = 0


@dataclass(frozen=True, slots=True)
class Mix:
    """Shares of the traffic, in percent, and how long the upstream takes to begin an answer."""

    streamed: int = 20
    leaving: int = 5
    upstream_errors: int = 5
    delay_ms: int = 0


@dataclass(slots=True)
class Seen:
    """What one client saw. `complete`: the answer was read to its proper end."""

    marker: str
    fate: Fate
    status: int | None = None
    request_id: str = ""
    complete: bool = False
    error: str = ""


def plan(count: int, keys: Sequence[str], mix: Mix, seed: int, first: int = 0) -> list[Planned]:
    """Exactly the shares of `mix`, in an order that `seed` decides, numbered from `first`.

    Half of those who leave do so amid a stream.
    """
    random_order = random.Random(seed + first)
    reading = count * mix.leaving // 200
    others: list[Fate] = ["leave_waiting"] * (count * mix.leaving // 100 - reading)
    others += ["upstream_error"] * (count * mix.upstream_errors // 100)
    others += ["finish"] * (count - reading - len(others))
    streamed = [number < count * mix.streamed // 100 - reading for number in range(len(others))]
    random_order.shuffle(streamed)
    kinds = list(zip(others, streamed, strict=True))
    kinds += [("leave_reading", True)] * reading
    random_order.shuffle(kinds)
    return [
        Planned(f"m{seed}-{number:06d}", keys[number % len(keys)], stream, fate, mix.delay_ms)
        for number, (fate, stream) in enumerate(kinds, start=first)
    ]


def traffic(least: int, keys: Sequence[str], mix: Mix, seed: int) -> Iterator[Planned]:
    """The plan of `least` requests, then further blocks of the same mix as long as they are asked for, within a bound."""
    more = range(least, least * MOST_TIMES, BLOCK)
    return chain(
        plan(least, keys, mix, seed),
        chain.from_iterable(plan(BLOCK, keys, mix, seed, first) for first in more),
    )


def body_of(planned: Planned, model: str) -> dict[str, Any]:
    """A chat request whose size varies with its marker, and which tells the mock upstream how to behave."""
    number = int(planned.marker.rpartition("-")[2])
    text = f"{_orders(planned, number)} " + "counting tokens exactly " * (1 + number % 17)
    body: dict[str, Any] = {
        "model": model,
        "user": planned.marker,
        "messages": [{"role": "user", "content": text}],
        "max_tokens": 24 + number % 48,
    }
    if planned.stream:
        body["stream"] = True
        if number % 2:
            body["stream_options"] = {"include_usage": True}
    return body


def _orders(planned: Planned, number: int) -> str:
    orders = [f"marker={planned.marker}"]
    if planned.fate == "leave_waiting":
        orders.append(f"delay_ms={int(PATIENCE_S * 10_000)}")
    elif planned.delay_ms:
        orders.append(f"delay_ms={planned.delay_ms}")
    if planned.fate == "leave_reading":
        orders.append("chunk_ms=100")
    if planned.fate == "upstream_error":
        # an answer that is not streamed has no events: half of a body is its only late failure
        failure = FAILURES[number % len(FAILURES)]
        orders.append("fault=cut" if failure == "fault=error-event" and not planned.stream else failure)
    return f"mock({'; '.join(orders)})"


class Load:
    """Sends `traffic` through `url` (without /v1), at most `concurrency` requests at a time: `least` of them, and as
    many more as it takes until whoever runs it says that it may end."""

    def __init__(
        self, url: str, traffic: Iterator[Planned], model: str, least: int, longest_s: float = LONGEST_S
    ) -> None:
        self.least = least
        self.seen: list[Seen] = []
        self._url = url
        self._traffic = traffic
        self._model = model
        self._longest_s = longest_s
        self._sent = 0

    async def run(self, concurrency: int, may_end: asyncio.Event | None = None) -> None:
        """Until `least` requests have ended and `may_end`, if given, is set.

        Raises AssertionError when the time or the traffic is used up before.
        """
        connector = aiohttp.TCPConnector(limit=0)
        async with aiohttp.ClientSession(self._url, connector=connector, timeout=CLIENT_TIMEOUT) as session:
            try:
                async with asyncio.timeout(self._longest_s), asyncio.TaskGroup() as clients:
                    for _ in range(concurrency):
                        clients.create_task(self._client(session, may_end))
            except TimeoutError as error:
                raise AssertionError(self._unfinished(f"{self._longest_s:g} s")) from error
        if may_end is not None and not may_end.is_set():
            raise AssertionError(self._unfinished(f"{self._sent} requests"))

    async def _client(self, session: aiohttp.ClientSession, may_end: asyncio.Event | None) -> None:
        while self._sent < self.least or not (may_end is None or may_end.is_set()):
            planned = next(self._traffic, None)
            if planned is None:
                return
            self._sent += 1
            seen = await self._send(session, planned)
            self.seen.append(seen)
            if seen.status == NO_GATEWAY:
                await asyncio.sleep(BACK_OFF_S)

    def _unfinished(self, used_up: str) -> str:
        return f"the load could not end within {used_up}: {len(self.seen)} requests of at least {self.least} have ended"

    async def until_ended(self, count: int) -> None:
        """Wait until `count` requests have ended at their clients, however they did."""
        while len(self.seen) < count:
            await asyncio.sleep(POLL_INTERVAL_S)

    async def _send(self, session: aiohttp.ClientSession, planned: Planned) -> Seen:
        seen = Seen(planned.marker, planned.fate)
        body = body_of(planned, self._model)
        headers = {"Authorization": f"Bearer {planned.key}"}
        patience = PATIENCE_S if planned.fate == "leave_waiting" else None
        try:
            async with asyncio.timeout(patience):
                async with session.post("/v1/chat/completions", json=body, headers=headers) as response:
                    seen.status = response.status
                    seen.request_id = response.headers.get("x-request-id", "")
                    await _read(response, seen)
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            seen.error = type(error).__name__
        return seen


async def _read(response: aiohttp.ClientResponse, seen: Seen) -> None:
    if response.content_type != "text/event-stream":
        await response.read()
        seen.complete = True
        return
    last = b""
    async for line in response.content:
        if seen.fate == "leave_reading" and line.startswith(b"data:"):
            response.close()  # drops the connection; a mere end of reading would drain it for reuse
            seen.error = "left"
            return
        last = line.strip() or last
        if last.startswith(b'data: {"error"'):
            seen.error = "error event"
            return
    seen.complete = last == b"data: [DONE]"
