"""Circuit: whether something that failed may be used again. A pure state machine; time is an argument.

    closed      in use; failures in a row are counted
    open        resting until `open_until`, because it failed too often or because the provider said how long
    half-open   the rest is over: one call may try, and what comes of it decides

Each circuit that opens again without a success between rests twice as long as before.
"""

from dataclasses import dataclass, replace
from typing import Final, Literal

CircuitState = Literal["closed", "open", "half_open"]


@dataclass(frozen=True, slots=True)
class CircuitPolicy:
    """When a circuit opens and for how long. Seconds."""

    threshold: int
    """Failures in a row that open it."""
    rest_s: float
    """The first rest."""
    longest_rest_s: float
    probe_s: float = 30.0
    """A try that has said nothing after this long no longer keeps others from trying."""
    longest_ordered_s: float = 900.0
    """A provider that asks for a longer rest gets this one."""


@dataclass(frozen=True, slots=True)
class Circuit:
    """One state. Times are of one clock, in seconds; those in the past mean nothing."""

    failures: int = 0
    trips: int = 0
    """How often it opened since it was last closed."""
    open_until: float = 0.0
    ordered: bool = False
    """The provider itself asked for this rest."""
    probe_until: float = 0.0


CLOSED: Final = Circuit()


def state_of(circuit: Circuit, now: float) -> CircuitState:
    if not circuit.trips:
        return "closed"
    return "open" if now < circuit.open_until else "half_open"


def admits(circuit: Circuit, now: float) -> bool:
    """Whether a call may be made now: always when closed, never when open, one at a time when half-open."""
    return not circuit.trips or (now >= circuit.open_until and now >= circuit.probe_until)


def rests_for(circuit: Circuit, now: float) -> float:
    """Seconds left of a rest that the provider asked for; 0 when it did not, or when they are over."""
    return max(0.0, circuit.open_until - now) if circuit.ordered else 0.0


def called(circuit: Circuit, policy: CircuitPolicy, now: float) -> Circuit:
    """A call begins. On a half-open circuit it is the one that tries."""
    return (
        replace(circuit, probe_until=now + policy.probe_s)
        if state_of(circuit, now) == "half_open"
        else circuit
    )


def succeeded(circuit: Circuit, now: float) -> Circuit:
    """A call worked. One that began before the circuit opened does not end the rest."""
    return circuit if state_of(circuit, now) == "open" else CLOSED


def failed(
    circuit: Circuit, policy: CircuitPolicy, now: float, retry_after_s: float | None = None
) -> Circuit:
    """A call failed. `retry_after_s`: how long the provider asked to be left alone; then it opens whatever was before."""
    if retry_after_s is not None:
        return _ordered(circuit, now + min(retry_after_s, policy.longest_ordered_s))
    state = state_of(circuit, now)
    if state == "open":
        return circuit
    failures = circuit.failures + 1
    if state == "closed" and failures < policy.threshold:
        return replace(circuit, failures=failures)
    rest_s = min(policy.longest_rest_s, policy.rest_s * 2.0 ** min(circuit.trips, 30))
    return Circuit(failures, circuit.trips + 1, now + rest_s)


def left(circuit: Circuit) -> Circuit:
    """A call ended without telling anything, as when its client left: the next one may try."""
    return replace(circuit, probe_until=0.0) if circuit.probe_until else circuit


def _ordered(circuit: Circuit, until: float) -> Circuit:
    return Circuit(
        circuit.failures + 1, circuit.trips + 1, max(until, circuit.open_until), ordered=True, probe_until=0.0
    )
