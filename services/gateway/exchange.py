"""One request to a model, from its arrival to its end: what is known so far, for the steps and for the record."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal

import msgspec

from services.gateway.attribution import Attribution
from services.gateway.catalogue import Route
from services.gateway.errors import ClientError
from services.gateway.incoming import Header, Incoming
from services.gateway.providers.body import ParsedBody
from services.gateway.providers.chat.images import Fetched
from services.gateway.providers.operations import FREE, Operation
from services.gateway.providers.port import Relay
from services.gateway.providers.usage import NO_PICTURE, Usage
from services.gateway.streaming import StreamWriter
from shared.events import Attempt, Charge, CostBasis, Outcome, Tokens
from shared.governance.model import VirtualKey
from shared.governance.money import usd_from_nanos
from shared.pricing.cost import cost_nanos, counts_suffice, is_known
from shared.pricing.model import ModelPrice, Picture

ResponseKind = Literal["json", "sse", "text", "binary", "none"]


class Cost(msgspec.Struct, frozen=True):
    """What a request costs and how that is known. `unpriced`: `nanos` is 0 because nobody knows it."""

    nanos: int
    basis: CostBasis


NOTHING_BOUGHT = Cost(0, "none")
CANCELLED: Final = "cancelled"
"""`error_code` of an attempt that was given up before anything was known of it."""
_TOLD_OF_ROUTE: Final = (b"x-finops-provider", b"x-finops-model", b"x-finops-dropped-params")


@dataclass(slots=True)
class Reservation:
    """Money held for a request that was admitted. `recorded`: its start is on the log, so its end must be too."""

    nanos: int
    charges: Sequence[Charge]
    prompt: Tokens
    """Estimated use of the request itself."""
    exposed_nanos: int = 0
    """What the request may cost beyond that."""
    recorded: bool = False


class Exchange:
    """Filled in step by step. Everything has a value from the start, so that it can be recorded at any point."""

    __slots__ = (
        "attempts", "attribution", "body", "candidates", "client_headers", "cost", "error", "fetched", "finish_reason", "first_byte_ms",
        "http_status", "incoming", "key", "logged_body", "operation", "outcome", "picture", "price", "raw_body", "recorded", "relay",
        "requested_model", "reservation", "response", "response_bytes", "response_kind", "route", "stream", "usage",
        "writer",
    )  # fmt: skip

    def __init__(self, incoming: Incoming, key: VirtualKey, operation: Operation) -> None:
        self.incoming = incoming
        self.key = key
        self.operation = operation
        self.attribution = Attribution()
        self.raw_body = b""
        self.logged_body: msgspec.Raw | None = None
        """What the log keeps of the body, where making that took so long that it was done before."""
        self.body: ParsedBody | None = None
        self.requested_model = ""
        self.stream = False
        self.fetched: dict[str, Fetched] = {}
        """What addresses in the request hold, as far as some provider needed to have it fetched."""
        self.candidates: Sequence[Route] = ()
        """Where the request may go."""
        self.route: Route | None = None
        """Where it went last."""
        self.price: ModelPrice | None = None
        self.picture = NO_PICTURE
        """What the provider was asked to draw."""
        self.reservation: Reservation | None = None
        self.attempts: list[Attempt] = []
        self.client_headers: list[Header] = []
        """Told to the client with any answer: who served it. Always this list: a stream's headers are in it."""
        self.relay: Relay | None = None
        """The stream on its way to the client, once there is one."""
        self.writer: StreamWriter | None = None
        """The client's side of it, from before the provider is called."""
        self.usage: Usage | None = None
        self.cost = NOTHING_BOUGHT
        self.outcome: Outcome = "success"
        self.http_status = 200
        self.error: ClientError | None = None
        self.finish_reason = ""
        self.first_byte_ms: int | None = None
        self.response = b""
        """What the provider sent: the answer, or as much of a stream as the log keeps."""
        self.response_kind: ResponseKind = "none"
        self.response_bytes = 0
        self.recorded = False

    def go_to(self, route: Route, dropped: Sequence[str], picture: Picture) -> None:
        """From here on the request is this model's: its name and its price count.

        `dropped`: parameters left out. `picture`: what it is asked to draw.
        """
        self.route = route
        self.picture = picture
        self.price = route.price_at(self.incoming.received_ms)
        told = _told_of(route)
        if dropped:
            names = ", ".join(name for name in dropped if name.isprintable())
            told.append((b"x-finops-dropped-params", names.encode("ascii", "replace")))
        if self.client_headers:
            told += [head for head in self.client_headers if head[0] not in _TOLD_OF_ROUTE]
        self.client_headers[:] = told

    def bill(self, usage: Usage) -> None:
        """This is what was used: know its cost."""
        self.usage = usage
        self.cost = self.cost_of(usage)

    def cost_of(self, usage: Usage) -> Cost:
        """What this usage costs at the price of the request's model."""
        if self.operation in FREE:
            return NOTHING_BOUGHT
        if usage.cost_nanos is not None:
            return Cost(usage.cost_nanos, "provider")
        if self.price is None:
            return Cost(0, "unpriced")
        price = self.price.in_tier(usage.service_tier)
        if not is_known(price, usage.tokens):
            return Cost(0, "unpriced")
        if not usage.estimated and not counts_suffice(price, usage.tokens):
            return Cost(0, "unpriced")
        nanos = cost_nanos(price, usage.tokens, self.drawn(usage))
        return Cost(nanos, "estimated" if usage.estimated else "priced")

    def drawn(self, usage: Usage) -> Picture:
        """What the pictures are like: as the answer says, else as was asked for, else as the model draws unasked."""
        if not usage.tokens.images:
            return NO_PICTURE
        picture = usage.picture.or_as(self.picture)
        return picture if self.price is None else picture.or_as(self.price.usual_picture)

    def shown_cost(self, usage: Usage) -> str | None:
        """The cost as a decimal in USD for the answer's `usage`; None when it is unknown or the key does not show it."""
        if not self.key.cost_in_usage:
            return None
        cost = self.cost if usage is self.usage else self.cost_of(usage)
        return None if cost.basis == "unpriced" else usd_from_nanos(cost.nanos)

    def bill_partial(self) -> None:
        """The request was cut short: bill what was produced, as far as anybody knows.

        Without any answer that is what the request itself used, if a provider was reading it just then.
        """
        if self.relay is not None:
            self.take_stream(self.relay)
        elif self.usage is None and self.reservation is not None and self._is_with_provider:
            self.bill(Usage(self.reservation.prompt, estimated=True))

    @property
    def _is_with_provider(self) -> bool:
        """Some provider has been sent the request and has not failed."""
        return bool(self.attempts) and self.attempts[-1].error_code in ("", CANCELLED)

    def take_stream(self, relay: Relay) -> None:
        """The stream has ended: bill it, and keep what the log keeps."""
        self.bill(relay.usage())
        self.finish_reason = relay.finish_reason
        self.keep_response(relay.transcript, "sse", relay.received_bytes)

    def drop_stream(self, relay: Relay) -> bool:
        """Give up a stream that failed before it began; False when it has begun, or cost something all the same."""
        if relay.started or not relay.usage().estimated:
            return False
        self.relay = None
        self.keep_response(relay.transcript, "sse", relay.received_bytes)
        return True

    def fail(self, error: ClientError, *, outcome: Outcome = "error", within_answer: bool = False) -> None:
        """The request ends with this. The status on record is the one that the client gets: 200 where the answer has
        begun, or where the error comes `within_answer`, after what is about to be sent of it."""
        self.error = error
        self.outcome = outcome
        began = within_answer or (self.writer is not None and self.writer.started)
        self.http_status = 200 if began and outcome != "cancelled" else error.status

    def keep_response(self, body: bytes, kind: ResponseKind, size: int | None = None) -> None:
        self.response = body
        self.response_kind = kind
        self.response_bytes = len(body) if size is None else size


def _told_of(route: Route) -> list[Header]:
    return [
        (b"x-finops-provider", route.provider.name.encode("ascii", "replace")),
        (b"x-finops-model", route.model.encode("ascii", "replace")),
    ]
