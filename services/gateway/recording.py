"""Turns an exchange into events and its money into counters: the start before the provider is called, the end once.

Both are synchronous, so a cancelled request or a stopping server cannot come between. The spool may be full, or
an event too large: then the key's policy and a loud log line take over, never silence.
"""

from collections.abc import Callable
from typing import Final, Protocol

import msgspec

from services.gateway.errors import ClientError
from services.gateway.exchange import Exchange, Reservation
from services.gateway.metrics import GatewayMetrics
from services.gateway.providers.multipart import MultipartBody
from services.gateway.providers.usage import NO_PICTURE
from services.gateway.redaction import logged_any, logged_json, logged_size, logged_text
from shared.errors import RecordTooLarge, SpoolFull
from shared.eventlog.outbox import Position
from shared.events import AnyEvent, RequestLogged, RequestStarted, Tokens, UsageRecorded
from shared.governance.exposure import Exposure
from shared.governance.reservation import CompletionEstimates
from shared.governance.spend_view import SpendView
from shared.settings import Settings
from shared.telemetry import get_logger
from shared.topics import REQUESTS, USAGE

log = get_logger(__name__)

_NO_TOKENS: Final = Tokens()
_NULL: Final = msgspec.Raw(b"null")
_MAX_ERROR_CHARS: Final = 2000


class EventSink(Protocol):
    """What the recorder needs of the outbox."""

    def put(self, *items: tuple[str, str, AnyEvent], is_end: bool = False) -> tuple[Position, ...]:
        """Keep all of them or none; there is room longer for an end whose start was kept. Raises SpoolFull or
        RecordTooLarge."""
        ...


