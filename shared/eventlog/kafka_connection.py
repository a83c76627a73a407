"""How the clients reach Kafka: addresses, TLS, SASL, times."""

import asyncio
import logging
import ssl
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from aiokafka import AIOKafkaConsumer
from aiokafka.conn import create_conn

from shared.errors import ConfigurationError, FinOpsError, LogUnavailable
from shared.eventlog.kafka_errors import translating

SCHEME = "kafka://"
RETRY_S = 0.3
REASON_TIMEOUT_S = 3.0
STOP_TIMEOUT_S = 10.0
PROTOCOLS = ("PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL")
MECHANISMS = ("PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512")

Client = TypeVar("Client")

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class KafkaConnection:
    """Where the brokers are and how to prove who we are. Raises ConfigurationError when it makes no sense."""

    bootstrap: tuple[str, ...]
    security_protocol: str = "PLAINTEXT"
    sasl_mechanism: str = ""
    sasl_username: str = ""
    sasl_password: str = field(default="", repr=False)
    ca_file: Path | None = None
    request_timeout_s: float = 15.0
    ssl_context: ssl.SSLContext | None = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if self.security_protocol not in PROTOCOLS:
            raise ConfigurationError(f"FINOPS_KAFKA_SECURITY_PROTOCOL must be one of {', '.join(PROTOCOLS)}.")
        uses_sasl, uses_tls = "SASL" in self.security_protocol, "SSL" in self.security_protocol
        if uses_sasl and self.sasl_mechanism not in MECHANISMS:
            raise ConfigurationError(f"FINOPS_KAFKA_SASL_MECHANISM must be one of {', '.join(MECHANISMS)}.")
        for name, given in self._given():
            if not given and uses_sasl and "SASL" in name:
                raise ConfigurationError(f"{name} is not set, but {self.security_protocol} needs it.")
            if given and not (uses_sasl if "SASL" in name else uses_tls):
                raise ConfigurationError(
                    f"{name} is set, but FINOPS_KAFKA_SECURITY_PROTOCOL is {self.security_protocol}, which does not "
                    "use it."
                )
        object.__setattr__(self, "ssl_context", self._trust() if uses_tls else None)

    def _given(self) -> tuple[tuple[str, bool], ...]:
        return (
            ("FINOPS_KAFKA_SASL_MECHANISM", bool(self.sasl_mechanism)),
            ("FINOPS_KAFKA_SASL_USERNAME", bool(self.sasl_username)),
            ("FINOPS_KAFKA_SASL_PASSWORD", bool(self.sasl_password)),
            ("FINOPS_KAFKA_CA_FILE", self.ca_file is not None),
        )

    def _trust(self) -> ssl.SSLContext:
        try:
            return ssl.create_default_context(cafile=self.ca_file)
        except OSError as error:  # ssl.SSLError is one, too
            raise ConfigurationError(
                f"FINOPS_KAFKA_CA_FILE {self.ca_file} cannot be read: {error}."
            ) from error

    def client_arguments(self) -> dict[str, Any]:
        """Arguments that producer, consumer and admin client have in common."""
        return {
            "bootstrap_servers": list(self.bootstrap),
            "metadata_max_age_ms": 60_000,
            **self.connection_arguments(),
        }

    def connection_arguments(self) -> dict[str, Any]:
        """Arguments of a single connection."""
        arguments: dict[str, Any] = {
            "security_protocol": self.security_protocol,
            "request_timeout_ms": round(self.request_timeout_s * 1000),
        }
        if self.ssl_context is not None:
            arguments["ssl_context"] = self.ssl_context
        if self.sasl_mechanism:
            arguments["sasl_mechanism"] = self.sasl_mechanism
            arguments["sasl_plain_username"] = self.sasl_username
            arguments["sasl_plain_password"] = self.sasl_password
        return arguments

    def __str__(self) -> str:
        return ",".join(self.bootstrap)


def bootstrap_servers(url: str) -> tuple[str, ...]:
    """The addresses in `kafka://host:port[,host:port]`. Raises ConfigurationError, which repeats none of the URL: people
    write passwords into it."""
    servers = tuple(part.strip() for part in url.removeprefix(SCHEME).rstrip("/").split(","))
    if "@" in url:
        raise ConfigurationError(
            "FINOPS_EVENT_LOG_URL takes no login, only kafka://host:port[,host:port]; set FINOPS_KAFKA_SASL_USERNAME "
            "and FINOPS_KAFKA_SASL_PASSWORD instead."
        )
    for position, server in enumerate(servers, 1):
        host, _, port = server.rpartition(":")
        if not host or not port.isdigit() or not 0 < int(port) < 65536 or "/" in host:
            raise ConfigurationError(
                f"FINOPS_EVENT_LOG_URL: broker {position} is not host:port; the form is kafka://host:port[,host:port]."
            )
    return servers


async def started(
    make: Callable[[], Client],
    start: Callable[[Client], Awaitable[None]],
    stop: Callable[[Client], Awaitable[None]],
    connection: KafkaConnection,
    timeout_s: float,
    refusal: type[FinOpsError] = LogUnavailable,
) -> Client:
    """A client that is connected, tried again until `timeout_s`: brokers may start at the same time as we do.

    Raises LogUnavailable when the time is over, and at once `refusal` (see kafka_errors) when access is refused.
    """
    loop = asyncio.get_running_loop()
    deadline = loop.time() + timeout_s
    while True:
        client = make()
        try:
            with translating(f"connecting to {connection}", refusal):
                async with asyncio.timeout_at(deadline):
                    await start(client)
            return client
        except LogUnavailable as error:
            await stop(client)
            reason = await _reason(connection, refusal)
            if loop.time() + RETRY_S >= deadline:
                raise LogUnavailable(
                    f"Kafka at {connection} does not answer: waited {timeout_s:g} s. Check FINOPS_EVENT_LOG_URL, "
                    "FINOPS_KAFKA_SECURITY_PROTOCOL and that the brokers run and advertise an address that is "
                    f"reachable from here ({reason or error})"
                ) from error
            await asyncio.sleep(RETRY_S)
        except BaseException:
            await stop(client)
            raise


async def _reason(connection: KafkaConnection, refusal: type[FinOpsError]) -> str:
    """Why no broker takes us, empty if one does: aiokafka's clients only log it. Raises `refusal`."""
    reason = ""
    for server in connection.bootstrap:
        host, _, port = server.rpartition(":")
        try:
            with translating(f"connecting to {server}", refusal):
                async with asyncio.timeout(REASON_TIMEOUT_S):
                    single = await create_conn(
                        host.strip("[]"), int(port), **connection.connection_arguments()
                    )
        except LogUnavailable as error:
            reason = reason or str(error)
        else:
            single.close()
            return ""
    return reason


async def stopped(consumer: AIOKafkaConsumer) -> None:
    """Stop a consumer, whatever state it is in.

    aiokafka's own `stop` cancels its tasks and, while brokers are away, lets their CancelledError out: our caller
    would take it for a cancellation of its own and end without a word. The connections would stay open, too.
    """
    stopping = asyncio.create_task(consumer.stop())
    await asyncio.wait((stopping,), timeout=STOP_TIMEOUT_S)
    if not stopping.done():
        stopping.cancel()
        await asyncio.wait((stopping,))
    error = None if stopping.cancelled() else stopping.exception()
    if stopping.cancelled() or error is not None:
        logger.warning("A Kafka consumer did not stop cleanly: %s", error or "its tasks were cut short")
        await consumer._client.close()
