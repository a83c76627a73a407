"""The topics, how long each is kept, and how a partition is picked.

Every producer in every service picks partitions through `partition_for`: a key's records must always
meet in one partition, whatever the client library's own default would do. Only where no two records
belong together, `partition_at` fills one partition after the other.
"""

from collections.abc import Set
from dataclasses import dataclass
from zlib import crc32

USAGE = "finops.usage"
REQUESTS = "finops.requests"
GOVERNANCE = "finops.governance"
SPEND = "finops.spend"
RATES = "finops.rates"
DEAD_LETTERS = "finops.dead-letters"

SPREAD: Set[str] = frozenset({REQUESTS})
"""Topics in which each key has one record: their partitions are picked by time."""
SPREAD_MS = 250

DAY_MS = 86_400_000
FOREVER = -1


@dataclass(frozen=True, slots=True)
class TopicSpec:
    """How a topic is made. `retention_ms` is FOREVER (-1) or milliseconds; `compacted` keeps the last value per key."""

    name: str
    partitions: int
    retention_ms: int
    compacted: bool = False
    max_record_bytes: int = 1_048_576


def topic_specs(
    partitions: int, *, usage_retention_ms: int, requests_retention_ms: int
) -> dict[str, TopicSpec]:
    """All topics by name. `partitions` is fixed for the life of a log: changing it moves keys between owners.

    Usage and spend have the same count: the owner of usage partition p alone writes spend partition p.
    """
    specs = (
        TopicSpec(USAGE, partitions, usage_retention_ms),
        TopicSpec(REQUESTS, partitions, requests_retention_ms, max_record_bytes=4 * 1_048_576),
        TopicSpec(GOVERNANCE, 1, FOREVER),
        TopicSpec(SPEND, partitions, FOREVER, compacted=True, max_record_bytes=4 * 1_048_576),
        TopicSpec(RATES, 1, 600_000),
        TopicSpec(DEAD_LETTERS, 1, 30 * DAY_MS, max_record_bytes=6 * 1_048_576),
    )
    return {spec.name: spec for spec in specs}


def partition_for(key: str, partitions: int) -> int:
    """The partition of a key: CRC-32 of its UTF-8 bytes modulo the partition count. Stable for ever."""
    return crc32(key.encode()) % partitions


def partition_at(producer: str, at_ms: int, partitions: int) -> int:
    """The partition that a producer fills at this time (Unix, ms); the next one 250 ms later.

    A batch costs by its partitions, so records that are put together go to one. Each producer is somewhere else.
    """
    return (crc32(producer.encode()) + at_ms // SPREAD_MS) % partitions
