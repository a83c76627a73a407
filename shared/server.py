"""One HTTP server for every service: uvicorn on uvloop, stopped by signals, bound before anything is promised.

`run_service` is the body of a process: it runs a coroutine on uvloop until it returns or a signal ends it.
`serve` belongs inside that coroutine, after the service's parts have started.
"""

import asyncio
import errno
import gc
import os
import signal
import socket
from collections.abc import Callable, Coroutine, Generator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Final

import uvicorn
import uvloop
from starlette.types import ASGIApp

from shared.errors import ConfigurationError
from shared.settings import Settings
from shared.telemetry import get_logger

STOP_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM)
KEEP_ALIVE_S: Final = 75
"""Longer than the 60 s that load balancers keep idle connections: they close first, so no request meets a closed one."""
GRACEFUL_SHUTDOWN_S: Final = 15
BACKLOG: Final = 2048
EVERYWHERE: Final = frozenset({"127.0.0.1", "localhost", "0.0.0.0"})
"""What every machine has: nothing needs to be looked up."""
LONGEST_SOCKET_PATH: Final = 103
"""In bytes: the kernel takes one more for the end, 108 on Linux and 104 on macOS."""
GC_YOUNG_CONTAINERS: Final = 20_000
GC_MIDDLE_ROUNDS: Final = 25
GC_OLD_ROUNDS: Final = 20

_log = get_logger(__name__)


