"""The command line itself: settings, exit codes, one sentence instead of a traceback."""

from pathlib import Path

import pytest
from typer.testing import CliRunner

from services.cli import app
from services.cli.environment import find_admin_token, load_settings
from services.cli.outcome import CommandFailed
from services.cli.table import render_table
from shared.security import load_or_create_admin_token

runner = CliRunner()


@pytest.fixture(autouse=True)
def _clean_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("FINOPS_URL", "FINOPS_ADMIN_TOKEN", "FINOPS_CONFIG"):
        monkeypatch.delenv(name, raising=False)


def test_help_names_every_command() -> None:
    result = runner.invoke(app, ["--help"])

    assert result.exit_code == 0
    for command in ("up", "gateway", "log-ingest", "budget", "keys", "logs", "config", "doctor"):
        assert command in result.stdout


def test_the_version_is_shown() -> None:
    result = runner.invoke(app, ["--version"])

    assert result.exit_code == 0
    assert result.stdout.strip().count(".") >= 2


def test_config_check_passes_on_a_right_file(tmp_path: Path) -> None:
    (tmp_path / "finops.yaml").write_text(
        'providers: {mock: {type: openai, base_url: "http://127.0.0.1:9/v1", models: [m]}}\n'
        'prices: {mock/m: {input_per_million: "0.15"}}\n'
    )

    result = runner.invoke(app, ["config", "check"])

    assert result.exit_code == 0, result.stderr
    assert "1 prices" in result.stdout


@pytest.mark.parametrize(
    ("text", "field"),
    [
        ("providers: {mock: {type: openai, base_url: 'http://x/v1', modles: []}}", "providers.mock.modles"),
        ("providers: {mock: {type: nonsense}}", "nonsense"),
        ("prices: {mock/m: {input_per_million: 0.15}}", "prices.mock/m.input_per_million"),
        ("nonsense: 1", "nonsense"),
        ("providers: [", "finops.yaml is not valid YAML"),
    ],
)
def test_a_wrong_file_is_one_sentence_that_names_the_field(text: str, field: str, tmp_path: Path) -> None:
    (tmp_path / "finops.yaml").write_text(text)

    result = runner.invoke(app, ["config", "check"])

    assert result.exit_code == 2
    assert field in result.stderr
    assert len(result.stderr.strip().splitlines()) == 1
    assert "Traceback" not in result.output


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("FINOPS_PORT", "eighty"),
        ("FINOPS_NONSENSE", "1"),
        ("FINOPS_LOG_LEVEL", "loud"),
    ],
)
@pytest.mark.parametrize("command", [["config", "check"], ["up"], ["gateway"], ["budget"], ["doctor"]])
def test_a_wrong_setting_stops_every_command_with_one_sentence(
    command: list[str], name: str, value: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, value)

    result = runner.invoke(app, command)

    assert result.exit_code == 2
    assert name in result.stderr
    assert len(result.stderr.strip().splitlines()) == 1


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("FINOPS_EVENT_LOG_URL", "redis://x"),
        ("FINOPS_EVENT_LOG_URL", "kafka://no-port"),
        ("FINOPS_CLICKHOUSE_URL", "mysql://x"),
        ("FINOPS_CLICKHOUSE_URL", "clickhouse://host:port/db"),
        ("FINOPS_CLICKHOUSE_URL", "clickhouse://user:sec/ret@host:8123/db"),
        ("FINOPS_SECRET_KEY", "sec"),
    ],
)
def test_config_check_reads_addresses_to_their_ends(
    name: str, value: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, value)

    result = runner.invoke(app, ["config", "check"])

    assert result.exit_code == 2, result.output
    assert name in result.stderr
    assert "'sec" not in result.output


@pytest.mark.parametrize("command", ["log-ingest", "budget"])
def test_a_service_with_pages_that_nobody_could_open_does_not_start(command: str) -> None:
    result = runner.invoke(app, [command])

    assert result.exit_code == 2
    assert "FINOPS_ADMIN_TOKEN is not set" in result.stderr


def test_the_address_of_a_running_finops_is_no_setting_of_a_service(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FINOPS_URL", "http://elsewhere:8080")

    assert load_settings().port == 8080


def test_what_is_typed_wins_over_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FINOPS_PORT", "1111")
    monkeypatch.setenv("FINOPS_HOST", "127.0.0.9")

    settings = load_settings({"port": 2222, "host": None})

    assert (settings.port, settings.host) == (2222, "127.0.0.9")


def test_the_admin_token_is_the_one_that_a_start_made(tmp_path: Path) -> None:
    made = load_or_create_admin_token(tmp_path / ".finops")

    assert find_admin_token("") == made
    assert find_admin_token("typed") == "typed"


@pytest.mark.parametrize("token", ["geheim\u00fc", "two\nlines"])
def test_a_token_that_cannot_be_sent_is_one_sentence(token: str) -> None:
    result = runner.invoke(app, ["keys", "list", "--admin-token", token])

    assert result.exit_code == 2
    assert "admin token is wrong" in result.stderr
    assert len(result.stderr.strip().splitlines()) == 1


def test_without_an_admin_token_a_command_says_where_to_get_one() -> None:
    with pytest.raises(CommandFailed, match="--admin-token"):
        find_admin_token("")


def test_nothing_to_update_is_an_error() -> None:
    result = runner.invoke(app, ["keys", "update", "vk_1", "--admin-token", "x"])

    assert result.exit_code == 2
    assert "Nothing to change" in result.stderr


def test_a_table_is_as_wide_as_its_longest_cells() -> None:
    assert render_table(["A", "BBB"], [["12345", "x"], ["1", ""]]) == "A      BBB\n12345  x\n1"
