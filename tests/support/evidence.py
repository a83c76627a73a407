"""What really stands on the event log, read with a bare Kafka client and plain JSON: none of the product's own code.

A spool that is replayed after a kill may write a record twice; such copies carry the same (producer, seq) and are
counted once, as the contract of the topics says.
"""

import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Final

from aiokafka import AIOKafkaConsumer

USAGE: Final = "finops.usage"
REQUESTS: Final = "finops.requests"
READ_TIMEOUT_MS: Final = 1_000
MAX_STALLS: Final = 10

Json = dict[str, Any]


@dataclass(slots=True)
class Evidence:
    """Everything on the usage and requests topics, by request id."""

    started: dict[str, Json] = field(default_factory=dict)
    ended: dict[str, Json] = field(default_factory=dict)
    """Ends told by the gateway that served the request."""
    abandoned: dict[str, Json] = field(default_factory=dict)
    """Ends made by the budget service for a gateway that was gone."""
    logged: dict[str, Json] = field(default_factory=dict)
    twice: list[str] = field(default_factory=list)
    """What is there twice without being a replay: always an error."""
    replays: int = 0

    @property
    def open(self) -> set[str]:
        """Requests that were started and have no end of any kind yet."""
        return self.started.keys() - self.ended.keys() - self.abandoned.keys()

    def final(self, request_id: str) -> Json:
        """The end that counts: the gateway's own if there is one, else the abandonment."""
        return self.ended.get(request_id) or self.abandoned[request_id]

    def finished(self) -> set[str]:
        return self.ended.keys() | self.abandoned.keys()


async def read_evidence(bootstrap: str, topic_prefix: str) -> Evidence:
    """Both topics from their beginning to their present end."""
    evidence = Evidence()
    seen: dict[tuple[str, int, str], int] = {}
    for topic in (USAGE, REQUESTS):
        async for partition, headers, event in _records(bootstrap, topic_prefix + topic):
            producer = headers.get("producer", "")
            if producer:
                source = (topic, partition, producer)
                seq = int(headers["seq"])
                if seq <= seen.get(source, -1):
                    evidence.replays += 1
                    continue
                seen[source] = seq
            _sort(evidence, event)
    return evidence


async def count_records(bootstrap: str, topic_prefix: str) -> int:
    """How many records both topics hold."""
    async with _reader(bootstrap, topic_prefix + USAGE, topic_prefix + REQUESTS) as consumer:
        return int(sum((await consumer.end_offsets(consumer.assignment())).values()))


@asynccontextmanager
async def _reader(bootstrap: str, *topics: str) -> AsyncIterator[AIOKafkaConsumer]:
    """A consumer outside any group, with all partitions of `topics`, at their beginning."""
    consumer = AIOKafkaConsumer(
        *topics,
        bootstrap_servers=bootstrap,
        group_id=None,
        enable_auto_commit=False,
        auto_offset_reset="earliest",
    )
    await consumer.start()
    try:
        if not consumer.assignment():
            raise AssertionError(f"{', '.join(topics)} are not on the broker")
        yield consumer
    finally:
        await consumer.stop()


def _sort(evidence: Evidence, event: Json) -> None:
    kind, request_id = event["type"], event["request_id"]
    if kind == "request.started":
        place = evidence.started
    elif kind == "request.logged":
        place = evidence.logged
    elif event["outcome"] == "abandoned":
        # a new owner of the partition may ask for the same abandonment again: the fold settles the first alone
        evidence.abandoned.setdefault(request_id, event)
        return
    else:
        place = evidence.ended
    if request_id in place:
        evidence.twice.append(f"{kind} {request_id}")
    place[request_id] = event


async def _records(bootstrap: str, topic: str) -> AsyncIterator[tuple[int, Mapping[str, str], Json]]:
    async with _reader(bootstrap, topic) as consumer:
        partitions = sorted(consumer.assignment())
        ends = await consumer.end_offsets(partitions)
        stalls = 0
        while behind := [part for part in partitions if await consumer.position(part) < ends[part]]:
            batches = await consumer.getmany(*behind, timeout_ms=READ_TIMEOUT_MS)
            stalls = 0 if batches else stalls + 1
            if stalls > MAX_STALLS:
                raise AssertionError(f"{topic} cannot be read to its end")
            for part, records in batches.items():
                for record in records:
                    headers = {name: value.decode() for name, value in record.headers}
                    yield part.partition, headers, json.loads(record.value)
