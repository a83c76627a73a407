"""What Kafka's errors mean to us, at the start and later on."""

import ssl

import pytest
from aiokafka import errors as kafka

from shared.errors import ConfigurationError, Fenced, FinOpsError, LogUnavailable, RecordTooLarge
from shared.eventlog.kafka_errors import translated, translating

REFUSALS = [
    kafka.SaslAuthenticationFailed("no"),
    kafka.TopicAuthorizationFailedError("finops.usage"),
    kafka.GroupAuthorizationFailedError("g"),
    kafka.UnsupportedSaslMechanismError("GSSAPI"),
    ssl.SSLCertVerificationError(1, "certificate has expired"),
]


@pytest.mark.parametrize("error", REFUSALS, ids=lambda error: type(error).__name__)
def test_access_refused_is_a_wrong_setting_at_the_start_and_may_come_back_later(error: Exception) -> None:
    assert isinstance(translated(error, "starting", ConfigurationError), ConfigurationError)
    assert isinstance(translated(error, "polling"), LogUnavailable)
    assert "while polling" in str(translated(error, "polling"))


@pytest.mark.parametrize(
    ("error", "ours"),
    [
        (kafka.IllegalGenerationError(), Fenced),
        (kafka.CommitFailedError(), Fenced),
        (kafka.MessageSizeTooLargeError(), RecordTooLarge),
        (kafka.NotEnoughReplicasError(), LogUnavailable),
        (TimeoutError(), LogUnavailable),
        (ConnectionResetError(), LogUnavailable),
    ],
)
def test_whatever_else_kafka_raises_is_one_of_ours(error: Exception, ours: type[FinOpsError]) -> None:
    with pytest.raises(ours), translating("appending"):
        raise error
