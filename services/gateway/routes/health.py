"""/healthz: the process lives. /readyz: it may be sent requests. /metrics: what it has done."""

from collections.abc import Callable

import msgspec

from services.gateway.incoming import Incoming
from services.gateway.metrics import GatewayMetrics
from shared.telemetry import metrics_response


class Health:
    """`not_ready` gives the reason, or nothing when requests are welcome."""

    def __init__(self, metrics: GatewayMetrics, not_ready: Callable[[], str]) -> None:
        self._metrics = metrics
        self._not_ready = not_ready

    async def healthz(self, incoming: Incoming) -> None:
        await incoming.answer(200, b'{"status":"ok"}')

    async def readyz(self, incoming: Incoming) -> None:
        reason = self._not_ready()
        if reason:
            await incoming.answer(503, msgspec.json.encode({"status": "not ready", "reason": reason}))
        else:
            await incoming.answer(200, b'{"status":"ready"}')

    async def metrics(self, incoming: Incoming) -> None:
        answer = metrics_response(self._metrics.registry)
        await incoming.answer(200, bytes(answer.body), content_type=answer.headers["content-type"].encode())
