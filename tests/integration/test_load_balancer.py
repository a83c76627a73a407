"""nginx with the configuration of `deploy/nginx`: routes, streams, and never a POST twice."""

import asyncio
import os
import shutil
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from io import BytesIO
from pathlib import Path
from string import Template
from typing import Final

import aiohttp
import pytest
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse

from shared.server import serve
from shared.settings import Settings
from tests.support.processes import Child, free_port

TEMPLATE: Final = Path(__file__).parents[2] / "deploy" / "nginx" / "nginx.conf.template"
NAMES: Final = ("gateway_1", "gateway_2", "log_ingest", "budget")


class Backend:
    """A service that says its name."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.served: list[str] = []
        self.release = asyncio.Event()

    async def __call__(self, scope, receive, send) -> None:  # type: ignore[no-untyped-def]
        request = Request(scope, receive)
        self.served.append(request.url.path)
        response: Response = JSONResponse({"name": self.name, "size": len(await request.body())})
        if request.url.path == "/v1/stream":
            response = StreamingResponse(self._events(), media_type="text/event-stream")
        await response(scope, receive, send)

    async def _events(self) -> AsyncIterator[bytes]:
        yield b"data: first\n\n"
        await self.release.wait()
        yield b"data: last\n\n"


class Balanced:
    """A running nginx, and what is behind it."""

    def __init__(self, directory: Path) -> None:
        self.backends = {name: Backend(name) for name in NAMES}
        self.ports = {name: free_port() for name in NAMES}
        self.url = f"http://127.0.0.1:{free_port()}"
        self.tasks: dict[str, asyncio.Task[None]] = {}
        self._directory = directory

    def configure(self) -> Path:
        """Write nginx.conf; nginx itself says whether it is right."""
        servers = [f"server 127.0.0.1:{self.ports[name]} max_fails=2 fail_timeout=2s;" for name in NAMES[:2]]
        text = TEMPLATE.read_text()
        for name, value in {
            "LB_LISTEN": self.url.removeprefix("http://"),
            "LB_GATEWAYS": " ".join(servers),
            "LB_LOG_INGEST": f"127.0.0.1:{self.ports['log_ingest']}",
            "LB_BUDGET": f"127.0.0.1:{self.ports['budget']}",
        }.items():
            text = text.replace("${" + name + "}", value)
        path = self._directory / "nginx.conf"
        path.write_text(text)
        return path

    async def start(self, name: str) -> None:
        ready = asyncio.Event()
        settings = Settings(port=self.ports[name])
        serving = serve(self.backends[name], settings, ready=lambda _: ready.set())
        self.tasks[name] = asyncio.create_task(serving)
        await asyncio.wait_for(ready.wait(), 30)

    async def stop(self, name: str) -> None:
        task = self.tasks.pop(name)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def _globals() -> str:
    """As root, nginx would give its work to `nobody`, who may not look into a test's private directory."""
    return "daemon off;" + (" user root;" if os.geteuid() == 0 else "")


def nginx() -> str:
    found = shutil.which("nginx") or shutil.which("/usr/sbin/nginx")
    if found is None:
        pytest.skip("nginx is not installed (make test-tools)")
    return found


@pytest.fixture
async def balanced(tmp_path: Path) -> AsyncIterator[Balanced]:
    async with running(tmp_path) as it:
        yield it


@asynccontextmanager
async def running(directory: Path) -> AsyncIterator[Balanced]:
    it = Balanced(directory)
    it.configure()
    argv = [nginx(), "-p", str(directory), "-c", "nginx.conf", "-e", "stderr", "-g", _globals()]
    child = Child("nginx", argv, {"PATH": "/usr/bin:/bin"}, directory / "nginx.log")
    try:
        for name in NAMES:
            await it.start(name)
        child.start()
        await child.until_answering(f"{it.url}/healthz", 60)
        yield it
    finally:
        await child.stop()
        for name in list(it.tasks):
            await it.stop(name)


def test_every_variable_of_the_template_is_explained_in_it() -> None:
    text = TEMPLATE.read_text()
    used = {name for _, _, name, _ in Template.pattern.findall(text) if name.startswith("LB_")}

    assert used == {"LB_LISTEN", "LB_GATEWAYS", "LB_LOG_INGEST", "LB_BUDGET"}
    for name in used:
        assert f"#   {name} " in text


