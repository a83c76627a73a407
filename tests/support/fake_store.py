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
        self.insert_fault: Exception | None = None
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
        """`answers` when they are set, else the last position of each partition that rows came from."""
        self._check()
        last: dict[tuple[str, int], dict[str, Any]] = {}
        for row in self.rows:
            place = str(row["source_topic"]), int(row["source_partition"])
            if place not in last or row["source_offset"] > last[place]["source_offset"]:
                last[place] = row
        return self.answers or [
            {"topic": topic, "part": part, "last": row["source_offset"], "request_id": row["request_id"]}
            for (topic, part), row in last.items()
        ]

    async def insert(self, table: str, columns: Columns, *, token: str) -> None:
        await self.gate.wait()
        self._check()
        if self.insert_fault is not None:
            raise self.insert_fault
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
