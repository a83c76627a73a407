"""Jobs that a provider works on for a while: asked after until they are done, cancelled when nobody waits for them."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final, Protocol, TypeVar, runtime_checkable

from services.gateway.upstream.port import (
    UpstreamClient,
    UpstreamFault,
    UpstreamRequest,
    UpstreamResponse,
    UpstreamTimedOut,
)
from shared.telemetry import get_logger

log = get_logger(__name__)

FIRST_POLL_S: Final = 0.25
LONGEST_POLL_S: Final = 2.0
MAX_POLL_FAILURES: Final = 5
"""In a row, before a job is given up."""
CANCEL_S: Final = 10.0
_PASSING: Final = (408, 429)
Made = TypeVar("Made")


@runtime_checkable
class Job(Protocol):
    """What a provider says of a job."""

    @property
    def running(self) -> bool: ...


AnyJob = TypeVar("AnyJob", bound=Job)


async def polled(
    job: AnyJob,
    look_up: Callable[[], Awaitable[AnyJob | UpstreamResponse]],
    *,
    deadline: float,
    total_s: float,
) -> AnyJob | UpstreamResponse:
    """The job when it is done, or the error that its provider answers with instead.

    A look-up that fails is repeated: the job goes on, and another would be paid for as well. Raises UpstreamTimedOut
    at the `deadline` of the loop's clock, which ends `total_s`, and the last UpstreamFault of too many in a row.
    """
    wait_s, failures = FIRST_POLL_S, 0
    while job.running:
        if asyncio.get_running_loop().time() + wait_s >= deadline:
            raise UpstreamTimedOut("total", total_s)
        await asyncio.sleep(wait_s)
        wait_s = min(2 * wait_s, LONGEST_POLL_S)
        try:
            asked = await look_up()
        except UpstreamFault:
            failures += 1
            if failures > MAX_POLL_FAILURES:
                raise
            continue
        if isinstance(asked, Job):
            job, failures = asked, 0
            continue
        failures += 1
        if failures > MAX_POLL_FAILURES or not (asked.status >= 500 or asked.status in _PASSING):
            return asked
        asked.close()
    return job


class Leaver:
    """Cancels jobs that nobody waits for any more: whoever leaves one running goes on paying for it."""

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[None]] = set()

    def leave(self, client: UpstreamClient, request: UpstreamRequest) -> None:
        """Send this request, which cancels a job, without waiting for its answer."""
        self._keep(asyncio.create_task(_cancelled(client, request), name="cancel-job"))

    def leave_made(self, making: "asyncio.Task[Made]", leave: Callable[[Made], None]) -> None:
        """Leave the job that is being made, as soon as its name is known."""
        self._keep(asyncio.create_task(_left_when_made(making, leave), name="cancel-job"))

    def _keep(self, task: asyncio.Task[None]) -> None:
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


async def _cancelled(client: UpstreamClient, request: UpstreamRequest) -> None:
    try:
        response = await client.send(request)
        try:
            if response.status >= 400:
                log.warning("job_not_cancelled", url=request.url, status=response.status)
            await response.drain(CANCEL_S)
        finally:
            response.close()
    except UpstreamFault as fault:
        log.warning("job_not_cancelled", url=request.url, reason=str(fault))


async def _left_when_made(making: "asyncio.Task[Made]", leave: Callable[[Made], None]) -> None:
    try:
        made = await making
    except UpstreamFault:
        return  # it was not made, or nobody knows its name
    leave(made)
