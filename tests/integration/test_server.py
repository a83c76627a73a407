"""Serving, stopping and streaming on real sockets."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import httpx
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route
from starlette.types import ASGIApp
from structlog.testing import capture_logs

from services.standalone_proxy import UnixSocketProxy
from shared.errors import ConfigurationError
from shared.server import bind, check_address, serve
from shared.settings import Settings
from shared.web.body_limit import MAX_BODY_BYTES
from tests.support.eventually import eventually


class Stream:
    """An endless answer that knows whether anybody still listens."""

    def __init__(self) -> None:
        self.begun = asyncio.Event()
        self.ended = asyncio.Event()

    async def endpoint(self, request: Request) -> Response:
        return StreamingResponse(self._chunks(), media_type="text/event-stream")

    async def _chunks(self) -> AsyncIterator[bytes]:
        try:
            for number in range(1_000_000):
                self.begun.set()
                yield f"data: {number}\n\n".encode()
                await asyncio.sleep(0.005)
        finally:
            self.ended.set()


async def echo(request: Request) -> Response:
    body = await request.body()
    return JSONResponse(
        {
            "method": request.method,
            "path": request.scope["raw_path"].decode(),
            "query": request.url.query,
            "cookie": request.headers.get("cookie", ""),
            "size": len(body),
        },
        status_code=207,
        headers={"set-cookie": "a=b", "x-two": "1"},
    )


def app(stream: Stream) -> Starlette:
    return Starlette(
        routes=[
            Route("/stream", stream.endpoint),
            Route("/{rest:path}", echo, methods=["GET", "POST", "DELETE"]),
        ]
    )


@asynccontextmanager
async def serving(application: ASGIApp, settings: Settings) -> AsyncIterator[str]:
    url: asyncio.Future[str] = asyncio.get_running_loop().create_future()
    task = asyncio.create_task(serve(application, settings, ready=url.set_result))
    try:
        yield await asyncio.wait_for(url, 30)
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def test_port_0_names_the_real_port_and_a_cancelled_server_lets_go_of_it() -> None:
    async with serving(app(Stream()), Settings(port=0)) as url:
        async with httpx.AsyncClient() as client:
            answer = await client.get(f"{url}/hello")
        port = int(url.rpartition(":")[2])
        with pytest.raises(ConfigurationError, match=f"127.0.0.1:{port} is in use"):
            bind(Settings(port=port))

    assert answer.status_code == 207
    assert "server" not in answer.headers
    bind(Settings(port=port)).close()


async def test_where_a_service_answers_is_one_line_of_its_log() -> None:
    with capture_logs() as lines:
        task = asyncio.create_task(serve(app(Stream()), Settings(port=0)))
        (line,) = await eventually(lambda: lines)
        async with httpx.AsyncClient() as client:
            answer = await client.get(f"{line['url']}/hello")
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    assert answer.status_code == 207
    assert [(line["event"], line["log_level"]) for line in lines] == [("listening", "info")]


async def test_a_host_that_is_not_here_is_one_sentence() -> None:
    for host in ("192.0.2.1", "nowhere.invalid"):
        with pytest.raises(ConfigurationError, match="FINOPS_HOST is wrong"):
            bind(Settings(host=host, port=0))


async def test_a_unix_socket_is_private_and_replaces_one_that_a_killed_process_left(tmp_path: Path) -> None:
    path = tmp_path / "finops.sock"
    with socket.socket(socket.AF_UNIX) as left_behind:
        left_behind.bind(str(path))

    async with serving(app(Stream()), Settings(uds=str(path))) as url:
        transport = httpx.AsyncHTTPTransport(uds=str(path))
        async with httpx.AsyncClient(transport=transport) as client:
            answer = await client.get("http://finops/hello")
        mode = path.stat().st_mode & 0o777

    assert url == f"unix:{path}"
    assert (answer.status_code, mode) == (207, 0o600)
    assert not path.exists()


async def test_a_unix_socket_takes_the_place_of_nothing_that_is_used(tmp_path: Path) -> None:
    document, socket_file = tmp_path / "document", tmp_path / "finops.sock"
    document.write_text("precious")
    with pytest.raises(
        ConfigurationError, match=r"FINOPS_UDS is wrong: .*document is there and is no socket"
    ):
        bind(Settings(uds=str(document)))
    with pytest.raises(ConfigurationError, match=r"FINOPS_UDS is wrong: .* is longer than the 103 bytes"):
        bind(Settings(uds=str(tmp_path / ("long" * 40))))

    async with serving(app(Stream()), Settings(uds=str(socket_file))):
        with pytest.raises(ConfigurationError, match=r"finops\.sock is in use by another program"):
            bind(Settings(uds=str(socket_file)))
        async with httpx.AsyncClient(transport=httpx.AsyncHTTPTransport(uds=str(socket_file))) as client:
            assert (await client.get("http://finops/hello")).status_code == 207

    assert document.read_text() == "precious"


@asynccontextmanager
async def proxied(path: Path, stream: Stream | None = None) -> AsyncIterator[str]:
    """A proxy in front of a Unix socket; with `stream` there is a server behind it."""
    async with UnixSocketProxy(str(path)) as proxy, serving(proxy, Settings(port=0)) as url:
        if stream is None:
            yield url
        else:
            async with serving(app(stream), Settings(uds=str(path))):
                yield url


async def test_the_proxy_passes_requests_and_answers_through_unchanged(tmp_path: Path) -> None:
    async with proxied(tmp_path / "s", Stream()) as url, httpx.AsyncClient() as client:
        answer = await client.post(
            f"{url}/api/logs/a%2Fb?search=x%20y&n=1", content=b"x" * 1000, headers={"cookie": "session=1"}
        )

    assert answer.status_code == 207
    assert answer.json() == {
        "method": "POST",
        "path": "/api/logs/a%2Fb",
        "query": "search=x%20y&n=1",
        "cookie": "session=1",
        "size": 1000,
    }
    assert answer.headers["set-cookie"] == "a=b"
    assert len(answer.headers.get_list("date")) == 1


async def test_a_client_that_leaves_ends_the_proxied_stream(tmp_path: Path) -> None:
    stream = Stream()
    async with proxied(tmp_path / "s", stream) as url, aiohttp.ClientSession() as session:
        async with session.get(f"{url}/stream") as answer:
            assert await answer.content.readline() == b"data: 0\n"
            assert not stream.ended.is_set()

        await asyncio.wait_for(stream.ended.wait(), 30)


async def test_without_a_server_behind_it_the_proxy_answers_503_at_once(tmp_path: Path) -> None:
    async with proxied(tmp_path / "nobody") as url, httpx.AsyncClient() as client:
        page = await client.get(f"{url}/logs", headers={"accept": "text/html,*/*"})
        data = await client.get(f"{url}/api/logs")

    assert (page.status_code, data.status_code) == (503, 503)
    assert "starting" in page.text and page.headers["content-type"].startswith("text/html")
    assert data.json()["error"]["code"] == "log_store_unavailable"
    assert data.headers["retry-after"]


async def test_the_proxy_recovers_when_the_server_comes_back(tmp_path: Path) -> None:
    path = tmp_path / "s"
    async with proxied(path) as url, httpx.AsyncClient() as client:

        async def answers() -> bool:
            return (await client.get(f"{url}/hello")).status_code == 207

        for _ in range(2):
            assert not await answers()
            async with serving(app(Stream()), Settings(uds=str(path))):
                await eventually(answers)


async def test_a_huge_request_to_the_proxy_is_refused(tmp_path: Path) -> None:
    async with proxied(tmp_path / "s", Stream()) as url, httpx.AsyncClient() as client:
        answer = await client.post(f"{url}/api/sql", content=b"x" * (MAX_BODY_BYTES + 1))

    assert (answer.status_code, answer.json()["error"]["code"]) == (413, "body_too_large")


@pytest.mark.parametrize("host", ["nowhere.invalid", "a..b", "192.0.2.7"])
def test_a_host_that_is_not_here_is_told_without_a_start(host: str) -> None:
    with pytest.raises(ConfigurationError, match=f"^FINOPS_HOST is wrong: {host} cannot be "):
        check_address(Settings(host=host))


def test_an_address_that_somebody_has_just_now_is_right(tmp_path: Path) -> None:
    taken = bind(Settings(host="127.0.0.2", port=0))
    try:
        check_address(Settings(host="127.0.0.2", port=taken.getsockname()[1]))
    finally:
        taken.close()
