"""Builders and recorders for tests on event logs."""

import asyncio
from collections.abc import AsyncIterator, Iterable, Sequence

from shared.errors import Fenced
from shared.eventlog.port import Consumer, EventLog, NewRecord, Record, TopicPartition
from shared.topics import USAGE


def new_record(
    value: bytes | None = b"{}",
    *,
    key: str = "key",
    partition: int = 0,
    topic: str = USAGE,
    headers: dict[str, str] | None = None,
    timestamp_ms: int = 0,
) -> NewRecord:
    return NewRecord(topic, partition, key, value, headers or {}, timestamp_ms)


def numbered(numbers: Iterable[int], *, partition: int = 0, topic: str = USAGE) -> list[NewRecord]:
    return [new_record(b"%d" % number, partition=partition, topic=topic) for number in numbers]


def values(records: Iterable[Record]) -> list[bytes | None]:
    return [record.value for record in records]


def numbers(records: Iterable[Record]) -> list[int]:
    return [int(record.value or b"-1") for record in records]


async def collect(batches: AsyncIterator[Sequence[Record]]) -> list[Record]:
    return [record async for batch in batches for record in batch]


class Recorder:
    """A rebalance listener that writes down what it was told, in a list that several of them may share."""

    def __init__(
        self, name: str = "", story: list[tuple[str, str, frozenset[TopicPartition]]] | None = None
    ) -> None:
        self.name = name
        self.story = [] if story is None else story
        self.owned: set[TopicPartition] = set()

    async def assigned(self, partitions: frozenset[TopicPartition]) -> None:
        self.story.append((self.name, "assigned", partitions))
        self.owned |= partitions

    async def revoked(self, partitions: frozenset[TopicPartition]) -> None:
        self.story.append((self.name, "revoked", partitions))
        self.owned -= partitions


async def poll_until(consumer: Consumer, count: int, timeout_s: float = 20.0) -> list[Record]:
    """Poll until `count` records came. Raises AssertionError when they do not come in time."""
    records: list[Record] = []
    deadline = asyncio.get_running_loop().time() + timeout_s
    while len(records) < count:
        assert asyncio.get_running_loop().time() < deadline, f"only {len(records)} of {count} records came"
        records.extend(await consumer.poll(0.2, count - len(records)))
    return records


class Worker:
    """A member that polls in a task, keeps what it got, and commits after each poll as a real service would."""

    def __init__(
        self, log: EventLog, group: str, name: str, story: list[tuple[str, str, frozenset[TopicPartition]]]
    ):
        self.listener = Recorder(name, story)
        self.records: list[Record] = []
        self.fenced = 0
        self._consumer = log.consumer(group, [USAGE], self.listener, member=name)
        self._leave = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        self._task = asyncio.create_task(self._run())

    async def stop(self) -> None:
        """Leave the group in good order; raises what the worker raised."""
        self._leave.set()
        if self._task is not None:
            await self._task

    async def crash(self) -> None:
        """Vanish without leaving: the task is cancelled while it polls."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait((self._task,))

    async def _run(self) -> None:
        async with self._consumer as consumer:
            while not self._leave.is_set():
                batch = await consumer.poll(0.1, 50)
                self.records.extend(batch)
                try:
                    await consumer.commit(
                        {(record.topic, record.partition): record.offset + 1 for record in batch}
                    )
                except Fenced:
                    self.fenced += 1
