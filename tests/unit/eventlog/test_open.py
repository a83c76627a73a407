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


def test_a_password_in_an_address_is_refused_and_not_repeated() -> None:
    for url in ("kafka://user:geheim@a:1", "redis:geheim@a", "kafka://user:geheim"):
        with pytest.raises(ConfigurationError, match="FINOPS_EVENT_LOG_URL") as raised:
            open_log(Settings(event_log_url=url))
        assert "geheim" not in str(raised.value)


def test_a_log_in_memory_is_refused() -> None:
    with pytest.raises(ConfigurationError, match=r"FINOPS_EVENT_LOG_URL .*:memory:"):
        open_log(Settings(event_log_url="sqlite:///:memory:"))


def test_a_wrong_protocol_or_mechanism_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="FINOPS_KAFKA_SECURITY_PROTOCOL"):
        KafkaConnection(("a:1",), "TLS")
    with pytest.raises(ConfigurationError, match="FINOPS_KAFKA_SASL_MECHANISM"):
        KafkaConnection(("a:1",), "SASL_SSL", "GSSAPI")


@pytest.mark.parametrize(
    ("protocol", "mechanism", "user", "password", "sentence"),
    [
        (
            "PLAINTEXT",
            "PLAIN",
            "",
            "",
            "FINOPS_KAFKA_SASL_MECHANISM is set, but FINOPS_KAFKA_SECURITY_PROTOCOL",
        ),
        ("PLAINTEXT", "", "u", "", "FINOPS_KAFKA_SASL_USERNAME is set, but FINOPS_KAFKA_SECURITY_PROTOCOL"),
        ("SSL", "", "", "p", "FINOPS_KAFKA_SASL_PASSWORD is set, but FINOPS_KAFKA_SECURITY_PROTOCOL is SSL"),
        ("SASL_SSL", "PLAIN", "", "p", "FINOPS_KAFKA_SASL_USERNAME is not set, but SASL_SSL needs it"),
        ("SASL_SSL", "PLAIN", "u", "", "FINOPS_KAFKA_SASL_PASSWORD is not set, but SASL_SSL needs it"),
    ],
)
def test_settings_that_do_not_go_together_are_refused(
    protocol: str, mechanism: str, user: str, password: str, sentence: str
) -> None:
    with pytest.raises(ConfigurationError, match=sentence):
        KafkaConnection(("a:1",), protocol, mechanism, user, password)


def test_an_authority_without_tls_is_refused() -> None:
    with pytest.raises(ConfigurationError, match=r"FINOPS_KAFKA_CA_FILE is set, but .* is PLAINTEXT"):
        KafkaConnection(("a:1",), ca_file=Path("ca.pem"))


def test_the_password_does_not_show() -> None:
    assert "geheim" not in repr(KafkaConnection(("a:1",), "SASL_PLAINTEXT", "PLAIN", "user", "geheim"))


def test_credentials_and_trust_reach_the_client() -> None:
    arguments = KafkaConnection(("a:1",), "SASL_SSL", "PLAIN", "user", "secret").client_arguments()

    assert arguments["sasl_plain_username"] == "user"
    assert arguments["sasl_plain_password"] == "secret"
    assert arguments["ssl_context"].check_hostname


def test_an_unreadable_authority_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="FINOPS_KAFKA_CA_FILE"):
        KafkaConnection(("a:1",), "SSL", ca_file=tmp_path / "missing.pem")
