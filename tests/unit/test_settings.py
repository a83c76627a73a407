"""Settings: what stops the start, in one sentence that names the variable and repeats no secret."""

import base64
from pathlib import Path

import pytest

from services.cli.doctor import configuration_summary
from shared.errors import ConfigurationError
from shared.settings import Settings

KAFKA = {"FINOPS_EVENT_LOG_URL": "kafka://broker:9092"}


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("FINOPS_PORT", "abc"),
        ("FINOPS_PORT", ""),
        ("FINOPS_PORT", "70000"),
        ("FINOPS_HOST", ""),
        ("FINOPS_HOST", "not a host"),
        ("FINOPS_DATA_DIR", ""),
        ("FINOPS_DATA_DIR", "/proc/x"),
        ("FINOPS_DATA_DIR", "/dev/null/x"),
        ("FINOPS_UDS", "/not/there/finops.sock"),
        ("FINOPS_UDS", "/dev/null"),
        ("FINOPS_UDS", "/tmp/" + "long" * 30),
        ("FINOPS_ADMIN_TOKEN", "geheim"),
        ("FINOPS_ADMIN_TOKEN", "geheim geheim"),
        ("FINOPS_ADMIN_TOKEN", "geheim-für-alle"),
        ("FINOPS_TOPIC_PREFIX", "a/b"),
        ("FINOPS_PARTITIONS", "0"),
        ("FINOPS_REPLICATION_FACTOR", "0"),
        ("FINOPS_REQUIRE_VIRTUAL_KEY", "ja"),
        ("FINOPS_CORS_ALLOWED_ORIGINS", "example.com"),
        ("FINOPS_CORS_ALLOWED_ORIGINS", "https://a.example/chat"),
        ("FINOPS_CORS_ALLOWED_HEADERS", "X A,B"),
        ("FINOPS_USER_HEADERS", "X-User,X User"),
        ("FINOPS_USER_HEADERS", "X-User,authorization"),
        ("FINOPS_CHAT_ID_HEADER", ""),
        ("FINOPS_CHAT_ID_HEADER", "X-Chat\n"),
        ("FINOPS_CHAT_ID_HEADER", "X-OpenWebUI-User-ID"),
        ("FINOPS_TASK_HEADER", "Anthropic-Beta"),
        ("FINOPS_TASK_HEADER", "X-Täsk"),
        ("FINOPS_USER_JWT_HEADER", "X-Jwt:"),
        ("FINOPS_USER_JWT_HEADER", "X-Api-Key"),
        ("FINOPS_USER_JWT_HEADER", "x-finops-task"),
        ("FINOPS_BODY_LIMIT", "64MB"),
        ("FINOPS_BODY_LIMIT", "0"),
        ("FINOPS_CONNECT_TIMEOUT", "10s"),
        ("FINOPS_CONNECT_TIMEOUT", "-1"),
        ("FINOPS_FIRST_BYTE_TIMEOUT", "nan"),
        ("FINOPS_BETWEEN_CHUNKS_TIMEOUT", "0"),
        ("FINOPS_REQUEST_TIMEOUT", "inf"),
        ("FINOPS_REQUEST_TIMEOUT", "1e300"),
        ("FINOPS_ABANDON_GRACE", "inf"),
        ("FINOPS_HEARTBEAT_INTERVAL", "inf"),
        ("FINOPS_GATEWAY_ID", "a\nb"),
        ("FINOPS_SPOOL_LIMIT", "1"),
        ("FINOPS_LOG_BODY_LIMIT", "100000000"),
        ("FINOPS_USAGE_RETENTION_DAYS", "0"),
        ("FINOPS_REQUESTS_RETENTION_DAYS", "999999999999999999"),
        ("FINOPS_LOG_LEVEL", "verbose"),
        ("FINOPS_PROT", "8080"),
        ("finops_prot", "8080"),
        ("FINOPS_SECRET_KEY", "geheim"),
        ("FINOPS_EVENT_LOG_URL", "redis:geheim@host"),
        ("FINOPS_EVENT_LOG_URL", "kafka://user:geheim@host:9092"),
        ("FINOPS_CLICKHOUSE_URL", "http://user:geheim@host:8123/db"),
        ("FINOPS_CLICKHOUSE_URL", "clickhouse://user:geheim@host:81x3/db"),
        ("FINOPS_CONFIG", "/not/there.yaml"),
    ],
)
def test_a_wrong_value_is_one_sentence_that_names_its_variable(name: str, value: str) -> None:
    with pytest.raises(ConfigurationError) as raised:
        configuration_summary(Settings.load({name: value}))

    sentence = str(raised.value)
    assert name.upper() in sentence or value in sentence
    assert sentence.endswith(".")
    assert "\n" not in sentence
    assert "geheim" not in sentence


