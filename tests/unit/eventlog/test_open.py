"""Which log a URL names, and what is said about one that names none."""

from pathlib import Path

import pytest

from shared.errors import ConfigurationError
from shared.eventlog.kafka_connection import KafkaConnection, bootstrap_servers
from shared.eventlog.open import open_log
from shared.eventlog.sqlite import SqliteEventLog
from shared.settings import Settings


def test_without_a_setting_the_log_is_a_file_in_the_data_folder() -> None:
    assert isinstance(open_log(Settings(data_dir=Path("here"))), SqliteEventLog)


@pytest.mark.parametrize("url", ["postgres://x", "sqlite:///", "events.db", "kafka:/x"])
def test_another_scheme_is_refused_with_the_setting_named(url: str) -> None:
    with pytest.raises(ConfigurationError, match=r"FINOPS_EVENT_LOG_URL .*sqlite:///.*kafka://"):
        open_log(Settings(event_log_url=url))


def test_several_brokers_are_taken_apart() -> None:
    assert bootstrap_servers("kafka://a:9092,b.example:9093") == ("a:9092", "b.example:9093")


@pytest.mark.parametrize(
    "url", ["kafka://", "kafka://a", "kafka://a:x", "kafka://a:1,", "kafka://u:p@a:1", "kafka://a:1/t"]
)
def test_a_wrong_address_is_refused_with_the_form(url: str) -> None:
    with pytest.raises(ConfigurationError, match="kafka://host:port"):
        bootstrap_servers(url)


def test_a_wrong_protocol_or_mechanism_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="FINOPS_KAFKA_SECURITY_PROTOCOL"):
        KafkaConnection(("a:1",), "TLS")
    with pytest.raises(ConfigurationError, match="FINOPS_KAFKA_SASL_MECHANISM"):
        KafkaConnection(("a:1",), "SASL_SSL", "GSSAPI")


def test_credentials_and_trust_reach_the_client() -> None:
    arguments = KafkaConnection(("a:1",), "SASL_SSL", "PLAIN", "user", "secret").client_arguments()

    assert arguments["sasl_plain_username"] == "user"
    assert arguments["sasl_plain_password"] == "secret"
    assert arguments["ssl_context"].check_hostname


def test_an_unreadable_authority_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="FINOPS_KAFKA_CA_FILE"):
        KafkaConnection(("a:1",), "SSL", ca_file=tmp_path / "missing.pem").client_arguments()
