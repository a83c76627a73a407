"""LogStore on a ClickHouse server or cluster, over HTTP(S)."""

import asyncio
from typing import Any

import clickhouse_connect
from clickhouse_connect.driver.asyncclient import AsyncClient

from services.log_ingest.store.address import Address
from services.log_ingest.store.port import Columns, Parameters, QueryLimits, Rows
from services.log_ingest.store.settings import INSERT_SETTINGS, READ_SETTINGS
from services.log_ingest.store.translate import translated
from shared.errors import StoreUnavailable


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
