"""The contract of UpstreamClient, kept by the network client and, where it applies, by the demo provider."""

import asyncio
import zlib
from collections.abc import AsyncIterator

import msgspec
import pytest

from services.gateway.providers.demo.client import DemoClient
from services.gateway.upstream.aiohttp_client import AiohttpClient
from services.gateway.upstream.port import (
    UpstreamBroken,
    UpstreamClient,
    UpstreamConnectFailed,
    UpstreamRequest,
    UpstreamTimedOut,
    UpstreamTimeouts,
    UpstreamTooLarge,
)
from tests.support.eventually import eventually
from tests.support.upstream import RunningUpstream, running_upstream
from tests.support.upstream.run import bound_socket

MB = 1_048_576


@pytest.fixture
async def upstream() -> AsyncIterator[RunningUpstream]:
    async with running_upstream() as running:
        yield running


@pytest.fixture
async def client() -> AsyncIterator[AiohttpClient]:
    client = AiohttpClient()
    yield client
    await client.close()


@pytest.fixture(params=["network", "demo"])
async def any_client(
    request: pytest.FixtureRequest, upstream: RunningUpstream, client: AiohttpClient
) -> tuple[UpstreamClient, str, str]:
    """A client, its base URL and a chat model there."""
    if request.param == "network":
        return client, upstream.url, "gpt-4o-mini"
    return DemoClient(pace_s=0.001), "demo:", "echo"


def chat(
    base_url: str, text: str = "hello", *, model: str = "gpt-4o-mini", stream: bool = False, **times: float
) -> UpstreamRequest:
    body = {"model": model, "stream": stream, "messages": [{"role": "user", "content": text}]}
    return UpstreamRequest(
        "POST",
        base_url + "/chat/completions",
        {"content-type": "application/json", "authorization": "Bearer sk-upstream"},
        msgspec.json.encode(body),
        UpstreamTimeouts(**times),
    )


async def test_gives_status_headers_and_body(any_client: tuple[UpstreamClient, str, str]) -> None:
    client, url, model = any_client

    response = await client.send(chat(url, model=model))
    body = await response.read(MB)
    response.close()

    assert response.status == 200
    assert response.headers["Content-Type"] == response.headers["content-type"] == "application/json"
    assert b'"choices"' in body
    assert response.headers.get("content-length") in (None, str(len(body)))


async def test_gives_a_stream_piece_by_piece(any_client: tuple[UpstreamClient, str, str]) -> None:
    client, url, model = any_client

    response = await client.send(chat(url, "one two three mock(chunk_ms=5)", model=model, stream=True))
    pieces = [piece async for piece in response.chunks()]
    response.close()

    assert len(pieces) > 3
    assert all(pieces)
    assert b"".join(pieces).endswith(b"data: [DONE]\n\n")


async def test_an_error_status_is_an_answer(any_client: tuple[UpstreamClient, str, str]) -> None:
    client, url, _ = any_client

    response = await client.send(chat(url, "mock(status=404)", model="unknown"))
    body = await response.read(MB)
    response.close()

    assert response.status == 404
    assert b'"error"' in body


async def test_refuses_a_body_over_the_limit(any_client: tuple[UpstreamClient, str, str]) -> None:
    client, url, model = any_client
    response = await client.send(chat(url, "mock(size=100000)" + "x" * 100, model=model))

    with pytest.raises(UpstreamTooLarge):
        await response.read(100)


async def test_takes_a_body_in_pieces(any_client: tuple[UpstreamClient, str, str]) -> None:
    client, url, model = any_client
    request = chat(url, model=model)
    whole = request.body
    assert isinstance(whole, bytes)

    async def pieces() -> AsyncIterator[bytes]:
        yield whole[:10]
        yield whole[10:]

    request.body = pieces()
    response = await client.send(request)
    body = await response.read(MB)
    response.close()

    assert response.status == 200
    assert b'"choices"' in body


async def test_closing_twice_and_reading_after_the_end_are_harmless(
    any_client: tuple[UpstreamClient, str, str],
) -> None:
    client, url, model = any_client
    response = await client.send(chat(url, model=model))
    await response.read(MB)

    assert [piece async for piece in response.chunks()] == []
    await response.drain(1.0)
    response.close()
    response.close()


async def test_sends_exactly_the_headers_given(upstream: RunningUpstream, client: AiohttpClient) -> None:
    (await client.send(chat(upstream.url))).close()
    await eventually(lambda: upstream.app.requests)

    headers = upstream.app.requests[0]["headers"]

    assert headers.keys() == {
        "host", "content-type", "authorization", "accept-encoding", "content-length", "user-agent",
    }  # fmt: skip
    assert headers["accept-encoding"] == "identity"
    assert headers["user-agent"] == "finops-gateway"


