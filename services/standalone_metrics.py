"""`/metrics` of `finops up`: what all its services say of themselves, as one answer.

Each is asked as a scraper would ask it. The names of their metrics begin with the service's own, but for those of a
process (`process_...`): gateway and budget share one, whose metrics are told once; the log ingester's own become
`finops_log_ingest_process_...`.
"""

import asyncio
import re
from typing import Final

from prometheus_client.exposition import CONTENT_TYPE_LATEST
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from services.standalone_proxy import METRICS_PATH
from shared.telemetry import get_logger

CHILD_TIMEOUT_S: Final = 2.0
"""A scraper gives up after 10 s by default; the child is down for it long before."""
_OF_PROCESS: Final = re.compile(rb"^(# (?:HELP|TYPE) )?(?=process_)", re.MULTILINE)
_LINES_OF_PROCESS: Final = re.compile(rb"^(?:# (?:HELP|TYPE) )?process_.*\n", re.MULTILINE)
_UP: Final = (
    b"# HELP finops_log_ingest_up 1 while the log ingester answers; while it is 0 its other metrics are missing.\n"
    b"# TYPE finops_log_ingest_up gauge\n"
    b"finops_log_ingest_up %d\n"
)

_log = get_logger("standalone.metrics")


class StandaloneMetrics:
    """An ASGI app. `gateway` and `budget` run in this process; `logs` leads to the child, which may be away."""

    def __init__(self, *, gateway: ASGIApp, budget: ASGIApp, logs: ASGIApp) -> None:
        self._gateway = gateway
        self._budget = budget
        self._logs = logs

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["method"] != "GET":
            await self._gateway(scope, receive, send)  # which says what is allowed
            return
        child = await self._of_child(scope)
        parts = (
            await _asked(self._gateway, scope) or b"",
            _LINES_OF_PROCESS.sub(b"", await _asked(self._budget, scope) or b""),
            _UP % (child is not None),
            _OF_PROCESS.sub(rb"\1finops_log_ingest_", child or b""),
        )
        await Response(b"".join(parts), media_type=CONTENT_TYPE_LATEST)(scope, receive, send)

    async def _of_child(self, scope: Scope) -> bytes | None:
        try:
            async with asyncio.timeout(CHILD_TIMEOUT_S):
                return await _asked(self._logs, scope)
        except TimeoutError:
            _log.warning("child_does_not_answer", waited_s=CHILD_TIMEOUT_S)
            return None


async def _asked(app: ASGIApp, scope: Scope) -> bytes | None:
    """The whole answer of `app` to a GET; None when it is no success or breaks off."""
    answer = _Answer()
    path = {"path": METRICS_PATH, "raw_path": METRICS_PATH.encode(), "query_string": b""}
    await app({**scope, **path}, answer.receive, answer.send)
    return bytes(answer.body) if answer.status == 200 and answer.is_whole else None


class _Answer:
    """The client's side of one call of an ASGI app."""

    def __init__(self) -> None:
        self.status = 0
        self.body = bytearray()
        self.is_whole = False
        self._has_asked = False

    async def receive(self) -> Message:
        if self._has_asked:
            await asyncio.Event().wait()  # this client stays until it is answered
        self._has_asked = True
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
        else:
            self.body += message.get("body", b"")
            self.is_whole = not message.get("more_body", False)
