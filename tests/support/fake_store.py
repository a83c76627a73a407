"""A LogStore in memory, for tests of what stands above it: keeps rows, knows tokens, refuses and goes away on demand."""

import asyncio
from collections.abc import Callable
from typing import Any

from services.log_ingest.store.port import Columns, Parameters, QueryLimits, Rows, StoreDataError
from shared.errors import StoreUnavailable


class FakeStore:
    """See LogStore. `gate` set to an unset event holds inserts until it is set."""

    def __init__(self) -> None:
        self.database = "fake"
        self.rows: list[dict[str, Any]] = []
        self.inserts: list[int] = []
        self.tokens: list[str] = []
        self.away = False
        self.refuses: Callable[[dict[str, Any]], bool] = lambda row: False
        self.answers: Rows = []
        self.gate = asyncio.Event()
        self.gate.set()

    async def start(self) -> None:
        self._check()

    async def close(self) -> None:
        return None

    async def command(self, sql: str, parameters: Parameters | None = None) -> None:
        self._check()

    async def query(
        self, sql: str, parameters: Parameters | None = None, limits: QueryLimits | None = None
    ) -> Rows:
        self._check()
        return self.answers

    async def insert(self, table: str, columns: Columns, *, token: str) -> None:
        await self.gate.wait()
        self._check()
        rows = [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]
        if any(self.refuses(row) for row in rows):
            raise StoreDataError("a value does not fit", 53)
        self.inserts.append(len(rows))
        if token not in self.tokens:
            self.tokens.append(token)
            self.rows += rows

    def _check(self) -> None:
        if self.away:
            raise StoreUnavailable("the store is away")