def test_nginx_accepts_the_configuration(tmp_path: Path) -> None:
    Balanced(tmp_path).configure()
    argv = [nginx(), "-t", "-p", str(tmp_path), "-c", "nginx.conf", "-e", "stderr"]

    done = subprocess.run(argv, capture_output=True, text=True, timeout=30, check=False)

    assert done.returncode == 0, done.stderr
    assert "[warn]" not in done.stderr


async def test_paths_go_to_their_services_and_gateways_take_turns(balanced: Balanced) -> None:
    seen: dict[str, set[str]] = {}
    async with aiohttp.ClientSession(balanced.url) as session:
        for path in (
            "/v1/models",
            "/readyz",
            "/logs",
            "/api/logs/x",
            "/api/sql",
            "/",
            "/api/virtual-keys",
            "/logstash",
        ):
            for _ in range(8):
                async with session.get(path) as answer:
                    seen.setdefault(path, set()).add((await answer.json())["name"])
        async with session.get("/metrics") as answer:
            assert answer.status == 404

    gateways, logs, budget = {"gateway_1", "gateway_2"}, {"log_ingest"}, {"budget"}
    assert seen == {
        "/v1/models": gateways,
        "/readyz": gateways,
        "/logs": logs,
        "/api/logs/x": logs,
        "/api/sql": logs,
        "/": budget,
        "/api/virtual-keys": budget,
        "/logstash": budget,
    }


async def test_a_stream_is_passed_on_as_it_comes(balanced: Balanced) -> None:
    async with aiohttp.ClientSession(balanced.url) as session, session.get("/v1/stream") as answer:
        first = await asyncio.wait_for(answer.content.readline(), 30)
        for backend in balanced.backends.values():
            backend.release.set()
        rest = await answer.content.read()

    assert first == b"data: first\n"
    assert b"data: last" in rest


async def test_a_gateway_that_is_down_is_skipped_also_for_posts(balanced: Balanced) -> None:
    await balanced.stop("gateway_1")

    async with aiohttp.ClientSession(balanced.url) as session:
        for _ in range(6):
            async with session.post("/v1/chat/completions", data=b"{}") as answer:
                assert (await answer.json())["name"] == "gateway_2"


async def test_a_post_that_was_sent_is_never_sent_again(balanced: Balanced) -> None:
    received: list[bytes] = []

    async def die_in_the_middle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        received.append(await reader.readuntil(b"\r\n\r\n"))
        writer.transport.abort()

    servers = []
    for name in NAMES[:2]:
        await balanced.stop(name)
        servers.append(await asyncio.start_server(die_in_the_middle, "127.0.0.1", balanced.ports[name]))
    async with aiohttp.ClientSession(balanced.url) as session, session.post("/v1/x", data=b"{}") as answer:
        body = await answer.json()
    for server in servers:
        server.close()
        await server.wait_closed()

    assert (answer.status, body["error"]["code"]) == (503, "gateway_unavailable")
    assert len(received) == 1


async def test_without_any_gateway_the_error_is_json(balanced: Balanced) -> None:
    await balanced.stop("gateway_1")
    await balanced.stop("gateway_2")

    async with aiohttp.ClientSession(balanced.url) as session, session.post("/v1/x", data=b"{}") as answer:
        body = await answer.json()
        headers = answer.headers

    assert answer.status == 503
    assert body["error"]["code"] == "gateway_unavailable"
    assert headers["retry-after"]


async def test_bodies_of_64_mb_pass_and_larger_ones_are_refused_with_json(balanced: Balanced) -> None:
    async with aiohttp.ClientSession(balanced.url) as session:
        async with session.post("/v1/x", data=BytesIO(bytes(60 * 1024 * 1024))) as answer:
            assert (await answer.json())["size"] == 60 * 1024 * 1024
        async with session.post(
            "/v1/x",
            data=b"",
            headers={"content-length": str(65 * 1024 * 1024)},
            skip_auto_headers=["content-type"],
        ) as answer:
            assert answer.status == 413
            assert (await answer.json())["error"]["code"] == "body_too_large"
