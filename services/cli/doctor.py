"""The examinations of `finops doctor`. Each gives findings with a sentence that says how to repair what is wrong."""

import asyncio
import os
import shutil
import sys
from collections.abc import Awaitable, Callable, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Final

import httpx

from services.budget.desired_state import DesiredState, desired_state
from services.cli.doctor_providers import check_providers
from services.cli.finding import OK, PROBLEM, WARNING, Finding
from services.log_ingest.store.address import parse_store_url
from services.log_ingest.store.http_store import server_version
from shared.config_file import ConfigFile, config_name, load_config
from shared.errors import ConfigurationError, FinOpsError
from shared.eventlog.kafka_connection import bootstrap_servers
from shared.eventlog.open import open_log
from shared.security import load_secret_key
from shared.server import bind, check_address
from shared.settings import Settings, process_environment

LOWEST_PYTHON: Final = (3, 11)
TIMEOUT_S: Final = 10.0
CONNECT_TIMEOUT_S: Final = 3.0
LOWEST_CLICKHOUSE: Final = (26, 3)
"""The first release whose text indexes find what they should in prompt or answer."""


async def examine(settings: Settings) -> list[Finding]:
    """Everything, in the order in which it is needed. Nothing is changed but missing Kafka topics, which are made."""
    findings = [check_python(), *check_data_directory(settings.data_dir, settings.spool_limit)]
    desired, config_finding = check_config(settings, process_environment())
    findings.append(config_finding)
    async with httpx.AsyncClient(timeout=TIMEOUT_S) as client:
        examinations: tuple[Callable[[], Awaitable[list[Finding]]], ...] = (
            lambda: check_port(settings, client),
            lambda: check_event_log(settings),
            lambda: check_log_store(settings),
            lambda: check_providers(desired, process_environment(), client),
        )
        for found in await asyncio.gather(*(examination() for examination in examinations)):
            findings += found
    return findings


def configuration_summary(settings: Settings) -> str:
    """One line about what the settings and finops.yaml ask for. Raises ConfigurationError."""
    desired = desired_state(load_config(settings), process_environment(), config_name(settings))
    check_address(settings)
    if not can_be_written(settings.data_dir):
        raise ConfigurationError(f"FINOPS_DATA_DIR is wrong: {settings.data_dir} cannot be written.")
    open_log(settings)
    parse_store_url(settings.resolved_clickhouse_url)
    if settings.secret_key.get_secret_value():
        load_secret_key(settings)
    counts = {
        "providers": desired.providers,
        "virtual keys": desired.keys,
        "teams": desired.teams,
        "routes": desired.routes,
        "prices": desired.prices,
    }
    lines = [
        f"All right: {', '.join(f'{len(items)} {name}' for name, items in counts.items())}.",
        *desired.warnings,
    ]
    return "\n".join(lines)


def check_python(version: tuple[int, ...] = tuple(sys.version_info[:3])) -> Finding:
    """Is this Python new enough?"""
    text = ".".join(map(str, version))
    if version[:2] < LOWEST_PYTHON:
        return Finding("python", PROBLEM, text, "Install Python 3.11 or newer and make .venv again.")
    return Finding("python", OK, text)


def check_data_directory(path: Path, wanted_bytes: int) -> list[Finding]:
    """Can data be written, and is there room for the spool?"""
    if not can_be_written(path):
        return [
            Finding(
                "data directory",
                PROBLEM,
                f"{path.absolute()} cannot be written",
                "Set FINOPS_DATA_DIR to a directory of yours.",
            )
        ]
    existing = _nearest_existing(path)
    free = shutil.disk_usage(existing).free
    detail = f"{path.absolute()}, {free // 1_048_576:,} MiB free"
    if free < wanted_bytes:
        return [
            Finding("data directory", WARNING, detail, "Free some disk space or lower FINOPS_SPOOL_LIMIT.")
        ]
    return [
        Finding(
            "data directory", OK, detail if existing == path.absolute() else f"{detail}, made at first start"
        )
    ]


def can_be_written(path: Path) -> bool:
    """Whether `path` is a directory that this user can write, or one could be made there. Nothing is made."""
    existing = _nearest_existing(path)
    if not existing.is_dir() or not os.access(existing, os.W_OK | os.X_OK):
        return False
    return shutil.disk_usage(existing).total > 0  # /proc and its like let root in and take nothing


def _nearest_existing(path: Path) -> Path:
    # os.path.exists: what lies behind a door that is closed to this user is not there for it
    return next(place for place in (path.absolute(), *path.absolute().parents) if os.path.exists(place))


