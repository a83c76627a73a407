"""What a client library must be able to do before its speed counts; each check raises AssertionError with what went wrong.

They run in the library's own process, with the mock upstream in the same event loop, so that what it sees of the
connections can be told.
"""

import asyncio
import gc
import json
import os
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import ExitStack, aclosing, asynccontextmanager, closing
from pathlib import Path
from types import MappingProxyType
from typing import Final

from tests.bench.clients import Calls, Library, Setup
from tests.support.eventually import eventually
from tests.support.upstream import RunningUpstream, running_upstream

AT_ONCE_S: Final = 2.0
LIMIT_S: Final = 0.3
SLACK_S: Final = 1.5
LARGE_BYTES: Final = 64 * 1_048_576
LEAK_BYTES: Final = 24 * 1_048_576
"""More memory than this at the end than after the first tenth is a leak."""
LEFT_EVERY: Final = 50
"""Every so manieth request of the long run is a stream that is left."""
ENDLESS: Final = "completion=10000; chunk_ms=1"
LONG: Final = "completion=200; chunk_ms=50"

Check = Callable[[Library, RunningUpstream], Awaitable[None]]


def ordering(orders: str, *, stream: bool = True, filler: str = "") -> bytes:
    messages = [{"role": "user", "content": f"mock({orders})"}]
    body = {"model": "gpt-4o-mini", "messages": messages, "stream": stream}
    return json.dumps(body | ({"filler": filler} if filler else {})).encode()


def address_of(base_url: str) -> str:
    return f"{base_url}/chat/completions"


def address(upstream: RunningUpstream) -> str:
    return address_of(upstream.url)


async def is_left(upstream: RunningUpstream) -> None:
    """The server has seen its client go, and has no connection any more."""
    await eventually(lambda: [served.outcome for served in upstream.app.served] == ["left"], AT_ONCE_S)
    await eventually(lambda: not upstream.app.open_requests, AT_ONCE_S)


async def leaving_a_stream(library: Library, upstream: RunningUpstream) -> None:
    async with library.open() as calls:
        async with aclosing(calls.pieces(address(upstream), ordering(ENDLESS))) as pieces:
            await anext(pieces)
        await is_left(upstream)
        assert upstream.app.served[0].chunks_sent < 3000, "it went on reading"


async def cancelling_a_reader(library: Library, upstream: RunningUpstream) -> None:
    async with library.open() as calls:
        seen: list[bytes] = []

        async def read() -> None:
            async with aclosing(calls.pieces(address(upstream), ordering("fault=stall-stream"))) as pieces:
                async for piece in pieces:
                    seen.append(piece)

        await _cancelled(read, lambda: bool(seen))
        await is_left(upstream)


async def cancelling_before_the_headers(library: Library, upstream: RunningUpstream) -> None:
    async with library.open() as calls:
        waiting = ordering("fault=stall-headers")

        async def read() -> None:
            async with aclosing(calls.pieces(address(upstream), waiting)) as pieces:
                await anext(pieces)

        await _cancelled(read, lambda: upstream.app.open_requests == 1)
        await is_left(upstream)


async def _cancelled(read: Callable[[], Awaitable[None]], ready: Callable[[], bool]) -> None:
    task = asyncio.ensure_future(read())
    await eventually(ready, AT_ONCE_S)
    task.cancel()
    await asyncio.wait([task], timeout=AT_ONCE_S)
    assert task.done(), "it does not end when it is cancelled"


async def connect_timeout(library: Library, upstream: RunningUpstream) -> None:
    async with _deaf_server() as url, library.open(Setup(connect=LIMIT_S)) as calls:
        await _times_out(calls, url, "fault=stall-headers")


async def first_byte_timeout(library: Library, upstream: RunningUpstream) -> None:
    async with library.open(Setup(first_byte=LIMIT_S)) as calls:
        await _times_out(calls, address(upstream), "fault=stall-headers")


async def between_chunks_timeout(library: Library, upstream: RunningUpstream) -> None:
    async with library.open(Setup(between_chunks=LIMIT_S)) as calls:
        await _times_out(calls, address(upstream), "fault=stall-stream; completion=8")
        await is_left(upstream)
        # a steady stream may take longer, and so may the headers
        upstream.app.reset()
        steady = ordering(f"completion=20; chunk_ms=30; delay_ms={int(LIMIT_S * 2000)}")
        async with aclosing(calls.pieces(address(upstream), steady)) as pieces:
            assert b"[DONE]" in b"".join([piece async for piece in pieces])


async def total_timeout(library: Library, upstream: RunningUpstream) -> None:
    async with library.open(Setup(total=LIMIT_S * 2)) as calls:
        await _times_out(calls, address(upstream), ENDLESS)


async def _times_out(calls: Calls, url: str, orders: str) -> None:
    loop = asyncio.get_running_loop()
    began = loop.time()
    try:
        async with asyncio.timeout(10), aclosing(calls.pieces(url, ordering(orders))) as pieces:
            async for _ in pieces:
                pass
    except TimeoutError:
        assert loop.time() - began < LIMIT_S * 2 + SLACK_S, "it takes far longer than its limit"
        return
    raise AssertionError("it never gives up")


