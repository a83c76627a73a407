"""Pick the LogStore backend that a URL names."""

from pathlib import Path
from urllib.parse import urlsplit

from services.log_ingest.store.chdb_store import ChdbStore
from services.log_ingest.store.http_store import HttpStore, parse_address
from services.log_ingest.store.port import LogStore
from shared.errors import ConfigurationError

_CHDB = "chdb:///"


def open_store(url: str) -> LogStore:
    """The store behind `url`, not started. `chdb:///relative/path` and `chdb:////absolute/path`, as with SQLite URLs."""
    if url.startswith(_CHDB) and len(url) > len(_CHDB):
        return ChdbStore(Path(url[len(_CHDB) :]))
    if urlsplit(url).scheme in {"clickhouse", "clickhouses"}:
        return HttpStore(parse_address(url))
    raise ConfigurationError(
        "FINOPS_CLICKHOUSE_URL must start with chdb:///, clickhouse:// or clickhouses:// "
        f"and name a path or host, not {url.split('@')[-1]!r}."
    )
