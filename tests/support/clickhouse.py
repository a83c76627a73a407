"""ClickHouse for tests: a real server in Docker where there is one, else its HTTP interface in front of chDB."""

import os
import select
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest
from testcontainers.core.container import DockerContainer
from testcontainers.core.waiting_utils import wait_for_logs

from shared.settings import process_environment

ROOT = Path(__file__).resolve().parents[2]
START_S = 60.0


@contextmanager
def chdb_server(path: Path) -> Iterator[str]:
    """A `clickhouse://` URL, without a database, of a front over chDB in a process of its own."""
    child = subprocess.Popen(
        [sys.executable, "-m", "tests.support.clickhouse_http", "--port", "0", "--path", str(path)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert child.stdout is not None
    try:
        ready, _, _ = select.select([child.stdout], [], [], START_S)
        line = child.stdout.readline() if ready else ""
        if not line.startswith("listening on "):
            raise AssertionError(f"the ClickHouse front did not start: {line!r}")
        yield f"clickhouse://{line.removeprefix('listening on ').strip()}"
    finally:
        os.kill(child.pid, signal.SIGKILL)
        child.wait()
        child.stdout.close()


@contextmanager
def docker_server() -> Iterator[str]:
    """A `clickhouse://` URL, without a database, of a server in a container."""
    container = (
        DockerContainer("clickhouse/clickhouse-server:26.8")
        .with_exposed_ports(8123)
        .with_env("CLICKHOUSE_SKIP_USER_SETUP", "1")
    )
    with container:
        wait_for_logs(container, "Ready for connections", timeout=120)
        yield f"clickhouse://{container.get_container_host_ip()}:{container.get_exposed_port(8123)}"


def docker_is_there(environment: Mapping[str, str]) -> bool:
    return "DOCKER_HOST" in environment or os.access("/var/run/docker.sock", os.W_OK)


def _given(environment: Mapping[str, str]) -> str:
    return environment.get("FINOPS_TEST_CLICKHOUSE", "")


@pytest.fixture(scope="session")
def clickhouse_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """`clickhouse://host:port` without a database: FINOPS_TEST_CLICKHOUSE, else Docker, else chDB behind HTTP."""
    if url := _given(process_environment()):
        yield url.rstrip("/")
    elif docker_is_there(process_environment()):
        with docker_server() as url:
            yield url
    else:
        with chdb_server(tmp_path_factory.mktemp("clickhouse")) as url:
            yield url
