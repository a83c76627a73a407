"""Topics on a cluster whose brokers do not all know the same yet."""

from collections.abc import Mapping, Sequence
from types import SimpleNamespace
from typing import Any

import pytest
from aiokafka.admin.config_resource import ConfigResource
from aiokafka.errors import NoError, TopicAuthorizationFailedError, UnknownTopicOrPartitionError

from shared.eventlog.kafka_topics import _configs, required_configs
from shared.topics import DAY_MS, GOVERNANCE, SPEND, topic_specs

SPECS = topic_specs(3, usage_retention_ms=DAY_MS, requests_retention_ms=DAY_MS)


class FakeAdmin:
    """Answers `describe_configs` with the given codes per topic, one mapping a call."""

    def __init__(self, *answers: Mapping[str, type[Any]]) -> None:
        self.answers = list(answers)

    async def describe_configs(self, resources: Sequence[ConfigResource]) -> list[SimpleNamespace]:
        codes = self.answers.pop(0)
        return [
            SimpleNamespace(resources=[(codes[r.name].errno, "said so", 2, r.name, [("a", "1", False)])])
            for r in resources
        ]


async def test_a_broker_that_has_not_heard_of_a_new_topic_is_asked_again() -> None:
    admin = FakeAdmin({"x": NoError, "y": UnknownTopicOrPartitionError}, {"x": NoError, "y": NoError})

    assert await _configs(admin, ["x", "y"]) == {"x": {"a": "1"}, "y": {"a": "1"}}
    assert admin.answers == []


async def test_what_asking_again_cannot_mend_is_raised() -> None:
    with pytest.raises(TopicAuthorizationFailedError, match="said so"):
        await _configs(FakeAdmin({"x": TopicAuthorizationFailedError}), ["x"])


@pytest.mark.parametrize(("copies", "in_sync"), [(1, "1"), (2, "2"), (3, "2")])
def test_records_are_acknowledged_by_as_many_as_the_copies_allow(copies: int, in_sync: str) -> None:
    assert required_configs(SPECS[GOVERNANCE], copies)["min.insync.replicas"] == in_sync


def test_configuration_is_kept_whatever_the_brokers_defaults_are() -> None:
    governance, spend = required_configs(SPECS[GOVERNANCE], 1), required_configs(SPECS[SPEND], 1)

    assert (governance["retention.ms"], governance["retention.bytes"]) == ("-1", "-1")
    assert spend["cleanup.policy"] == "compact"