def check_config(settings: Settings, environ: Mapping[str, str]) -> tuple[DesiredState, Finding]:
    """Is finops.yaml right? An empty one stands in when it is not, so that the examination can go on."""
    try:
        desired = desired_state(load_config(settings), environ, config_name(settings))
    except ConfigurationError as error:
        empty = desired_state(ConfigFile(), environ)
        return empty, Finding(
            "finops.yaml", PROBLEM, str(error), "Correct the field that the sentence names."
        )
    path = Path(config_name(settings))
    return desired, Finding("finops.yaml", OK, str(path) if path.exists() else "none; not needed")


async def check_port(settings: Settings, client: httpx.AsyncClient) -> list[Finding]:
    """Is the port free, or is it FinOps that has it?"""
    if settings.uds:
        try:
            check_address(settings)
        except ConfigurationError as error:
            return [Finding("port", PROBLEM, str(error), "Set FINOPS_UDS to a path where a socket can be.")]
        return [Finding("port", OK, f"not used: {settings.uds}")]
    where = f"{settings.host}:{settings.port}"
    try:
        bind(settings).close()
    except ConfigurationError as error:
        if await _is_finops(settings, client):
            return [Finding("port", OK, f"FinOps answers at {where}")]
        return [Finding("port", PROBLEM, str(error), "Stop that program, or set FINOPS_PORT to a free port.")]
    return [Finding("port", OK, f"{where} is free")]


async def check_event_log(settings: Settings) -> list[Finding]:
    """Can the event log be reached, and are its topics as they must be?"""
    url = settings.resolved_event_log_url
    if url.startswith("sqlite:"):
        return [Finding("event log", OK, f"embedded, in {url.removeprefix('sqlite:///')}")]
    fix = "Check FINOPS_EVENT_LOG_URL, that the brokers run, and the FINOPS_KAFKA_ settings."
    try:
        log = open_log(settings)
        brokers = bootstrap_servers(url)
        if not any(await asyncio.gather(*(_connects(broker) for broker in brokers))):
            return [Finding("event log", PROBLEM, f"no broker can be reached at {', '.join(brokers)}", fix)]
        try:
            await log.start()
        finally:
            await log.close()
    except FinOpsError as error:
        return [Finding("event log", PROBLEM, str(error), fix)]
    return [Finding("event log", OK, f"Kafka at {url.removeprefix('kafka://')}; its topics are right")]


async def check_log_store(settings: Settings) -> list[Finding]:
    """Is there a ClickHouse, in this process or as a server that takes our login, and is it new enough?"""
    try:
        place = parse_store_url(settings.resolved_clickhouse_url)
    except ConfigurationError as error:
        fix = "Use chdb:///path or clickhouse://user:password@host:8123/database."
        return [Finding("log store", PROBLEM, str(error), fix)]
    if isinstance(place, Path):
        if find_spec("chdb") is None:
            return [
                Finding(
                    "log store",
                    PROBLEM,
                    "chdb is not installed",
                    "Install it (make install), or set FINOPS_CLICKHOUSE_URL.",
                )
            ]
        return [Finding("log store", OK, f"embedded ClickHouse in {place}")]
    where = f"{place.host}:{place.port}"
    try:
        version = await server_version(place)
    except FinOpsError as error:
        fix = (
            "Check that ClickHouse runs, and the address, login and TLS parameters in FINOPS_CLICKHOUSE_URL."
        )
        return [Finding("log store", PROBLEM, f"{where}: {error}", fix)]
    return [judge_clickhouse(version, where)]


def judge_clickhouse(version: str, where: str) -> Finding:
    """Is it new enough?"""
    found = tuple(int(part) for part in version.split(".")[:2] if part.isdigit())
    if found < LOWEST_CLICKHOUSE:
        lowest = ".".join(map(str, LOWEST_CLICKHOUSE))
        return Finding(
            "log store",
            PROBLEM,
            f"ClickHouse {version} at {where}",
            f"Upgrade ClickHouse to {lowest} or newer.",
        )
    return Finding("log store", OK, f"ClickHouse {version} at {where}")


async def _connects(address: str) -> bool:
    host, _, port = address.rpartition(":")
    try:
        _, writer = await asyncio.wait_for(
            asyncio.open_connection(host.strip("[]"), int(port)), CONNECT_TIMEOUT_S
        )
    except (OSError, TimeoutError):
        return False
    writer.close()
    return True


async def _is_finops(settings: Settings, client: httpx.AsyncClient) -> bool:
    host = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(settings.host, settings.host)
    try:
        answer = await client.get(f"http://{host}:{settings.port}/healthz")
    except httpx.HTTPError:
        return False
    return answer.is_success
