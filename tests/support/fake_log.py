"""One partition set of an event log in memory, driven by the test: what is delivered, when partitions come and go."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from types import TracebackType
from typing import Self

from shared.eventlog.port import NewRecord, Offsets, RebalanceListener, Record, TopicPartition
from shared.topics import REQUESTS

PART: TopicPartition = (REQUESTS, 0)


class FakeLog:
    """See EventLog: the parts of it that a consumer of logs uses. It has one member, its own `consumer`."""

    def __init__(self) -> None:
        self.records: list[Record] = []
        self.appended: list[NewRecord] = []
        self.append_fault: Exception | None = None
        self.stored: dict[TopicPartition, int] = {}
        self.seeks: list[tuple[TopicPartition, int]] = []
        self.commits: list[Offsets] = []
        self.commit_fault: Exception | None = None
        self.paused: set[TopicPartition] = set()
        self.position = 0
        self.polls = 0
        self.to_revoke: frozenset[TopicPartition] = frozenset()
        self._assigned = False
        self._listener: RebalanceListener | None = None

    async def start(self) -> None:
        return None

    async def close(self) -> None:
        return None

    def partitions(self, topic: str) -> int:
        return 1

    def max_record_bytes(self, topic: str) -> int:
        return 1_048_576

    async def append(self, records: Sequence[NewRecord]) -> Sequence[int]:
        if self.append_fault is not None:
            raise self.append_fault
        self.appended += records
        return range(len(self.appended) - len(records), len(self.appended))

    async def end_offsets(self, topic: str) -> Mapping[int, int]:
        return {0: len(self.records)}

    async def read(self, topic: str, partition: int, start: int, end: int) -> AsyncIterator[Sequence[Record]]:
        yield self.records[start:end]

    def follow(
        self, topic: str, start: Mapping[int, int], *, caught_up: Callable[[], Awaitable[None]] | None = None
    ) -> AsyncIterator[Sequence[Record]]:
        raise NotImplementedError("nobody here follows a topic")

    def consumer(
        self, group: str, topics: Sequence[str], listener: RebalanceListener, *, member: str = ""
    ) -> "FakeLog":
        self._listener = listener
        self._assigned = False
        self.position = self.stored.get(PART, 0)
        return self

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._listener is not None and self._assigned:
            self._assigned = False
            await self._listener.revoked(frozenset({PART}))

    async def poll(self, timeout_s: float, max_records: int) -> Sequence[Record]:
        assert self._listener is not None
        self.polls += 1
        await asyncio.sleep(0)
        if not self._assigned:
            self._assigned = True
            await self._listener.assigned(frozenset({PART}))
        if self.to_revoke:
            gone, self.to_revoke = self.to_revoke, frozenset()
            await self._listener.revoked(gone)
            await self._listener.assigned(gone)
        if PART in self.paused or self.position >= len(self.records):
            await asyncio.sleep(min(timeout_s, 0.01))
            return ()
        found = self.records[self.position : self.position + max_records]
        self.position += len(found)
        return found

    def seek(self, partition: TopicPartition, offset: int) -> None:
        self.seeks.append((partition, offset))
        self.position = offset

    async def committed(self, partition: TopicPartition) -> int | None:
        return self.stored.get(partition)

    async def commit(self, offsets: Offsets) -> None:
        if self.commit_fault is not None:
            raise self.commit_fault
        self.commits.append(offsets)
        self.stored.update(offsets)

    def pause(self, partitions: frozenset[TopicPartition]) -> None:
        self.paused |= partitions

    def resume(self, partitions: frozenset[TopicPartition]) -> None:
        self.paused -= partitions

    async def lag(self) -> Mapping[TopicPartition, int]:
        return {PART: len(self.records) - self.position}
