"""Child processes for tests and benches: started on free ports, killed by pid, their output kept in files."""

import asyncio
import os
import signal
import socket
import subprocess
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import Final

import aiohttp

POLL_INTERVAL_S: Final = 0.05
PROBE_TIMEOUT: Final = aiohttp.ClientTimeout(total=5)


class ProcessFailed(AssertionError):
    """A child ended by itself, or was not ready in time. The message ends with the tail of its output."""


def free_port() -> int:
    """A TCP port on 127.0.0.1 that was free a moment ago. Fixed ports are needed where a process comes back."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Child:
    """One child process in its own process group. Its output is appended to `log_path` over all restarts."""

    def __init__(self, name: str, argv: Sequence[str], env: Mapping[str, str], log_path: Path) -> None:
        self.name = name
        self.log_path = log_path
        self._argv = list(argv)
        self._env = dict(env)
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        if self._process is None:
            raise ProcessFailed(f"{self.name} is not running")
        return self._process.pid

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def start(self) -> None:
        if self.running:
            raise ProcessFailed(f"{self.name} is running already")
        self.log_path.parent.mkdir(parents=True, exist_ok=True)
        with self.log_path.open("ab") as output:
            self._process = subprocess.Popen(
                self._argv,
                env=self._env,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    async def kill(self) -> None:
        """SIGKILL to the whole group, then reap: no handler of the child runs. Harmless when it is gone."""
        await self._end(signal.SIGKILL, timeout_s=10)

    async def kill_leader(self) -> None:
        """SIGKILL to the process alone; its own children stay, as after `kill -9 PID` in a shell."""
        if self._process is not None:
            self._process.kill()
            await asyncio.to_thread(self._process.wait, 10)

    async def stop(self, timeout_s: float = 40) -> int:
        """SIGTERM, then SIGKILL after `timeout_s`. Returns the exit status (negative: the signal)."""
        try:
            return await self._end(signal.SIGTERM, timeout_s)
        except subprocess.TimeoutExpired:
            return await self._end(signal.SIGKILL, timeout_s=10)

    async def _end(self, how: signal.Signals, timeout_s: float) -> int:
        process = self._process
        if process is None:
            return 0
        try:
            os.killpg(process.pid, how)
        except ProcessLookupError:
            pass  # the whole group is gone already
        return await asyncio.to_thread(process.wait, timeout_s)

    def tail(self, lines: int = 40) -> str:
        if not self.log_path.exists():
            return "(no output)"
        return "\n".join(self.log_path.read_text(errors="replace").splitlines()[-lines:])

    async def until(self, ready: Callable[[], Awaitable[bool]], timeout_s: float, what: str) -> None:
        """Wait for `ready`. Raises ProcessFailed as soon as the child has ended, or after `timeout_s`."""
        deadline = time.monotonic() + timeout_s
        while not await ready():
            if not self.running:
                raise ProcessFailed(f"{self.name} ended before it was {what}:\n{self.tail()}")
            if time.monotonic() > deadline:
                raise ProcessFailed(f"{self.name} was not {what} within {timeout_s:g} s:\n{self.tail()}")
            await asyncio.sleep(POLL_INTERVAL_S)

    async def until_answering(self, url: str, timeout_s: float) -> None:
        """Wait until `url` answers 200."""
        async with aiohttp.ClientSession(timeout=PROBE_TIMEOUT) as session:

            async def answers() -> bool:
                try:
                    async with session.get(url) as response:
                        return response.status == 200
                except (aiohttp.ClientError, TimeoutError, OSError):
                    return False

            await self.until(answers, timeout_s, f"answering at {url}")

    async def until_printing(self, marker: str, timeout_s: float) -> str:
        """Wait for an output line holding `marker`; returns that line."""

        async def printed() -> bool:
            return self._line_with(marker) is not None

        await self.until(printed, timeout_s, f"printing {marker!r}")
        return self._line_with(marker) or ""

    def _line_with(self, marker: str) -> str | None:
        text = self.log_path.read_text(errors="replace") if self.log_path.exists() else ""
        return next((line for line in text.splitlines() if marker in line), None)
