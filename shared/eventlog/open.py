"""Picks the event log that the settings name."""

from pathlib import Path

from shared.errors import ConfigurationError
from shared.eventlog.kafka import KafkaEventLog
from shared.eventlog.kafka_connection import SCHEME as KAFKA_SCHEME
from shared.eventlog.kafka_connection import KafkaConnection, bootstrap_servers
from shared.eventlog.port import EventLog
from shared.eventlog.sqlite import SqliteEventLog
from shared.settings import Settings
from shared.topics import DAY_MS, topic_specs

SQLITE_SCHEME = "sqlite:///"
IN_MEMORY = ":memory:"


def open_log(settings: Settings) -> EventLog:
    """The log of `FINOPS_EVENT_LOG_URL`, not started yet. Raises ConfigurationError when the URL is not understood."""
    url = settings.resolved_event_log_url
    specs = topic_specs(
        settings.partitions,
        usage_retention_ms=settings.usage_retention_days * DAY_MS,
        requests_retention_ms=settings.requests_retention_days * DAY_MS,
    )
    if url == SQLITE_SCHEME + IN_MEMORY:
        raise ConfigurationError(
            f"FINOPS_EVENT_LOG_URL names {IN_MEMORY}, which no two processes share; use sqlite:///path/to/events.db."
        )
    if url.startswith(SQLITE_SCHEME) and url != SQLITE_SCHEME:
        return SqliteEventLog(Path(url.removeprefix(SQLITE_SCHEME)), specs)
    if url.startswith(KAFKA_SCHEME):
        connection = KafkaConnection(
            bootstrap_servers(url),
            settings.kafka_security_protocol.upper(),
            settings.kafka_sasl_mechanism.upper(),
            settings.kafka_sasl_username,
            settings.kafka_sasl_password.get_secret_value(),
            settings.kafka_ca_file,
        )
        return KafkaEventLog(
            connection,
            specs,
            replication_factor=settings.replication_factor,
            topic_prefix=settings.topic_prefix,
        )
    scheme = url.partition(":")[0]
    raise ConfigurationError(
        f"FINOPS_EVENT_LOG_URL begins with {scheme!r}; use sqlite:///path/to/events.db or kafka://host:port."
    )
