"""A real Apache Kafka for tests and benches.

In this order: the broker named by FINOPS_TEST_KAFKA (host:port), one in Docker, or one started here from the jars
that Maven fetches. `KafkaBroker` is the last of these; it can be killed and started again on the same port and data.
"""

import os
import shutil
import signal
import socket
import struct
import subprocess
import tempfile
import time
import uuid
from base64 import urlsafe_b64encode
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Self

import pytest
from testcontainers.community.kafka import KafkaContainer

from shared.settings import process_environment

REPOSITORY = Path(__file__).resolve().parents[2]
RECIPE = Path(__file__).resolve().parent / "kafka_broker"
JARS = REPOSITORY / ".tools" / "kafka"
START_TIMEOUT_S = 60.0
FETCH_TIMEOUT_S = 300.0
HEAP = ("-Xmx512m", "-Xms128m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1")


class KafkaNotAvailable(RuntimeError):
    """No way to run a broker here; the message says what is missing."""


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def fetch_jars() -> Path:
    """The folder with the broker's jars, filled by Maven the first time."""
    if (JARS / "complete").exists():
        return JARS
    for tool in ("java", "mvn"):
        if shutil.which(tool) is None:
            raise KafkaNotAvailable(
                f"{tool} is not installed; install a Java 17 runtime and Maven, or name a broker in FINOPS_TEST_KAFKA"
            )
    JARS.mkdir(parents=True, exist_ok=True)
    command = ["mvn", "-q", "-B", "-f", str(RECIPE / "pom.xml"), "dependency:copy-dependencies"]
    done = subprocess.run(
        [*command, f"-DoutputDirectory={JARS}"],
        capture_output=True,
        text=True,
        timeout=FETCH_TIMEOUT_S,
        check=False,
    )
    if done.returncode != 0:
        raise KafkaNotAvailable(f"Maven could not fetch the broker: {(done.stdout + done.stderr)[-500:]}")
    (JARS / "complete").touch()
    return JARS


