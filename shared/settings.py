"""Every setting, read once, from the environment (`FINOPS_` + name) at the start of a process.

The only module that reads the environment. A wrong value or an unknown `FINOPS_` variable raises
ConfigurationError with one sentence that names it.
"""

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Self

from pydantic import Field, SecretStr, ValidationError, ValidationInfo, field_validator
from pydantic_settings import BaseSettings, NoDecode, PydanticBaseSettingsSource, SettingsConfigDict

from shared.errors import ConfigurationError

PREFIX = "FINOPS_"
DEFAULT_ALLOWED_HEADERS = (
    "Content-Type",
    "Authorization",
    "X-Requested-With",
    "X-Stainless-Timeout",
    "X-Api-Key",
)
DEFAULT_USER_HEADERS = ("X-OpenWebUI-User-Email", "X-OpenWebUI-User-Id", "X-OpenWebUI-User-Name")
TAKEN_HEADERS = frozenset(
    {
        "authorization", "x-api-key", "api-key", "cookie", "proxy-authorization",
        "anthropic-beta", "anthropic-version", "content-type", "content-length", "user-agent", "origin", "host",
    }
)  # fmt: skip
"""They mean something else: a key would land in the logs, or a user at a provider."""
MIB = 1_048_576
YEAR_S = 366 * 86_400
SHORTEST_ADMIN_TOKEN = 8
ANY = "*"
_ORIGIN = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://[^/\s]+/?")
_HEADER = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")
CommaList = Annotated[tuple[str, ...], NoDecode]
Seconds = Annotated[float, Field(gt=0, le=YEAR_S)]
Days = Annotated[int, Field(ge=1, le=36_500)]


