"""The product as it is deployed: real processes on free ports, over a real Kafka, behind the load balancer of `deploy/`.

Every process can be killed and started again by name with the configuration it had. All are ended by pid at the end;
their output stays in files below the cluster's directory.
"""

import base64
import os
import secrets
import shutil
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import aiohttp
import yaml

from shared.settings import process_environment
from tests.support.audit import Price
from tests.support.processes import Child, free_port

ADMIN_TOKEN: Final = "cluster-admin-token"
PROVIDER: Final = "mock"
MODEL: Final = "gpt-4o-mini"
MOCK_KEY: Final = "mock-provider-key"
# not whole nano-dollars per token: a rounding at the wrong place shows
PRICE: Final = Price("0.1234567", "0.6172839")
START_TIMEOUT_S: Final = 60
PLAIN: Final = ("-m",)
ROWS_PER_PAGE: Final = 100
NGINX_TEMPLATE: Final = Path(__file__).parents[2] / "deploy" / "nginx" / "nginx.conf.template"


@dataclass(frozen=True, slots=True)
class Shape:
    """What runs, and its times. Short ones, so that abandonment can be seen within a test."""

    gateways: int = 2
    budgets: int = 1
    log_ingests: int = 1
    balancer: bool = True
    """nginx in front of all gateways and of the first of each other service."""
    partitions: int = 6
    request_timeout_s: float = 8.0
    abandon_grace_s: float = 2.0
    price: Price = PRICE
    launcher: tuple[str, ...] = PLAIN
    """How Python is told to run the gateways' command; a profiler may stand in front."""


@dataclass(slots=True)
class Cluster:
    """A running cluster. `url` is the balancer's, or the only gateway's where there is none."""

    shape: Shape
    directory: Path
    kafka: str
    upstream_url: str
    topic_prefix: str
    """Its own, so that clusters can share a broker."""
    url: str = ""
    base_urls: dict[str, str] = field(default_factory=dict)
    """Of each process by its name: clickhouse, budget-1, gateway-1, gateway-2, log-ingest-1, nginx."""
    children: dict[str, Child] = field(default_factory=dict)

    @property
    def model(self) -> str:
        return f"{PROVIDER}/{MODEL}"

    def admin(self) -> aiohttp.ClientSession:
        """A session on the admin API of the budget service and, through the balancer, of the log store."""
        base = self.url if self.shape.balancer else self.base_urls["budget-1"]
        return aiohttp.ClientSession(base, headers={"Authorization": f"Bearer {ADMIN_TOKEN}"})

    async def kill(self, name: str) -> None:
        """kill -9: no handler runs, nothing is flushed."""
        await self.children[name].kill()

    async def stop(self, name: str) -> None:
        """SIGTERM, and wait until it has left in good order."""
        status = await self.children[name].stop()
        if status != 0:
            raise AssertionError(f"{name} ended with {status} after SIGTERM:\n{self.children[name].tail()}")

    async def start(self, name: str) -> None:
        """Start (again) with the same configuration and data; returns when it is ready."""
        child = self.children[name]
        child.start()
        path = "/ping" if name == "clickhouse" else "/readyz"
        await child.until_answering(self.base_urls[name] + path, START_TIMEOUT_S)

    async def create_key(
        self, name: str, budgets: Sequence[Mapping[str, str]], **fields: Any
    ) -> tuple[str, str]:
        """A virtual key through the API: its id and the key itself."""
        body = {"name": name, "budgets": list(budgets), **fields}
        async with self.admin() as api, api.post("/api/virtual-keys", json=body) as response:
            document = await response.json()
            if response.status != 201:
                raise AssertionError(f"creating a key answered {response.status}: {document}")
            return str(document["id"]), str(document["key"])

    async def key(self, key_id: str) -> dict[str, Any]:
        """A virtual key with its budgets' spend, as the API shows it."""
        async with self.admin() as api, api.get(f"/api/virtual-keys/{key_id}") as response:
            response.raise_for_status()
            return dict(await response.json())

    async def rows(self) -> list[dict[str, Any]]:
        """Every row of the log store, page by page."""
        rows: list[dict[str, Any]] = []
        query = {"limit": str(ROWS_PER_PAGE)}
        async with self.admin() as api:
            while True:
                async with api.get("/api/logs", params=query) as response:
                    response.raise_for_status()
                    page = await response.json()
                rows += page["items"]
                if not page["next_cursor"]:
                    return rows
                query["cursor"] = page["next_cursor"]

    def tails(self) -> str:
        """The last output of every process, for a failure's message."""
        return "\n".join(f"--- {name}\n{child.tail(25)}" for name, child in self.children.items())


@asynccontextmanager
async def running(shape: Shape, directory: Path, kafka: str, upstream_url: str) -> AsyncIterator[Cluster]:
    """A ready cluster on the broker at `kafka`, selling what the upstream at `upstream_url` (ending in /v1) serves."""
    cluster = Cluster(shape, directory, kafka, upstream_url, f"{secrets.token_hex(4)}.")
    _describe(cluster)
    try:
        for name in cluster.children:
            await cluster.start(name)
        yield cluster
    except BaseException as error:
        error.add_note(cluster.tails())
        raise
    finally:
        for child in reversed(cluster.children.values()):
            await child.stop()


