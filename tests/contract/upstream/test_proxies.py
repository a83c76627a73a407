"""Calls through the proxy that the environment names."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from services.gateway.upstream.aiohttp_client import AiohttpClient
from services.gateway.upstream.port import UpstreamConnectFailed, UpstreamRequest
from services.gateway.upstream.proxies import Proxies
from tests.support.upstream import running_upstream

MB = 1_048_576


def request(base_url: str) -> UpstreamRequest:
    return UpstreamRequest("POST", f"{base_url}/chat/completions", {}, b'{"model":"m","messages":[]}')


@asynccontextmanager
async def proxy(answer: bytes) -> AsyncIterator[tuple[str, list[bytes]]]:
    """A proxy that gives one answer to everything: its address, and the first lines that it was sent."""
    seen: list[bytes] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        seen.append((await reader.readuntil(b"\r\n")).strip())
        writer.write(answer)
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        yield f"127.0.0.1:{server.sockets[0].getsockname()[1]}", seen


async def test_calls_go_through_the_proxy_but_for_this_machine() -> None:
    answer = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi"
    async with running_upstream() as upstream, proxy(answer) as (address, seen):
        client = AiohttpClient(proxies=Proxies({"HTTP_PROXY": address}))
        distant = await client.send(request("http://provider.test/v1"))
        near = await client.send(request(upstream.url))

        assert await distant.read(MB) == b"hi"
        assert b'"choices"' in await near.read(MB)
        assert seen == [b"POST http://provider.test/v1/chat/completions HTTP/1.1"]
        distant.close()
        near.close()
        await client.close()


async def test_a_proxy_that_refuses_leaves_the_provider_unreached() -> None:
    refusal = b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n"
    async with proxy(refusal) as (address, seen):
        client = AiohttpClient(proxies=Proxies({"https_proxy": f"http://{address}"}))

        with pytest.raises(UpstreamConnectFailed) as caught:
            await client.send(request("https://provider.test/v1"))

        assert "403" in str(caught.value)
        assert seen == [b"CONNECT provider.test:443 HTTP/1.1"]
        await client.close()
