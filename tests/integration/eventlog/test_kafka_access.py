"""TLS and SASL against a real broker: what is right works, and what is wrong is said in one sentence, at once."""

import asyncio
import ipaddress
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from shared.errors import ConfigurationError, LogUnavailable
from shared.eventlog.kafka import KafkaEventLog
from shared.eventlog.kafka_connection import KafkaConnection
from shared.topics import DAY_MS, USAGE, topic_specs
from tests.support.eventlog import Recorder, collect, numbered, numbers, poll_until
from tests.support.kafka import KafkaBroker, KafkaNotAvailable

pytestmark = pytest.mark.kafka
USER, PASSWORD = "finops", "the-right-password"
PLAIN_LOGIN = (
    "org.apache.kafka.common.security.plain.PlainLoginModule required "
    f'username="{USER}" password="{PASSWORD}" user_{USER}="{PASSWORD}";'
)
SCRAM_LOGIN = "org.apache.kafka.common.security.scram.ScramLoginModule required;"


class Authority:
    """A certificate authority with one certificate, for 127.0.0.1; all of it in files below `directory`."""

    def __init__(self, directory: Path) -> None:
        directory.mkdir()
        self.ca_file, self.server_file = directory / "ca.pem", directory / "server.pem"
        key, server_key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
        ca = self._builder("an authority", "an authority", key).add_extension(
            x509.BasicConstraints(ca=True, path_length=None), critical=True
        )
        server = self._builder("kafka", "an authority", server_key).add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False
        )
        self.ca_file.write_bytes(self._pem(ca.sign(key, hashes.SHA256())))
        private = server_key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        self.server_file.write_bytes(private + self._pem(server.sign(key, hashes.SHA256())))

    @staticmethod
    def _builder(subject: str, issuer: str, key: ec.EllipticCurvePrivateKey) -> x509.CertificateBuilder:
        now = datetime.now(UTC)
        return (
            x509.CertificateBuilder()
            .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, subject)]))
            .issuer_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, issuer)]))
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(days=1))
            .not_valid_after(now + timedelta(days=2))
        )

    @staticmethod
    def _pem(certificate: x509.Certificate) -> bytes:
        return certificate.public_bytes(serialization.Encoding.PEM)


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("tls") / "ours")


@pytest.fixture(scope="module")
def broker(authority: Authority) -> Iterator[KafkaBroker]:
    """A broker with a door for each protocol."""
    protocols = {"TLS": "SSL", "LOGIN": "SASL_PLAINTEXT", "BOTH": "SASL_SSL"}
    settings = {}
    for door in ("tls", "both"):
        settings[f"listener.name.{door}.ssl.keystore.type"] = "PEM"
        settings[f"listener.name.{door}.ssl.keystore.location"] = str(authority.server_file)
    for door in ("login", "both"):
        settings[f"listener.name.{door}.sasl.enabled.mechanisms"] = "PLAIN,SCRAM-SHA-512"
        settings[f"listener.name.{door}.plain.sasl.jaas.config"] = PLAIN_LOGIN
        settings[f"listener.name.{door}.scram-sha-512.sasl.jaas.config"] = SCRAM_LOGIN
    scram = f"SCRAM-SHA-512=[name={USER},password={PASSWORD}]"
    try:
        broker = KafkaBroker(settings=settings, listeners=protocols, format_arguments=("--add-scram", scram))
        broker.start()
    except KafkaNotAvailable as error:
        pytest.skip(f"no Kafka of our own: {error}")
    try:
        yield broker
    finally:
        broker.close()


def log_through(
    broker: KafkaBroker,
    door: str,
    protocol: str,
    mechanism: str = "",
    password: str = PASSWORD,
    ca_file: Path | None = None,
    start_timeout_s: float = 60.0,
) -> KafkaEventLog:
    user, password = (USER, password) if mechanism else ("", "")
    bootstrap = (f"127.0.0.1:{broker.ports[door]}",)
    connection = KafkaConnection(bootstrap, protocol, mechanism, user, password, ca_file)
    specs = topic_specs(2, usage_retention_ms=DAY_MS, requests_retention_ms=DAY_MS)
    return KafkaEventLog(connection, specs, start_timeout_s=start_timeout_s)


@pytest.mark.parametrize(
    ("door", "protocol", "mechanism"),
    [
        ("TLS", "SSL", ""),
        ("LOGIN", "SASL_PLAINTEXT", "PLAIN"),
        ("BOTH", "SASL_SSL", "PLAIN"),
        ("BOTH", "SASL_SSL", "SCRAM-SHA-512"),
    ],
)
async def test_the_log_works_through_each_door(
    broker: KafkaBroker, authority: Authority, door: str, protocol: str, mechanism: str
) -> None:
    trust = authority.ca_file if "SSL" in protocol else None
    log = log_through(broker, door, protocol, mechanism, ca_file=trust)
    await log.start()
    try:
        (offset,) = await log.append(numbered([7]))
        assert numbers(await collect(log.read(USAGE, 0, offset, offset + 1))) == [7]
        async with log.consumer(f"g-{door}-{mechanism}", [USAGE], Recorder()) as consumer:
            assert await poll_until(consumer, offset + 1)
    finally:
        await log.close()


@pytest.mark.parametrize(
    ("door", "protocol", "mechanism", "password", "is_trusted", "sentence"),
    [
        ("BOTH", "SASL_SSL", "PLAIN", "a-wrong-one", True, "refused access.*FINOPS_KAFKA_SASL_PASSWORD"),
        (
            "BOTH",
            "SASL_SSL",
            "SCRAM-SHA-512",
            "a-wrong-one",
            True,
            "refused access.*FINOPS_KAFKA_SASL_PASSWORD",
        ),
        ("BOTH", "SASL_SSL", "SCRAM-SHA-256", PASSWORD, True, "FINOPS_KAFKA_SASL_MECHANISM.*does not know"),
        ("TLS", "SSL", "", "", False, "TLS failed.*certificate.*FINOPS_KAFKA_CA_FILE"),
    ],
)
async def test_what_is_wrong_is_said_at_once(
    broker: KafkaBroker,
    authority: Authority,
    door: str,
    protocol: str,
    mechanism: str,
    password: str,
    is_trusted: bool,
    sentence: str,
) -> None:
    trust = authority.ca_file if is_trusted else None

    with pytest.raises(ConfigurationError, match=sentence) as raised:
        async with asyncio.timeout(30):
            await log_through(broker, door, protocol, mechanism, password, trust).start()

    assert "wrong-one" not in str(raised.value)


@pytest.mark.parametrize(("door", "protocol"), [("TLS", "PLAINTEXT"), ("PLAINTEXT", "SSL")])
async def test_a_door_of_another_protocol_is_no_answer_and_the_setting_is_named(
    broker: KafkaBroker, door: str, protocol: str
) -> None:
    log = log_through(broker, door, protocol, start_timeout_s=1.0)

    with pytest.raises(LogUnavailable, match="does not answer.*FINOPS_KAFKA_SECURITY_PROTOCOL"):
        await log.start()
