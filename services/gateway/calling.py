"""Calls the provider of an exchange. One more attempt, with another credential if there is one, before anything of
an answer was seen; rotation over credentials and fallback to other models attach to the loop in `open`.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import Final

import msgspec

from services.gateway.catalogue import Route
from services.gateway.credentials import Credentials
from services.gateway.errors import ClientError
from services.gateway.exchange import Exchange
from services.gateway.metrics import GatewayMetrics
from services.gateway.providers.body import ParsedBody
from services.gateway.providers.errors import BadRequest, Unsupported, UpstreamError
from services.gateway.providers.port import Prepared, Target
from services.gateway.upstream.port import UpstreamClient, UpstreamFault, UpstreamResponse
from services.gateway.upstream_errors import from_fault, from_upstream_error, may_retry
from shared.catalogue.provider_types import ProviderType
from shared.events import Attempt
from shared.telemetry import get_logger

log = get_logger(__name__)

MAX_ATTEMPTS: Final = 2
MAX_ERROR_BYTES: Final = 262_144
_MAX_MESSAGE_CHARS: Final = 1000


class Call(msgspec.Struct, frozen=True):
    """A request built for one credential."""

    prepared: Prepared
    credential: str


class Opened(msgspec.Struct, frozen=True):
    """A success whose headers have arrived. The holder must close the response."""

    prepared: Prepared
    response: UpstreamResponse


class Caller:
    """`now` is the loop's clock in seconds."""

    def __init__(
        self,
        clients: Callable[[ProviderType], UpstreamClient],
        credentials: Credentials,
        metrics: GatewayMetrics,
        now: Callable[[], float],
    ) -> None:
        self._clients = clients
        self._credentials = credentials
        self._metrics = metrics
        self._now = now

    def prepare(
        self, exchange: Exchange, route: Route, body: ParsedBody, tried: frozenset[str] = frozenset()
    ) -> Call:
        """Build the upstream request. Raises ClientError; nothing was sent."""
        chosen = self._credentials.choose(route.provider, route.model, tried)
        timeouts = route.timeouts
        spent_s = self._now() - exchange.incoming.began
        if tried:
            timeouts = replace(timeouts, total=max(0.001, timeouts.total - spent_s))
        target = Target(route.provider, route.type, route.model, chosen.name, chosen.secret, timeouts)
        try:
            prepared = route.adapter.build(exchange.operation, target, body)
        except BadRequest as error:
            raise ClientError("invalid_request", error.message, param=error.param) from error
        except Unsupported as error:
            raise ClientError(
                "operation_not_supported",
                f"The provider '{route.provider.name}' does not offer this operation.",
            ) from error
        return Call(prepared, chosen.name)

    async def open(self, exchange: Exchange, route: Route, body: ParsedBody, first: Call) -> Opened:
        """Send until a provider answers with a success. Raises ClientError with the last failure."""
        call = first
        tried = frozenset[str]()
        while True:
            try:
                response = await self._send(exchange, route, call)
            except (UpstreamError, UpstreamFault) as failure:
                tried |= {call.credential}
                if not self._another(exchange, route, failure, tried):
                    raise client_error(failure, route) from failure
                call = self.prepare(exchange, route, body, tried)
            else:
                return Opened(call.prepared, response)

    def _another(
        self, exchange: Exchange, route: Route, failure: UpstreamError | UpstreamFault, tried: frozenset[str]
    ) -> bool:
        if len(exchange.attempts) >= MAX_ATTEMPTS:
            return False
        other = self._credentials.count(route.provider, route.model) > len(tried)
        left_s = route.timeouts.total - (self._now() - exchange.incoming.began)
        return left_s > 0 and may_retry(failure, other_credential=other)

    async def _send(self, exchange: Exchange, route: Route, call: Call) -> UpstreamResponse:
        """One attempt, recorded whatever happens. Raises UpstreamError or UpstreamFault."""
        began = self._now()
        status = 0
        failure: UpstreamError | UpstreamFault | None = None
        try:
            response = await self._clients(route.type).send(call.prepared.request)
            status = response.status
            if status < 400:
                return response
            try:
                answer = await response.read(MAX_ERROR_BYTES)
            finally:
                response.close()
            failure = route.adapter.map_error(status, response.headers, answer)
            exchange.keep_response(answer, "json")
            raise failure
        except UpstreamFault as fault:
            failure = fault
            raise
        finally:
            self._record(exchange, route, call, began, status, failure)

    def _record(
        self,
        exchange: Exchange,
        route: Route,
        call: Call,
        began: float,
        status: int,
        failure: UpstreamError | UpstreamFault | None,
    ) -> None:
        error = client_error(failure, route) if failure is not None else None
        attempt = Attempt(
            provider=route.provider.name,
            model=route.model,
            credential=call.credential,
            http_status=status,
            error_code=error.code if error is not None else "" if status else "cancelled",
            error_message=str(failure)[:_MAX_MESSAGE_CHARS] if failure is not None else "",
            started_ms=int((began - exchange.incoming.began) * 1000),
            duration_ms=int((self._now() - began) * 1000),
        )
        exchange.attempts.append(attempt)
        self._metrics.attempted(attempt)
        if error is not None:
            log.warning(
                "upstream_attempt_failed",
                request_id=exchange.incoming.request_id,
                model=route.name,
                credential=call.credential,
                code=error.code,
                status=status,
                reason=attempt.error_message,
            )


def client_error(failure: UpstreamError | UpstreamFault, route: Route) -> ClientError:
    """The failure as the client is told."""
    if isinstance(failure, UpstreamError):
        return from_upstream_error(failure, route.provider.name)
    return from_fault(failure, route.provider.name)
