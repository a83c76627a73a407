"""The circuits of all providers and credentials of this gateway, and what a failure says about which of them.

Only those that are not plainly closed are kept, so that in good times asking costs nothing.
"""

from collections.abc import Collection, Iterable, Sequence
from typing import Final, Literal

from services.gateway.circuit import (
    CLOSED,
    Circuit,
    CircuitPolicy,
    admits,
    called,
    failed,
    left,
    rests_for,
    state_of,
    succeeded,
)
from shared.governance.model import Provider

Blame = Literal["credential", "quota", "provider", "model", "request"]
"""Whom a failure is laid to. `quota`: this credential, for this model; `model`: the provider does not have it, or the
model went wrong by itself. `request`: nobody else would do better with it."""

PROVIDER: Final = CircuitPolicy(threshold=5, rest_s=5.0, longest_rest_s=60.0)
CREDENTIAL: Final = CircuitPolicy(threshold=1, rest_s=30.0, longest_rest_s=600.0)
QUOTA: Final = CircuitPolicy(threshold=1, rest_s=5.0, longest_rest_s=120.0)
MAX_KEPT: Final = 10_000

_Key = tuple[str | int, ...]
_POLICIES: Final = (PROVIDER, CREDENTIAL, QUOTA)


class Circuits:
    """One circuit per provider, per credential, and per credential and model. `now` is the loop's clock in seconds.

    A changed provider starts anew: whoever repaired it need not wait.
    """

    def __init__(self) -> None:
        self._kept: dict[_Key, Circuit] = {}

    @property
    def all_closed(self) -> bool:
        """Nobody rests, and nobody failed lately."""
        return not self._kept

    def admits_provider(self, provider: Provider, now: float) -> bool:
        return not self._kept or admits(self._kept.get(_keys(provider, "", "")[0], CLOSED), now)

    def resting(
        self, provider: Provider, credentials: Iterable[str], model: str, now: float
    ) -> Collection[str]:
        """Those of the credentials that should not be used for `model` now."""
        if not self._kept:
            return ()
        return {
            name
            for name in credentials
            if not all(admits(self._kept.get(key, CLOSED), now) for key in _keys(provider, name, model)[1:])
        }

    def ordered_rest_s(self, provider: Provider, credentials: Sequence[str], model: str, now: float) -> float:
        """How long the provider asked to be left alone by each of the credentials; 0 when one may be used."""
        if not self._kept:
            return 0.0
        rests = [self._ordered(provider, name, model, now) for name in credentials or ("",)]
        return min(rests)

    def called(self, provider: Provider, credential: str, model: str, now: float) -> None:
        """A call begins; it must end in `succeeded`, `failed` or `left`."""
        if self._kept:
            for key, policy in zip(_keys(provider, credential, model), _POLICIES, strict=True):
                self._keep(key, called(self._kept.get(key, CLOSED), policy, now), now)

    def succeeded(self, provider: Provider, credential: str, model: str, now: float) -> None:
        if self._kept:
            for key in _keys(provider, credential, model):
                self._keep(key, succeeded(self._kept.get(key, CLOSED), now), now)

    def left(self, provider: Provider, credential: str, model: str, now: float) -> None:
        """The call told nothing: its client went away."""
        if self._kept:
            for key in _keys(provider, credential, model):
                self._keep(key, left(self._kept.get(key, CLOSED)), now)

    def failed(
        self,
        provider: Provider,
        credential: str,
        model: str,
        blame: Blame,
        now: float,
        retry_after_s: float | None = None,
    ) -> None:
        """Whoever is not blamed has shown that it works, except behind a provider that failed."""
        keys = _keys(provider, credential, model)
        blamed = {"provider": 0, "credential": 1, "quota": 2}.get(blame)
        if blamed != 0:
            self._keep(keys[0], succeeded(self._kept.get(keys[0], CLOSED), now), now)
        for level in (1, 2):
            if blame in ("model", "request") or (blame == "quota" and level == 1):
                self._keep(keys[level], succeeded(self._kept.get(keys[level], CLOSED), now), now)
            elif level != blamed:
                self._keep(keys[level], left(self._kept.get(keys[level], CLOSED)), now)
        if blamed is not None and not (blamed == 2 and retry_after_s is not None):
            circuit = self._kept.get(keys[blamed], CLOSED)
            self._keep(keys[blamed], failed(circuit, _POLICIES[blamed], now), now)
        if retry_after_s is not None:
            circuit = self._kept.get(keys[2], CLOSED)
            self._keep(keys[2], failed(circuit, QUOTA, now, retry_after_s), now)

    def open_count(self, now: float) -> int:
        """How many are open now."""
        return sum(state_of(circuit, now) == "open" for circuit in self._kept.values())

    def _ordered(self, provider: Provider, credential: str, model: str, now: float) -> float:
        return rests_for(self._kept.get(_keys(provider, credential, model)[2], CLOSED), now)

    def _keep(self, key: _Key, circuit: Circuit, now: float) -> None:
        if circuit == CLOSED:
            self._kept.pop(key, None)
            return
        if len(self._kept) >= MAX_KEPT and key not in self._kept:
            # model names come from clients, so there is no end of them
            self._kept = {key: kept for key, kept in self._kept.items() if state_of(kept, now) == "open"}
            if len(self._kept) >= MAX_KEPT:
                self._kept.clear()
        self._kept[key] = circuit


def _keys(provider: Provider, credential: str, model: str) -> tuple[_Key, _Key, _Key]:
    whole = (provider.name, provider.version)
    return whole, (*whole, credential), (*whole, credential, model)
