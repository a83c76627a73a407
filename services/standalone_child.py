"""A child process that is kept alive: restarted when it dies, stopped with its parent, however the parent ends."""

import asyncio
import subprocess
from collections.abc import Mapping, Sequence
from time import monotonic
from types import TracebackType
from typing import Any, Final, Self

from shared.errors import ConfigurationError
from shared.telemetry import get_logger

FIRST_DELAY_S: Final = 0.5
LONGEST_DELAY_S: Final = 30.0
STABLE_AFTER_S: Final = 60.0
"""A child that ran this long starts again without waiting longer than the first delay."""
STOP_TIMEOUT_S: Final = 20.0
MISCONFIGURED: Final = 2
"""Exit code of `finops` for a wrong setting: starting again cannot help."""

_log = get_logger("standalone.child")


class SupervisedChild:
    """Runs `command` while the context is open. Its standard error is ours; nobody waits for it to be there.

    The child's standard input is a pipe that only this process holds: the child stops when the pipe closes, so
    not even `kill -9` of the parent leaves it behind. It runs in its own session, so Ctrl-C reaches the parent alone.

    A child that finds its settings wrong at its first start ends the body of the context: ConfigurationError.
    """

    def __init__(self, name: str, command: Sequence[str], environ: Mapping[str, str]) -> None:
        self._name = name
        self._command = tuple(command)
        self._environ = dict(environ)
        self._process: asyncio.subprocess.Process | None = None
        self._supervisor: asyncio.Task[None] | None = None
        self._body: asyncio.Task[Any] | None = None
        self._has_refused = False
        self.starts = 0

    @property
    def pid(self) -> int | None:
        """The process id while it runs."""
        process = self._process
        return process.pid if process is not None and process.returncode is None else None

    async def __aenter__(self) -> Self:
        self._body = asyncio.current_task()
        self._supervisor = asyncio.create_task(self._supervise(), name=f"supervise {self._name}")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._supervisor is not None:
            self._supervisor.cancel()
            await asyncio.gather(self._supervisor, return_exceptions=True)
        await self._stop()
        if self._has_refused and self._body is not None and isinstance(error, asyncio.CancelledError):
            self._body.uncancel()
            raise ConfigurationError(f"{self._name} refused its settings; its own message says which.")

    async def _supervise(self) -> None:
        delay_s = FIRST_DELAY_S
        while True:
            began = monotonic()
            reason = await self._run_once()
            if self._has_refused and self._body is not None:
                self._body.cancel()
                return
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
        except OSError as error:
            # no memory, no process slots: the data plane goes on and this is tried again
            return f"could not start: {error}"
        self.starts += 1
        code = await self._process.wait()
        self._has_refused = code == MISCONFIGURED and self.starts == 1
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