@asynccontextmanager
async def _deaf_server() -> AsyncIterator[str]:
    """An address where connections are never accepted: its queue is full."""
    with closing(socket.create_server(("127.0.0.1", 0), backlog=0)) as listener, ExitStack() as stack:
        port = listener.getsockname()[1]
        for _ in range(4):
            waiting = stack.enter_context(closing(socket.socket()))
            waiting.setblocking(False)
            waiting.connect_ex(("127.0.0.1", port))
        yield f"http://127.0.0.1:{port}/v1/chat/completions"


async def bounded_pool(library: Library, upstream: RunningUpstream) -> None:
    most = 0

    async def watch() -> None:
        nonlocal most
        while True:
            most = max(most, len(upstream.server.server_state.connections))
            await asyncio.sleep(0.002)

    async with library.open(Setup(connections=2)) as calls:
        watcher = asyncio.ensure_future(watch())
        asked = ordering("delay_ms=50", stream=False)
        try:
            sizes = await asyncio.gather(*(calls.whole(address(upstream), asked) for _ in range(8)))
        finally:
            watcher.cancel()
    assert all(sizes)
    assert most <= 2, f"{most} connections at once where 2 are allowed"


async def proxies(library: Library, upstream: RunningUpstream) -> None:
    seen: list[bytes] = []

    async def forward(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        seen.append(head.split(b"\r\n")[0])
        body = b'{"proxied":true}'
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\nconnection: close\r\n\r\n" % len(body) + body)
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(forward, "127.0.0.1", 0)
    async with server:
        proxy = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        async with library.open(Setup(proxy=proxy)) as calls:
            await calls.whole("http://provider.example.org/v1/chat/completions", ordering("", stream=False))
    assert seen == [b"POST http://provider.example.org/v1/chat/completions HTTP/1.1"], seen


async def large_bodies(library: Library, upstream: RunningUpstream) -> None:
    asked = ordering(f"size={LARGE_BYTES}", stream=False, filler="x" * LARGE_BYTES)
    async with library.open() as calls:
        assert await calls.whole(address(upstream), asked) > LARGE_BYTES
    assert upstream.app.requests[0]["bytes"] == len(asked)


CHECKS: Final[Mapping[str, Check]] = MappingProxyType(
    {
        "leaving a stream": leaving_a_stream,
        "cancelling a reader": cancelling_a_reader,
        "cancelling before the headers": cancelling_before_the_headers,
        "connect timeout": connect_timeout,
        "first byte timeout": first_byte_timeout,
        "between chunks timeout": between_chunks_timeout,
        "total timeout": total_timeout,
        "bounded pool": bounded_pool,
        "proxies": proxies,
        "64 MB bodies": large_bodies,
    }
)


async def failing(library: Library) -> dict[str, str]:
    """The checks that the library does not pass, and why."""
    found: dict[str, str] = {}
    for name, check in CHECKS.items():
        async with running_upstream() as upstream:
            try:
                await check(library, upstream)
            except AssertionError as error:
                found[name] = str(error) or "it does not"
    return found


async def leak(library: Library, url: str, count: int, concurrency: int) -> str:
    """What is left behind by so many requests, some of them streams that are left; empty when nothing is."""
    numbers = iter(range(count))
    whole, long = ordering("completion=5", stream=False), ordering(LONG)
    marks: list[tuple[int, int]] = []

    async with library.open(Setup(connections=concurrency)) as calls:

        async def caller() -> None:
            for number in numbers:
                if number == count // 10:
                    marks.append(_held())
                if number % LEFT_EVERY:
                    await calls.whole(url, whole)
                else:
                    async with aclosing(calls.pieces(url, long)) as pieces:
                        await anext(pieces)

        async with asyncio.TaskGroup() as callers:
            for _ in range(concurrency):
                callers.create_task(caller())
        marks.append(_held())
        tasks = len(asyncio.all_tasks())
    (memory, files), (memory_after, files_after) = marks
    grown = memory_after - memory
    if grown > LEAK_BYTES:
        return f"{grown / 1_048_576:.0f} MB of memory"
    if files_after > files + concurrency:
        return f"{files_after - files} open files"
    return f"{tasks - 1} tasks" if tasks > 2 else ""


def _held() -> tuple[int, int]:
    """Resident bytes and open files of this process."""
    gc.collect()
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE"), len(os.listdir("/proc/self/fd"))


async def leave_without_closing(library: Library, url: str) -> None:
    """A process that ends with a call done, a stream open and the client never closed."""
    opened = library.open()
    calls = await opened.__aenter__()
    await calls.whole(url, ordering("completion=5", stream=False))
    stream = calls.pieces(url, ordering(LONG))
    await anext(stream)
    _left.extend((opened, stream))


_left: Final[list[object]] = []
"""Kept to the end of the process."""
