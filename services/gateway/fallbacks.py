"""Where a request may go: the model or route that it asks for, then its fallbacks, in order."""

import random
from collections.abc import Callable, Iterator, Sequence
from math import log
from typing import Final

import msgspec

from services.gateway.catalogue import Catalogue, NamedRoute, Route, not_allowed
from services.gateway.errors import ClientError
from services.gateway.providers.body import JsonBody, ParsedBody
from services.gateway.providers.errors import BadRequest
from shared.governance.admission import model_allowed
from shared.governance.model import VirtualKey

FIELD: Final = "fallbacks"
MAX_FALLBACKS: Final = 16
MAX_CANDIDATES: Final = 32

_names: Final = msgspec.json.Decoder(list[str])


def take_fallbacks(body: ParsedBody) -> tuple[ParsedBody, tuple[str, ...] | None]:
    """The body without the client's own fallbacks, and these; None when it leaves them to its key and the route.

    Raises BadRequest.
    """
    if FIELD not in body:
        return body, None
    raw = body.raw(FIELD) if isinstance(body, JsonBody) else (body.text(FIELD) or "").encode()
    rest = body.without(FIELD)
    if not raw:
        return rest, None
    try:
        names = _names.decode(raw)
    except msgspec.DecodeError as error:
        raise BadRequest(
            f'`{FIELD}` must be a list of models, such as ["openai/gpt-4o-mini"].', param=FIELD
        ) from error
    if len(names) > MAX_FALLBACKS:
        raise BadRequest(f"`{FIELD}` must name at most {MAX_FALLBACKS} models.", param=FIELD)
    return rest, tuple(names)


class Candidates:
    """`draw` gives numbers from 0 up to 1: it spreads the requests for a route over its targets."""

    def __init__(self, catalogue: Catalogue, draw: Callable[[], float] = random.random) -> None:
        self._catalogue = catalogue
        self._draw = draw

    def of(self, key: VirtualKey, requested: str, own: tuple[str, ...] | None) -> tuple[Route, ...]:
        """At least one. `own`: the fallbacks that the request names, which stand for those of its route or key.

        Raises ClientError when the model or one of `own` does not exist or may not be used. A fallback of the key
        that does not exist or is not allowed is passed over.
        """
        named = self._catalogue.named(requested)
        if named is None:
            found: tuple[Route, ...] = (self._catalogue.resolve(key, requested),)
            if own is None and not key.fallbacks:
                return found
        else:
            found = self._drawn(key, named)
            if own is None and named.fallbacks:
                return _distinct((*found, *named.fallbacks))
        others = self._allowed(key) if own is None else self._asked_for(key, own)
        found = (*found, *others)
        if not found:
            raise ClientError(
                "model_not_found",
                f"The route '{requested}' leads to no model that exists here.",
                param="model",
            )
        return _distinct(found)

    def _drawn(self, key: VirtualKey, named: NamedRoute) -> tuple[Route, ...]:
        """All targets, in an order drawn by weight: who may use a route may use what is behind it."""
        if not model_allowed(key, named.name):
            raise not_allowed(named.name)
        if len(named.targets) < 2:
            return tuple(route for route, _ in named.targets)
        return tuple(drawn[3] for drawn in sorted(self._shuffled(named), key=lambda drawn: drawn[:3]))

    def _shuffled(self, named: NamedRoute) -> Iterator[tuple[bool, float, int, Route]]:
        """The least comes first; that it is a target has the probability of its weight. Those without one come last."""
        for position, (route, weight) in enumerate(named.targets):
            number = -log(1.0 - self._draw()) / weight if weight > 0 else 0.0
            yield weight <= 0, number, position, route

    def _asked_for(self, key: VirtualKey, names: Sequence[str]) -> Iterator[Route]:
        for name in names:
            try:
                yield from self._one(key, name)
            except ClientError as error:
                raise ClientError(error.code, error.message, param=FIELD) from error

    def _allowed(self, key: VirtualKey) -> Iterator[Route]:
        for name in key.fallbacks:
            try:
                yield from self._one(key, name)
            except ClientError:
                continue  # an administrator's list may be ahead of the providers that are configured

    def _one(self, key: VirtualKey, name: str) -> tuple[Route, ...]:
        named = self._catalogue.named(name)
        return self._drawn(key, named) if named is not None else (self._catalogue.resolve(key, name),)


def _distinct(routes: Sequence[Route]) -> tuple[Route, ...]:
    found: dict[str, Route] = {}
    for route in routes:
        found.setdefault(route.name, route)
    return tuple(found.values())[:MAX_CANDIDATES]
