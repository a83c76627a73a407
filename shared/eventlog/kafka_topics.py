"""Makes the topics with the settings that the promises need, and checks those that are there."""

import asyncio
import logging
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.errors import NoError, TopicAlreadyExistsError, for_code

from shared.errors import ConfigurationError, LogUnavailable
from shared.eventlog.kafka_connection import KafkaConnection, started
from shared.eventlog.kafka_errors import translated, translating
from shared.topics import DAY_MS, FOREVER, TopicSpec

BATCH_MARGIN = 65_536
"""`max.message.bytes` limits a whole batch after compression: room for its head and for what does not compress."""
SETTLE_POLL_S = 0.05

logger = logging.getLogger(__name__)


def required_configs(spec: TopicSpec, replication_factor: int) -> dict[str, str]:
    """The configs of a topic as Kafka names them."""
    configs = {
        "cleanup.policy": "compact" if spec.compacted else "delete",
        "retention.ms": str(spec.retention_ms),
        "retention.bytes": str(FOREVER),
        "max.message.bytes": str(spec.max_record_bytes + BATCH_MARGIN),
    }
    if spec.compacted:
        configs["delete.retention.ms"] = str(DAY_MS)
        # Whoever starts or takes a partition over reads all that is not compacted yet, and the newest segment never
        # is: with segments of an hour a busy spend topic took longer to read than anybody waits.
        configs["min.cleanable.dirty.ratio"] = "0.1"
        configs["segment.ms"] = "60000"
        configs["max.compaction.lag.ms"] = "60000"
    configs["min.insync.replicas"] = str(min(replication_factor, 2))
    return configs


async def ensure_topics(
    connection: KafkaConnection,
    specs: Mapping[str, TopicSpec],
    replication_factor: int,
    timeout_s: float,
) -> None:
    """Make and check `specs` (by their full names).

    Raises LogUnavailable within `timeout_s`, ConfigurationError with the command that repairs the topic.
    """
    admin = await started(
        lambda: AIOKafkaAdminClient(**connection.client_arguments()),
        lambda client: client.start(),
        lambda client: client.close(),
        connection,
        timeout_s,
        ConfigurationError,
    )
    try:
        with translating("preparing the topics", ConfigurationError):
            async with asyncio.timeout(timeout_s):
                present = await _present(admin)
                missing = [spec for name, spec in specs.items() if not present.get(name)]
                if missing:
                    await _create(admin, missing, replication_factor)
                    present = await _settled(admin, specs)
                for name, spec in specs.items():
                    _check_partitions(spec, name, len(present[name]))
                    _check_copies(name, _copies(present[name]), replication_factor)
                copies = {name: _copies(present[name]) for name in specs}
                await _check_configs(admin, specs, copies, replication_factor, connection)
    finally:
        await admin.close()


async def _present(admin: AIOKafkaAdminClient) -> dict[str, list[Mapping[str, Any]]]:
    """All topics with their partitions. Asked for all: a question for one by name could auto-create it."""
    return {topic["topic"]: topic["partitions"] for topic in await admin.describe_topics(None)}


async def _create(admin: AIOKafkaAdminClient, missing: Sequence[TopicSpec], replication_factor: int) -> None:
    response = await admin.create_topics(
        [
            NewTopic(
                spec.name,
                spec.partitions,
                replication_factor,
                topic_configs=required_configs(spec, replication_factor),
            )
            for spec in missing
        ]
    )
    for name, code, *message in response.topic_errors:
        error = for_code(code)
        if error in (NoError, TopicAlreadyExistsError):  # another service makes them at the same moment
            continue
        detail = message[0] if message and message[0] else error.__name__
        if error.retriable:
            raise LogUnavailable(f"Kafka could not make the topic {name} yet: {detail}")
        refusal = translated(error(), f"making the topic {name}", ConfigurationError)
        if isinstance(refusal, ConfigurationError):
            raise refusal
        raise ConfigurationError(
            f"Kafka refused to make the topic {name}: {detail} "
            f"(FINOPS_REPLICATION_FACTOR is {replication_factor}; it cannot be more than there are brokers)."
        )


