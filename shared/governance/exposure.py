"""Exposure: what the requests that run here may cost beyond what is reserved for them.

What is reserved is a good bet (see `reservation`), not the most that a request may cost. A bet that is lost goes past
the limit; a hundred that are lost at once must not. So near the end of a budget only one of them runs at a time, and
others beside it only as far as there is money for the most that all of them may cost (see `admission.decide`).

Pure state. It knows one gateway's requests: with several gateways, one bet of each may be open.
"""

from collections.abc import Sequence

from shared.events import Charge


class Exposure:
    """Nano-dollars by budget. Whoever holds must release the same once."""

    __slots__ = ("_nanos",)

    def __init__(self) -> None:
        self._nanos: dict[str, int] = {}

    def hold(self, charges: Sequence[Charge], nanos: int) -> None:
        """A request begins that may cost so much more than is reserved for it."""
        if nanos:
            for charge in charges:
                self._nanos[charge.budget_id] = self._nanos.get(charge.budget_id, 0) + nanos

    def release(self, charges: Sequence[Charge], nanos: int) -> None:
        """It has ended."""
        if nanos:
            for charge in charges:
                left = self._nanos[charge.budget_id] - nanos
                if left:
                    self._nanos[charge.budget_id] = left
                else:
                    del self._nanos[charge.budget_id]

    def of(self, budget_id: str) -> int:
        return self._nanos.get(budget_id, 0)


NO_EXPOSURE = Exposure()
"""For whoever asks without requests of its own. Nothing is ever held in it."""
