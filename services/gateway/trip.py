"""Trip: the way of one request past the models that may serve it, from the first call to the one that counts."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import msgspec

from services.gateway.catalogue import Route
from services.gateway.providers.body import ParsedBody
from services.gateway.providers.port import Prepared
from services.gateway.upstream.port import UpstreamResponse


class Call(msgspec.Struct, frozen=True):
    """A request built for one model and credential."""

    route: Route
    prepared: Prepared
    credential: str


class Opened(msgspec.Struct, frozen=True):
    """A success whose headers have arrived. The holder must close the response."""

    route: Route
    prepared: Prepared
    response: UpstreamResponse


@dataclass(slots=True)
class Trip:
    """Changed by the caller of providers only. Times are of the loop's clock, in seconds."""

    candidates: Sequence[Route]
    """Where the request may go, in order."""
    body: ParsedBody
    began: float
    """When the candidate's turn began."""
    call: Call
    """The one under way, or next."""
    position: int
    """Of the call's candidate."""
    tried: set[str] = field(default_factory=set)
    """Credentials that this candidate was called with."""
    again: int = 0
    """How often this candidate was called again although no other credential could help."""