async def _settled(
    admin: AIOKafkaAdminClient, specs: Mapping[str, TopicSpec]
) -> dict[str, list[Mapping[str, Any]]]:
    """Wait until each topic is known and each partition has a leader. The caller bounds the time."""
    while True:
        present = await _present(admin)
        if all(
            name in present and present[name] and all(part["leader"] >= 0 for part in present[name])
            for name in specs
        ):
            return present
        await asyncio.sleep(SETTLE_POLL_S)


def _check_partitions(spec: TopicSpec, name: str, found: int) -> None:
    if found == spec.partitions:
        return
    if spec.partitions == 1:
        advice = "delete it (it may have been auto-created) and finops makes it anew"
    else:
        advice = (
            f"the count is fixed for the life of a log, so set FINOPS_PARTITIONS={found}, or delete the topic if it "
            "was auto-created and finops makes it anew"
        )
    raise ConfigurationError(
        f"The topic {name} has {found} partitions instead of {spec.partitions}: {advice}."
    )


def _copies(partitions: Sequence[Mapping[str, Any]]) -> int:
    return min(len(partition["replicas"]) for partition in partitions)


def _check_copies(name: str, found: int, replication_factor: int) -> None:
    if found < replication_factor:
        raise ConfigurationError(
            f"The topic {name} has {found} copies of a partition instead of {replication_factor}: give it more with "
            f"kafka-reassign-partitions.sh, or set FINOPS_REPLICATION_FACTOR={found}."
        )


async def _check_configs(
    admin: AIOKafkaAdminClient,
    specs: Mapping[str, TopicSpec],
    copies: Mapping[str, int],
    replication_factor: int,
    connection: KafkaConnection,
) -> None:
    for name, found in (await _configs(admin, specs)).items():
        wanted = required_configs(specs[name], replication_factor)
        wrong = [(key, value) for key, value in wanted.items() if not _satisfies(key, found.get(key), value)]
        for key, value in [*wrong, *_unsafe(found, copies[name])]:
            raise ConfigurationError(
                f"The topic {name} has {key}={found.get(key)}, but finops needs {value}; "
                f"{_repair(connection, name, key, value)}"
            )
        kept, asked = found["retention.ms"], wanted["retention.ms"]
        if not specs[name].compacted and kept != asked:
            logger.warning(
                "The topic %s keeps records for %s ms, longer than the %s ms that are set; %s",
                *(name, kept, asked, _repair(connection, name, "retention.ms", asked)),
            )


async def _configs(admin: AIOKafkaAdminClient, names: Collection[str]) -> dict[str, dict[str, str]]:
    """The configs of topics. A broker that has not heard of a new one yet is asked again; the caller bounds the time."""
    while True:
        configs: dict[str, dict[str, str]] = {}
        for response in await admin.describe_configs(
            [ConfigResource(ConfigResourceType.TOPIC, name) for name in names]
        ):
            for code, message, _, name, entries in (resource[:5] for resource in response.resources):
                error = for_code(code)
                if error is NoError:
                    configs[name] = {entry[0]: entry[1] for entry in entries}
                elif not error.retriable:
                    raise error(message)
        if len(configs) == len(names):
            return configs
        await asyncio.sleep(SETTLE_POLL_S)


def _repair(connection: KafkaConnection, topic: str, key: str, value: str) -> str:
    return (
        f"change it with: kafka-configs.sh --bootstrap-server {connection.bootstrap[0]} --alter --topic {topic} "
        f"--add-config {key}={value}"
    )


def _unsafe(found: Mapping[str, str], copies: int) -> list[tuple[str, str]]:
    """What must not be set so, whoever set it, and how it must be: else no record is ever acknowledged, or one that was
    may vanish."""
    if int(found["min.insync.replicas"]) > copies:
        return [("min.insync.replicas", str(copies))]
    if copies > 1 and found.get("unclean.leader.election.enable") == "true":
        return [("unclean.leader.election.enable", "false")]
    return []


def _satisfies(key: str, found: str | None, wanted: str) -> bool:
    """Whether a config is at least what is needed. What merely tunes is the operator's business."""
    if found is None:
        return False
    if key in ("cleanup.policy", "retention.bytes"):
        return found == wanted
    if key == "retention.ms":
        if int(found) == FOREVER:
            return True
        return int(wanted) != FOREVER and int(found) >= int(wanted)
    if key in ("max.message.bytes", "min.insync.replicas"):
        return int(found) >= int(wanted)
    return True
