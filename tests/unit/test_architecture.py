"""Rules of the house that no linter knows: sizes, names, and documents that say what the code says."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest
import yaml
from pydantic import SecretStr

from services.budget.desired_state import desired_state
from shared.catalogue.provider_types import PROVIDER_TYPES
from shared.config_file import parse_config, references
from shared.governance.keys import new_key
from shared.settings import PREFIX, Settings

ROOT: Final = Path(__file__).parents[2]
PACKAGES: Final = ("services", "shared", "tests")
MOST_FILE_LINES: Final = 450
MOST_FUNCTION_LINES: Final = 70
FORBIDDEN_MODULE_NAMES: Final = frozenset({"utils", "util", "helpers", "helper", "manager", "common", "misc"})
UNFINISHED: Final = re.compile(r"\b(TO" + r"DO|FIX" + r"ME|XX" + r"X|HA" + r"CK)\b")
PRIVATE_PATHS: Final = re.compile(r"(?<![\w.])/(?:work|root|home|Users)/\w")
"""Paths of the machine where something was written have no place in the repository."""
TEXT_SUFFIXES: Final = frozenset(
    {
        ".py",
        ".md",
        ".yaml",
        ".yml",
        ".toml",
        ".sql",
        ".html",
        ".css",
        ".js",
        ".json",
        ".template",
        ".example",
        ".env",
    }
)


def python_files() -> list[Path]:
    return sorted(path for package in PACKAGES for path in (ROOT / package).rglob("*.py"))


def text_files() -> Iterator[Path]:
    for folder in (*PACKAGES, "deploy", ".ci"):
        yield from (path for path in (ROOT / folder).rglob("*") if path.suffix in TEXT_SUFFIXES)
    yield from (path for path in ROOT.iterdir() if path.is_file() and path.suffix in TEXT_SUFFIXES)


def name(path: Path) -> str:
    return str(path.relative_to(ROOT))


def test_files_are_short_enough_to_be_read_at_a_sitting() -> None:
    lengths = {name(path): len(path.read_text().splitlines()) for path in python_files()}

    assert {path: lines for path, lines in lengths.items() if lines > MOST_FILE_LINES} == {}


def test_functions_are_short_enough_to_be_seen_at_once() -> None:
    long = {}
    for path in python_files():
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.end_lineno:
                lines = node.end_lineno - node.lineno + 1
                if lines > MOST_FUNCTION_LINES:
                    long[f"{name(path)}:{node.name}"] = lines

    assert long == {}


def test_no_module_is_a_drawer_for_everything() -> None:
    assert [name(path) for path in python_files() if path.stem in FORBIDDEN_MODULE_NAMES] == []


def test_only_the_settings_read_the_environment() -> None:
    readers = []
    for path in python_files():
        if "tests" in path.relative_to(ROOT).parts or name(path) == "shared/settings.py":
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Attribute) and node.attr in {"environ", "getenv"}:
                owner = node.value
                if isinstance(owner, ast.Name) and owner.id == "os":
                    readers.append(name(path))

    assert readers == []


@pytest.mark.parametrize("pattern", [UNFINISHED, PRIVATE_PATHS], ids=["unfinished", "private paths"])
def test_nothing_unfinished_or_private_is_left_lying_about(pattern: re.Pattern[str]) -> None:
    found = [
        f"{name(path)}: {match.group()}"
        for path in text_files()
        for match in pattern.finditer(path.read_text())
    ]

    assert found == []


def test_every_package_of_tests_can_be_imported() -> None:
    folders = {path.parent for path in (ROOT / "tests").rglob("*.py")}

    assert [name(folder) for folder in sorted(folders) if not (folder / "__init__.py").exists()] == []


def table_rows(text: str, beginning: str) -> dict[str, list[str]]:
    rows = [line.strip("| ").split(" | ") for line in text.splitlines() if line.startswith(f"| `{beginning}")]
    return {row[0].strip("`"): row[1:] for row in rows}


def shown_default(default: object) -> str:
    if isinstance(default, SecretStr):
        default = default.get_secret_value()
    if default is None or default == "":
        return "–"
    if isinstance(default, bool):
        return f"`{str(default).lower()}`"
    if isinstance(default, tuple):
        return f"`{','.join(default)}`"
    return f"`{default:g}`" if isinstance(default, float) else f"`{default}`"


def test_the_readme_lists_every_setting_with_its_default_and_no_other() -> None:
    rows = table_rows((ROOT / "README.md").read_text(), PREFIX)
    fields = {PREFIX + field.upper(): info.default for field, info in Settings.model_fields.items()}

    assert set(rows) == set(fields)
    assert {variable: row[0] for variable, row in rows.items()} == {
        variable: shown_default(default) for variable, default in fields.items()
    }


def test_the_readme_shows_a_finops_yaml_that_is_right() -> None:
    (text,) = re.findall(r"```yaml\n(.*?)```", (ROOT / "README.md").read_text(), flags=re.DOTALL)

    config = parse_config(text)
    desired = desired_state(config, {"TEAM_A_KEY": new_key()})

    assert set(desired.providers) == {"demo", "openai", "mock"}
    assert {variable for _, variable in references(config)} >= {"OPENAI_API_KEY", "MOCK_KEY"}


def test_the_readme_names_every_provider_type_and_its_variable() -> None:
    rows = table_rows((ROOT / "README.md").read_text(), "")
    text = " ".join(f"{types} {' '.join(rest)}" for types, rest in rows.items())

    for kind in PROVIDER_TYPES.values():
        assert re.search(rf"\b{kind.name}\b", text), kind.name
        variables = kind.env_vars[:1] if kind.base_url else kind.base_url_env_vars[:1]
        assert all(variable in text for variable in variables), kind.name


def test_the_readme_names_only_files_that_exist() -> None:
    for document in ("README.md", "CONTRIBUTING.md", "deploy/README.md"):
        path = ROOT / document
        links = re.findall(r"\]\((?!https?:|#)([^)#]+)", path.read_text())

        assert [link for link in links if not (path.parent / link).exists()] == []


def test_every_bench_that_the_readme_names_exists() -> None:
    named = set(re.findall(r"make bench-([a-z-]+)", (ROOT / "README.md").read_text()))

    assert named
    for bench in named:
        assert (ROOT / "tests" / "bench" / f"{bench.replace('-', '_')}.py").exists(), bench


def deploy_settings() -> Iterator[tuple[str, str]]:
    """(file, variable) of every FinOps setting that the deployment files set."""
    for path in (ROOT / "deploy").rglob("*"):
        if path.is_file():
            for variable in re.findall(r"\bFINOPS_[A-Z_]+[A-Z]\b", path.read_text()):
                yield name(path), variable


def test_deployment_files_set_only_settings_that_exist() -> None:
    known = {PREFIX + field.upper() for field in Settings.model_fields} | {"FINOPS_PUBLISH"}
    seen = set(deploy_settings())

    assert seen
    assert {(path, variable) for path, variable in seen if variable not in known} == set()


def test_a_password_made_as_the_example_says_fits_into_the_address_of_the_store() -> None:
    """One in base64 may hold a slash, and half of all addresses with it would be refused."""
    lines = (ROOT / "deploy" / "compose" / "env.example").read_text().splitlines()

    assert lines[lines.index("CLICKHOUSE_PASSWORD=") - 1].startswith("# openssl rand -hex 32")
    assert lines[lines.index("FINOPS_SECRET_KEY=") - 1] == "# openssl rand -base64 32"


def test_deployment_files_are_valid_yaml_and_keep_each_port_and_probe_together() -> None:
    documents = [
        document
        for path in (ROOT / "deploy").rglob("*.y*ml")
        for document in yaml.safe_load_all(path.read_text())
    ]
    workloads = [d for d in documents if d.get("kind") in {"Deployment", "StatefulSet"}]
    services = {d["metadata"]["name"]: d for d in documents if d.get("kind") == "Service"}

    assert {w["metadata"]["name"] for w in workloads} == set(services)
    for workload in workloads:
        template = workload["spec"]["template"]
        assert template["metadata"]["labels"] == workload["spec"]["selector"]["matchLabels"]
        assert services[workload["metadata"]["name"]]["spec"]["selector"] == template["metadata"]["labels"]
        assert template["spec"]["enableServiceLinks"] is False
        (container,) = template["spec"]["containers"]
        assert {"readinessProbe", "livenessProbe", "startupProbe", "resources"} <= set(container)


def test_locks_are_hashed_and_name_no_index() -> None:
    for lock in ROOT.glob("requirements*.lock"):
        text = lock.read_text()
        pins = re.findall(r"^[a-z0-9._-]+==\S+", text, flags=re.MULTILINE | re.IGNORECASE)

        assert pins, lock.name
        assert len(re.findall(r"--hash=sha256:[0-9a-f]{64}", text)) >= len(pins)
        assert "://" not in text
    assert list(ROOT.glob("uv.lock")) == []


def test_the_run_time_lock_is_part_of_the_development_lock() -> None:
    def pins(lock: str) -> set[str]:
        return set(re.findall(r"^[a-z0-9._-]+==[^\s;]+", (ROOT / lock).read_text(), flags=re.MULTILINE))

    assert pins("requirements.lock") - pins("requirements-dev.lock") == set()
