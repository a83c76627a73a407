"""POST /v1/...: one request to a model. Each that authenticates ends in exactly one record, however it ends."""

import asyncio

from services.gateway.admission import Admission
from services.gateway.attribution import attribute
from services.gateway.auth import Authenticator
from services.gateway.calling import Call, Caller, client_error
from services.gateway.catalogue import MAX_NAME_CHARS, Catalogue, Route
from services.gateway.client_watch import ClientWatch
from services.gateway.errors import ClientError
from services.gateway.exchange import Exchange, ResponseKind
from services.gateway.incoming import ClientGone, Header, Incoming
from services.gateway.metrics import GatewayMetrics
from services.gateway.providers.body import ParsedBody, parse_json
from services.gateway.providers.errors import BadRequest
from services.gateway.providers.multipart import parse_multipart
from services.gateway.providers.operations import Operation
from services.gateway.providers.port import RelayOptions
from services.gateway.recording import Recorder
from services.gateway.streaming import DRAIN_TIMEOUT_S, StreamWriter, error_event, pump
from services.gateway.upstream.port import UpstreamFault
from services.gateway.upstream_errors import as_upstream_error, from_upstream_error
from shared.settings import Settings
from shared.telemetry import get_logger

log = get_logger(__name__)


class Inference:
    """Serves every operation: they differ in the body's form and in what the adapter makes of it."""

    def __init__(
        self,
        authenticator: Authenticator,
        catalogue: Catalogue,
        admission: Admission,
        caller: Caller,
        recorder: Recorder,
        metrics: GatewayMetrics,
        settings: Settings,
    ) -> None:
        self._authenticator = authenticator
        self._catalogue = catalogue
        self._admission = admission
        self._caller = caller
        self._recorder = recorder
        self._metrics = metrics
        self._body_limit = settings.body_limit
        self._heartbeat_s = settings.heartbeat_interval

    async def __call__(self, incoming: Incoming, operation: Operation) -> None:
        key = self._authenticator.authenticate(incoming.headers, incoming.received_ms)
        exchange = Exchange(incoming, key, operation)
        self._metrics.in_flight += 1
        try:
            await self._serve(exchange)
        except ClientError as error:
            exchange.fail(error)
            self._recorder.end(exchange)
            await incoming.refuse(error, exchange.client_headers)
        except ClientGone:
            exchange.fail(ClientError("client_disconnected"), outcome="cancelled")
            exchange.bill_partial()
        except BaseException as error:
            # The server stops, or a fault of ours: what was used is still billed, then the caller decides.
            stopping = isinstance(error, asyncio.CancelledError)
            exchange.fail(ClientError("shutting_down" if stopping else "internal_error"))
            exchange.bill_partial()
            raise
        finally:
            self._metrics.in_flight -= 1
            self._recorder.end(exchange)

    async def _serve(self, exchange: Exchange) -> None:
        incoming, key = exchange.incoming, exchange.key
        body = await self._read(exchange)
        route = self._catalogue.resolve(key, body.model)
        exchange.route = route
        exchange.price = route.price_at(incoming.received_ms)
        exchange.client_headers += _served_by(route)
        call = self._caller.prepare(exchange, route, body)
        if call.prepared.dropped:
            dropped = ", ".join(name for name in call.prepared.dropped if name.isprintable())
            exchange.client_headers.append((b"x-finops-dropped-params", dropped.encode("ascii", "replace")))
        self._admission.admit(exchange, body, incoming.received_ms)
        if call.prepared.streams:
            await self._stream(exchange, route, body, call)
        else:
            await self._whole(exchange, route, body, call)

    async def _read(self, exchange: Exchange) -> ParsedBody:
        incoming = exchange.incoming
        try:
            exchange.raw_body = await incoming.read_body(self._body_limit)
            if exchange.operation.multipart:
                body: ParsedBody = parse_multipart(exchange.raw_body, incoming.content_type)
            else:
                body = parse_json(exchange.raw_body)
            exchange.body = body
            exchange.requested_model = body.model[:MAX_NAME_CHARS]
            exchange.stream = body.stream
            return body
        except BadRequest as error:
            raise _bad_request(error) from error
        finally:
            exchange.attribution = attribute(exchange.key, incoming.headers, exchange.body)

    async def _whole(self, exchange: Exchange, route: Route, body: ParsedBody, call: Call) -> None:
        """An answer that is read to its end before the client gets any of it."""
        incoming = exchange.incoming
        with ClientWatch(incoming.receive):
            opened = await self._caller.open(exchange, route, body, call)
            try:
                raw = await opened.response.read(self._body_limit)
            except UpstreamFault as fault:
                raise client_error(fault, route) from fault
            finally:
                opened.response.close()
        answer = route.adapter.read_answer(exchange.operation, body, opened.response.headers, raw)
        exchange.keep_response(answer.body, _kind_of(answer.content_type))
        if answer.error is not None:
            raise from_upstream_error(answer.error, route.provider.name)
        exchange.finish_reason = answer.finish_reason
        exchange.bill(answer.usage)
        shown = exchange.shown_cost(answer.usage)
        sent = answer.body if shown is None else answer.with_cost(shown)
        if shown is not None:
            exchange.client_headers.append((b"x-finops-cost", shown.encode()))
        self._recorder.end(exchange)
        content_type = answer.content_type.encode("latin-1", "replace")
        await incoming.answer(200, sent, content_type=content_type, headers=exchange.client_headers)

    async def _stream(self, exchange: Exchange, route: Route, body: ParsedBody, call: Call) -> None:
        """An answer that is passed on event by event."""
        writer = StreamWriter(exchange.incoming, exchange.client_headers, self._heartbeat_s)
        try:
            await self._relay(exchange, route, body, call, writer)
        except ClientError as error:
            await writer.quiet()
            if not writer.started:
                raise
            exchange.fail(error)
            self._recorder.end(exchange)
            await writer.close(error_event(error))
        finally:
            writer.abandon()

    async def _relay(
        self, exchange: Exchange, route: Route, body: ParsedBody, call: Call, writer: StreamWriter
    ) -> None:
        """Raises ClientError when the provider fails before the first event of its answer."""
        response = None
        try:
            with ClientWatch(exchange.incoming.receive):
                opened = await self._caller.open(exchange, route, body, call)
                response = opened.response
                relay = exchange.relay = route.adapter.relay(
                    exchange.operation, self._relay_options(exchange, body)
                )
                try:
                    last = await pump(response, relay, writer)
                except UpstreamFault as fault:
                    last = relay.fail(as_upstream_error(client_error(fault, route)))
            self._end_stream(exchange, route, writer)
            await writer.close(last)
            await response.drain(DRAIN_TIMEOUT_S)
        finally:
            if response is not None:
                response.close()

    def _end_stream(self, exchange: Exchange, route: Route, writer: StreamWriter) -> None:
        """The end goes on record before the client is told. Raises ClientError when nothing of an answer came."""
        relay = exchange.relay
        if relay is None:
            return
        exchange.take_stream(relay)
        if relay.error is not None:
            error = from_upstream_error(relay.error, route.provider.name)
            if not relay.started:
                if exchange.usage is not None and exchange.usage.estimated:
                    exchange.bill_nothing()
                raise error
            exchange.fail(error)
        exchange.first_byte_ms = self._first_byte_ms(exchange, writer)
        self._recorder.end(exchange)

    def _first_byte_ms(self, exchange: Exchange, writer: StreamWriter) -> int:
        if writer.first_event_at is None:
            return self._recorder.elapsed_ms(exchange)
        return int((writer.first_event_at - exchange.incoming.began) * 1000)

    def _relay_options(self, exchange: Exchange, body: ParsedBody) -> RelayOptions:
        reservation = exchange.reservation
        return RelayOptions(
            send_usage=body.include_usage or exchange.key.always_send_usage,
            cost_of=exchange.shown_cost,
            prompt_estimate=reservation.prompt.prompt if reservation is not None else 0,
            transcript_limit=self._recorder.transcript_limit,
        )


def _served_by(route: Route) -> list[Header]:
    return [
        (b"x-finops-provider", route.provider.name.encode("ascii", "replace")),
        (b"x-finops-model", route.model.encode("ascii", "replace")),
    ]


def _bad_request(error: BadRequest) -> ClientError:
    code = "model_required" if error.param == "model" else "invalid_request"
    return ClientError(code, error.message, param=error.param)


def _kind_of(content_type: str) -> ResponseKind:
    if "json" in content_type:
        return "json"
    return "text" if content_type.startswith("text/") else "binary"
