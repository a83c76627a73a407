"""A standalone FinOps for tests: `finops up` as a real process in a directory of its own, on a free port."""

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import httpx

from shared.settings import process_environment
from tests.support.processes import Child

ROOT: Final = Path(__file__).resolve().parents[2]
"""What is tested is this checkout, wherever a command is run and whatever is installed."""
FINOPS: Final = (sys.executable, "-m", "services.cli")
URL_MARK: Final = "Dashboard"
START_TIMEOUT_S: Final = 60
COMMAND_TIMEOUT_S: Final = 60
CLIENT_TIMEOUT_S: Final = 30
SYSTEM: Final = ("PATH", "HOME", "LANG", "TMPDIR")


class Installation:
    """Started and stopped as often as wanted; the data directory stays."""

    def __init__(self, directory: Path, settings: Mapping[str, str] | None = None) -> None:
        self.directory = directory
        self.data_dir = directory / "data"
        self.url = ""
        self.environ = {name: value for name, value in process_environment().items() if name in SYSTEM} | {
            "FINOPS_DATA_DIR": str(self.data_dir),
            "FINOPS_HOST": "127.0.0.1",
            "FINOPS_PORT": "0",
            "PYTHONPATH": str(ROOT),
            **(settings or {}),
        }
        self._run = 0
        self.child = self._new_child()

    def _new_child(self) -> Child:
        self._run += 1
        return Child("finops up", (*FINOPS, "up"), self.environ, self.directory / f"up-{self._run}.log")

    async def start(self) -> None:
        """Returns when it answers and the logs can be read."""
        self.child = self._new_child()
        self.child.start()
        line = await self.child.until_printing(URL_MARK, START_TIMEOUT_S)
        self.url = line.split()[-1].replace("localhost", "127.0.0.1")
        await self.child.until_answering(f"{self.url}/readyz", START_TIMEOUT_S)
        await self.child.until(self.logs_answer, START_TIMEOUT_S, "showing logs")

    @property
    def admin_token(self) -> str:
        return (self.data_dir / "admin.token").read_text().strip()

    @property
    def admin_headers(self) -> dict[str, str]:
        return {"authorization": f"Bearer {self.admin_token}"}

    def client(self, **options: Any) -> httpx.AsyncClient:
        """A patient client of this installation."""
        return httpx.AsyncClient(base_url=self.url, timeout=CLIENT_TIMEOUT_S, **options)

    async def logs_answer(self) -> bool:
        async with self.client() as client:
            answer = await client.get("/api/logs", headers=self.admin_headers)
        return answer.status_code == httpx.codes.OK

    async def logs(self, **query: str) -> list[dict[str, Any]]:
        """The first page of the request log; empty while the log store is away."""
        async with self.client() as client:
            answer = await client.get("/api/logs", params=query, headers=self.admin_headers)
        items: list[dict[str, Any]] = answer.json()["items"] if answer.is_success else []
        return items

    async def command(self, *arguments: str, **settings: str) -> subprocess.CompletedProcess[str]:
        """Run `finops ...` against this installation, with further settings."""
        return await asyncio.to_thread(
            subprocess.run,
            [*FINOPS, *arguments],
            env=self.environ | {"FINOPS_URL": self.url} | settings,
            capture_output=True,
            text=True,
            timeout=COMMAND_TIMEOUT_S,
            check=False,
            cwd=self.directory,
        )

    async def command_json(self, *arguments: str) -> Any:
        """The JSON that a command prints; it must succeed."""
        done = await self.command(*arguments, "--json")
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    def log_ingest_pids(self) -> list[int]:
        """The process ids of the log ingester that this installation runs now."""
        return [pid for pid in _children_of(self.child.pid) if b"log-ingest" in _command_of(pid)]


def _children_of(parent: int) -> list[int]:
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
            except OSError:
                continue  # it ended while we looked
            if int(fields[1]) == parent:
                found.append(int(entry.name))
    return found


def _command_of(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""  # it ended while we looked


def is_alive(pid: int) -> bool:
    """Whether the process exists and is not a zombie."""
    try:
        os.kill(pid, 0)
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False
