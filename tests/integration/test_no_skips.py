"""The plugin that lets the whole check fail when anything was skipped."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SKIPPED_TEST = """
import pytest

def test_passes(): pass

@pytest.mark.skip(reason="no broker here")
def test_is_skipped(): pass

@pytest.mark.xfail(reason="known", strict=True)
def test_is_expected_to_fail(): assert False
"""
SKIPPED_MODULE = "import pytest\npytest.skip('no browser here', allow_module_level=True)\n"


def run(directory: Path, text: str, *options: str) -> subprocess.CompletedProcess[str]:
    (directory / "test_it.py").write_text(text)
    argv = [
        sys.executable,
        "-m",
        "pytest",
        "-p",
        "tests.support.no_skips",
        "-p",
        "no:cacheprovider",
        *options,
    ]
    return subprocess.run(
        [*argv, "test_it.py"],
        cwd=directory,
        env={"PYTHONPATH": str(ROOT), "PATH": os.defpath},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.mark.parametrize(
    ("text", "reason", "summary"),
    [
        (SKIPPED_TEST, "no broker here", "1 passed, 1 xfailed, 1 error"),
        (SKIPPED_MODULE, "no browser here", "1 error"),
    ],
)
def test_what_is_skipped_fails_with_its_reason(tmp_path: Path, text: str, reason: str, summary: str) -> None:
    done = run(tmp_path, text, "--no-skips")

    assert done.returncode != 0
    assert reason in done.stdout
    assert summary in done.stdout.strip().splitlines()[-1]


def test_without_the_option_skips_stay_skips(tmp_path: Path) -> None:
    done = run(tmp_path, SKIPPED_TEST)

    assert done.returncode == 0, done.stdout
    assert "1 passed, 1 skipped, 1 xfailed" in done.stdout