class Settings(BaseSettings):
    """Frozen. Durations are seconds, sizes bytes, unless the name says otherwise."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, frozen=True, extra="forbid", case_sensitive=False)

    # where it listens and keeps things
    host: str = "127.0.0.1"
    port: int = Field(8080, ge=0, le=65535)
    uds: str = ""
    """Serve on this Unix socket instead of host and port."""
    data_dir: Path = Path(".finops")
    config: Path | None = None
    """Path of finops.yaml; unset: ./finops.yaml when it is there."""

    # what it is joined to; empty means the embedded default below data_dir
    event_log_url: str = ""
    """sqlite:///path or kafka://host:port[,host:port]"""
    clickhouse_url: str = ""
    """chdb:///path, clickhouse://user:pass@host:8123/db or clickhouses://... for TLS"""
    topic_prefix: str = Field("", pattern=r"^[a-zA-Z0-9._-]*$", max_length=100)
    """Goes before every topic and consumer group name, so that several installations can share one Kafka."""
    partitions: int = Field(12, ge=1, le=256)
    replication_factor: int = Field(1, ge=1, le=9)
    kafka_security_protocol: str = "PLAINTEXT"
    kafka_sasl_mechanism: str = ""
    kafka_sasl_username: str = ""
    kafka_sasl_password: SecretStr = SecretStr("")
    kafka_ca_file: Path | None = None

    # who may do what
    admin_token: SecretStr = SecretStr("")
    """At least 8 printable ASCII characters without spaces: it travels in a header."""
    secret_key: SecretStr = SecretStr("")
    """32 bytes in base64 that seal what must be kept secret and sign sessions."""
    require_virtual_key: bool = False
    cors_allowed_origins: Annotated[tuple[str, ...] | None, NoDecode] = None
    """Origins of pages that may call `/v1`. Unset: any page with a virtual key, and pages of this machine without."""
    cors_allowed_headers: CommaList = DEFAULT_ALLOWED_HEADERS

    # which headers say for whom a request is made
    user_headers: CommaList = DEFAULT_USER_HEADERS
    """The first of them that says something names the end user."""
    chat_id_header: str = "X-OpenWebUI-Chat-Id"
    task_header: str = "X-FinOps-Task"
    user_jwt_header: str = "X-OpenWebUI-User-Jwt"

    # limits and times of the data plane
    body_limit: int = Field(64 * MIB, ge=1024)
    connect_timeout: Seconds = 10.0
    first_byte_timeout: Seconds = 300.0
    between_chunks_timeout: Seconds = 120.0
    request_timeout: Seconds = 900.0
    """Total time of one request; one not ended after this plus `abandon_grace` is settled as abandoned."""
    abandon_grace: float = Field(60.0, ge=0, le=YEAR_S)
    heartbeat_interval: Seconds = 10.0
    """A comment line goes to a waiting stream this often."""
    gateway_id: str = Field("", pattern=r"^[!-~]*$", max_length=100)
    """Name of this replica; unset: host name and process id."""
    spool_limit: int = Field(1024 * MIB, ge=MIB)
    spool_fsync_interval: Seconds = 0.2
    spend_stale_after: Seconds = 60.0
    """Counters older than this are unverifiable: the key's `on_unavailable` decides."""
    model_refresh_interval: Seconds = 300.0

    # logs
    log_bodies: bool = True
    """False keeps metadata only."""
    log_body_limit: int = Field(256 * 1024, ge=0, le=MIB)
    """Bytes of a request or response body kept in the log. More than the limit would not fit into one record."""
    usage_retention_days: Days = 90
    requests_retention_days: Days = 7
    logs_retention_days: Days = 400
    bodies_retention_days: Days = 30
    log_level: str = "info"

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Only what `load` hands over: one place reads the environment, so an unknown name cannot slip by."""
        return (init_settings,)

    @field_validator("cors_allowed_origins", "cors_allowed_headers", "user_headers", mode="before")
    @classmethod
    def _split_commas(cls, value: object) -> object:
        if isinstance(value, str):
            return tuple(part.strip() for part in value.split(",") if part.strip())
        return value

    @field_validator("cors_allowed_origins")
    @classmethod
    def _origins(cls, values: tuple[str, ...] | None) -> tuple[str, ...] | None:
        for value in values or ():
            if value not in (ANY, "null") and not _ORIGIN.fullmatch(value):
                raise ValueError(f"{value!r} is no origin, such as https://chat.example.com, and not *")
        return values

    @field_validator("cors_allowed_headers")
    @classmethod
    def _header_names(cls, values: tuple[str, ...]) -> tuple[str, ...]:
        for value in values:
            if not _HEADER.fullmatch(value):
                raise ValueError(f"{value!r} is no name of a header")
        return values

    @field_validator("user_headers", "chat_id_header", "task_header", "user_jwt_header")
    @classmethod
    def _attribution_headers(
        cls, value: tuple[str, ...] | str, info: ValidationInfo
    ) -> tuple[str, ...] | str:
        used = {
            name.lower(): other
            for other in ("user_headers", "chat_id_header", "task_header")
            for name in _names(info.data.get(other, ()))
        }
        for name in _names(value):
            if not _HEADER.fullmatch(name):
                raise ValueError(f"{name!r} is no name of a header")
            if name.lower() in TAKEN_HEADERS:
                raise ValueError(f"{name} has another meaning")
            if name.lower() in used:
                raise ValueError(f"{name} is that of {PREFIX}{used[name.lower()].upper()}")
        return value

    @field_validator("config", "kafka_ca_file", mode="before")
    @classmethod
    def _empty_is_unset(cls, value: object) -> object:
        return None if value == "" else value

    @field_validator("host")
    @classmethod
    def _is_one_host(cls, value: str) -> str:
        if not value or any(char.isspace() for char in value):
            raise ValueError("must be an address or a host name, such as 127.0.0.1")
        return value

    @field_validator("admin_token")
    @classmethod
    def _can_be_sent(cls, value: SecretStr) -> SecretStr:
        text = value.get_secret_value()
        if text and not (len(text) >= SHORTEST_ADMIN_TOKEN and all("!" <= char <= "~" for char in text)):
            raise ValueError(
                f"must be at least {SHORTEST_ADMIN_TOKEN} printable ASCII characters without spaces"
            )
        return value

    @field_validator("data_dir", mode="before")
    @classmethod
    def _is_given(cls, value: object) -> object:
        if value == "":
            raise ValueError("must not be empty")
        return value

    @field_validator("log_level")
    @classmethod
    def _known_level(cls, value: str) -> str:
        if value.lower() not in {"debug", "info", "warning", "error"}:
            raise ValueError("must be debug, info, warning or error")
        return value.lower()

    @classmethod
    def load(cls, environ: Mapping[str, str] | None = None) -> Self:
        """Read and check all settings. `environ` replaces the process environment (tests)."""
        source = os.environ if environ is None else environ
        given = {
            name[len(PREFIX) :].lower(): value
            for name, value in source.items()
            if name.upper().startswith(PREFIX) and not name.upper().startswith(PREFIX + "TEST_")
        }
        for name in given:
            if name not in cls.model_fields:
                raise ConfigurationError(f"{PREFIX}{name.upper()} is not a known setting.")
        try:
            return cls(**given)  # type: ignore[arg-type]  # strings: pydantic parses them
        except ValidationError as error:
            first = error.errors()[0]
            name = PREFIX + str(first["loc"][0]).upper()
            message = first["msg"].removeprefix("Value error, ")
            raise ConfigurationError(f"{name} is wrong: {message}.") from error

    @property
    def resolved_event_log_url(self) -> str:
        return self.event_log_url or f"sqlite:///{self.data_dir}/events.db"

    @property
    def resolved_clickhouse_url(self) -> str:
        return self.clickhouse_url or f"chdb:///{self.data_dir}/clickhouse"


def _names(value: tuple[str, ...] | str) -> tuple[str, ...]:
    return (value,) if isinstance(value, str) else value


def process_environment() -> Mapping[str, str]:
    """The environment, for code that resolves references such as `env.OPENAI_API_KEY`."""
    return os.environ
