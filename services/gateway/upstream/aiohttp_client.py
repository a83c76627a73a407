"""The upstream port on aiohttp: one session, a bounded pool per host, connections dropped the moment they are left."""

import asyncio
from asyncio import TimerHandle
from collections.abc import AsyncIterator, Mapping
from functools import lru_cache
from typing import Final, Self

import aiohttp
from multidict import CIMultiDict, CIMultiDictProxy
from yarl import URL

from services.gateway.upstream.port import (
    USER_AGENT,
    Phase,
    UpstreamBroken,
    UpstreamClient,
    UpstreamConnectFailed,
    UpstreamFault,
    UpstreamRequest,
    UpstreamResponse,
    UpstreamTimedOut,
    UpstreamTimeouts,
    UpstreamTooLarge,
)
from services.gateway.upstream.proxies import Proxies

READ_BUFFER_BYTES: Final = 65_536
LARGE_BODY_BYTES: Final = 1_048_576
"""Larger bodies are sent in slices, so that other requests get their turn and the kernel's pace is kept."""
SLICE_BYTES: Final = 262_144
_BODY_HEADERS: Final = ("Content-Encoding", "Content-Length", "Transfer-Encoding")


class _BadAddress(Exception):
    """The URL cannot be parsed."""


_FAULTS: Final = (aiohttp.ClientError, OSError, _BadAddress)
"""What a call may raise."""


@lru_cache(maxsize=1024)
def _parsed_url(url: str) -> URL:
    """One URL per endpoint of each provider: parsing it for each call would cost more than the rest of the set-up."""
    try:
        parsed = URL(url, encoded=True)
        _ = parsed.explicit_port  # yarl reads the port only when it is asked for
    except ValueError as error:
        raise _BadAddress(url) from error
    return parsed


@lru_cache(maxsize=256)
def _client_timeout(timeouts: UpstreamTimeouts) -> aiohttp.ClientTimeout:
    return aiohttp.ClientTimeout(total=None, connect=timeouts.connect, sock_connect=timeouts.connect)


def _translated(
    error: aiohttp.ClientError | OSError | _BadAddress, timeouts: UpstreamTimeouts, *, answered: bool
) -> UpstreamFault:
    """The one place where aiohttp's exceptions become ours."""
    match error:
        case aiohttp.ConnectionTimeoutError():
            return UpstreamTimedOut("connect", timeouts.connect)
        case aiohttp.ClientHttpProxyError():
            return UpstreamConnectFailed(f"The proxy refused to connect to the provider ({error.status}).")
        case aiohttp.ClientConnectorError():
            return UpstreamConnectFailed(f"The provider cannot be reached: {error}.")
        case aiohttp.InvalidURL() | aiohttp.NonHttpUrlClientError() | _BadAddress():
            return UpstreamConnectFailed("The provider's address is not a valid URL.")
        case _:
            text = "in the middle of its answer" if answered else "before it answered"
            return UpstreamBroken(f"The provider closed the connection {text}.", answered=answered)


class AiohttpClient:
    """See UpstreamClient. Must be made inside a running event loop.

    `connections_per_host` bounds the pool of each (host, port); further calls wait within their connect time.
    Without `proxies` every server is called directly.
    """

    def __init__(
        self, *, connections_per_host: int = 512, keepalive_s: float = 30.0, proxies: Proxies | None = None
    ) -> None:
        self._proxy_for = lru_cache(maxsize=1024)((proxies or Proxies({})).proxy_for)
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(
                limit=0, limit_per_host=connections_per_host, keepalive_timeout=keepalive_s
            ),
            cookie_jar=aiohttp.DummyCookieJar(),
            headers={"Accept-Encoding": "identity", "User-Agent": USER_AGENT},
            skip_auto_headers=("Accept", "Content-Type"),
            read_bufsize=READ_BUFFER_BYTES,
            trust_env=False,
        )

    async def send(self, request: UpstreamRequest) -> UpstreamResponse:
        timeouts, headers, body = request.timeouts, request.headers, request.body
        if isinstance(body, bytes) and len(body) > LARGE_BODY_BYTES:
            headers = {**headers, "content-length": str(len(body))}
            body = _slices(body)
        deadline = asyncio.get_running_loop().time() + timeouts.total
        phase: Phase = "first_byte" if timeouts.first_byte < timeouts.total else "total"
        limit_s = min(timeouts.first_byte, timeouts.total)
        try:
            # Outside: TimeoutError is an OSError, and would be taken for a lost connection inside.
            async with asyncio.timeout(limit_s):
                try:
                    url = _parsed_url(request.url)
                    raw = await self._session.request(
                        request.method,
                        url,
                        proxy=self._proxy_for(url),
                        headers=headers,
                        data=body,
                        allow_redirects=False,
                        timeout=_client_timeout(timeouts),
                    )
                except _FAULTS as error:
                    raise _translated(error, timeouts, answered=False) from error
        except TimeoutError as error:
            raise UpstreamTimedOut(phase, limit_s) from error
        return AiohttpResponse(raw, timeouts, deadline)

    async def close(self) -> None:
        await self._session.close()