def _describe(cluster: Cluster) -> None:
    """Fill in every process, in the order to start them."""
    shape, directory = cluster.shape, cluster.directory
    config = directory / "finops.yaml"
    config.write_text(_finops_yaml(cluster.upstream_url, shape.price))
    environ = _environment(cluster, config)
    if shape.log_ingests:
        environ["FINOPS_CLICKHOUSE_URL"] = _describe_clickhouse(cluster)
    counts = {"budget": shape.budgets, "gateway": shape.gateways, "log-ingest": shape.log_ingests}
    names = {
        f"{command}-{number}": command for command, count in counts.items() for number in range(1, count + 1)
    }
    ports = {name: free_port() for name in names}
    for name, command in names.items():
        own = environ | {
            "FINOPS_PORT": str(ports[name]),
            "FINOPS_DATA_DIR": str(directory / name),
            "FINOPS_GATEWAY_ID": name,
        }
        launcher = shape.launcher if command == "gateway" else PLAIN
        argv = [sys.executable, *launcher, "services.cli", command]
        cluster.children[name] = Child(name, argv, own, directory / f"{name}.log")
        cluster.base_urls[name] = f"http://127.0.0.1:{ports[name]}"
    cluster.url = cluster.base_urls["gateway-1"]
    if shape.balancer:
        _describe_balancer(cluster, ports)


def _describe_clickhouse(cluster: Cluster) -> str:
    """The real engine behind ClickHouse's HTTP interface; returns its URL for the settings."""
    port = free_port()
    argv = [sys.executable, "-m", "tests.support.clickhouse_http", "--port", str(port)]
    argv += ["--path", str(cluster.directory / "clickhouse")]
    log_path = cluster.directory / "clickhouse.log"
    cluster.children["clickhouse"] = Child("clickhouse", argv, _plain_environment(), log_path)
    cluster.base_urls["clickhouse"] = f"http://127.0.0.1:{port}"
    return f"clickhouse://default:@127.0.0.1:{port}/finops"


def _describe_balancer(cluster: Cluster, ports: Mapping[str, int]) -> None:
    directory = cluster.directory / "nginx"
    directory.mkdir(parents=True)
    port = free_port()
    gateways = [f"127.0.0.1:{taken}" for name, taken in ports.items() if name.startswith("gateway")]
    values = {
        "LB_LISTEN": f"127.0.0.1:{port}",
        "LB_GATEWAYS": " ".join(f"server {address} max_fails=2 fail_timeout=2s;" for address in gateways),
        "LB_LOG_INGEST": f"127.0.0.1:{ports['log-ingest-1']}",
        "LB_BUDGET": f"127.0.0.1:{ports['budget-1']}",
    }
    text = NGINX_TEMPLATE.read_text()
    for name, value in values.items():
        text = text.replace(f"${{{name}}}", value)
    (directory / "nginx.conf").write_text(text)
    nginx = shutil.which("nginx") or "/usr/sbin/nginx"  # where a plain user's PATH does not look
    argv = [nginx, "-p", str(directory), "-c", "nginx.conf", "-g", "daemon off;"]
    cluster.children["nginx"] = Child("nginx", argv, _plain_environment(), cluster.directory / "nginx.log")
    cluster.base_urls["nginx"] = cluster.url = f"http://127.0.0.1:{port}"


def _environment(cluster: Cluster, config: Path) -> dict[str, str]:
    """What all services share."""
    return _plain_environment() | {
        "FINOPS_HOST": "127.0.0.1",
        "FINOPS_EVENT_LOG_URL": f"kafka://{cluster.kafka}",
        "FINOPS_TOPIC_PREFIX": cluster.topic_prefix,
        "FINOPS_PARTITIONS": str(cluster.shape.partitions),
        "FINOPS_CONFIG": str(config),
        "FINOPS_ADMIN_TOKEN": ADMIN_TOKEN,
        "FINOPS_SECRET_KEY": base64.b64encode(os.urandom(32)).decode(),
        "FINOPS_REQUIRE_VIRTUAL_KEY": "true",
        "FINOPS_REQUEST_TIMEOUT": str(cluster.shape.request_timeout_s),
        "FINOPS_ABANDON_GRACE": str(cluster.shape.abandon_grace_s),
        "MOCK_KEY": MOCK_KEY,
    }


def _plain_environment() -> dict[str, str]:
    return {name: value for name, value in process_environment().items() if not name.startswith("FINOPS_")}


def _finops_yaml(upstream_url: str, sold_at: Price) -> str:
    credential = {"name": "main", "api_key": "env.MOCK_KEY"}
    provider = {"type": "openai", "base_url": upstream_url, "credentials": [credential], "models": [MODEL]}
    price = {"input_per_million": sold_at.input_per_million, "output_per_million": sold_at.output_per_million}
    return yaml.safe_dump({"providers": {PROVIDER: provider}, "prices": {f"{PROVIDER}/{MODEL}": price}})
