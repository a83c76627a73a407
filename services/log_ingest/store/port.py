"""The LogStore port: SQL in, rows out, over whichever ClickHouse engine stands behind it.

Backends: `chdb_store.py` (in this process) and `http_store.py` (a server). `open.py` picks one from a URL. The same
contract tests (`tests/contract/log_store/`) run against each. Parameters are bound by the server
(`{name:Type}` in the SQL), so a user's text never becomes SQL.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from shared.errors import FinOpsError

Rows = list[dict[str, Any]]
Columns = Mapping[str, Sequence[Any]]
Parameters = Mapping[str, Any]
Settings = Mapping[str, str | int]


class StoreRefused(FinOpsError):
    """The store refused the statement: a table, a right or a version is missing. `store_code` is ClickHouse's."""

    code = "log_store_refused"

    def __init__(self, message: str, store_code: int | None = None) -> None:
        super().__init__(message)
        self.store_code = store_code


class StoreDataError(StoreRefused):
    """The store, or the client's encoder, refused a value: these data will never be taken, others will."""


class QueryTooExpensive(FinOpsError):
    """A query passed its limit of time or memory and was stopped; the store is well."""

    code = "query_too_expensive"


@dataclass(frozen=True, slots=True)
class QueryLimits:
    """What one query may cost before the engine stops it."""

    seconds: int = 15
    memory_bytes: int = 1024 * 1_048_576
    threads: int = 2

    def as_settings(self) -> dict[str, int]:
        return {
            "max_execution_time": self.seconds,
            "max_memory_usage": self.memory_bytes,
            "max_threads": self.threads,
        }


class LogStore(Protocol):
    """Safe for many tasks at once.

    Every method raises StoreUnavailable when the store cannot be reached or is overloaded (the same call may succeed
    later), StoreRefused when it refuses the statement, and its child StoreDataError when it refuses the data.
    """

    database: str

    async def start(self) -> None:
        """Connect, and create the database if it is missing. May be called again after StoreUnavailable."""

    async def close(self) -> None: ...

    async def command(self, sql: str, parameters: Parameters | None = None) -> None:
        """Run a statement that answers nothing."""

    async def query(
        self, sql: str, parameters: Parameters | None = None, limits: QueryLimits | None = None
    ) -> Rows:
        """The rows of a SELECT. Times are naive UTC. Raises QueryTooExpensive past `limits`."""

    async def insert(self, table: str, columns: Columns, *, token: str) -> None:
        """One insert of whole columns, durable on return.

        `token` names the content: the same token with the same rows is inserted once, however often it is sent.
        """
