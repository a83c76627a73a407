"""The client libraries that could stand behind the upstream port, each used as the gateway would use it.

Every one of them must drop the connection when a stream is left, so each is set up such that it does.
"""

from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from types import MappingProxyType
from typing import Final

import httpx
from pyreqwest.client import Client as PyreqwestLibraryClient
from pyreqwest.client import ClientBuilder

from services.gateway.upstream.aiohttp_client import AiohttpClient
from services.gateway.upstream.port import UpstreamRequest

HEADERS: Final = {"content-type": "application/json", "authorization": "Bearer mock-provider-key"}
CONNECTIONS: Final = 512


class Calls(ABC):
    """One library, ready to call."""

    @abstractmethod
    async def whole(self, url: str, body: bytes) -> int:
        """Read an answer to its end; gives the bytes in it."""

    @abstractmethod
    async def streamed(self, url: str, body: bytes) -> int:
        """Read a stream piece by piece, as the pieces arrive; gives the bytes in it."""


class _Aiohttp(Calls):
    """The gateway's own port."""

    def __init__(self, client: AiohttpClient) -> None:
        self._client = client

    async def whole(self, url: str, body: bytes) -> int:
        response = await self._client.send(UpstreamRequest("POST", url, HEADERS, body))
        try:
            return len(await response.read(1 << 20))
        finally:
            response.close()

    async def streamed(self, url: str, body: bytes) -> int:
        response = await self._client.send(UpstreamRequest("POST", url, HEADERS, body))
        try:
            return sum([len(chunk) async for chunk in response.chunks()])
        finally:
            response.close()


class _Httpx(Calls):
    def __init__(self, client: httpx.AsyncClient) -> None:
        self._client = client

    async def whole(self, url: str, body: bytes) -> int:
        response = await self._client.post(url, content=body, headers=HEADERS)
        return len(response.content)

    async def streamed(self, url: str, body: bytes) -> int:
        async with self._client.stream("POST", url, content=body, headers=HEADERS) as response:
            return sum([len(chunk) async for chunk in response.aiter_raw()])


class _Pyreqwest(Calls):
    def __init__(self, client: PyreqwestLibraryClient) -> None:
        self._client = client

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


class Library(ABC):
    """How a library is opened."""

    @abstractmethod
    def open(self) -> AbstractAsyncContextManager[Calls]: ...


class Aiohttp(Library):
    @asynccontextmanager
    async def open(self) -> AsyncIterator[Calls]:
        client = AiohttpClient(connections_per_host=CONNECTIONS)
        try:
            yield _Aiohttp(client)
        finally:
            await client.close()


class Httpx(Library):
    @asynccontextmanager
    async def open(self) -> AsyncIterator[Calls]:
        limits = httpx.Limits(max_connections=CONNECTIONS, max_keepalive_connections=CONNECTIONS)
        async with httpx.AsyncClient(limits=limits, timeout=60, trust_env=False) as client:
            yield _Httpx(client)


class Pyreqwest(Library):
    @asynccontextmanager
    async def open(self) -> AsyncIterator[Calls]:
        async with ClientBuilder().max_connections(CONNECTIONS).no_proxy().build() as client:
            yield _Pyreqwest(client)


LIBRARIES: Final[Mapping[str, Library]] = MappingProxyType(
    {"aiohttp": Aiohttp(), "httpx": Httpx(), "pyreqwest": Pyreqwest()}
)