class AiohttpResponse:
    """See UpstreamResponse. A single timer watches both the silence between chunks and the total."""

    __slots__ = ("_deadline", "_fault", "_loop", "_raw", "_timeouts", "_timer", "_waiting_since", "headers")

    def __init__(self, raw: aiohttp.ClientResponse, timeouts: UpstreamTimeouts, deadline: float) -> None:
        self._raw = raw
        self._timeouts = timeouts
        self._deadline = deadline
        self._loop = asyncio.get_running_loop()
        self._timer: TimerHandle | None = None
        self._waiting_since: float | None = None
        self._fault: UpstreamFault | None = None
        self.headers: Mapping[str, str] = _described(raw.headers)

    @property
    def status(self) -> int:
        return self._raw.status

    async def read(self, limit_bytes: int) -> bytes:
        pieces: list[bytes] = []
        size = 0
        try:
            async for piece in self:
                pieces.append(piece)
                size += len(piece)
                if size > limit_bytes:
                    break
        except UpstreamFault as fault:
            fault.received = b"".join(pieces)
            raise
        if size > limit_bytes:
            self.close()
            raise UpstreamTooLarge(limit_bytes)
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def chunks(self) -> AsyncIterator[bytes]:
        return self

    async def drain(self, timeout_s: float) -> None:
        try:
            async with asyncio.timeout(timeout_s):
                async for _ in self:
                    pass
        except (TimeoutError, UpstreamFault):
            self.close()

    def close(self) -> None:
        self._stop_timer()
        # aiohttp has already given the connection back when the body's end was read; otherwise this drops it.
        self._raw.close()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> bytes:
        """The next piece as it came from the network. No generator: it is called for every token of every stream."""
        content = self._raw.content
        while not content.at_eof():
            self._waiting_since = self._loop.time()
            if self._timer is None:
                due = min(self._waiting_since + self._timeouts.between_chunks, self._deadline)
                self._timer = self._loop.call_at(due, self._on_timer)
            try:
                piece = await content.readany()
            except _FAULTS as error:
                self._stop_timer()
                self._raw.close()
                if self._fault is not None:
                    raise self._fault from None
                raise _translated(error, self._timeouts, answered=True) from error
            self._waiting_since = None
            if piece:
                return piece
        self._stop_timer()
        raise StopAsyncIteration

    def _on_timer(self) -> None:
        """Armed once and moved only when it fires: a stream of many chunks costs one timer, not one per chunk."""
        now = self._loop.time()
        since = now if self._waiting_since is None else self._waiting_since
        silence_ends = since + self._timeouts.between_chunks
        if now >= self._deadline:
            self._fault = UpstreamTimedOut("total", self._timeouts.total)
        elif now >= silence_ends:
            self._fault = UpstreamTimedOut("between_chunks", self._timeouts.between_chunks)
        else:
            self._timer = self._loop.call_at(min(silence_ends, self._deadline), self._on_timer)
            return
        self._timer = None
        # Wakes the reader with a connection error, which `__anext__` turns into the fault.
        self._raw.close()

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


async def _slices(body: bytes) -> AsyncIterator[bytes]:
    for start in range(0, len(body), SLICE_BYTES):
        yield body[start : start + SLICE_BYTES]


def _described(headers: CIMultiDictProxy[str]) -> Mapping[str, str]:
    """The headers of the body as it is handed out: a server that compressed all the same was undone by aiohttp."""
    if "Content-Encoding" not in headers:
        return headers
    plain = CIMultiDict(headers)
    for name in _BODY_HEADERS:
        plain.popall(name, None)
    return CIMultiDictProxy(plain)


def proves_port(client: AiohttpClient) -> UpstreamClient:
    """Makes the type checker prove that the adapter fits its port."""
    return client
