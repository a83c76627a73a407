"""One call to a provider, on record whatever becomes of it."""

from collections.abc import Callable
from typing import Final

import msgspec

from services.gateway.circuits import Circuits
from services.gateway.exchange import CANCELLED, Exchange
from services.gateway.metrics import GatewayMetrics
from services.gateway.providers.errors import UpstreamError
from services.gateway.trip import Call
from services.gateway.upstream.port import UpstreamClient, UpstreamFault, UpstreamResponse
from services.gateway.upstream_errors import Failure, client_error
from services.gateway.withheld import Withheld
from shared.catalogue.provider_types import ProviderType
from shared.events import Attempt
from shared.telemetry import get_logger

log = get_logger(__name__)

MAX_ERROR_BYTES: Final = 262_144
_MAX_MESSAGE_CHARS: Final = 1000


class Sender:
    """`now` is the loop's clock in seconds."""

    def __init__(
        self,
        clients: Callable[[ProviderType], UpstreamClient],
        circuits: Circuits,
        metrics: GatewayMetrics,
        now: Callable[[], float],
    ) -> None:
        self._clients = clients
        self._circuits = circuits
        self._metrics = metrics
        self._now = now

    async def send(self, exchange: Exchange, call: Call) -> UpstreamResponse:
        """A success, whose holder must close it. Raises UpstreamError or UpstreamFault, still to be laid to somebody."""
        began = self._now()
        route = call.route
        status = 0
        failure: Failure | None = None
        self._circuits.called(route.provider, call.credential, route.model, began)
        try:
            response = await self._answered(call)
            status = response.status
            if status < 300:
                return response
            answer = Withheld(call.prepared.request).from_bytes(await _error_text(response))
            exchange.keep_response(answer, "json")
            if status < 400:
                raise _redirected(call, response)
            raise route.adapter.map_error(status, response.headers, answer)
        except (UpstreamError, UpstreamFault) as error:
            failure = Withheld(call.prepared.request).from_failure(error)
            raise
        finally:
            self._record(exchange, call, began, status, failure)

    def amend(self, exchange: Exchange, call: Call, failure: Failure) -> None:
        """The last attempt, which was this call, failed after all."""
        last = exchange.attempts[-1]
        elapsed_ms = int((self._now() - exchange.incoming.began) * 1000)
        attempt = msgspec.structs.replace(
            last,
            error_code=client_error(failure, call.route.provider.name).code,
            error_message=str(failure)[:_MAX_MESSAGE_CHARS],
            duration_ms=elapsed_ms - last.started_ms,
        )
        exchange.attempts[-1] = attempt
        _warn(exchange, call, attempt)

    async def _answered(self, call: Call) -> UpstreamResponse:
        client, prepared = self._clients(call.route.type), call.prepared
        if prepared.converse is not None:
            return await prepared.converse(client, prepared.request)
        return await client.send(prepared.request)

    def _record(
        self, exchange: Exchange, call: Call, began: float, status: int, failure: Failure | None
    ) -> None:
        route = call.route
        error = client_error(failure, route.provider.name) if failure is not None else None
        attempt = Attempt(
            provider=route.provider.name,
            model=route.model,
            credential=call.credential,
            http_status=status,
            error_code=error.code if error is not None else "" if status else CANCELLED,
            error_message=str(failure)[:_MAX_MESSAGE_CHARS] if failure is not None else "",
            started_ms=int((began - exchange.incoming.began) * 1000),
            duration_ms=int((self._now() - began) * 1000),
            dropped=call.prepared.dropped,
        )
        exchange.attempts.append(attempt)
        self._metrics.attempted(attempt)
        if error is not None:
            _warn(exchange, call, attempt)
        elif not status:
            self._circuits.left(route.provider, call.credential, route.model, self._now())


async def _error_text(response: UpstreamResponse) -> bytes:
    """What an answer says that is no success; empty where that does not arrive, as its status alone says enough."""
    try:
        return await response.read(MAX_ERROR_BYTES)
    except UpstreamFault as fault:
        log.info("error_text_lost", status=response.status, reason=str(fault))
        return b""
    finally:
        response.close()


def _redirected(call: Call, response: UpstreamResponse) -> UpstreamError:
    """Credentials and requests are not taken to where a server points; the log says where that is."""
    log.warning(
        "provider_redirects", provider=call.route.provider.name, location=response.headers.get("location", "")
    )
    return UpstreamError(
        status=502,
        message=f"It redirects ({response.status}) elsewhere, so its address in the configuration is wrong.",
    )


def _warn(exchange: Exchange, call: Call, attempt: Attempt) -> None:
    log.warning(
        "upstream_attempt_failed",
        request_id=exchange.incoming.request_id,
        model=call.route.name,
        credential=call.credential,
        code=attempt.error_code,
        status=attempt.http_status,
        reason=attempt.error_message,
    )