def test_a_check_of_what_is_right_makes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    here = {"FINOPS_DATA_DIR": str(tmp_path / "data" / "deep"), "FINOPS_UDS": str(tmp_path / "finops.sock")}

    assert configuration_summary(Settings.load(here | {"FINOPS_ADMIN_TOKEN": "a-token!"})).startswith(
        "All right"
    )
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("environ", "names"),
    [
        ({"FINOPS_KAFKA_SECURITY_PROTOCOL": "TLS"}, "FINOPS_KAFKA_SECURITY_PROTOCOL"),
        (
            {"FINOPS_KAFKA_SASL_USERNAME": "u", "FINOPS_KAFKA_SASL_PASSWORD": "geheim"},
            "FINOPS_KAFKA_SASL_USERNAME",
        ),
        (
            {"FINOPS_KAFKA_SECURITY_PROTOCOL": "SSL", "FINOPS_KAFKA_CA_FILE": "/not/there.pem"},
            "FINOPS_KAFKA_CA_FILE",
        ),
        (
            {"FINOPS_KAFKA_SECURITY_PROTOCOL": "SASL_SSL", "FINOPS_KAFKA_SASL_MECHANISM": "PLAIN"},
            "FINOPS_KAFKA_SASL_USERNAME",
        ),
    ],
)
def test_what_kafka_could_not_use_is_said_before_anything_is_started(
    environ: dict[str, str], names: str
) -> None:
    with pytest.raises(ConfigurationError, match=names) as raised:
        configuration_summary(Settings.load(KAFKA | environ))

    assert "geheim" not in str(raised.value)


def test_what_is_right_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)

    settings = Settings.load(
        {
            "FINOPS_PORT": "0",
            "FINOPS_CONFIG": "",
            "FINOPS_KAFKA_CA_FILE": "",
            "FINOPS_CORS_ALLOWED_ORIGINS": "https://a.example/, http://localhost:3000,null,tauri://localhost",
            "FINOPS_CORS_ALLOWED_HEADERS": "*",
            "FINOPS_REQUEST_TIMEOUT": "0.5",
            "FINOPS_SECRET_KEY": base64.b64encode(bytes(32)).decode(),
            "finops_log_level": "DEBUG",
            "OTHER": "ignored",
        }
    )

    assert (settings.port, settings.config, settings.kafka_ca_file) == (0, None, None)
    assert (settings.cors_allowed_origins or ())[1:] == ("http://localhost:3000", "null", "tauri://localhost")
    assert settings.log_level == "debug"
    assert configuration_summary(settings).startswith("All right")


def test_no_secret_shows_in_what_is_printed_of_settings() -> None:
    shown = repr(
        Settings.load(
            {
                "FINOPS_ADMIN_TOKEN": "geheim-1",
                "FINOPS_SECRET_KEY": "geheim-2",
                "FINOPS_KAFKA_SASL_PASSWORD": "geheim-3",
            }
        )
    )

    assert "geheim" not in shown


def test_a_header_that_means_one_thing_already_cannot_mean_another() -> None:
    with pytest.raises(ConfigurationError, match="X-OpenWebUI-Chat-Id is that of FINOPS_USER_HEADERS"):
        Settings.load({"FINOPS_USER_HEADERS": "X-OpenWebUI-Chat-Id"})


def test_no_origins_means_none() -> None:
    assert Settings.load({"FINOPS_CORS_ALLOWED_ORIGINS": ""}).cors_allowed_origins == ()
