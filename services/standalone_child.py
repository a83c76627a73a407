"""A child process that is kept alive: restarted when it dies, stopped with its parent, however the parent ends."""

import asyncio
import subprocess
from collections.abc import Mapping, Sequence
from time import monotonic
from typing import Final, Self

from shared.telemetry import get_logger

FIRST_DELAY_S: Final = 0.5
LONGEST_DELAY_S: Final = 30.0
STABLE_AFTER_S: Final = 60.0
"""A child that ran this long starts again without waiting longer than the first delay."""
STOP_TIMEOUT_S: Final = 20.0

_log = get_logger("standalone.child")


class SupervisedChild:
    """Runs `command` while the context is open. Its standard error is ours; nobody waits for it to be there.

    The child's standard input is a pipe that only this process holds: the child stops when the pipe closes, so
    not even `kill -9` of the parent leaves it behind. It runs in its own session, so Ctrl-C reaches the parent alone.
    """

    def __init__(self, name: str, command: Sequence[str], environ: Mapping[str, str]) -> None:
        self._name = name
        self._command = tuple(command)
        self._environ = dict(environ)
        self._process: asyncio.subprocess.Process | None = None
        self._supervisor: asyncio.Task[None] | None = None
        self.starts = 0

    @property
    def pid(self) -> int | None:
        """The process id while it runs."""
        process = self._process
        return process.pid if process is not None and process.returncode is None else None

    async def __aenter__(self) -> Self:
        self._supervisor = asyncio.create_task(self._supervise(), name=f"supervise {self._name}")
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._supervisor is not None:
            self._supervisor.cancel()
            await asyncio.gather(self._supervisor, return_exceptions=True)
        await self._stop()

    async def _supervise(self) -> None:
        delay_s = FIRST_DELAY_S
        while True:
            began = monotonic()
            reason = await self._run_once()
            ran_s = monotonic() - began
            delay_s = FIRST_DELAY_S if ran_s >= STABLE_AFTER_S else delay_s
            _log.error(
                "child_ended", name=self._name, reason=reason, ran_s=round(ran_s, 1), restart_in_s=delay_s
            )
            await asyncio.sleep(delay_s)
            delay_s = min(delay_s * 2, LONGEST_DELAY_S)

    async def _run_once(self) -> str:
        """Start the child and wait for its end; the reason of the end, for the log."""
        try:
            self._process = await asyncio.create_subprocess_exec(
                *self._command, env=self._environ, stdin=subprocess.PIPE, start_new_session=True
            )
        except (
            OSError
        ) as error:  # no memory, no process slots: the data plane goes on and this is tried again
            return f"could not start: {error}"
        self.starts += 1
        code = await self._process.wait()
        return f"signal {-code}" if code < 0 else f"exit code {code}"

    async def _stop(self) -> None:
        process = self._process
        if process is None or process.returncode is not None:
            return
        if process.stdin is not None:
            process.stdin.close()
        process.terminate()
        try:
            await asyncio.wait_for(process.wait(), STOP_TIMEOUT_S)
        except TimeoutError:
            _log.error("child_killed", name=self._name, waited_s=STOP_TIMEOUT_S)
            process.kill()
            await process.wait()
