"""The all-in-one composition: who gets which path, what the child sees, what the terminal shows."""

import os
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr
from starlette.types import Receive, Scope, Send

from services.standalone_banner import Start, banner, without_password
from services.standalone_home import LONGEST_SOCKET_PATH, data_directory, socket_path
from services.standalone_proxy import PathRouter
from services.standalone_settings import as_environment, child_environment, complete
from shared.errors import ConfigurationError
from shared.settings import Settings


class App:
    """An ASGI app that only has to be told from others."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        raise AssertionError("not called in these tests")


GATEWAY, LOGS, BUDGET, METRICS = App(), App(), App(), App()
ROUTER = PathRouter(gateway=GATEWAY, logs=LOGS, budget=BUDGET, metrics=METRICS)


@pytest.mark.parametrize(
    ("path", "app"),
    [
        ("/v1/chat/completions", GATEWAY),
        ("/v1", GATEWAY),
        ("/v1//models", GATEWAY),
        ("//v1/models/", GATEWAY),
        ("/healthz", GATEWAY),
        ("/readyz", GATEWAY),
        ("/metrics", METRICS),
        ("/metrics/", METRICS),
        ("/metrics/of/what", BUDGET),
        ("/logs", LOGS),
        ("/logs/req_1", LOGS),
        ("/api/logs", LOGS),
        ("/api/logs/req_1", LOGS),
        ("/api/analytics/spend", LOGS),
        ("/api/sql", LOGS),
        ("/", BUDGET),
        ("/login", BUDGET),
        ("/static/app.css", BUDGET),
        ("/api/virtual-keys", BUDGET),
        ("/api/logsomething", BUDGET),
        ("/logstash", BUDGET),
        ("/v10/models", BUDGET),
        ("", BUDGET),
    ],
)
def test_each_path_has_one_owner(path: str, app: App) -> None:
    assert ROUTER.pick(path) is app


def settings(**changes: Any) -> Settings:
    return Settings(**changes)


def test_settings_written_as_environment_are_read_back_equal(tmp_path: Path) -> None:
    original = settings(
        port=0,
        data_dir=tmp_path,
        admin_token=SecretStr("admin-token"),
        cors_allowed_origins=("https://a.example", "https://b.example"),
        require_virtual_key=True,
        abandon_grace=0.5,
        config=None,
        kafka_ca_file=tmp_path / "ca.pem",
    )

    assert Settings.load(as_environment(original)) == original


def test_the_child_gets_the_settings_and_no_provider_keys() -> None:
    environ = {
        "PATH": "/bin",
        "LC_ALL": "C.UTF-8",
        "PYTHONPATH": "/x",
        "OPENAI_API_KEY": "sk-secret",
        "AWS_SECRET_ACCESS_KEY": "s",
        "FINOPS_PORT": "1",
        "FINOPS_URL": "http://x",
    }

    child = child_environment(settings(uds="/run/x.sock", log_level="debug"), environ)

    assert child == {
        "PATH": "/bin",
        "LC_ALL": "C.UTF-8",
        "PYTHONPATH": "/x",
        "FINOPS_UDS": "/run/x.sock",
        "FINOPS_LOG_LEVEL": "debug",
    }


def test_the_first_start_makes_secrets_and_shows_the_token_once(tmp_path: Path) -> None:
    first = complete(settings(), tmp_path)
    second = complete(settings(), tmp_path)

    assert first.new_admin_token == first.settings.admin_token.get_secret_value() != ""
    assert second.new_admin_token == ""
    assert second.settings == first.settings
    assert first.admin_token_file is not None
    assert first.admin_token_file.stat().st_mode & 0o777 == 0o600


def test_given_secrets_are_used_and_nothing_is_made(tmp_path: Path) -> None:
    given = complete(settings(admin_token=SecretStr("mine-alone"), secret_key=SecretStr("a2V5")), tmp_path)

    assert given.settings.admin_token.get_secret_value() == "mine-alone"
    assert given.settings.secret_key.get_secret_value() == "a2V5"
    assert given.admin_token_file is None
    assert list(tmp_path.iterdir()) == []


def test_a_data_directory_is_private_and_belongs_to_one_process(tmp_path: Path) -> None:
    path = tmp_path / "new" / "data"
    with data_directory(path) as home:
        assert home == path.resolve()
        assert home.stat().st_mode & 0o777 == 0o700
        with (
            pytest.raises(
                ConfigurationError, match=f"in use by another running FinOps .process {os.getpid()}"
            ),
            data_directory(path),
        ):
            pass
    with data_directory(path) as again:
        assert again == home


def test_a_data_directory_that_is_a_file_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "data").write_text("")

    with (
        pytest.raises(ConfigurationError, match="FINOPS_DATA_DIR is wrong"),
        data_directory(tmp_path / "data"),
    ):
        pass


def test_a_socket_path_is_short_enough_for_the_kernel(tmp_path: Path) -> None:
    deep = tmp_path / ("d" * 120)
    deep.mkdir()
    with socket_path(tmp_path) as near, socket_path(deep) as far:
        assert near.parent == tmp_path or len(str(tmp_path)) > LONGEST_SOCKET_PATH - 20
        assert len(str(far).encode()) <= LONGEST_SOCKET_PATH
        assert far.parent.stat().st_mode & 0o077 == 0
    assert not far.parent.exists()


def start(**changes: Any) -> Start:
    values: dict[str, Any] = {
        "url": "http://127.0.0.1:8080",
        "host": "127.0.0.1",
        "program": ".venv/bin/finops",
        "needs_key": False,
        "data_dir": Path("/data"),
        "event_log_url": "sqlite:////data/events.db",
        "clickhouse_url": "clickhouse://user:secret@db:8123/finops",
        "admin_token_file": Path("/data/admin.token"),
    }
    return Start(**(values | changes))


def test_the_banner_shows_where_everything_is_and_no_passwords() -> None:
    text = banner(start())

    for part in (
        "http://localhost:8080/logs",
        "/data/admin.token",
        "OPENAI_API_BASE_URLS=http://localhost:8080/v1",
    ):
        assert part in text
    assert "secret" not in text
    assert "http://localhost:8080/v1/" not in text


def test_the_admin_token_is_shown_only_when_it_was_just_made() -> None:
    assert "fo-admin-new" in banner(start(admin_token="fo-admin-new"))
    assert "FINOPS_ADMIN_TOKEN" in banner(start(admin_token_file=None))


def test_the_banner_says_when_docker_cannot_reach_it() -> None:
    assert "FINOPS_HOST=0.0.0.0" in banner(start())
    assert "FINOPS_HOST=0.0.0.0" not in banner(start(host="0.0.0.0"))


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("kafka://a:9092,b:9092", "kafka://a:9092,b:9092"),
        ("clickhouse://u:p@ss@h:8123/d", "clickhouse://u:***@h:8123/d"),
        ("clickhouse://u@h/d", "clickhouse://u@h/d"),
    ],
)
def test_passwords_in_urls_are_cut(url: str, shown: str) -> None:
    assert without_password(url) == shown
