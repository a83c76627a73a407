"""LogStore on a ClickHouse server or cluster, over HTTP(S)."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

import clickhouse_connect
from clickhouse_connect.driver.asyncclient import AsyncClient

from services.log_ingest.store.port import Columns, Parameters, QueryLimits, Rows
from services.log_ingest.store.settings import INSERT_SETTINGS, READ_SETTINGS
from services.log_ingest.store.translate import translated
from shared.errors import ConfigurationError, StoreUnavailable

_TLS_PARAMETERS = frozenset({"verify", "ca_cert", "client_cert", "client_cert_key", "server_host_name"})
_OTHER_PARAMETERS = frozenset({"connect_timeout", "send_receive_timeout", "compress"})


@dataclass(frozen=True, slots=True)
class Address:
    """A parsed clickhouse:// or clickhouses:// URL."""

    host: str
    port: int
    username: str
    password: str = field(repr=False)
    database: str
    secure: bool
    options: Mapping[str, str] = field(default_factory=dict)


def parse_address(url: str) -> Address:
    """Raises ConfigurationError with one sentence when the URL cannot be meant."""
    parts = urlsplit(url)
    secure = parts.scheme == "clickhouses"
    try:
        port = parts.port
    except ValueError as error:
        raise ConfigurationError(
            "FINOPS_CLICKHOUSE_URL has a wrong port; write clickhouse://user:password@host:8123/db, with signs such as "
            "/ @ : # ? of a password percent-encoded (/ is %2F)."
        ) from error
    if not parts.hostname:
        raise ConfigurationError(
            "FINOPS_CLICKHOUSE_URL names no host; write clickhouse://user:password@host:8123/db."
        )
    options = dict(parse_qsl(parts.query))
    for name in options:
        if name not in _TLS_PARAMETERS | _OTHER_PARAMETERS:
            known = ", ".join(sorted(_TLS_PARAMETERS | _OTHER_PARAMETERS))
            raise ConfigurationError(
                f"FINOPS_CLICKHOUSE_URL has the unknown parameter {name!r}; known are {known}."
            )
    return Address(
        host=parts.hostname,
        port=port or (8443 if secure else 8123),
        username=unquote(parts.username or "default"),
        password=unquote(parts.password or ""),
        database=unquote(parts.path.strip("/")) or "finops",
        secure=secure,
        options=options,
    )


async def server_version(address: Address) -> str:
    """Log in, ask and leave. Raises StoreUnavailable or StoreRefused."""
    with translated():
        client = await _connect(address)
        try:
            return str(client.server_version)
        finally:
            await client.close()


class HttpStore:
    """See LogStore. Nothing is sent before `start`."""

    def __init__(self, address: Address) -> None:
        self.database = address.database
        self._address = address
        self._client: AsyncClient | None = None
        self._starting = asyncio.Lock()

    async def start(self) -> None:
        async with self._starting:
            with translated():
                if self._client is None:
                    self._client = await _connect(self._address)
                    self._client.database = self.database
                await self._make_database(self._client)

    async def close(self) -> None:
        client, self._client = self._client, None
        if client is not None:
            await client.close()

    async def command(self, sql: str, parameters: Parameters | None = None) -> None:
        with translated():
            await self._connected().command(sql, parameters=_bound(parameters))

    async def query(
        self, sql: str, parameters: Parameters | None = None, limits: QueryLimits | None = None
    ) -> Rows:
        settings = {**READ_SETTINGS, **(limits.as_settings() if limits else {})}
        with translated(limited=limits is not None):
            result = await self._connected().query(sql, parameters=_bound(parameters), settings=settings)
            return list(result.named_results())

    async def insert(self, table: str, columns: Columns, *, token: str) -> None:
        with translated():
            await self._connected().insert(
                table,
                list(columns.values()),
                column_names=list(columns),
                database=self.database,
                column_oriented=True,
                settings={**INSERT_SETTINGS, "insert_deduplication_token": token},
            )

    async def _make_database(self, client: AsyncClient) -> None:
        """Only where it is missing: a login may have every right in its database and none to make one."""
        found = await client.command(
            "SELECT count() FROM system.databases WHERE name = {name:String}",
            parameters={"name": self.database},
            use_database=False,
        )
        if not int(str(found)):
            await client.command(f"CREATE DATABASE IF NOT EXISTS `{self.database}`", use_database=False)

    def _connected(self) -> AsyncClient:
        if self._client is None:
            raise StoreUnavailable("The log store has not been reached yet.")
        return self._client


async def _connect(address: Address) -> AsyncClient:
    options: dict[str, Any] = {"connect_timeout": "5", "send_receive_timeout": "60", **address.options}
    return await clickhouse_connect.get_async_client(
        host=address.host,
        port=address.port,
        username=address.username,
        password=address.password,
        interface="https" if address.secure else "http",
        autogenerate_session_id=False,
        client_name="finops-log-ingest",
        **options,
    )


def _bound(parameters: Parameters | None) -> dict[str, Any] | None:
    return dict(parameters) if parameters else None
