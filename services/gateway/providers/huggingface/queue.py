"""fal's queue behind the router: a job is put in, asked after, and what it made is fetched when it is done.

As `huggingface_hub` does it (`FalAIQueueTask`), and as fal's own clients cancel: `PUT {job}/cancel`.
"""

import asyncio
from typing import Final
from urllib.parse import urlsplit

import msgspec

from services.gateway.providers.huggingface.talk import Call, Talk, whole
from services.gateway.providers.jobs import polled
from services.gateway.upstream.port import UpstreamResponse
from services.gateway.upstream.whole import WholeResponse

SUBDOMAIN: Final = "?_subdomain=queue"
"""Leads the router to the queue instead of the models."""
_DONE: Final = "COMPLETED"
_RUNNING: Final = frozenset({"", "IN_QUEUE", "IN_PROGRESS"})


class _Job(msgspec.Struct):
    """`response_url` is the job's own address at the queue, of which the router takes the path."""

    status: str = ""
    response_url: str = ""

    @property
    def running(self) -> bool:
        return self.status in _RUNNING

    @property
    def path(self) -> str:
        return urlsplit(self.response_url).path


_job: Final = msgspec.json.Decoder(_Job)


async def queued(talk: Talk, call: Call) -> UpstreamResponse:
    """What the finished job has made, or the error instead. Whatever else ends the waiting cancels the job."""
    making = asyncio.create_task(talk.post(call), name="queue-job")
    try:
        response = await asyncio.shield(making)
    except asyncio.CancelledError:
        talk.leave_made(making, lambda answer: _cancel_made(talk, answer))
        raise
    if response.status >= 300:
        return response
    answer = await whole(response)
    job = _read(answer)
    if job is None or not job.path.startswith("/"):
        return WholeResponse(answer)  # whoever reads it says that it is no picture
    return await _finished(talk, job)


async def _finished(talk: Talk, job: _Job) -> UpstreamResponse:
    path, done = job.path, False

    async def look_up() -> _Job | UpstreamResponse:
        response = await talk.get(f"{path}/status{SUBDOMAIN}")
        if response.status >= 300:
            return response
        answer = await whole(response)
        return _read(answer) or WholeResponse(answer, 502)

    try:
        ended = await polled(job, look_up, deadline=talk.deadline, total_s=talk.total_s)
        if not isinstance(ended, _Job):
            return ended
        done = True
    finally:
        if not done:
            _cancel(talk, path)
    if ended.status != _DONE:
        return _failed(ended.status)
    return await talk.get(f"{path}{SUBDOMAIN}")


def _read(answer: bytes) -> _Job | None:
    try:
        return _job.decode(answer)
    except msgspec.DecodeError:
        return None


def _cancel_made(talk: Talk, answer: bytes) -> None:
    job = _read(answer)
    if job is not None and job.running and job.path.startswith("/"):
        _cancel(talk, job.path)


def _cancel(talk: Talk, path: str) -> None:
    talk.leave("PUT", f"{path}/cancel{SUBDOMAIN}")


def _failed(status: str) -> UpstreamResponse:
    error = {"message": f"The job at fal ended as {status}.", "code": "job_failed", "type": "upstream_error"}
    return WholeResponse(msgspec.json.encode({"error": error}), 502)