class Recorder:
    """One per gateway. `clock_ms` is Unix time, `now` the loop's clock in seconds."""

    def __init__(
        self,
        events: EventSink,
        view: SpendView,
        exposure: Exposure,
        estimates: CompletionEstimates,
        metrics: GatewayMetrics,
        settings: Settings,
        gateway_id: str,
        now: Callable[[], float],
    ) -> None:
        self._events = events
        self._view = view
        self._exposure = exposure
        self._estimates = estimates
        self._metrics = metrics
        self._keep_bodies = settings.log_bodies
        self._body_limit = settings.log_body_limit
        self._lifetime_ms = int((settings.request_timeout + settings.abandon_grace) * 1000)
        self._gateway_id = gateway_id
        self._now = now

    @property
    def transcript_limit(self) -> int:
        """Bytes of a stream worth keeping."""
        return self._body_limit if self._keep_bodies else 0

    def elapsed_ms(self, exchange: Exchange) -> int:
        return int((self._now() - exchange.incoming.began) * 1000)

    def start(self, exchange: Exchange, reservation: Reservation) -> None:
        """Put the start on the log and hold the money. Raises ClientError `events_unavailable` if the key says so."""
        incoming, key = exchange.incoming, exchange.key
        event = RequestStarted(
            request_id=incoming.request_id,
            at_ms=incoming.received_ms,
            deadline_ms=incoming.received_ms + self._lifetime_ms,
            gateway_id=self._gateway_id,
            virtual_key_id=key.id,
            virtual_key_name=key.name,
            endpoint=exchange.operation.value,
            provider=exchange.route.provider.name if exchange.route else "",
            model=exchange.route.model if exchange.route else "",
            stream=exchange.stream,
            end_user=exchange.attribution.end_user,
            reserved_nanos=reservation.nanos,
            charges=tuple(reservation.charges),
        )
        try:
            position = self._events.put((USAGE, key.id, event))[0]
        except SpoolFull as error:
            self._dropped(exchange, "spool_full", str(error))
            if key.on_unavailable == "deny":
                raise ClientError("events_unavailable", retry_after_s=5) from error
            self._hold(exchange, reservation)
            return
        self._hold(exchange, reservation)
        reservation.recorded = True
        self._view.reserve(position.partition, position.seq, reservation.charges, reservation.nanos)

    def _hold(self, exchange: Exchange, reservation: Reservation) -> None:
        exchange.reservation = reservation
        self._exposure.hold(reservation.charges, reservation.exposed_nanos)

    def end(self, exchange: Exchange) -> None:
        """Settle and put the end on the log. Only the first call for an exchange counts."""
        if exchange.recorded:
            return
        exchange.recorded = True
        if exchange.reservation is not None:
            self._exposure.release(exchange.reservation.charges, exchange.reservation.exposed_nanos)
        latency_ms = self.elapsed_ms(exchange)
        logged = self._logged(exchange, latency_ms)
        try:
            self._put_end(exchange, logged)
        except RecordTooLarge as error:
            log.warning("log_entry_too_large", request_id=logged.request_id, reason=str(error))
            self._put_end(exchange, msgspec.structs.replace(logged, request=_NULL, response=_NULL))
        self._count(exchange, logged)

    def _put_end(self, exchange: Exchange, logged: RequestLogged) -> None:
        record = (REQUESTS, logged.request_id, logged)
        reservation = exchange.reservation
        try:
            if reservation is None:
                self._events.put(record)
                return
            usage = self._usage(exchange, reservation, logged)
            end = (USAGE, exchange.key.id, usage)
            position = self._events.put(end, record, is_end=reservation.recorded)[0]
        except SpoolFull as error:
            self._dropped(exchange, "spool_full", str(error))
            return
        self._view.settle(
            position.partition,
            position.seq,
            reservation.charges,
            usage.cost_nanos,
            usage.reserved_nanos,
            tokens=usage.tokens.prompt + usage.tokens.completion,
            unpriced=usage.cost_basis == "unpriced",
            request_id=usage.request_id,
        )

    def _usage(self, exchange: Exchange, reservation: Reservation, logged: RequestLogged) -> UsageRecorded:
        return UsageRecorded(
            request_id=logged.request_id,
            started_at_ms=logged.started_at_ms,
            at_ms=logged.ended_at_ms,
            gateway_id=self._gateway_id,
            virtual_key_id=logged.virtual_key_id,
            virtual_key_name=logged.virtual_key_name,
            endpoint=logged.endpoint,
            provider=logged.provider,
            model=logged.model,
            stream=logged.stream,
            end_user=logged.end_user,
            outcome=logged.outcome,
            http_status=logged.http_status,
            error_code=logged.error_code,
            tokens=logged.tokens,
            cost_nanos=logged.cost_nanos,
            cost_basis=logged.cost_basis,
            price_version=logged.price_version,
            service_tier=logged.service_tier,
            image_quality=logged.image_quality,
            image_size=logged.image_size,
            reserved_nanos=reservation.nanos if reservation.recorded else 0,
            charges=tuple(reservation.charges),
            latency_ms=logged.latency_ms,
            ttft_ms=logged.ttft_ms,
        )

    def _logged(self, exchange: Exchange, latency_ms: int) -> RequestLogged:
        incoming, route, who, error = exchange.incoming, exchange.route, exchange.attribution, exchange.error
        picture = exchange.drawn(exchange.usage) if exchange.usage is not None else NO_PICTURE
        return RequestLogged(
            request_id=incoming.request_id,
            started_at_ms=incoming.received_ms,
            ended_at_ms=incoming.received_ms + latency_ms,
            gateway_id=self._gateway_id,
            virtual_key_id=exchange.key.id,
            virtual_key_name=exchange.key.name,
            endpoint=exchange.operation.value,
            provider=route.provider.name if route is not None else "",
            model=route.model if route is not None else "",
            requested_model=exchange.requested_model,
            stream=exchange.stream,
            end_user=who.end_user,
            chat_id=who.chat_id,
            task=who.task,
            client=who.client,
            outcome=exchange.outcome,
            http_status=exchange.http_status,
            error_code=error.code if error is not None else "",
            error_message=error.message[:_MAX_ERROR_CHARS] if error is not None else "",
            finish_reason=exchange.finish_reason,
            tokens=exchange.usage.tokens if exchange.usage is not None else _NO_TOKENS,
            cost_nanos=exchange.cost.nanos,
            cost_basis=exchange.cost.basis,
            price_version=route.prices.version if route is not None and exchange.usage is not None else "",
            service_tier=exchange.usage.service_tier if exchange.usage is not None else "",
            image_quality=picture.quality,
            image_size=picture.size,
            latency_ms=latency_ms,
            ttft_ms=exchange.first_byte_ms,
            attempts=tuple(exchange.attempts),
            request=self.request_body(exchange) if exchange.logged_body is None else exchange.logged_body,
            request_bytes=len(exchange.raw_body),
            response=self._response_body(exchange),
            response_kind=exchange.response_kind,
            response_bytes=exchange.response_bytes,
        )

    def request_body(self, exchange: Exchange) -> msgspec.Raw:
        """What the log keeps of the request. May be called anywhere, and ahead of the end (`Exchange.logged_body`)."""
        body = exchange.body
        if not self._keep_bodies:
            return _NULL
        if body is None:
            return logged_any(exchange.raw_body, self._body_limit)
        if isinstance(body, MultipartBody):
            return logged_json(msgspec.json.encode(body.summary()), self._body_limit)
        return logged_json(exchange.raw_body, self._body_limit)

    def _response_body(self, exchange: Exchange) -> msgspec.Raw:
        if not self._keep_bodies or exchange.response_kind == "none":
            return _NULL
        match exchange.response_kind:
            case "json":
                return logged_any(exchange.response, self._body_limit)
            case "binary":
                return logged_size(exchange.response_bytes)
            case _:
                return logged_text(exchange.response, self._body_limit)

    def _count(self, exchange: Exchange, logged: RequestLogged) -> None:
        if exchange.outcome == "success" and logged.tokens.completion and exchange.body is not None:
            of_each = -(-logged.tokens.completion // exchange.body.n)
            self._estimates.observe(logged.virtual_key_id, _name(exchange), of_each)
        if logged.cost_basis == "unpriced":
            self._metrics.unpriced.inc()
        self._metrics.ended(
            logged.endpoint,
            logged.provider,
            logged.model,
            outcome=logged.outcome,
            code=logged.error_code,
            latency_ms=logged.latency_ms,
            first_byte_ms=logged.ttft_ms,
            tokens=logged.tokens,
            cost_nanos=logged.cost_nanos,
        )

    def _dropped(self, exchange: Exchange, reason: str, message: str) -> None:
        """An event is lost: everything needed to repair the books by hand goes into this line."""
        self._metrics.dropped_events.labels(reason).inc()
        log.error(
            "event_dropped",
            reason=reason,
            detail=message,
            request_id=exchange.incoming.request_id,
            virtual_key_id=exchange.key.id,
            model=_name(exchange),
            outcome=exchange.outcome if exchange.recorded else "started",
            cost_nanos=exchange.cost.nanos,
            cost_basis=exchange.cost.basis,
        )


def _name(exchange: Exchange) -> str:
    return exchange.route.name if exchange.route is not None else exchange.requested_model
