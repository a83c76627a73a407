"""The client libraries that could stand behind the upstream port, each used as the gateway would use it.

Every one of them must drop the connection when a stream is left, so each is set up such that it does. What a library
has no time limit for is cancelled from outside, as the gateway would have to.
"""

import asyncio
from abc import ABC, abstractmethod
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from types import MappingProxyType
from typing import Any, Final

import httpx
from pyreqwest.client import Client as PyreqwestLibraryClient
from pyreqwest.client import ClientBuilder
from pyreqwest.proxy import ProxyBuilder

from services.gateway.upstream.aiohttp_client import AiohttpClient
from services.gateway.upstream.port import UpstreamRequest, UpstreamTimedOut, UpstreamTimeouts
from services.gateway.upstream.proxies import Proxies

HEADERS: Final = {"content-type": "application/json", "authorization": "Bearer mock-provider-key"}
CONNECTIONS: Final = 512
BODY_LIMIT: Final = 1 << 27


@dataclass(frozen=True, slots=True)
class Setup:
    """What a client is opened with; times are seconds."""

    connections: int = CONNECTIONS
    """Per host."""
    connect: float = 10.0
    first_byte: float = 60.0
    between_chunks: float = 60.0
    total: float = 600.0
    proxy: str = ""


class Calls(ABC):
    """One library, ready to call."""

    @abstractmethod
    async def whole(self, url: str, body: bytes) -> int:
        """Read an answer to its end; gives the bytes in it."""

    @abstractmethod
    async def streamed(self, url: str, body: bytes) -> int:
        """Read a stream piece by piece, as the pieces arrive; gives the bytes in it."""

    @abstractmethod
    def pieces(self, url: str, body: bytes) -> AsyncGenerator[bytes, None]:
        """A stream within the times of the set-up, for whoever may leave it. Raises TimeoutError."""


class _Aiohttp(Calls):
    """The gateway's own port."""

    def __init__(self, client: AiohttpClient, setup: Setup) -> None:
        self._client = client
        self._times = UpstreamTimeouts(setup.connect, setup.first_byte, setup.between_chunks, setup.total)

    def _request(self, url: str, body: bytes) -> UpstreamRequest:
        return UpstreamRequest("POST", url, HEADERS, body, self._times)

    async def whole(self, url: str, body: bytes) -> int:
        response = await self._client.send(self._request(url, body))
        try:
            return len(await response.read(BODY_LIMIT))
        finally:
            response.close()

    async def streamed(self, url: str, body: bytes) -> int:
        response = await self._client.send(self._request(url, body))
        try:
            return sum([len(chunk) async for chunk in response.chunks()])
        finally:
            response.close()

    async def pieces(self, url: str, body: bytes) -> AsyncGenerator[bytes, None]:
        try:
            response = await self._client.send(self._request(url, body))
            try:
                async for chunk in response.chunks():
                    yield chunk
            finally:
                response.close()
        except UpstreamTimedOut as error:
            raise TimeoutError from error


async def _within(
    setup: Setup, started: Awaitable[Any], following: Callable[[Any], Awaitable[bytes]]
) -> AsyncGenerator[bytes, None]:
    """The pieces of an answer within the times that a library does not keep itself; an empty one is its end."""
    async with asyncio.timeout(setup.total):
        async with asyncio.timeout(setup.first_byte):
            response = await started
        while True:
            async with asyncio.timeout(setup.between_chunks):
                piece = await following(response)
            if not piece:
                return
            yield piece


