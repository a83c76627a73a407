"""Makes the topics with the settings that the promises need, and checks those that are there."""

import asyncio
from collections.abc import Mapping, Sequence
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


def required_configs(spec: TopicSpec, replication_factor: int) -> dict[str, str]:
    """The configs of a topic as Kafka names them."""
    configs = {
        "cleanup.policy": "compact" if spec.compacted else "delete",
        "retention.ms": str(spec.retention_ms),
        "max.message.bytes": str(spec.max_record_bytes + BATCH_MARGIN),
    }
    if spec.compacted:
        configs["delete.retention.ms"] = str(DAY_MS)
        configs["min.cleanable.dirty.ratio"] = "0.1"
        configs["segment.ms"] = "3600000"
    if replication_factor >= 2:
        configs["min.insync.replicas"] = "2"
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
    )
    try:
        with translating("preparing the topics"):
            async with asyncio.timeout(timeout_s):
                present = await _present(admin)
                missing = [spec for name, spec in specs.items() if name not in present]
                if missing:
                    await _create(admin, missing, replication_factor)
                    present = await _settled(admin, specs)
                for name, spec in specs.items():
                    _check_partitions(spec, name, len(present[name]))
                await _check_configs(admin, specs, replication_factor, connection)
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
        refusal = translated(error(), f"making the topic {name}")
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


async def _check_configs(
    admin: AIOKafkaAdminClient,
    specs: Mapping[str, TopicSpec],
    replication_factor: int,
    connection: KafkaConnection,
) -> None:
    resources = [ConfigResource(ConfigResourceType.TOPIC, name) for name in specs]
    for response in await admin.describe_configs(resources):
        for code, message, _, name, entries in (resource[:5] for resource in response.resources):
            error = for_code(code)
            if error is not NoError:
                raise error(message)
            found = {entry[0]: entry[1] for entry in entries}
            for key, wanted in required_configs(specs[name], replication_factor).items():
                if not _satisfies(key, found.get(key), wanted):
                    raise ConfigurationError(
                        f"The topic {name} has {key}={found.get(key)}, but finops needs {wanted}; change it with: "
                        f"kafka-configs.sh --bootstrap-server {connection.bootstrap[0]} --alter --topic {name} "
                        f"--add-config {key}={wanted}"
                    )


def _satisfies(key: str, found: str | None, wanted: str) -> bool:
    """Whether a config is at least what is needed. What merely tunes is the operator's business."""
    if found is None:
        return False
    if key == "cleanup.policy":
        return found == wanted
    if key == "retention.ms":
        if int(found) == FOREVER:
            return True
        # A compacted topic is not cut by time, whatever this says.
        return int(wanted) != FOREVER and int(found) >= int(wanted)
    if key in ("max.message.bytes", "min.insync.replicas"):
        return int(found) >= int(wanted)
    return True
