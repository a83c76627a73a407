"""POST /v1/...: one request to a model. Each that authenticates ends in exactly one record, however it ends."""

import asyncio
from typing import Final

from services.gateway.admission import Admission
from services.gateway.apart import apart
from services.gateway.attribution import Attributor
from services.gateway.auth import Authenticator
from services.gateway.calling import Caller
from services.gateway.catalogue import MAX_NAME_CHARS
from services.gateway.client_watch import ClientWatch
from services.gateway.errors import ClientError
from services.gateway.exchange import Exchange, ResponseKind
from services.gateway.fallbacks import Candidates, take_fallbacks
from services.gateway.incoming import ClientGone, Incoming
from services.gateway.metrics import GatewayMetrics
from services.gateway.providers.body import ParsedBody, parse_json
from services.gateway.providers.errors import BadRequest
from services.gateway.providers.estimate import estimate_part
from services.gateway.providers.inbounds import errors_of, route_for
from services.gateway.providers.multipart import parse_multipart
from services.gateway.providers.operations import Operation
from services.gateway.providers.port import Answer, Relay, RelayOptions
from services.gateway.providers.stretches import LARGE_BYTES
from services.gateway.recording import Recorder
from services.gateway.streaming import DRAIN_TIMEOUT_S, StreamWriter, pump
from services.gateway.trip import Opened, Trip
from services.gateway.upstream.port import UpstreamFault, UpstreamResponse
from services.gateway.upstream_errors import Failure, Told, cause_of, client_error
from services.gateway.withheld import Withheld
from shared.events import Tokens
from shared.settings import Settings
from shared.telemetry import get_logger

log = get_logger(__name__)

OVERTIME_S: Final = 1.0
"""Beyond the time of a request: a provider that is too slow is told from a client that is."""
FAREWELL_S: Final = 1.0
"""For the last words to a client that may not read them."""


