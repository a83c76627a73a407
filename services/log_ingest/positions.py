"""Where to resume: after what the store holds, not only after what the group committed.

A crash between insert and commit would otherwise cut the next batch differently, and a batch of another cut is not
recognised as a repetition. And a store that was thrown away is filled again from the log, whatever was committed.
"""

from typing import Final

import msgspec

from services.log_ingest.store.port import LogStore
from shared.eventlog.port import EventLog, TopicPartition
from shared.topics import REQUESTS

_STORED: Final = """
SELECT source_topic AS topic, source_partition AS part, max(source_offset) AS last,
       argMax(request_id, source_offset) AS request_id
FROM request_logs
WHERE inserted_at > now() - INTERVAL 2 DAY
GROUP BY topic, part
"""
_KNOWN: Final = "SELECT DISTINCT source_topic AS topic, source_partition AS part FROM request_logs"
# Two days: an insert whose commit was lost is followed by a restart long before. Older ones are committed.


class _Identity(msgspec.Struct):
    request_id: str = ""


_identity = msgspec.json.Decoder(_Identity)


class StoredPositions:
    """Reads the next offsets out of the stored rows."""

    def __init__(self, store: LogStore, log: EventLog) -> None:
        self._store = store
        self._log = log

    async def next_offsets(self, partitions: frozenset[TopicPartition]) -> dict[TopicPartition, int]:
        """Per partition, one past the last stored record; nothing for those without one.

        A stored offset counts only if the log still has that very record there: a log that was made anew counts from
        zero again, and skipping to an old offset would lose what it holds. Raises StoreUnavailable, LogUnavailable.
        """
        found = {}
        for row in await self._store.query(_STORED):
            part = (str(row["topic"]), int(row["part"]))
            last = int(row["last"])
            if part in partitions and await self._is_there(part, last, str(row["request_id"])):
                found[part] = last + 1
        return found

    async def unknown(self, partitions: frozenset[TopicPartition]) -> frozenset[TopicPartition]:
        """Those of which the store lacks what it must have read, as one made anew does: they begin at their beginning.

        Every logged request leaves a row, so a partition of them without any is unknown. Usage leaves rows for
        abandoned requests only: its partitions are unknown to a store without any row. Raises StoreUnavailable.
        """
        known = {(str(row["topic"]), int(row["part"])) for row in await self._store.query(_KNOWN)}
        return frozenset(part for part in partitions - known if part[0] == REQUESTS or not known)

    async def _is_there(self, part: TopicPartition, offset: int, request_id: str) -> bool:
        topic, partition = part
        ends = await self._log.end_offsets(topic)
        if ends.get(partition, 0) <= offset:
            return False
        async for records in self._log.read(topic, partition, offset, offset + 1):
            for record in records:
                if record.offset == offset and record.value is not None:
                    return _request_id(record.value) == request_id
        return False


def _request_id(value: bytes) -> str:
    try:
        return _identity.decode(value).request_id
    except msgspec.DecodeError:
        return ""
