"""An event log that dies under its user at a chosen append: before it, after it, or with part of it written."""

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from typing import Literal

from shared.eventlog.port import Consumer, EventLog, NewRecord, RebalanceListener, Record

CrashMoment = Literal["before", "torn", "after"]


class Crash(BaseException):
    """The process is gone: nothing may catch this as an error of the log."""


class CrashingLog:
    """Passes everything on to `log` until an append that `applies` says is the one, then raises Crash for ever.

    `torn` writes a prefix of the batch, as a Kafka broker may have done when its client dies.
    """

    def __init__(self, log: EventLog, *, at_append: int, moment: CrashMoment, topic: str) -> None:
        self._log = log
        self._left = at_append
        self._moment = moment
        self._topic = topic
        self.is_down = False

    async def start(self) -> None:
        await self._log.start()

    async def close(self) -> None:
        await self._log.close()

    def partitions(self, topic: str) -> int:
        return self._log.partitions(topic)

    def max_record_bytes(self, topic: str) -> int:
        return self._log.max_record_bytes(topic)

    async def append(self, records: Sequence[NewRecord]) -> Sequence[int]:
        self._check()
        if any(record.topic == self._topic for record in records):
            self._left -= 1
            if self._left <= 0:
                self.is_down = True
                if self._moment == "torn":
                    await self._log.append(records[: len(records) // 2])
                elif self._moment == "after":
                    await self._log.append(records)
                self._check()
        return await self._log.append(records)

    async def end_offsets(self, topic: str) -> Mapping[int, int]:
        self._check()
        return await self._log.end_offsets(topic)

    def read(self, topic: str, partition: int, start: int, end: int) -> AsyncIterator[Sequence[Record]]:
        self._check()
        return self._log.read(topic, partition, start, end)

    def follow(
        self, topic: str, start: Mapping[int, int], *, caught_up: Callable[[], Awaitable[None]] | None = None
    ) -> AsyncIterator[Sequence[Record]]:
        self._check()
        return self._log.follow(topic, start, caught_up=caught_up)

    def consumer(
        self, group: str, topics: Sequence[str], listener: RebalanceListener, *, member: str = ""
    ) -> Consumer:
        self._check()
        return self._log.consumer(group, topics, listener, member=member)

    def _check(self) -> None:
        if self.is_down:
            raise Crash
