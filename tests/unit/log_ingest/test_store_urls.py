"""Which store a URL names, and how a wrong one is refused."""

from pathlib import Path

import pytest

from services.log_ingest.store.address import Address, parse_store_url
from services.log_ingest.store.chdb_store import ChdbStore
from services.log_ingest.store.http_store import HttpStore
from services.log_ingest.store.open import open_store
from shared.errors import ConfigurationError


def parse_address(url: str) -> Address:
    place = parse_store_url(url)
    assert isinstance(place, Address)
    return place


def test_a_server_with_everything() -> None:
    address = parse_address("clickhouses://us%40er:p%2Fw@host.example:9443/logs?verify=false&ca_cert=/ca.pem")

    assert (address.username, address.password, address.host, address.port) == (
        "us@er",
        "p/w",
        "host.example",
        9443,
    )
    assert (address.database, address.secure) == ("logs", True)
    assert address.options == {"verify": "false", "ca_cert": "/ca.pem"}


def test_defaults_of_a_server() -> None:
    plain, secure = parse_address("clickhouse://host"), parse_address("clickhouses://host")

    assert (plain.port, secure.port, plain.database, plain.username) == (8123, 8443, "finops", "default")


def test_a_password_is_never_shown() -> None:
    assert "hunter2" not in repr(parse_address("clickhouse://me:hunter2@host"))


@pytest.mark.parametrize(
    "url",
    [
        "",
        "chdb:///",
        "postgres://me:hunter2@host/db",
        "clickhouse:///db",
        "clickhouse://h:port",
        "clickhouse://h?x=1",
    ],
)
def test_a_wrong_url_is_refused_in_one_sentence(url: str) -> None:
    with pytest.raises(ConfigurationError, match="FINOPS_CLICKHOUSE_URL") as caught:
        open_store(url)

    assert "hunter2" not in str(caught.value)


def test_the_backend_follows_the_scheme() -> None:
    assert isinstance(open_store("chdb:////var/lib/finops/logs"), ChdbStore)
    assert isinstance(open_store("clickhouse://host/db"), HttpStore)


def test_an_embedded_path_is_relative_with_three_slashes_and_absolute_with_four(tmp_path: Path) -> None:
    relative, absolute = open_store("chdb:///data/logs"), open_store(f"chdb:///{tmp_path}/logs")

    assert isinstance(relative, ChdbStore) and isinstance(absolute, ChdbStore)
    assert (relative.path, absolute.path) == (Path("data/logs"), tmp_path / "logs")
