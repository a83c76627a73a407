"""Pick the LogStore backend that a URL names."""

from pathlib import Path

from services.log_ingest.store.address import parse_store_url
from services.log_ingest.store.chdb_store import ChdbStore
from services.log_ingest.store.http_store import HttpStore
from services.log_ingest.store.port import LogStore


def open_store(url: str) -> LogStore:
    """The store behind `url`, not started. Raises ConfigurationError (see `parse_store_url`)."""
    place = parse_store_url(url)
    return ChdbStore(place) if isinstance(place, Path) else HttpStore(place)
