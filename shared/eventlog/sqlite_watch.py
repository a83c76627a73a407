"""What everybody who waits for records looks at: the ends of all partitions and the generations of all groups.

Fed at once by appends of this process and, within the reader's idle interval, by commits of other processes:
`PRAGMA data_version` changes when another connection has committed, and costs no I/O.
"""

import asyncio
import sqlite3
from collections.abc import Callable

from shared.eventlog import sqlite_store


class Watch:
    """Belongs to the event loop; `look` alone runs in the reader's thread."""

    def __init__(self) -> None:
        self.ends: dict[int, int] = {}
        self.generations: dict[str, int] = {}
        self._waiters: set[asyncio.Future[None]] = set()
        self._loop = asyncio.get_running_loop()
        self._seen_version = -1

    def look(self, connection: sqlite3.Connection) -> None:
        """Read the ends and generations when another connection has committed since the last look."""
        version = connection.execute("PRAGMA data_version").fetchone()[0]
        if version == self._seen_version:
            return
        ends = sqlite_store.ends(connection)
        generations = dict(connection.execute("SELECT name, generation FROM groups").fetchall())
        self._seen_version = version
        self._loop.call_soon_threadsafe(self.update, ends, generations)

    def update(self, ends: dict[int, int], generations: dict[str, int]) -> None:
        """Take over newer values and wake everybody if there are any. Ends only rise, so an older look is harmless."""
        changed = False
        for number, end in ends.items():
            if self.ends.get(number, -1) < end:
                self.ends[number] = end
                changed = True
        for group, generation in generations.items():
            if self.generations.get(group, -1) < generation:
                self.generations[group] = generation
                changed = True
        if changed:
            self.wake()

    def wake(self) -> None:
        """Let everybody who waits look again."""
        for waiter in self._waiters:
            if not waiter.done():
                waiter.set_result(None)
        self._waiters.clear()

    async def wait(self, ready: Callable[[], bool], timeout_s: float | None) -> bool:
        """Until `ready()` or the timeout. Returns the last answer of `ready`."""
        deadline = None if timeout_s is None else self._loop.time() + timeout_s
        while not ready():
            left = None if deadline is None else deadline - self._loop.time()
            if left is not None and left <= 0:
                return False
            waiter: asyncio.Future[None] = self._loop.create_future()
            self._waiters.add(waiter)
            try:
                await asyncio.wait((waiter,), timeout=left)
            finally:
                self._waiters.discard(waiter)
        return True
