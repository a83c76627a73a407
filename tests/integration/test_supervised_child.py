"""A supervised child: restarted, stopped with its parent, and heeded when it refuses its settings."""

import asyncio
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from services.cli.outcome import EXIT_MISCONFIGURED
from services.standalone import LOG_INGEST_COMMAND
from services.standalone_child import MISCONFIGURED, SupervisedChild
from shared.errors import ConfigurationError
from tests.support.eventually import eventually
from tests.support.installation import ROOT, is_alive

LIVES = "import sys; sys.stdin.buffer.read()"
REFUSES = f"raise SystemExit({MISCONFIGURED})"


def child(program: str) -> SupervisedChild:
    return SupervisedChild("test child", [sys.executable, "-c", program], {})


async def pid_of(running: SupervisedChild) -> int:
    return await eventually(lambda: running.pid or 0)


def test_the_ingester_starts_in_a_directory_with_a_package_of_the_same_name(tmp_path: Path) -> None:
    (tmp_path / "services").mkdir()
    (tmp_path / "services" / "__init__.py").touch()

    done = subprocess.run(
        [*LOG_INGEST_COMMAND, "--help"],
        cwd=tmp_path,
        env={"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert done.returncode == 0, done.stderr


async def test_a_killed_child_is_started_again() -> None:
    async with child(LIVES) as running:
        first = await pid_of(running)
        os.kill(first, signal.SIGKILL)
        await eventually(lambda: running.starts == 2)
        second = await pid_of(running)

        assert second != first

    assert not is_alive(second)


async def test_leaving_the_context_ends_the_child() -> None:
    async with child(LIVES) as running:
        pid = await pid_of(running)
        assert is_alive(pid)

    assert not is_alive(pid)
    assert running.pid is None


async def test_a_child_that_cannot_be_started_is_tried_again() -> None:
    async with SupervisedChild("nobody", [str(Path("/does/not/exist"))], {}) as running:
        assert running.pid is None

    assert running.starts == 0


def test_both_sides_mean_the_same_by_misconfigured() -> None:
    assert MISCONFIGURED == EXIT_MISCONFIGURED


async def test_a_child_that_refuses_its_settings_at_first_ends_the_body() -> None:
    with pytest.raises(ConfigurationError, match="test child refused its settings"):
        async with child(REFUSES):
            await asyncio.wait_for(asyncio.Event().wait(), 20)

    current = asyncio.current_task()
    assert current is not None and current.cancelling() == 0


async def test_a_child_that_refuses_only_later_is_restarted(tmp_path: Path) -> None:
    mark = tmp_path / "ran"
    program = (
        f"import pathlib; mark = pathlib.Path({str(mark)!r}); was = mark.exists(); mark.touch(); "
        f"raise SystemExit({MISCONFIGURED} if was else 1)"
    )

    async with child(program) as running:
        await eventually(lambda: running.starts == 3)
