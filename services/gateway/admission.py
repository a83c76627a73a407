"""Whether a request may be sent, and the money held for it. Memory only; nothing else runs between check and hold."""

from typing import Final

import msgspec

from services.gateway.catalogue import Route
from services.gateway.errors import ClientError
from services.gateway.exchange import Exchange, Reservation
from services.gateway.metrics import GatewayMetrics
from services.gateway.providers.body import JsonBody, ParsedBody
from services.gateway.providers.estimate import estimate_prompt, spoken_tokens
from services.gateway.providers.operations import PICTURES, Operation
from services.gateway.recording import Recorder
from shared.events import Charge, Tokens
from shared.governance.admission import Refused, decide
from shared.governance.model import VirtualKey
from shared.governance.reservation import CompletionEstimates
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
        estimates: CompletionEstimates,
        recorder: Recorder,
        metrics: GatewayMetrics,
        stale_after_s: float,
    ) -> None:
        self._view = view
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
        nanos = self._expected_nanos(exchange, body, prompt)
        key = exchange.key
        charges = self._charges(key, nanos, now_ms)
        if key.budgets and self._view.age_ms(now_ms) > self._stale_after_ms:
            self._metrics.unverified.inc()
        reservation = Reservation(nanos, charges, prompt)
        self._recorder.start(exchange, reservation)
        return reservation

    def check(self, exchange: Exchange) -> None:
        """Whether the key may spend anything at all: asked before work is done that `admit` needs. Holds nothing.

        Raises ClientError: budget_exceeded, budget_reserved or spend_unverifiable.
        """
        self._charges(exchange.key, 0, exchange.incoming.received_ms)

    def _charges(self, key: VirtualKey, nanos: int, now_ms: int) -> tuple[Charge, ...]:
        """What the request is charged to. Raises ClientError when it may not be sent."""
        decision = decide(self._view, key, nanos, now_ms, stale_after_ms=self._stale_after_ms)
        if isinstance(decision, Refused):
            raise ClientError(
                decision.code, decision.message, status=decision.status, retry_after_s=decision.retry_after_s
            )
        return decision.charges

    def _expected_nanos(self, exchange: Exchange, body: ParsedBody, prompt: Tokens) -> int:
        """What the request will probably cost at the dearest model that it may come to; 0 where no price is known."""
        if len(exchange.candidates) < 2:
            return self._nanos_at(exchange, body, prompt, exchange.route, exchange.price)
        now_ms = exchange.incoming.received_ms
        return max(
            self._nanos_at(exchange, body, prompt, route, route.price_at(now_ms))
            for route in exchange.candidates
        )

    def _nanos_at(
        self,
        exchange: Exchange,
        body: ParsedBody,
        prompt: Tokens,
        route: Route | None,
        price: ModelPrice | None,
    ) -> int:
        if price is None or route is None:
            return 0
        completion = spoken = 0
        if exchange.operation in _COMPLETING:
            completion = body.n * self._estimates.expected(exchange.key.id, route.name, body.max_tokens)
        elif exchange.operation is Operation.SPEECH:
            completion = spoken = spoken_tokens(prompt.characters)
        expected = msgspec.structs.replace(prompt, completion=completion, completion_audio=spoken)
        picture = exchange.picture if route is exchange.route else _UNHEARD_OF
        nanos, tier = cost_nanos(price, expected, picture), price.in_tier(_requested_tier(body))
        return nanos if tier is price else max(nanos, cost_nanos(tier, expected, picture))


def _requested_tier(body: ParsedBody) -> str:
    """The service tier that is asked for. Anthropic's clients ask for the fast one by another name."""
    if not isinstance(body, JsonBody):
        return ""
    return body.text("service_tier") or body.text("speed") or ""