async def test_says_who_calls_unless_the_request_does(
    upstream: RunningUpstream, client: AiohttpClient
) -> None:
    request = chat(upstream.url)
    request.headers = {**request.headers, "user-agent": "research/1.0"}

    (await client.send(request)).close()

    await eventually(lambda: upstream.app.requests)
    assert upstream.app.requests[0]["headers"]["user-agent"] == "research/1.0"


async def test_keeps_a_connection_for_the_next_call(upstream: RunningUpstream, client: AiohttpClient) -> None:
    for _ in range(5):
        response = await client.send(chat(upstream.url, stream=True))
        async for _piece in response.chunks():
            pass
        response.close()

    assert len(upstream.server.server_state.connections) == 1


async def test_draining_keeps_the_connection(upstream: RunningUpstream, client: AiohttpClient) -> None:
    for _ in range(2):
        response = await client.send(chat(upstream.url, "mock(chunk_ms=2)", stream=True))
        await response.drain(30.0)
        response.close()

    assert len(upstream.server.server_state.connections) == 1
    assert [served.outcome for served in upstream.app.served] == ["finished", "finished"]


async def test_draining_too_long_drops_the_connection(
    upstream: RunningUpstream, client: AiohttpClient
) -> None:
    response = await client.send(chat(upstream.url, "mock(fault=stall-stream)", stream=True))
    await response.drain(0.05)

    await eventually(lambda: [served.outcome for served in upstream.app.served] == ["left"])


async def test_cancelling_before_the_headers_closes_the_connection(
    upstream: RunningUpstream, client: AiohttpClient
) -> None:
    call = asyncio.create_task(client.send(chat(upstream.url, "mock(fault=stall-headers)")))
    await eventually(lambda: upstream.app.open_requests == 1)

    call.cancel()

    await eventually(lambda: [served.outcome for served in upstream.app.served] == ["left"])
    await eventually(lambda: not upstream.server.server_state.connections)
    assert call.cancelled()


async def test_leaving_a_stream_closes_the_connection_at_once(
    upstream: RunningUpstream, client: AiohttpClient
) -> None:
    order = "mock(completion=100000; chunk_ms=1)"
    response = await client.send(chat(upstream.url, order, stream=True))
    async for _ in response.chunks():
        break

    response.close()

    await eventually(lambda: [served.outcome for served in upstream.app.served] == ["left"])
    assert upstream.app.served[0].chunks_sent < 1000


async def test_cancelling_a_reader_and_closing_drops_the_connection(
    upstream: RunningUpstream, client: AiohttpClient
) -> None:
    response = await client.send(chat(upstream.url, "mock(fault=stall-stream)", stream=True))
    received: list[bytes] = []

    async def read() -> None:
        try:
            async for piece in response.chunks():
                received.append(piece)
        finally:
            response.close()

    reader = asyncio.create_task(read())
    await eventually(lambda: received)
    reader.cancel()

    await eventually(lambda: [served.outcome for served in upstream.app.served] == ["left"])


async def test_times_out_before_the_first_byte(upstream: RunningUpstream, client: AiohttpClient) -> None:
    with pytest.raises(UpstreamTimedOut) as caught:
        await client.send(chat(upstream.url, "mock(fault=stall-headers)", first_byte=0.1))

    assert caught.value.phase == "first_byte"
    await eventually(lambda: not upstream.server.server_state.connections)


async def test_times_out_between_chunks(upstream: RunningUpstream, client: AiohttpClient) -> None:
    response = await client.send(
        chat(upstream.url, "mock(fault=stall-stream; completion=8)", stream=True, between_chunks=1.0)
    )
    pieces = []

    with pytest.raises(UpstreamTimedOut) as caught:
        async for piece in response.chunks():
            pieces.append(piece)

    assert caught.value.phase == "between_chunks"
    assert b"".join(pieces).count(b"data: ") == 4
    await eventually(lambda: [served.outcome for served in upstream.app.served] == ["left"])


async def test_a_steady_stream_outlives_the_time_between_chunks(
    upstream: RunningUpstream, client: AiohttpClient
) -> None:
    order = "mock(completion=30; chunk_ms=50)"
    response = await client.send(chat(upstream.url, order, stream=True, between_chunks=1.0))

    pieces = [piece async for piece in response.chunks()]
    response.close()

    assert b"".join(pieces).endswith(b"data: [DONE]\n\n")


