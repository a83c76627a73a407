"""Where a log store is, read from its URL. Loads no engine and no client, so that anybody may check a URL."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import parse_qsl, unquote, urlsplit

from shared.errors import ConfigurationError

_CHDB = "chdb:///"
_TLS_PARAMETERS = frozenset({"verify", "ca_cert", "client_cert", "client_cert_key", "server_host_name"})
_OTHER_PARAMETERS = frozenset({"connect_timeout", "send_receive_timeout", "compress"})


@dataclass(frozen=True, slots=True)
class Address:
    """A parsed clickhouse:// or clickhouses:// URL."""

    host: str
    port: int
    username: str
    password: str = field(repr=False)
    database: str
    secure: bool
    options: Mapping[str, str] = field(default_factory=dict)


def parse_store_url(url: str) -> Path | Address:
    """The directory of an embedded store, or the address of a server. `chdb:///relative/path` and
    `chdb:////absolute/path`, as with SQLite URLs.

    Raises ConfigurationError with one sentence when the URL cannot be meant.
    """
    if url.startswith(_CHDB) and len(url) > len(_CHDB):
        return Path(url[len(_CHDB) :])
    if urlsplit(url).scheme in {"clickhouse", "clickhouses"}:
        return _parse_address(url)
    raise ConfigurationError(
        "FINOPS_CLICKHOUSE_URL must start with chdb:///, clickhouse:// or clickhouses:// "
        f"and name a path or host, not {url.split('@')[-1]!r}."
    )


def _parse_address(url: str) -> Address:
    parts = urlsplit(url)
    secure = parts.scheme == "clickhouses"
    try:
        port = parts.port
    except ValueError as error:
        raise ConfigurationError(
            "FINOPS_CLICKHOUSE_URL has a wrong port; write clickhouse://user:password@host:8123/db, with signs such as "
            "/ @ : # ? of a password percent-encoded (/ is %2F)."
        ) from error
    if not parts.hostname:
        raise ConfigurationError(
            "FINOPS_CLICKHOUSE_URL names no host; write clickhouse://user:password@host:8123/db."
        )
    options = dict(parse_qsl(parts.query))
    for name in options:
        if name not in _TLS_PARAMETERS | _OTHER_PARAMETERS:
            known = ", ".join(sorted(_TLS_PARAMETERS | _OTHER_PARAMETERS))
            raise ConfigurationError(
                f"FINOPS_CLICKHOUSE_URL has the unknown parameter {name!r}; known are {known}."
            )
    return Address(
        host=parts.hostname,
        port=port or (8443 if secure else 8123),
        username=unquote(parts.username or "default"),
        password=unquote(parts.password or ""),
        database=unquote(parts.path.strip("/")) or "finops",
        secure=secure,
        options=options,
    )
