"""The gateway as an ASGI app: paths to endpoints, and whatever went wrong to OpenAI's error shape.

Plain ASGI on purpose: a framework's routing and request objects cost more than everything else here.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from typing import Final

from starlette.types import Receive, Scope, Send

from services.gateway.cors import Cors
from services.gateway.errors import ClientError
from services.gateway.incoming import Incoming
from services.gateway.metrics import GatewayMetrics
from services.gateway.providers.operations import Operation
from services.gateway.routes.health import Health
from services.gateway.routes.inference import Inference
from services.gateway.routes.models import Models
from shared.ids import new_id
from shared.settings import ANY, Settings
from shared.telemetry import get_logger

log = get_logger(__name__)

Endpoint = Callable[[Incoming], Awaitable[None]]
Endpoints = Mapping[str, Mapping[str, Endpoint]]
"""Path -> method -> endpoint."""

PREFIX: Final = "/v1"
_MODEL_PREFIX: Final = PREFIX + "/models/"


def endpoints_of(inference: Inference, models: Models, health: Health) -> dict[str, dict[str, Endpoint]]:
    """Every fixed path. `/v1/models/{id}` is the only one that is not."""
    table: dict[str, dict[str, Endpoint]] = {
        f"{PREFIX}{operation.path}": {"POST": partial(inference, operation=operation)}
        for operation in Operation
    }
    for path, endpoint in (
        (f"{PREFIX}/models", models.all),
        (f"{PREFIX}/audio/models", models.audio_models),
        (f"{PREFIX}/audio/voices", models.audio_voices),
        ("/healthz", health.healthz),
        ("/readyz", health.readyz),
        ("/metrics", health.metrics),
    ):
        table[path] = {"GET": endpoint, "HEAD": endpoint}
    return table


class GatewayApp:
    """Dispatches. Nothing that an endpoint raises leaves it as anything but an answer."""

    def __init__(
        self,
        endpoints: Endpoints,
        model_by_id: Callable[[Incoming, str], Awaitable[None]],
        metrics: GatewayMetrics,
    ) -> None:
        self._endpoints = endpoints
        self._model_by_id = model_by_id
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            raise RuntimeError(f"the gateway serves HTTP, not {scope['type']}")
        now_ms = time.time_ns() // 1_000_000
        incoming = Incoming(
            scope,
            receive,
            send,
            request_id=new_id("req", now_ms),
            received_ms=now_ms,
            began=asyncio.get_running_loop().time(),
        )
        try:
            await self._endpoint(incoming)(incoming)
        except ClientError as error:
            if error.status == 401:
                self._unauthorized(incoming, error)
            await incoming.refuse(error, [(b"allow", error.allow.encode())] if error.allow else ())
        except Exception:  # the last line of defence: logged, counted, and answered in our own shape
            log.exception("request_failed", request_id=incoming.request_id, path=incoming.path)
            self._metrics.internal_errors.inc()
            if incoming.answered:
                raise  # the server drops the connection: the client must not take this for a whole answer
            await incoming.refuse(ClientError("internal_error"))

    def _endpoint(self, incoming: Incoming) -> Endpoint:
        """Raises ClientError: unknown_endpoint or method_not_allowed."""
        path = incoming.path
        methods = self._endpoints.get(path)
        if methods is None:
            path = _collapsed(path)
            methods = self._endpoints.get(path)
        if methods is None and path.startswith(_MODEL_PREFIX):
            name = path[len(_MODEL_PREFIX) :]

            async def model_by_id(incoming: Incoming) -> None:
                await self._model_by_id(incoming, name)

            methods = {"GET": model_by_id, "HEAD": model_by_id}
        if methods is None:
            raise ClientError("unknown_endpoint", f"There is no endpoint {path} here.")
        found = methods.get(incoming.method)
        if found is None:
            allowed = ", ".join(method for method in methods if method != "HEAD")
            raise ClientError(
                "method_not_allowed", f"{path} does not take {incoming.method}, but {allowed}.", allow=allowed
            )
        return found

    def _unauthorized(self, incoming: Incoming, error: ClientError) -> None:
        self._metrics.unauthorized.labels(error.code).inc()
        log.info("unauthorized", request_id=incoming.request_id, path=incoming.path, code=error.code)


def build_app(endpoints: Endpoints, models: Models, metrics: GatewayMetrics, settings: Settings) -> Cors:
    """The whole app, CORS included."""
    app = GatewayApp(endpoints, models.one, metrics)
    origins = settings.cors_allowed_origins
    # Unset: any page may try; `Authenticator` wants a key of those of other machines.
    return Cors(app, (ANY,) if origins is None else origins, settings.cors_allowed_headers)


def _collapsed(path: str) -> str:
    """Doubled and trailing slashes removed: chat clients join base URLs and paths carelessly."""
    while "//" in path:
        path = path.replace("//", "/")
    return path.rstrip("/") or "/"