class Inference:
    """Serves every operation: they differ in the body's form and in what the adapter makes of it."""

    def __init__(
        self,
        authenticator: Authenticator,
        attributor: Attributor,
        candidates: Candidates,
        admission: Admission,
        caller: Caller,
        recorder: Recorder,
        metrics: GatewayMetrics,
        settings: Settings,
    ) -> None:
        self._authenticator = authenticator
        self._attributor = attributor
        self._candidates = candidates
        self._admission = admission
        self._caller = caller
        self._recorder = recorder
        self._metrics = metrics
        self._body_limit = settings.body_limit
        self._heartbeat_s = settings.heartbeat_interval
        self._longest_s = settings.request_timeout + OVERTIME_S

    async def __call__(self, incoming: Incoming, operation: Operation) -> None:
        incoming.error_body = errors_of(operation).error_body
        key = self._authenticator.authenticate(incoming.headers, incoming.received_ms)
        exchange = Exchange(incoming, key, operation)
        self._metrics.in_flight += 1
        limit = asyncio.timeout_at(incoming.began + self._longest_s)
        try:
            async with limit:
                await self._serve_or_refuse(exchange)
        except ClientGone:
            exchange.fail(ClientError("client_disconnected"), outcome="cancelled")
            exchange.bill_partial()
        except BaseException as error:
            # Time is up, the server stops, or a fault of ours: what was used is still billed.
            await self._cut_short(exchange, _end_of(error, limit))
            if not limit.expired():
                raise
        finally:
            self._metrics.in_flight -= 1
            self._recorder.end(exchange)
            if exchange.writer is not None:
                exchange.writer.abandon()

    async def _serve_or_refuse(self, exchange: Exchange) -> None:
        try:
            await self._serve(exchange)
        except ClientError as error:
            await self._refuse(exchange, error)
        except BadRequest as error:
            # A field is of the wrong type. Where that shows only in the answer, a provider has worked for it.
            exchange.bill_partial()
            code = "model_required" if error.param == "model" else "invalid_request"
            await self._refuse(exchange, ClientError(code, error.message, param=error.param))

    async def _refuse(self, exchange: Exchange, error: ClientError) -> None:
        exchange.fail(error)
        self._recorder.end(exchange)
        await self._tell(exchange, error)

    async def _cut_short(self, exchange: Exchange, error: ClientError) -> None:
        if exchange.recorded:
            return  # whatever happens now, the answer was whole
        exchange.fail(error)
        exchange.bill_partial()
        self._recorder.end(exchange)
        if error.code == "internal_error" and not exchange.incoming.answered:
            return  # the fault goes on to where it is logged and answered
        try:
            async with asyncio.timeout(FAREWELL_S):
                await self._tell(exchange, error)
        except TimeoutError:
            log.info("nobody_reads_the_answer", request_id=exchange.incoming.request_id)

    async def _tell(self, exchange: Exchange, error: ClientError) -> None:
        """As an answer, or as the last events of one that has begun. It is on record already."""
        writer = exchange.writer
        if writer is not None:
            await writer.quiet()
        if writer is None or not writer.started:
            await exchange.incoming.refuse(error, exchange.client_headers)
        else:
            await writer.close(errors_of(exchange.operation).error_event(error))

    async def _serve(self, exchange: Exchange) -> None:
        """Raises ClientError, BadRequest or ClientGone."""
        incoming, key = exchange.incoming, exchange.key
        body, fallbacks = await self._read(exchange)
        found = self._candidates.of(key, body.model, fallbacks)
        exchange.candidates = [route_for(route, exchange.operation, body) for route in found]
        trip = await self._caller.begin(exchange, exchange.candidates, body)
        self._admission.admit(exchange, body, incoming.received_ms)
        if trip.call.prepared.streams:
            writer = StreamWriter(incoming, exchange.client_headers, self._heartbeat_s)
            exchange.writer = writer
            await self._stream(exchange, body, trip, writer)
        else:
            await self._whole(exchange, body, trip)

    async def _read(self, exchange: Exchange) -> tuple[ParsedBody, tuple[str, ...] | None]:
        """The body, and the fallbacks that stood in it. Raises BadRequest, ClientError or ClientGone."""
        incoming = exchange.incoming
        try:
            exchange.raw_body = await incoming.read_body(self._body_limit)
            large = len(exchange.raw_body) > LARGE_BYTES
            body = await apart(_parsed, exchange) if large else _parsed(exchange)
            exchange.body = body
            if large:
                exchange.logged_body = await apart(self._recorder.request_body, exchange)
            exchange.requested_model = body.model[:MAX_NAME_CHARS]
            exchange.stream = body.stream
            return take_fallbacks(body)
        except BadRequest as error:
            if exchange.body is None and error.param is None:
                raise incoming.unreadable(error, wants_json=not exchange.operation.multipart) from error
            raise
        finally:
            exchange.attribution = self._attributor.attribute(exchange.key, incoming.headers, exchange.body)

    async def _whole(self, exchange: Exchange, body: ParsedBody, trip: Trip) -> None:
        """An answer that is read to its end before the client gets any of it."""
        incoming = exchange.incoming
        with ClientWatch(incoming.receive):
            answer = await self._answer(exchange, body, trip)
        exchange.finish_reason = answer.finish_reason
        exchange.bill(answer.usage)
        shown = exchange.shown_cost(answer.usage)
        sent = answer.body if shown is None else answer.with_cost(shown)
        if shown is not None:
            exchange.client_headers.append((b"x-finops-cost", shown.encode()))
        self._recorder.end(exchange)
        content_type = answer.content_type.encode("latin-1", "replace")
        await incoming.answer(200, sent, content_type=content_type, headers=exchange.client_headers)

    async def _answer(self, exchange: Exchange, body: ParsedBody, trip: Trip) -> Answer:
        """The first answer without an error in it. Raises ClientError with the last failure."""
        opened = await self._caller.open(exchange, trip)
        while True:
            response = opened.response
            try:
                raw = await response.read(self._body_limit)
            except UpstreamFault as fault:
                failure: Failure = Withheld(opened.prepared.request).from_failure(fault)
                if fault.received:
                    # As of a stream that breaks off. A whole answer from elsewhere takes the place of this one.
                    exchange.keep_response(fault.received, _kind_of(response.headers.get("content-type", "")))
                    exchange.bill(estimate_part(exchange.operation, body, fault.received))
            else:
                if len(raw) > LARGE_BYTES:
                    answer = await apart(_read, exchange, body, opened, raw)
                else:
                    answer = _read(exchange, body, opened, raw)
                exchange.keep_response(answer.body, _kind_of(answer.content_type))
                if answer.error is None:
                    self._caller.served(exchange, trip)
                    return answer
                failure = answer.error
                if _was_paid_for(answer):
                    exchange.bill(answer.usage)
                    self._caller.broke_off(exchange, trip, failure)
                    raise client_error(failure, opened.route.provider.name)
            finally:
                response.close()
            opened = await self._caller.reopen(exchange, trip, failure)

    async def _stream(self, exchange: Exchange, body: ParsedBody, trip: Trip, writer: StreamWriter) -> None:
        """An answer that is passed on event by event.

        Raises ClientError when every provider fails before the first event of its answer.
        """
        options = self._relay_options(exchange, body, trip)
        response: UpstreamResponse | None = None
        try:
            with ClientWatch(exchange.incoming.receive):
                opened = await self._caller.open(exchange, trip)
                while True:
                    response = opened.response
                    adapter = opened.route.adapter
                    relay = adapter.relay(exchange.operation, options)
                    exchange.relay = relay
                    try:
                        last = await pump(response, relay, writer)
                    except UpstreamFault as fault:
                        last = relay.fail(_told(fault, trip))
                    if relay.error is None:
                        break
                    withheld = Withheld(opened.prepared.request)
                    last = withheld.from_bytes(last)
                    if not exchange.drop_stream(relay):
                        break
                    exchange.response = withheld.from_bytes(exchange.response)
                    response.close()
                    failure = cause_of(_told(relay.error, trip))
                    opened = await self._caller.reopen(exchange, trip, failure)
            self._end_stream(exchange, trip, relay, writer)
            await writer.close(last)
            await response.drain(DRAIN_TIMEOUT_S)
        finally:
            if response is not None:
                response.close()

    def _end_stream(self, exchange: Exchange, trip: Trip, relay: Relay, writer: StreamWriter) -> None:
        """The end goes on record before the client is told. Raises ClientError when nothing of an answer came."""
        exchange.take_stream(relay)
        if relay.error is None:
            self._caller.served(exchange, trip)
        else:
            told = _told(relay.error, trip)
            exchange.response = Withheld(trip.call.prepared.request).from_bytes(exchange.response)
            self._caller.broke_off(exchange, trip, told.failure)
            if not relay.started:
                raise told.error
            exchange.fail(told.error, within_answer=True)
        exchange.first_byte_ms = self._first_byte_ms(exchange, writer)
        self._recorder.end(exchange)

    def _first_byte_ms(self, exchange: Exchange, writer: StreamWriter) -> int:
        if writer.first_event_at is None:
            return self._recorder.elapsed_ms(exchange)
        return int((writer.first_event_at - exchange.incoming.began) * 1000)

    def _relay_options(self, exchange: Exchange, body: ParsedBody, trip: Trip) -> RelayOptions:
        reservation = exchange.reservation
        return RelayOptions(
            send_usage=body.include_usage or exchange.key.always_send_usage,
            cost_of=exchange.shown_cost,
            prompt_estimate=reservation.prompt.prompt if reservation is not None else 0,
            transcript_limit=self._recorder.transcript_limit,
            model=body.model,
            tell=lambda error: _told(error, trip),
        )