class KafkaBroker:
    """One broker with its controller in one process (KRaft). Use as a context manager or call start and close.

    `directory` holds its data and `broker.log`; without one a temporary folder is made and removed by `close`.
    `listeners` are more doors beside the open one: name -> protocol; `ports` says where they are. Their settings,
    and whatever else the broker is to be told, are `settings`.
    """

    def __init__(
        self,
        directory: Path | None = None,
        *,
        settings: Mapping[str, str] | None = None,
        listeners: Mapping[str, str] | None = None,
        format_arguments: Sequence[str] = (),
    ) -> None:
        self._temporary = directory is None
        self.directory = Path(tempfile.mkdtemp(prefix="finops-kafka-")) if directory is None else directory
        self.port = free_port()
        self._controller_port = free_port()
        self._extra = settings or {}
        self._protocols = {"PLAINTEXT": "PLAINTEXT", **(listeners or {})}
        self.ports = {name: self.port if name == "PLAINTEXT" else free_port() for name in self._protocols}
        self._format_arguments = format_arguments
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def bootstrap(self) -> str:
        return f"127.0.0.1:{self.port}"

    @property
    def url(self) -> str:
        return f"kafka://{self.bootstrap}"

    @property
    def pid(self) -> int:
        if self._process is None:
            raise RuntimeError("the broker is not running")
        return self._process.pid

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def start(self) -> None:
        """Start, or start again on the same port and data. Returns when requests are answered."""
        jars = fetch_jars()
        settings = self._write_settings()
        if not (self.directory / "data" / "meta.properties").exists():
            # a first byte of 0 keeps it from beginning with "-", which the tool would take for an option
            cluster_id = urlsafe_b64encode(b"\0" + uuid.uuid4().bytes[1:]).decode().rstrip("=")
            self._java(
                jars,
                "kafka.tools.StorageTool",
                "format",
                "-t",
                cluster_id,
                "-c",
                str(settings),
                *self._format_arguments,
            )
        with (self.directory / "broker.log").open("ab") as output:
            self._process = subprocess.Popen(
                self._command(jars, "kafka.Kafka", str(settings)),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self._wait_until_answering()

    def stop(self) -> None:
        """SIGTERM and wait: the broker leaves in good order."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """SIGKILL: what `kill -9` does."""
        self._end(signal.SIGKILL)

    def close(self) -> None:
        self._end(signal.SIGKILL)
        if self._temporary:
            shutil.rmtree(self.directory, ignore_errors=True)

    def _end(self, how: signal.Signals) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        process.send_signal(how)
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(10)

    def _write_settings(self) -> Path:
        doors = ",".join(f"{name}://127.0.0.1:{port}" for name, port in self.ports.items())
        protocols = {**self._protocols, "CONTROLLER": "PLAINTEXT"}
        settings = {
            "process.roles": "broker,controller",
            "node.id": "1",
            "controller.quorum.voters": f"1@127.0.0.1:{self._controller_port}",
            "listeners": f"{doors},CONTROLLER://127.0.0.1:{self._controller_port}",
            "advertised.listeners": doors,
            "controller.listener.names": "CONTROLLER",
            "listener.security.protocol.map": ",".join(":".join(pair) for pair in protocols.items()),
            "log.dirs": str(self.directory / "data"),
            "offsets.topic.replication.factor": "1",
            "offsets.topic.num.partitions": "4",
            "transaction.state.log.replication.factor": "1",
            "transaction.state.log.min.isr": "1",
            "transaction.state.log.num.partitions": "4",
            "share.coordinator.state.topic.replication.factor": "1",
            "share.coordinator.state.topic.min.isr": "1",
            "group.initial.rebalance.delay.ms": "0",
            "auto.create.topics.enable": "false",
            "log.cleaner.backoff.ms": "200",
            "log.cleaner.dedupe.buffer.size": "8388608",
            # A killed broker may come back at once, not after its old session has run out.
            "broker.session.timeout.ms": "1500",
            "broker.heartbeat.interval.ms": "300",
            "num.network.threads": "2",
            "num.io.threads": "4",
            **self._extra,
        }
        path = self.directory / "server.properties"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("".join(f"{name}={value}\n" for name, value in settings.items()))
        return path

    def _command(self, jars: Path, main: str, *arguments: str) -> list[str]:
        logging = f"-Dlog4j2.configurationFile={RECIPE / 'log4j2.yaml'}"
        return ["java", *HEAP, logging, "-cp", f"{jars}/*", main, *arguments]

    def _java(self, jars: Path, main: str, *arguments: str) -> None:
        done = subprocess.run(
            self._command(jars, main, *arguments), capture_output=True, text=True, timeout=60, check=False
        )
        if done.returncode != 0:
            raise KafkaNotAvailable(f"{main} failed: {(done.stdout + done.stderr)[-500:]}")

    def _wait_until_answering(self) -> None:
        assert self._process is not None
        deadline = time.monotonic() + START_TIMEOUT_S
        while not _answers(self.port):
            if self._process.poll() is not None or time.monotonic() > deadline:
                tail = (self.directory / "broker.log").read_text(errors="replace")[-1500:]
                self._end(signal.SIGKILL)
                raise KafkaNotAvailable(f"the broker did not start:\n{tail}")
            time.sleep(0.05)


def _answers(port: int) -> bool:
    """Whether an ApiVersions request (key 18, version 0) gets an answer without an error code."""
    request = struct.pack(">hhih", 18, 0, 1, -1)
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=2) as connection:
            connection.sendall(struct.pack(">i", len(request)) + request)
            head = connection.recv(10)
    except OSError:
        return False
    return len(head) == 10 and struct.unpack(">iih", head)[2] == 0


@contextmanager
def docker_broker() -> Iterator[str]:
    """A broker in Docker. Raises KafkaNotAvailable when no engine answers."""
    socket_path = Path("/var/run/docker.sock")
    if "DOCKER_HOST" not in process_environment() and not os.access(socket_path, os.W_OK):
        raise KafkaNotAvailable("no Docker engine")
    container = KafkaContainer("confluentinc/cp-kafka:7.6.0").with_kraft()
    try:
        container.start()
    except Exception as error:
        raise KafkaNotAvailable(f"Docker could not run a broker: {error}") from error
    try:
        yield container.get_bootstrap_server()
    finally:
        container.stop()


@contextmanager
def any_broker() -> Iterator[str]:
    """The address of a broker, however it can be had. Raises KafkaNotAvailable."""
    named = process_environment().get("FINOPS_TEST_KAFKA", "")
    if named:
        yield named.removeprefix("kafka://")
        return
    try:
        with docker_broker() as bootstrap:
            yield bootstrap
            return
    except KafkaNotAvailable as no_docker:
        reason = str(no_docker)
    try:
        broker = KafkaBroker()
        broker.start()
    except KafkaNotAvailable as no_jars:
        raise KafkaNotAvailable(f"{reason}; {no_jars}") from no_jars
    try:
        yield broker.bootstrap
    finally:
        broker.close()


@pytest.fixture(scope="session")
def kafka_bootstrap() -> Iterator[str]:
    """host:port of a real broker for the whole run. Tests take a topic prefix of their own."""
    try:
        with any_broker() as bootstrap:
            yield bootstrap
    except KafkaNotAvailable as error:
        pytest.skip(f"no Kafka: {error}")
