"""Whether a request may be sent, and the money held for it. Memory only; nothing else runs between check and hold."""

from typing import Final

import msgspec

from services.gateway.catalogue import Route
from services.gateway.errors import ClientError
from services.gateway.exchange import Exchange, Reservation
from services.gateway.metrics import GatewayMetrics
from services.gateway.providers.body import JsonBody, ParsedBody
from services.gateway.providers.estimate import estimate_prompt, spoken_tokens
from services.gateway.providers.operations import FREE, PICTURES, Operation
from services.gateway.recording import Recorder
from shared.events import Charge, Tokens
from shared.governance.admission import Refused, decide
from shared.governance.exposure import Exposure
from shared.governance.model import VirtualKey
from shared.governance.reservation import MOST_TOKENS, CompletionEstimates
from shared.governance.spend_view import SpendView
from shared.pricing.cost import cost_nanos
from shared.pricing.model import ModelPrice, Picture

_COMPLETING: Final = frozenset(
    {Operation.CHAT, Operation.COMPLETIONS, Operation.RESPONSES, Operation.MESSAGES} | PICTURES
)
"""What is answered with tokens that some models are priced by."""
_UNHEARD_OF: Final = Picture("?", "?")
"""On no list, so priced as the dearest: of what another candidate would be asked to draw nobody knows yet."""


class Admission:
    """`stale_after_s`: counters older than this are unverifiable; then `on_unavailable` of the key decides."""

    def __init__(
        self,
        view: SpendView,
        exposure: Exposure,
        estimates: CompletionEstimates,
        recorder: Recorder,
        metrics: GatewayMetrics,
        stale_after_s: float,
    ) -> None:
        self._view = view
        self._exposure = exposure
        self._estimates = estimates
        self._recorder = recorder
        self._metrics = metrics
        self._stale_after_ms = int(stale_after_s * 1000)

    def admit(self, exchange: Exchange, body: ParsedBody, now_ms: int) -> Reservation:
        """Check the budgets, put the start on the log, hold the money.

        Raises ClientError: budget_exceeded, budget_reserved, spend_unverifiable or events_unavailable; BadRequest when
        a field that decides about the cost is of the wrong type.
        """
        prompt = estimate_prompt(exchange.operation, body)
        key = exchange.key
        nanos, most = self._expected_nanos(exchange, body, prompt)
        charges = self._charges(key, nanos, most, now_ms)
        if key.budgets and self._view.age_ms(now_ms) > self._stale_after_ms:
            self._metrics.unverified.inc()
        reservation = Reservation(nanos, charges, prompt, most - nanos)
        self._recorder.start(exchange, reservation)
        return reservation

    def check(self, exchange: Exchange) -> None:
        """Whether the key may spend anything at all: asked before work is done that `admit` needs. Holds nothing.

        Raises ClientError: budget_exceeded, budget_reserved or spend_unverifiable.
        """
        self._charges(exchange.key, 0, 0, exchange.incoming.received_ms)

    def _charges(self, key: VirtualKey, nanos: int, most: int, now_ms: int) -> tuple[Charge, ...]:
        """What the request is charged to. Raises ClientError when it may not be sent."""
        decision = decide(
            self._view,
            key,
            nanos,
            now_ms,
            most_nanos=most,
            exposure=self._exposure,
            stale_after_ms=self._stale_after_ms,
        )
        if isinstance(decision, Refused):
            raise ClientError(
                decision.code, decision.message, status=decision.status, retry_after_s=decision.retry_after_s
            )
        return decision.charges

    def _expected_nanos(self, exchange: Exchange, body: ParsedBody, prompt: Tokens) -> tuple[int, int]:
        """What the request will probably cost at the dearest model that it may come to, and what it may cost at most
        by what the client says; 0 where no price is known."""
        if len(exchange.candidates) < 2:
            return self._nanos_at(exchange, body, prompt, exchange.route, exchange.price)
        now_ms = exchange.incoming.received_ms
        found = [
            self._nanos_at(exchange, body, prompt, route, route.price_at(now_ms))
            for route in exchange.candidates
        ]
        return max(nanos for nanos, _ in found), max(most for _, most in found)

    def _nanos_at(
        self,
        exchange: Exchange,
        body: ParsedBody,
        prompt: Tokens,
        route: Route | None,
        price: ModelPrice | None,
    ) -> tuple[int, int]:
        if price is None or route is None or exchange.operation in FREE:
            return 0, 0
        picture = exchange.picture if route is exchange.route else _UNHEARD_OF
        tier = _requested_tier(body)
        if exchange.operation in _COMPLETING:
            stated, n = body.max_tokens, body.n
            expected = self._estimates.expected(exchange.key.id, route.name, stated)
            nanos = _cost(price, tier, msgspec.structs.replace(prompt, completion=expected * n), picture)
            if stated is None or stated <= expected or not exchange.key.budgets:
                return nanos, nanos
            most = msgspec.structs.replace(prompt, completion=min(stated, MOST_TOKENS) * n)
            return nanos, max(nanos, _cost(price, tier, most, picture))
        spoken = spoken_tokens(prompt.characters) if exchange.operation is Operation.SPEECH else 0
        read_out = msgspec.structs.replace(prompt, completion=spoken, completion_audio=spoken)
        nanos = _cost(price, tier, read_out, picture)
        return nanos, nanos


def _cost(price: ModelPrice, tier: str, tokens: Tokens, picture: Picture) -> int:
    nanos, in_tier = cost_nanos(price, tokens, picture), price.in_tier(tier)
    return nanos if in_tier is price else max(nanos, cost_nanos(in_tier, tokens, picture))


def _requested_tier(body: ParsedBody) -> str:
    """The service tier that is asked for. Anthropic's clients ask for the fast one by another name."""
    if not isinstance(body, JsonBody):
        return ""
    return body.text("service_tier") or body.text("speed") or ""