async def test_a_slow_reader_is_not_a_silent_provider(
    upstream: RunningUpstream, client: AiohttpClient
) -> None:
    order = "mock(completion=20; chunk_ms=5)"
    response = await client.send(chat(upstream.url, order, stream=True, between_chunks=1.0))
    received = bytearray()
    async for piece in response.chunks():
        if not received:
            await asyncio.sleep(1.5)  # the pause itself is what is tested
        received += piece
    response.close()

    assert received.endswith(b"data: [DONE]\n\n")


async def test_times_out_in_total(upstream: RunningUpstream, client: AiohttpClient) -> None:
    order = "mock(completion=100000; chunk_ms=5)"
    response = await client.send(chat(upstream.url, order, stream=True, total=1.0))

    with pytest.raises(UpstreamTimedOut) as caught:
        async for _ in response.chunks():
            pass

    assert caught.value.phase == "total"
    await eventually(lambda: [served.outcome for served in upstream.app.served] == ["left"])


async def test_a_refused_connection(client: AiohttpClient) -> None:
    with bound_socket() as listener:  # bound but not listening: refused
        port = listener.getsockname()[1]

        with pytest.raises(UpstreamConnectFailed):
            await client.send(chat(f"http://127.0.0.1:{port}/v1"))


@pytest.mark.parametrize("url", ["http://", "nonsense", "http://127.0.0.1:99999/v1", "ftp://127.0.0.1/v1"])
async def test_an_address_that_is_none(client: AiohttpClient, url: str) -> None:
    with pytest.raises(UpstreamConnectFailed):
        await client.send(chat(url))


async def test_a_body_that_breaks_off(upstream: RunningUpstream, client: AiohttpClient) -> None:
    response = await client.send(chat(upstream.url, "mock(fault=cut; completion=6)", stream=True))
    pieces = []

    with pytest.raises(UpstreamBroken) as caught:
        async for piece in response.chunks():
            pieces.append(piece)

    assert caught.value.answered
    assert b"".join(pieces).count(b"data: ") == 3


async def test_a_whole_body_that_breaks_off(upstream: RunningUpstream, client: AiohttpClient) -> None:
    response = await client.send(chat(upstream.url, "mock(fault=cut)"))

    with pytest.raises(UpstreamBroken) as caught:
        await response.read(MB)

    assert caught.value.received.startswith(b'{"id":"mock-')


async def test_a_connection_that_closes_without_an_answer(client: AiohttpClient) -> None:
    async def hang_up(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(100)
        writer.close()

    server = await asyncio.start_server(hang_up, "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]

        with pytest.raises(UpstreamBroken) as caught:
            await client.send(chat(f"http://127.0.0.1:{port}/v1"))

    assert not caught.value.answered


async def test_64_mb_each_way(upstream: RunningUpstream, client: AiohttpClient) -> None:
    request = chat(upstream.url, f"mock(size={64 * MB})" + "x" * (64 * MB))
    assert isinstance(request.body, bytes)

    response = await client.send(request)
    body = await response.read(65 * MB)
    response.close()

    assert len(body) > 64 * MB
    assert upstream.app.requests[0]["bytes"] == len(request.body)


async def test_the_pool_is_bounded_and_waiting_for_it_counts_as_connecting(
    upstream: RunningUpstream,
) -> None:
    client = AiohttpClient(connections_per_host=2)
    order = "mock(fault=stall-stream)"
    held = [await client.send(chat(upstream.url, order, stream=True)) for _ in range(2)]

    with pytest.raises(UpstreamTimedOut) as caught:
        await client.send(chat(upstream.url, connect=0.1))

    assert caught.value.phase == "connect"
    assert len(upstream.server.server_state.connections) == 2
    held[0].close()
    response = await client.send(chat(upstream.url, connect=30.0))
    assert response.status == 200
    for open_response in (response, *held):
        open_response.close()
    await client.close()


async def test_undoes_a_compression_that_nobody_asked_for(client: AiohttpClient) -> None:
    packed = zlib.compress(b"hello world")

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(
            b"HTTP/1.1 200 OK\r\nContent-Encoding: deflate\r\nX-Kept: yes\r\n"
            b"Content-Length: %d\r\n\r\n" % len(packed) + packed
        )
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        response = await client.send(chat(f"http://127.0.0.1:{port}/v1"))
        body = await response.read(MB)
        response.close()

    assert body == b"hello world"
    assert "content-encoding" not in response.headers
    assert "content-length" not in response.headers
    assert response.headers["x-kept"] == "yes"


async def test_does_not_follow_redirects(client: AiohttpClient) -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n")
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        response = await client.send(chat(f"http://127.0.0.1:{port}/v1"))
        response.close()

    assert response.status == 302
