"""LogStore on chDB: the ClickHouse engine inside this process, with its data in one directory.

One thread makes every call: the engine's handle serialises calls anyway, and so no call ever blocks the event loop.
A process can hold one engine path, and a path can be held by one process.
"""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

import clickhouse_connect
from clickhouse_connect.driver.client import Client
from clickhouse_connect.driver.exceptions import ProgrammingError

from services.log_ingest.store.port import Columns, Parameters, QueryLimits, Rows
from services.log_ingest.store.settings import INSERT_SETTINGS, READ_SETTINGS
from services.log_ingest.store.translate import translated
from shared.errors import StoreUnavailable

T = TypeVar("T")


class ChdbStore:
    """See LogStore. `path` is a directory; it is made when missing."""

    def __init__(self, path: Path, database: str = "finops") -> None:
        self.database = database
        self.path = path
        self._client: Client | None = None
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="chdb")

    async def start(self) -> None:
        await self._run(self._open)

    async def close(self) -> None:
        if self._client is not None:
            await self._run(self._client.close)
            self._client = None
        self._thread.shutdown(wait=False)

    async def command(self, sql: str, parameters: Parameters | None = None) -> None:
        def work() -> None:
            with translated():
                self._connected().command(sql, parameters=_bound(parameters))

        await self._run(work)

    async def query(
        self, sql: str, parameters: Parameters | None = None, limits: QueryLimits | None = None
    ) -> Rows:
        settings = {**READ_SETTINGS, **(limits.as_settings() if limits else {})}

        def work() -> Rows:
            with translated(limited=limits is not None):
                result = self._connected().query(sql, parameters=_bound(parameters), settings=settings)
                return list(result.named_results())

        return await self._run(work)

    async def insert(self, table: str, columns: Columns, *, token: str) -> None:
        def work() -> None:
            with translated():
                self._connected().insert(
                    table,
                    list(columns.values()),
                    column_names=list(columns),
                    database=self.database,
                    column_oriented=True,
                    settings={**INSERT_SETTINGS, "insert_deduplication_token": token},
                )

        await self._run(work)

    async def _run(self, work: Callable[[], T]) -> T:
        # Shielded: a caller that goes away must not leave the thread's result half taken.
        return await asyncio.shield(asyncio.get_running_loop().run_in_executor(self._thread, work))

    def _open(self) -> None:
        if self._client is None:
            self._client = self._connect()
        with translated():
            self._client.command(f"CREATE DATABASE IF NOT EXISTS `{self.database}`", use_database=False)
            self._client.command(f"USE `{self.database}`", use_database=False)
        self._client.database = self.database

    def _connect(self) -> Client:
        self.path.mkdir(parents=True, exist_ok=True)
        try:
            return clickhouse_connect.get_client(interface="chdb", path=str(self.path.resolve()))
        except (ProgrammingError, RuntimeError) as error:
            raise StoreUnavailable(
                f"The embedded log store at {self.path} cannot be opened "
                f"(another process may hold it): {' '.join(str(error).split())[:300]}"
            ) from error

    def _connected(self) -> Client:
        if self._client is None:
            raise StoreUnavailable("The embedded log store is not open yet.")
        return self._client


def _bound(parameters: Parameters | None) -> dict[str, Any] | None:
    return dict(parameters) if parameters else None
