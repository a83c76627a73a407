"""`finops up`: everything on one port, nothing to install beside it.

This process serves the gateway and the budget service, which share one event log. The log ingester, with the log
store's engine inside, is a child process behind a Unix socket: it may be slow, grow or crash, and is restarted;
no request to `/v1` ever waits for it. Settings decide where the event log and the log store are.
"""

import socket
import sys
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Final

from services.budget.main import budget_service
from services.gateway.main import gateway_service
from services.log_ingest.store.address import parse_store_url
from services.standalone_banner import Start, banner
from services.standalone_child import SupervisedChild
from services.standalone_home import data_directory, socket_path
from services.standalone_metrics import StandaloneMetrics
from services.standalone_proxy import PathRouter, UnixSocketProxy
from services.standalone_settings import Installation, child_environment, complete
from shared.config_file import load_config
from shared.eventlog.open import open_log
from shared.server import bind, run_service, serve
from shared.settings import Settings, process_environment

PROGRAM: Final = "finops"
LOG_INGEST_COMMAND: Final = (sys.executable, "-P", "-m", "services.cli", "log-ingest", "--stop-with-parent")
"""`-P`: the directory that somebody started this in may hold a `services` of its own."""


def run(settings: Settings) -> None:
    """Serve until a signal. Raises ConfigurationError, before anything is started, when something cannot work."""
    load_config(settings)
    parse_store_url(settings.resolved_clickhouse_url)
    with data_directory(settings.data_dir) as home, socket_path(home) as uds, bind(settings) as listener:
        installation = complete(settings, home)
        run_service(lambda: _serve_all(installation, uds, listener))


async def _serve_all(installation: Installation, uds: Path, listener: socket.socket) -> None:
    settings = installation.settings
    child_settings = settings.model_copy(update={"uds": str(uds)})
    async with AsyncExitStack() as stack:
        log = open_log(settings)
        stack.push_async_callback(log.close)
        await log.start()
        await stack.enter_async_context(
            SupervisedChild(
                "log_ingest", LOG_INGEST_COMMAND, child_environment(child_settings, process_environment())
            )
        )
        logs = await stack.enter_async_context(UnixSocketProxy(str(uds)))
        budget = await stack.enter_async_context(budget_service(settings, log))
        gateway = await stack.enter_async_context(gateway_service(settings, log))
        metrics = StandaloneMetrics(gateway=gateway, logs=logs, budget=budget)
        router = PathRouter(gateway=gateway, logs=logs, budget=budget, metrics=metrics)

        def show(url: str) -> None:
            print(banner(_start_of(installation, url)), end="", flush=True)

        await serve(router, settings, ready=show, listener=listener)


def _start_of(installation: Installation, url: str) -> Start:
    settings = installation.settings
    return Start(
        url=url,
        host=settings.host,
        program=_program(),
        needs_key=settings.require_virtual_key,
        data_dir=settings.data_dir,
        event_log_url=settings.resolved_event_log_url,
        clickhouse_url=settings.resolved_clickhouse_url,
        admin_token_file=installation.admin_token_file,
        admin_token=installation.new_admin_token,
    )


def _program() -> str:
    """How the person who started this can call it again from here."""
    path = Path(sys.argv[0])
    if path.name != PROGRAM:
        return PROGRAM
    return str(path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path)
