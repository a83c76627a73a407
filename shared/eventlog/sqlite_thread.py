"""One SQLite connection in one thread of its own: no SQLite call ever runs on the event loop.

`SqliteWriter` commits whatever jobs have piled up in ONE transaction (group commit): with `synchronous=FULL`
each commit is an fsync, measured at 0.3-0.5 ms, so a lone record waits for one fsync and a crowd shares one.
`SqliteReader` runs jobs one by one and, between them, looks for commits of other processes.
"""

import asyncio
import logging
import queue
import sqlite3
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from shared.errors import FinOpsError, LogUnavailable

Result = TypeVar("Result")
Job = Callable[[sqlite3.Connection], Any]
_Waiting = tuple[Job, "asyncio.Future[Any]"]
_Outcome = tuple["asyncio.Future[Any]", Any, BaseException | None]

GROUP_LIMIT = 256
BUSY_TIMEOUT_S = 10.0
WAL_CHECKPOINT_PAGES = 4_000
JOURNAL_SIZE_LIMIT = 64 * 1_048_576

logger = logging.getLogger(__name__)


class SqliteThread:
    """Base: the queue, the thread and the hand-over of results. `idle` runs at least every `idle_interval_s`."""

    def __init__(
        self, path: Path, name: str, *, idle: Job | None = None, idle_interval_s: float = 0.02
    ) -> None:
        self._path = path
        self._name = name
        self._idle = idle
        self._idle_interval_s = idle_interval_s if idle is not None else None
        self._queue: queue.SimpleQueue[_Waiting | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

    async def start(self) -> None:
        """Raises LogUnavailable when the file cannot be opened."""
        self._loop = asyncio.get_running_loop()
        opened: asyncio.Future[None] = self._loop.create_future()
        self._thread = threading.Thread(target=self._main, args=(opened,), name=self._name, daemon=True)
        self._thread.start()
        await opened

    async def close(self) -> None:
        """Finish what is queued, then end the thread and its connection."""
        thread, self._thread = self._thread, None
        if thread is None:
            return
        self._queue.put(None)
        await asyncio.to_thread(thread.join)

    async def run(self, job: Callable[[sqlite3.Connection], Result]) -> Result:
        """Run `job` in the thread. Raises what it raises; sqlite3 errors become LogUnavailable."""
        if self._thread is None or self._loop is None:
            raise LogUnavailable(f"The event log {self._path} is closed.")
        future: asyncio.Future[Result] = self._loop.create_future()
        self._queue.put((job, future))
        return await future

    def _main(self, opened: "asyncio.Future[None]") -> None:
        try:
            connection = self._open()
        except sqlite3.Error as error:
            self._deliver([(opened, None, self._unavailable(error))])
            return
        self._deliver([(opened, None, None)])
        try:
            self._serve(connection)
        finally:
            connection.close()

    def _open(self) -> sqlite3.Connection:
        connection = sqlite3.connect(self._path, timeout=BUSY_TIMEOUT_S, isolation_level=None)
        connection.execute("PRAGMA auto_vacuum = INCREMENTAL")
        connection.execute("PRAGMA journal_mode = WAL")
        # FULL, not NORMAL: an acknowledged record then survives a power cut too, as the outbox deletes its copy
        # on the acknowledgement. Group commit makes it affordable.
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute(f"PRAGMA wal_autocheckpoint = {WAL_CHECKPOINT_PAGES}")
        connection.execute(f"PRAGMA journal_size_limit = {JOURNAL_SIZE_LIMIT}")
        connection.execute("PRAGMA cache_size = -16384")
        return connection

    def _serve(self, connection: sqlite3.Connection) -> None:
        idle_due = time.monotonic()
        while True:
            try:
                waiting = self._queue.get(timeout=self._idle_interval_s)
            except queue.Empty:
                waiting = None
            else:
                if waiting is None:
                    return
                self._handle(connection, waiting)
            if self._idle_interval_s is not None and (waiting is None or time.monotonic() >= idle_due):
                self._run_idle(connection)
                idle_due = time.monotonic() + self._idle_interval_s

    def _run_idle(self, connection: sqlite3.Connection) -> None:
        assert self._idle is not None
        try:
            self._idle(connection)
        except sqlite3.Error as error:
            # Busy or unreadable: the next look, some milliseconds later, sees the same change.
            logger.warning("Cannot look for changes in %s: %s", self._path, error)

    def _handle(self, connection: sqlite3.Connection, first: _Waiting) -> None:
        raise NotImplementedError

    def _attempt(self, connection: sqlite3.Connection, waiting: _Waiting) -> _Outcome:
        job, future = waiting
        try:
            return future, job(connection), None
        except FinOpsError as error:
            return future, None, error

    def _unavailable(self, error: BaseException) -> BaseException:
        if isinstance(error, sqlite3.Error):
            unavailable = LogUnavailable(f"The event log {self._path} cannot be used: {error}.")
            unavailable.__cause__ = error
            return unavailable
        return error

    def _deliver(self, outcomes: list[_Outcome]) -> None:
        assert self._loop is not None
        try:
            self._loop.call_soon_threadsafe(_resolve, outcomes)
        except RuntimeError as error:  # the loop is gone: so is everyone who waited
            logger.warning("Results of %s had no event loop to go to: %s", self._name, error)


class SqliteReader(SqliteThread):
    """Runs each job on its own, outside transactions."""

    def _handle(self, connection: sqlite3.Connection, first: _Waiting) -> None:
        try:
            outcome = self._attempt(connection, first)
        except Exception as error:  # noqa: BLE001 - supervisor of the thread: the awaiting caller gets the error
            outcome = (first[1], None, self._unavailable(error))
        self._deliver([outcome])


class SqliteWriter(SqliteThread):
    """Runs the jobs that wait in one transaction, which stands or falls for all of them.

    A job that refuses (FinOpsError) must do so before its first write: it alone fails, the others commit.
    """

    def _handle(self, connection: sqlite3.Connection, first: _Waiting) -> None:
        group = [first]
        while len(group) < GROUP_LIMIT:
            try:
                waiting = self._queue.get_nowait()
            except queue.Empty:
                break
            if waiting is None:
                self._queue.put(None)
                break
            group.append(waiting)
        self._deliver(self._commit(connection, group))

    def _commit(self, connection: sqlite3.Connection, group: list[_Waiting]) -> list[_Outcome]:
        try:
            connection.execute("BEGIN IMMEDIATE")
            outcomes = [self._attempt(connection, waiting) for waiting in group]
            connection.execute("COMMIT")
        except Exception as error:  # noqa: BLE001 - supervisor of the thread: every awaiting caller gets the error
            self._roll_back(connection)
            failure = self._unavailable(error)
            return [(future, None, failure) for _, future in group]
        return outcomes

    def _roll_back(self, connection: sqlite3.Connection) -> None:
        try:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
        except sqlite3.Error as error:  # the next BEGIN fails for it, and it is tried again then
            logger.warning("A transaction on %s cannot be rolled back yet: %s", self._path, error)


def _resolve(outcomes: list[_Outcome]) -> None:
    for future, result, error in outcomes:
        if future.done():  # its caller was cancelled
            continue
        if error is None:
            future.set_result(result)
        else:
            future.set_exception(error)
