"""Calls the providers of an exchange, one after the other, until one answers.

What follows a failure depends on whom it is laid to (`upstream_errors.blame`):

    credential, quota   the same model with another credential; without one, the next candidate
    provider            the same model once more after a pause, then the next candidate
    model               the next candidate
    request             nothing: it would fail everywhere

All of it happens before the client has got anything of an answer, within the request's time, and within the
provider's retry budget. Who rests (see `circuits`) is passed over while there is anybody else.
"""

import asyncio
import random
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import replace
from typing import Final

import msgspec

from services.gateway.apart import apart
from services.gateway.catalogue import Route
from services.gateway.circuits import Circuits
from services.gateway.client_watch import ClientWatch
from services.gateway.credentials import Credentials
from services.gateway.errors import ClientError
from services.gateway.exchange import Exchange
from services.gateway.metrics import GatewayMetrics
from services.gateway.providers.body import ParsedBody
from services.gateway.providers.chat.images import Fetched
from services.gateway.providers.errors import BadRequest, Unsupported, UpstreamError
from services.gateway.providers.operations import FREE
from services.gateway.providers.port import NOTHING_FETCHED, Target
from services.gateway.providers.stretches import LARGE_BYTES
from services.gateway.retry_budget import RetryBudget
from services.gateway.sending import Sender
from services.gateway.trip import Call, Opened, Trip
from services.gateway.upstream.port import UpstreamClient, UpstreamFault
from services.gateway.upstream_errors import Failure, blame, client_error, may_repeat, retry_after_of
from shared.catalogue.provider_types import ProviderType
from shared.telemetry import get_logger

log = get_logger(__name__)

Fetch = Callable[[Sequence[str]], Awaitable[Mapping[str, Fetched]]]
"""Fetches what addresses hold. Raises BadRequest."""
MAX_ATTEMPTS: Final = 8
MAX_TOLD: Final = 32
"""Of the parameters that are left out so many are named, in a header and on record: clients may send any number."""
MAX_TOLD_CHARS: Final = 64
MAX_REPEATS: Final = 1
"""Of a call to the same model when only waiting can help."""
BACK_OFF_S: Final = 0.5
"""The pause before a repeat is any time up to this, beyond what the provider asks for: all were told the same."""
LONGEST_WAIT_S: Final = 2.0
"""A provider that asks for a longer pause is not waited for."""
_LEAST_TIME_S: Final = 0.001
LATE_S: Final = 0.5
"""A first call that begins so long after its request arrived has that much less time."""