class _Httpx(Calls):
    def __init__(self, client: httpx.AsyncClient, setup: Setup) -> None:
        self._client = client
        self._setup = setup

    async def whole(self, url: str, body: bytes) -> int:
        response = await self._client.post(url, content=body, headers=HEADERS)
        return len(response.content)

    async def streamed(self, url: str, body: bytes) -> int:
        async with self._client.stream("POST", url, content=body, headers=HEADERS) as response:
            return sum([len(chunk) async for chunk in response.aiter_raw()])

    async def pieces(self, url: str, body: bytes) -> AsyncGenerator[bytes, None]:
        async def following(chunks: AsyncIterator[bytes]) -> bytes:
            return await anext(chunks, b"")

        async def started() -> AsyncIterator[bytes]:
            opened.append(await self._client.send(request, stream=True))
            return opened[0].aiter_raw()

        request = self._client.build_request("POST", url, content=body, headers=HEADERS)
        opened: list[httpx.Response] = []
        try:
            async for piece in _within(self._setup, started(), following):
                yield piece
        except httpx.TimeoutException as error:
            raise TimeoutError from error
        finally:
            for response in opened:
                await response.aclose()


class _Pyreqwest(Calls):
    def __init__(self, client: PyreqwestLibraryClient, setup: Setup) -> None:
        self._client = client
        self._setup = setup

    async def whole(self, url: str, body: bytes) -> int:
        response = await self._client.post(url).headers(HEADERS).body_bytes(body).build().send()
        return len(await response.bytes())

    async def streamed(self, url: str, body: bytes) -> int:
        # Without the limit it goes on reading for a client that has left.
        request = self._client.post(url).headers(HEADERS).body_bytes(body).streamed_read_buffer_limit(0)
        size = 0
        async with request.build_streamed() as response:
            while chunk := await response.body_reader.read_chunk():
                size += len(chunk)
        return size

    async def pieces(self, url: str, body: bytes) -> AsyncGenerator[bytes, None]:
        request = self._client.post(url).headers(HEADERS).body_bytes(body).streamed_read_buffer_limit(0)
        stream = request.build_streamed()

        async def following(response: Any) -> bytes:
            return bytes(await response.body_reader.read_chunk() or b"")

        async def started() -> Any:
            response = await stream.__aenter__()
            opened.append(response)
            return response

        opened: list[Any] = []
        try:
            async for piece in _within(self._setup, started(), following):
                yield piece
        finally:
            if opened:
                await stream.__aexit__(None, None, None)


class Library(ABC):
    """How a library is opened."""

    @abstractmethod
    def open(self, setup: Setup = Setup()) -> AbstractAsyncContextManager[Calls]: ...


class Aiohttp(Library):
    @asynccontextmanager
    async def open(self, setup: Setup = Setup()) -> AsyncIterator[Calls]:
        proxies = Proxies({"HTTP_PROXY": setup.proxy})
        client = AiohttpClient(connections_per_host=setup.connections, proxies=proxies)
        try:
            yield _Aiohttp(client, setup)
        finally:
            await client.close()


class Httpx(Library):
    @asynccontextmanager
    async def open(self, setup: Setup = Setup()) -> AsyncIterator[Calls]:
        limits = httpx.Limits(max_connections=setup.connections, max_keepalive_connections=setup.connections)
        times = httpx.Timeout(None, connect=setup.connect, pool=setup.connect)
        proxy = setup.proxy or None
        async with httpx.AsyncClient(limits=limits, timeout=times, trust_env=False, proxy=proxy) as client:
            yield _Httpx(client, setup)


class Pyreqwest(Library):
    @asynccontextmanager
    async def open(self, setup: Setup = Setup()) -> AsyncIterator[Calls]:
        connect = timedelta(seconds=setup.connect)
        builder = ClientBuilder().max_connections(setup.connections).connect_timeout(connect)
        builder = builder.pool_timeout(connect)
        builder = builder.proxy(ProxyBuilder.all(setup.proxy)) if setup.proxy else builder.no_proxy()
        async with builder.build() as client:
            yield _Pyreqwest(client, setup)


LIBRARIES: Final[Mapping[str, Library]] = MappingProxyType(
    {"aiohttp": Aiohttp(), "httpx": Httpx(), "pyreqwest": Pyreqwest()}
)