def _end_of(error: BaseException, limit: asyncio.Timeout) -> ClientError:
    if limit.expired():
        return ClientError("request_timeout")
    return ClientError("shutting_down" if isinstance(error, asyncio.CancelledError) else "internal_error")


def _parsed(exchange: Exchange) -> ParsedBody:
    """Raises BadRequest."""
    if exchange.operation.multipart:
        return parse_multipart(exchange.raw_body, exchange.incoming.content_type)
    return parse_json(exchange.raw_body)


def _told(failure: Failure, trip: Trip) -> Told:
    """A failure of the trip's call, as the client and the record are told it."""
    if isinstance(failure, Told):
        return failure
    call = trip.call
    return Told(Withheld(call.prepared.request).from_failure(failure), call.route.provider.name)


def _read(exchange: Exchange, body: ParsedBody, opened: Opened, raw: bytes) -> Answer:
    """The answer. An error in it says nothing of the credential that it was asked for with."""
    read, headers = opened.route.adapter.read_answer, opened.response.headers
    answer = read(exchange.operation, body, headers, raw)
    if answer.error is not None:
        withheld = Withheld(opened.prepared.request)
        answer = read(exchange.operation, body, headers, withheld.from_bytes(raw))
        if answer.error is not None:
            withheld.from_failure(answer.error)
    return answer


def _was_paid_for(answer: Answer) -> bool:
    """The provider says what the answer cost although it is an error: asking again would cost it twice."""
    return not answer.usage.estimated and answer.usage.tokens != Tokens()


def _kind_of(content_type: str) -> ResponseKind:
    if "json" in content_type:
        return "json"
    return "text" if content_type.startswith("text/") else "binary"
