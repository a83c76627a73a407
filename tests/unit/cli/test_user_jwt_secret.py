"""The secret of user tokens comes from a variable or from a question, and stands in no message."""

from typing import Any

import pytest
from typer.testing import CliRunner

from services.cli import app
from services.cli.api import AdminApi

SECRET = "geheim-" * 5
KEY = {"id": "vk_1", "name": "a", "key": "sk-fo-x", "budgets": [], "version": 1}


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, dict[str, Any]]]:
    """(method, body) of what would be sent."""
    sent: list[tuple[str, dict[str, Any]]] = []

    def call(_: AdminApi, method: str, path: str, *, body: dict[str, Any]) -> dict[str, Any]:
        sent.append((method, body))
        return KEY

    monkeypatch.setattr(AdminApi, "call", call)
    monkeypatch.setattr(AdminApi, "find_key", lambda self, key: KEY)
    monkeypatch.setenv("OWUI", SECRET)
    monkeypatch.setenv("SHORT", "geheim")
    return sent


def run(*typed: str, asked: str = "") -> tuple[int, str]:
    done = CliRunner().invoke(app, ["keys", *typed, "--json", "--admin-token", "t"], input=asked)
    assert "geheim" not in done.output
    return done.exit_code, done.stderr


def test_it_is_read_from_a_variable_or_asked_for(calls: list[tuple[str, dict[str, Any]]]) -> None:
    assert run("create", "--name", "a", "--user-jwt-secret-env", "OWUI")[0] == 0
    assert run("update", "a", "--user-jwt-secret-prompt", asked=f"{SECRET}\n")[0] == 0
    assert run("update", "a", "--no-user-jwt-secret")[0] == 0

    assert calls == [
        ("POST", {"name": "a", "user_jwt_secret": SECRET}),
        ("PATCH", {"user_jwt_secret": SECRET, "version": 1}),
        ("PATCH", {"user_jwt_secret": None, "version": 1}),
    ]


@pytest.mark.parametrize(
    ("typed", "sentence"),
    [
        (
            ["--user-jwt-secret-env", "geheim"],
            "--user-jwt-secret-env is wrong: it must be the name of a variable that is set.",
        ),
        (["--user-jwt-secret-env", "SHORT"], "The secret in SHORT must be 32 to 1024 bytes long"),
        (
            ["--user-jwt-secret-env", "OWUI", "--user-jwt-secret-prompt"],
            "--user-jwt-secret-env and --user-jwt-secret-prompt cannot be given together.",
        ),
        (
            ["--user-jwt-secret-env", "OWUI", "--no-user-jwt-secret"],
            "--user-jwt-secret-env or -prompt and --no-user-jwt-secret cannot be given together.",
        ),
    ],
)
def test_what_is_wrong_is_one_sentence(
    calls: list[tuple[str, dict[str, Any]]], typed: list[str], sentence: str
) -> None:
    code, said = run("update", "a", *typed)

    assert (code, said.count("\n")) == (2, 1)
    assert said.startswith(f"finops: {sentence}")
    assert calls == []


def test_an_answer_that_is_too_short_is_refused(calls: list[tuple[str, dict[str, Any]]]) -> None:
    code, said = run("create", "--name", "a", "--user-jwt-secret-prompt", asked="geheim\n")

    assert code == 2
    assert "The secret must be 32 to 1024 bytes long" in said
    assert calls == []
