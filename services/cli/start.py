"""The commands that start services. A service's code is imported only when that service is started."""

import os
import signal
import threading
import time
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Annotated, Final, cast

import typer

from services.cli.environment import load_settings
from shared.settings import Settings

Host = Annotated[str | None, typer.Option(help="Address to listen on [env: FINOPS_HOST].")]
Port = Annotated[int | None, typer.Option(help="Port to listen on; 0 picks a free one [env: FINOPS_PORT].")]
DataDir = Annotated[Path | None, typer.Option(help="Where data is kept [env: FINOPS_DATA_DIR].")]
Config = Annotated[Path | None, typer.Option(help="Path of finops.yaml [env: FINOPS_CONFIG].")]
StopWithParent = Annotated[
    bool, typer.Option(hidden=True, help="Stop when standard input closes: whoever holds it has ended.")
]

STANDARD_INPUT: Final = 0
FORCED_EXIT_AFTER_S: Final = 30.0


def up(host: Host = None, port: Port = None, data_dir: DataDir = None, config: Config = None) -> None:
    """Start everything on one port: gateway, budgets, logs."""
    _start("services.standalone", host=host, port=port, data_dir=data_dir, config=config)


def gateway(host: Host = None, port: Port = None) -> None:
    """Start one gateway: /v1."""
    _start("services.gateway.main", host=host, port=port)


def log_ingest(host: Host = None, port: Port = None, stop_with_parent: StopWithParent = False) -> None:
    """Start one log ingester: events into ClickHouse, /logs."""
    if stop_with_parent:
        threading.Thread(target=_stop_when_input_closes, name="parent watch", daemon=True).start()
    _start("services.log_ingest.main", host=host, port=port)


def budget(host: Host = None, port: Port = None) -> None:
    """Start one budget service: keys, spend, the dashboard."""
    _start("services.budget.main", host=host, port=port)


def _start(module: str, **typed: object | None) -> None:
    settings = load_settings(typed)
    import_module("shared.telemetry").configure_logging(settings.log_level)
    run = cast(Callable[[Settings], None], import_module(module).run)
    run(settings)


def _stop_when_input_closes() -> None:
    while os.read(
        STANDARD_INPUT, 4096
    ):  # not sys.stdin: its lock, held by this thread, aborts an exiting interpreter
        pass
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(FORCED_EXIT_AFTER_S)  # native code may be stuck; nobody is left to end it
    os._exit(1)
