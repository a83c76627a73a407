"""A gateway's recorder and admission around an outbox that keeps events in memory."""

from collections.abc import Sequence
from typing import Any, Final

from services.gateway.admission import Admission
from services.gateway.catalogue import Route
from services.gateway.exchange import Exchange
from services.gateway.metrics import GatewayMetrics
from services.gateway.providers.body import ParsedBody, parse_json
from services.gateway.providers.openai import OpenAIAdapter
from services.gateway.providers.operations import Operation
from services.gateway.recording import Recorder
from services.gateway.upstream.port import UpstreamTimeouts
from shared.catalogue.provider_types import PROVIDER_TYPES
from shared.errors import RecordTooLarge, SpoolFull
from shared.eventlog.outbox import Position
from shared.events import AnyEvent, PartitionProgress, RequestLogged
from shared.governance.exposure import Exposure
from shared.governance.model import Budget, PriceOverride, VirtualKey
from shared.governance.reservation import CompletionEstimates
from shared.governance.spend_view import SpendView
from shared.pricing.book import PriceBook
from shared.settings import Settings
from tests.support.asgi import Sent, incoming_of
from tests.support.gateway import MOCK_PRICE, budget, mock_provider, virtual_key

NOW: Final = 1_800_000_000_000
DOLLAR: Final = 10**9


class FakeOutbox:
    """Keeps what it is given, unless told to be full."""

    def __init__(self) -> None:
        self.kept: list[AnyEvent] = []
        self.full = False
        """For all but the ends of what it keeps."""
        self.crammed = False
        """For these, too."""
        self.largest_body = 10**9
        self._seq = 0

    def put(self, *items: tuple[str, str, AnyEvent], is_end: bool = False) -> tuple[Position, ...]:
        if self.crammed or (self.full and not is_end):
            raise SpoolFull("no room")
        for _, _, event in items:
            if isinstance(event, RequestLogged) and len(bytes(event.request)) > self.largest_body:
                raise RecordTooLarge("too big")
        self.kept += [event for _, _, event in items]
        self._seq += len(items)
        return tuple([Position(0, self._seq)] * len(items))


class Desk:
    """A recorder and an admission around a fake outbox."""

    def __init__(self, **environ: str) -> None:
        self.outbox = FakeOutbox()
        self.view = SpendView("me", 1)
        self.view.apply(
            PartitionProgress(partition=0, epoch=1, through_offset=-1, at_ms=NOW, event_time_ms=NOW)
        )
        self.metrics = GatewayMetrics()
        self.exposure = Exposure()
        estimates = CompletionEstimates()
        settings = Settings.load(environ)
        self.recorder = Recorder(
            self.outbox, self.view, self.exposure, estimates, self.metrics, settings, "gw", lambda: 1.5
        )
        self.admission = Admission(self.view, self.exposure, estimates, self.recorder, self.metrics, 60.0)

    def exchange(self, key: VirtualKey, prices: Sequence[PriceOverride] = (MOCK_PRICE,)) -> Exchange:
        exchange = Exchange(incoming_of(Sent().send), key, Operation.CHAT)
        exchange.raw_body = b'{"model":"mock/gpt-4o-mini","messages":[],"max_tokens":100}'
        exchange.body = parse_json(exchange.raw_body)
        exchange.route = Route(
            name="mock/gpt-4o-mini",
            model="gpt-4o-mini",
            provider=mock_provider("http://x"),
            type=PROVIDER_TYPES["openai"],
            adapter=OpenAIAdapter(),
            timeouts=UpstreamTimeouts(),
            prices=PriceBook(prices),
        )
        exchange.price = exchange.route.price_at(NOW)
        return exchange

    def admit(self, exchange: Exchange) -> None:
        self.admission.admit(exchange, body_of(exchange), NOW)

    def dropped(self) -> float:
        return (
            self.metrics.registry.get_sample_value(
                "finops_gateway_dropped_events_total", {"reason": "spool_full"}
            )
            or 0.0
        )


def body_of(exchange: Exchange) -> ParsedBody:
    assert exchange.body is not None
    return exchange.body


def governed(limit: int = DOLLAR, **overrides: Any) -> tuple[VirtualKey, Budget]:
    cap = budget(limit)
    return virtual_key(budgets=(cap,), **overrides)[1], cap