def run_service(main: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """Run `main()` on uvloop. SIGINT and SIGTERM cancel it (unless `serve` is at work, which stops gracefully)."""

    async def guarded() -> None:
        loop = asyncio.get_running_loop()
        task = loop.create_task(main())
        for signum in STOP_SIGNALS:
            loop.add_signal_handler(signum, task.cancel)
        with suppress(asyncio.CancelledError):  # stopped by a signal before or after serving
            await task

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(guarded())


def log_address(url: str) -> None:
    """The one line by which an operator sees where a service answers."""
    _log.info("listening", url=url)


async def serve(
    app: ASGIApp,
    settings: Settings,
    *,
    ready: Callable[[str], None] = log_address,
    listener: socket.socket | None = None,
) -> None:
    """Serve `app` until SIGINT or SIGTERM, then let running requests end for up to 15 s; a second signal ends them.

    `listener` is a socket from `bind` when the caller wanted the port before starting its parts; it is closed here.
    `ready` is called once with the URL (the real port where port 0 was asked for, `unix:PATH` for a Unix socket);
    by default it is logged.
    Raises ConfigurationError when the address cannot be bound.
    """
    sock = bind(settings) if listener is None else listener
    config = uvicorn.Config(
        app,
        http="httptools",
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        backlog=BACKLOG,
        timeout_keep_alive=KEEP_ALIVE_S,
        timeout_graceful_shutdown=GRACEFUL_SHUTDOWN_S,
    )
    server = _Server(config, on_started=lambda: ready(url_of(sock, settings.uds)))
    try:
        await server.serve(sockets=[sock])
    except asyncio.CancelledError:
        server.force_exit = True
        if server.started:
            await server.shutdown(sockets=[sock])
        raise
    finally:
        _release(sock, settings.uds)


def bind(settings: Settings) -> socket.socket:
    """A bound, not yet listening socket for `settings.uds` or `settings.host` and `settings.port`.

    Raises ConfigurationError with one sentence when the address is taken or not ours.
    """
    if settings.uds:
        return _bind_unix(Path(settings.uds))
    return _bind_port(settings.host, settings.port)


def check_address(settings: Settings) -> None:
    """Raises what `bind` would raise for an address that can never be bound here. Whether somebody else has it just
    now is not asked, and nothing is left behind."""
    if settings.uds:
        _check_socket_path(Path(settings.uds))
    elif settings.host not in EVERYWHERE:
        _bind_port(settings.host, 0).close()


def _bind_port(host: str, port: int) -> socket.socket:
    where = f"{host}:{port}" if port else host
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        sock = socket.socket(family, kind, protocol)
    except (OSError, UnicodeError) as error:  # the latter for what no name can be, such as a..b
        raise ConfigurationError(f"FINOPS_HOST is wrong: {host} cannot be resolved.") from error
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind(address)
    except OSError as error:
        sock.close()
        if error.errno == errno.EADDRINUSE:
            message = f"{where} is in use by another program; stop it or set FINOPS_PORT to a free port."
        elif error.errno == errno.EACCES:
            message = f"{where} may not be opened by this user; set FINOPS_PORT to a port above 1023."
        else:
            message = f"FINOPS_HOST is wrong: {where} cannot be opened here ({error.strerror})."
        raise ConfigurationError(message) from error
    sock.setblocking(False)
    return sock


def url_of(sock: socket.socket, uds: str = "") -> str:
    """Where a bound socket answers. A wildcard address is shown as localhost, which is what a person can open."""
    if uds:
        return f"unix:{uds}"
    host, port = sock.getsockname()[:2]
    if host in {"0.0.0.0", "::"}:
        host = "localhost"
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def _check_socket_path(path: Path) -> None:
    if path.exists() and not path.is_socket():
        raise ConfigurationError(f"FINOPS_UDS is wrong: {path} is there and is no socket.")
    if len(os.fsencode(path)) > LONGEST_SOCKET_PATH:
        raise ConfigurationError(
            f"FINOPS_UDS is wrong: {path} is longer than the {LONGEST_SOCKET_PATH} bytes that a socket's path can have."
        )
    if not path.parent.is_dir() or not os.access(path.parent, os.W_OK | os.X_OK):
        raise ConfigurationError(
            f"FINOPS_UDS is wrong: {path.parent} is no directory where this user can make a socket."
        )


def _bind_unix(path: Path) -> socket.socket:
    _check_socket_path(path)
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        if _answers(path):
            raise ConfigurationError(
                f"FINOPS_UDS is wrong: {path} is in use by another program; stop it or name another path."
            )
        path.unlink(missing_ok=True)  # what a killed process left
        sock.bind(str(path))
        path.chmod(0o600)
    except OSError as error:
        sock.close()
        raise ConfigurationError(f"FINOPS_UDS is wrong: {path} cannot be opened ({error}).") from error
    except ConfigurationError:
        sock.close()
        raise
    sock.setblocking(False)
    return sock


def _answers(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as visitor:
        return visitor.connect_ex(str(path)) == 0


def _release(sock: socket.socket, uds: str) -> None:
    sock.close()
    if uds:
        Path(uds).unlink(missing_ok=True)


def _spare_the_collector() -> None:
    """Take what stands at the start out of the garbage collector's sight, and let it look for cycles less often.

    By default it looks after every 700 new containers, which a few concurrent requests hold at any time: that was a
    quarter of the CPU time of a request. Cycles are rare here; between two looks they hold some MB.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(GC_YOUNG_CONTAINERS, GC_MIDDLE_ROUNDS, GC_OLD_ROUNDS)


class _Server(uvicorn.Server):
    """uvicorn's server, told to stop through the loop's signal handlers instead of re-raising signals at its end."""

    def __init__(self, config: uvicorn.Config, on_started: Callable[[], None]) -> None:
        super().__init__(config)
        self._on_started = on_started

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        _spare_the_collector()
        self._on_started()

    @contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        loop = asyncio.get_running_loop()
        try:
            for signum in STOP_SIGNALS:
                loop.add_signal_handler(signum, self._stop)
        except (
            ValueError,
            RuntimeError,
        ):  # not in the main thread: whoever runs this loop stops it by cancelling
            yield
            return
        try:
            yield
        finally:
            for signum in STOP_SIGNALS:
                loop.remove_signal_handler(signum)

    def _stop(self) -> None:
        self.force_exit = self.should_exit
        self.should_exit = True
