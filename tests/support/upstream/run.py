"""Running the mock: inside the test's own event loop, or as its own process."""

import asyncio
import contextlib
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from typing import Final

import uvicorn

from tests.support.upstream.app import MockUpstream

BACKLOG: Final = 4096


class QuietServer(uvicorn.Server):
    """Leaves signals to whoever runs the tests."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


@dataclass(slots=True)
class RunningUpstream:
    """`url` is the base URL, `/v1` included."""

    app: MockUpstream
    url: str
    server: uvicorn.Server


def server_for(app: MockUpstream) -> uvicorn.Server:
    config = uvicorn.Config(
        app, http="httptools", lifespan="off", access_log=False, log_level="critical", timeout_keep_alive=75,
        timeout_graceful_shutdown=2, backlog=BACKLOG,
    )  # fmt: skip
    return QuietServer(config)


def bound_socket(host: str = "127.0.0.1", port: int = 0) -> socket.socket:
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind((host, port))
    return listener


@contextlib.asynccontextmanager
async def running_upstream(app: MockUpstream | None = None) -> AsyncIterator[RunningUpstream]:
    """The mock inside this event loop, on a free port."""
    app = app or MockUpstream()
    server = server_for(app)
    listener = bound_socket()
    task = asyncio.create_task(server.serve(sockets=[listener]))
    try:
        while not server.started:
            if task.done():
                await task
            await asyncio.sleep(0.001)
        yield RunningUpstream(app, f"http://127.0.0.1:{listener.getsockname()[1]}/v1", server)
    finally:
        server.should_exit = True
        await task
        listener.close()


@contextlib.contextmanager
def upstream_process(*, port: int = 0) -> Iterator[str]:
    """The mock as its own process, stopped at the end; gives its base URL, `/v1` included."""
    command = [sys.executable, "-m", "tests.support.upstream", "--port", str(port)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            url = process.stdout.readline().strip()
            if not url:
                raise RuntimeError("the mock upstream did not start")
            yield url
        finally:
            process.terminate()
            process.wait(10)