class Caller:
    """`now` is the loop's clock in seconds; `request_timeout_s` holds for all calls of a request together.

    `permit` raises ClientError when nothing may be fetched for this request, which is not admitted yet.
    """

    def __init__(
        self,
        clients: Callable[[ProviderType], UpstreamClient],
        credentials: Credentials,
        circuits: Circuits,
        metrics: GatewayMetrics,
        now: Callable[[], float],
        request_timeout_s: float,
        fetch: Fetch,
        permit: Callable[[Exchange], None],
        *,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self._sender = Sender(clients, circuits, metrics, now)
        self._credentials = credentials
        self._circuits = circuits
        self._now = now
        self._request_timeout_s = request_timeout_s
        self._fetch = fetch
        self._permit = permit
        self._sleep = sleep
        self._jitter = jitter
        self._budgets: dict[str, RetryBudget] = {}

    async def begin(self, exchange: Exchange, candidates: Sequence[Route], body: ParsedBody) -> Trip:
        """Build the request for the first candidate that may be called. Raises ClientError; nothing was sent.

        If all of them rest, the first is called all the same, unless its provider itself asked for the rest.
        """
        now = self._now()
        began = exchange.incoming.began
        problem: ClientError | None = None
        resting: list[int] = []
        for position, route in enumerate(candidates):
            if self._rests(route, now):
                resting.append(position)
                continue
            try:
                call = await self._build(exchange, route, body, began)
            except ClientError as error:
                problem = problem or error
                continue
            return self._started(exchange, Trip(candidates, body, began, call, position))
        for position in resting:
            route = candidates[position]
            rest_s = self._ordered_rest_s(route, now)
            if rest_s > 0:
                problem = problem or _left_alone(route, rest_s)
                continue
            call = await self._build(exchange, route, body, began)
            return self._started(exchange, Trip(candidates, body, began, call, position))
        raise problem or ClientError("provider_not_configured")

    async def open(self, exchange: Exchange, trip: Trip) -> Opened:
        """Send until a provider answers with a success. Raises ClientError with the last failure."""
        while True:
            call = trip.call
            try:
                response = await self._sender.send(exchange, call)
            except (UpstreamError, UpstreamFault) as failure:
                await self._go_on(exchange, trip, failure)
            else:
                return Opened(call.route, call.prepared, response)

    async def reopen(self, exchange: Exchange, trip: Trip, failure: Failure) -> Opened:
        """The answer failed after its headers, and the client has got nothing of it yet: go on elsewhere.

        Raises ClientError with the failure when there is no elsewhere.
        """
        self._sender.amend(exchange, trip.call, failure)
        await self._go_on(exchange, trip, failure)
        return await self.open(exchange, trip)

    def served(self, exchange: Exchange, trip: Trip) -> None:
        """The answer is what it should be, as far as it has come."""
        call = trip.call
        # A count may have been estimated without asking anybody, and has limits and permissions of its own.
        note = self._circuits.left if exchange.operation in FREE else self._circuits.succeeded
        note(call.route.provider, call.credential, call.route.model, self._now())

    def broke_off(self, exchange: Exchange, trip: Trip, failure: Failure) -> None:
        """The answer ended in a failure that nobody can make good: the client has got some of it, or it was paid for."""
        self._sender.amend(exchange, trip.call, failure)
        self._blame(exchange, trip.call, failure)

    async def _build(
        self,
        exchange: Exchange,
        route: Route,
        body: ParsedBody,
        began: float,
        tried: Collection[str] = (),
    ) -> Call:
        """The request for a candidate whose turn began then. Raises ClientError."""
        avoid = tried if self._circuits.all_closed else {*tried, *self._resting(route, self._now())}
        chosen = self._credentials.choose(route.provider, route.model, avoid)
        try:
            adapter, operation, large = route.adapter, exchange.operation, body.size_bytes > LARGE_BYTES
            wanted = (
                await apart(adapter.needs_bytes, operation, body)
                if large
                else adapter.needs_bytes(operation, body)
            )
            fetched = await self._fetched(exchange, wanted) if wanted else NOTHING_FETCHED
            timeouts = route.timeouts
            if exchange.attempts or self._now() - exchange.incoming.began > LATE_S:
                left_s = self._left_s(exchange, route, began)
                timeouts = replace(timeouts, total=max(_LEAST_TIME_S, left_s))
            target = Target(
                provider=route.provider,
                type=route.type,
                model=route.model,
                credential_name=chosen.name,
                secret=chosen.secret,
                timeouts=timeouts,
                alias=chosen.aliases.get(route.model, ""),
                fetched=fetched,
                passed_headers=exchange.incoming.passed_headers,
            )
            prepared = (
                await apart(adapter.build, operation, target, body)
                if large
                else adapter.build(operation, target, body)
            )
            if prepared.dropped:
                told = tuple(name[:MAX_TOLD_CHARS] for name in prepared.dropped[:MAX_TOLD])
                prepared = msgspec.structs.replace(prepared, dropped=told)
        except BadRequest as error:
            raise ClientError("invalid_request", error.message, param=error.param) from error
        except Unsupported as error:
            raise ClientError(
                "operation_not_supported",
                f"The provider '{route.provider.name}' does not offer this operation.",
            ) from error
        return Call(route, prepared, chosen.name)

    async def _fetched(self, exchange: Exchange, urls: Sequence[str]) -> Mapping[str, Fetched]:
        """What these addresses hold, fetched once for all candidates. Raises BadRequest, ClientError or ClientGone."""
        missing = [url for url in urls if url not in exchange.fetched]
        if missing and exchange.reservation is None:
            self._permit(exchange)
            with ClientWatch(exchange.incoming.receive):
                exchange.fetched.update(await self._fetch(missing))
        elif missing:
            exchange.fetched.update(await self._fetch(missing))
        return exchange.fetched

    def _started(self, exchange: Exchange, trip: Trip) -> Trip:
        """The call of the trip is the first to its candidate."""
        self._budget(trip.call.route).first_call()
        exchange.go_to(trip.call.route, trip.call.prepared.dropped, trip.call.prepared.picture)
        return trip

    async def _go_on(self, exchange: Exchange, trip: Trip, failure: Failure) -> None:
        """Make ready the next call. Raises ClientError with the failure when there is none to make."""
        call, why = trip.call, blame(failure)
        self._blame(exchange, call, failure)
        trip.tried.add(call.credential)
        if why == "request" or len(exchange.attempts) >= MAX_ATTEMPTS:
            raise client_error(failure, call.route.provider.name) from failure
        if not (
            (why != "model" and await self._once_more(exchange, trip, failure))
            or await self._next_candidate(exchange, trip)
        ):
            raise client_error(failure, call.route.provider.name) from failure

    async def _once_more(self, exchange: Exchange, trip: Trip, failure: Failure) -> bool:
        """Whether the same model is called again."""
        route, why, now = trip.call.route, blame(failure), self._now()
        wait_s = 0.0
        if why == "provider" or not self._fresh(route, trip.tried, now):
            repeats = self._may_repeat(trip, failure)
            if not repeats:
                return False
            wait_s = BACK_OFF_S * self._jitter() + (retry_after_of(failure) or 0.0)
            trip.again += 1
        if self._left_s(exchange, route, trip.began) <= wait_s or not self._budget(route).take(now):
            return False
        if wait_s:
            await self._sleep(wait_s)
        try:
            trip.call = await self._build(exchange, route, trip.body, trip.began, trip.tried)
        except ClientError:
            return False
        return True

    def _may_repeat(self, trip: Trip, failure: Failure) -> bool:
        """Whether the same model may be called again although nothing but time will be different."""
        retry_after_s = retry_after_of(failure)
        if trip.again >= MAX_REPEATS or (retry_after_s or 0.0) > LONGEST_WAIT_S:
            return False
        if blame(failure) != "provider":
            # A credential that is refused stays refused; one that is limited says when it is not any more.
            return retry_after_s is not None and trip.position == len(trip.candidates) - 1
        return may_repeat(failure) and self._circuits.admits_provider(trip.call.route.provider, self._now())

    async def _next_candidate(self, exchange: Exchange, trip: Trip) -> bool:
        """Whether there is another candidate that may be called."""
        now = self._now()
        for position in range(trip.position + 1, len(trip.candidates)):
            route = trip.candidates[position]
            if self._rests(route, now) or self._left_s(exchange, route, now) <= 0:
                continue
            try:
                call = await self._build(exchange, route, trip.body, now)
            except ClientError as error:
                log.info("fallback_not_possible", model=route.name, reason=error.message)
                continue
            if call.prepared.streams is not trip.call.prepared.streams:
                continue
            trip.call, trip.position, trip.began = call, position, now
            trip.tried, trip.again = set(), 0
            self._started(exchange, trip)
            return True
        return False

    def _blame(self, exchange: Exchange, call: Call, failure: Failure) -> None:
        route, retry_after_s = call.route, retry_after_of(failure)
        if exchange.operation in FREE:
            # As in `served`: what fails here says nothing of what is counted.
            self._circuits.left(route.provider, call.credential, route.model, self._now())
            return
        self._circuits.failed(
            route.provider, call.credential, route.model, blame(failure), self._now(), retry_after_s
        )

    def _fresh(self, route: Route, tried: Collection[str], now: float) -> bool:
        """Whether there is a credential that was not tried and does not rest."""
        names = self._credentials.names(route.provider, route.model)
        resting = self._resting(route, now)
        return any(name not in tried and name not in resting for name in names)

    def _rests(self, route: Route, now: float) -> bool:
        if self._circuits.all_closed:
            return False
        if not self._circuits.admits_provider(route.provider, now):
            return True
        names = self._credentials.names(route.provider, route.model)
        return 0 < len(names) <= len(self._resting(route, now))

    def _resting(self, route: Route, now: float) -> Collection[str]:
        names = self._credentials.names(route.provider, route.model)
        return self._circuits.resting(route.provider, names, route.model, now)

    def _ordered_rest_s(self, route: Route, now: float) -> float:
        names = self._credentials.names(route.provider, route.model)
        return self._circuits.ordered_rest_s(route.provider, names, route.model, now)

    def _left_s(self, exchange: Exchange, route: Route, began: float) -> float:
        """What is left of the candidate's time, whose turn began then, and of the request's."""
        now = self._now()
        return min(
            route.timeouts.total - (now - began),
            self._request_timeout_s - (now - exchange.incoming.began),
        )

    def _budget(self, route: Route) -> RetryBudget:
        budget = self._budgets.get(route.provider.name)
        if budget is None:
            budget = self._budgets[route.provider.name] = RetryBudget(self._now())
        return budget


def _left_alone(route: Route, rest_s: float) -> ClientError:
    return ClientError(
        "provider_rate_limited",
        f"The provider '{route.provider.name}' asked for a pause. Try again in a moment.",
        retry_after_s=rest_s,
    )
