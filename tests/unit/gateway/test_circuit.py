"""One circuit: it rests after failures, lets one call try, and does what a provider asks for."""

from collections.abc import Sequence

import hypothesis.strategies as st
from hypothesis import given

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

POLICY = CircuitPolicy(threshold=3, rest_s=5.0, longest_rest_s=60.0, probe_s=30.0, longest_ordered_s=900.0)
STEPS = st.lists(
    st.tuples(
        st.sampled_from(["called", "succeeded", "failed", "left"]),
        st.one_of(st.none(), st.floats(0, 5_000)),
        st.floats(0, 100),
    ),
    max_size=40,
)
Step = tuple[str, float | None, float]


def after(circuit: Circuit, now: float, step: Step) -> Circuit:
    what, retry_after_s, _ = step
    match what:
        case "called":
            return called(circuit, POLICY, now)
        case "succeeded":
            return succeeded(circuit, now)
        case "failed":
            return failed(circuit, POLICY, now, retry_after_s)
        case _:
            return left(circuit)


def tripped(now: float = 0.0) -> Circuit:
    circuit = CLOSED
    for _ in range(POLICY.threshold):
        circuit = failed(circuit, POLICY, now)
    return circuit


def test_it_opens_after_so_many_failures_in_a_row_and_not_before() -> None:
    circuit = failed(failed(CLOSED, POLICY, 0), POLICY, 0)

    assert state_of(circuit, 0) == "closed"
    assert succeeded(circuit, 0) == CLOSED  # one success and it counts anew
    assert state_of(failed(circuit, POLICY, 0), 0) == "open"


def test_after_its_rest_one_call_may_try_and_decides() -> None:
    circuit = tripped()

    assert not admits(circuit, 4.9)
    assert admits(circuit, 5.0)
    trying = called(circuit, POLICY, 5.0)
    assert not admits(trying, 5.1)  # one at a time
    assert succeeded(trying, 6.0) == CLOSED
    again = failed(trying, POLICY, 6.0)
    assert not admits(again, 15.9)
    assert admits(again, 16.0)  # twice as long as before


def test_a_try_that_never_ends_or_tells_nothing_does_not_block_for_ever() -> None:
    trying = called(tripped(), POLICY, 5.0)

    assert admits(left(trying), 5.1)
    assert admits(trying, 35.0)


def test_the_rest_a_provider_asks_for_is_kept_even_if_a_call_from_before_succeeds() -> None:
    circuit = failed(CLOSED, POLICY, 0, 20.0)

    assert rests_for(circuit, 5) == 15
    assert succeeded(circuit, 10) == circuit
    assert not admits(circuit, 19)
    assert admits(circuit, 20)
    assert succeeded(circuit, 20) == CLOSED


def test_no_provider_can_ask_for_a_rest_without_end() -> None:
    assert rests_for(failed(CLOSED, POLICY, 0, 1e9), 0) == POLICY.longest_ordered_s


@given(STEPS)
def test_whatever_happens_it_can_be_used_again_and_heals(steps: Sequence[Step]) -> None:
    circuit, now = CLOSED, 0.0
    for step in steps:
        now += step[2]
        circuit = after(circuit, now, step)

    later = max(circuit.open_until, circuit.probe_until, now)
    assert later <= now + POLICY.longest_ordered_s  # a sum, as a difference of floats is rounded
    assert admits(circuit, later)
    assert succeeded(called(circuit, POLICY, later), later) == CLOSED


@given(STEPS)
def test_a_rest_is_never_shortened_and_an_open_circuit_never_admits(steps: Sequence[Step]) -> None:
    circuit, now = CLOSED, 0.0
    for step in steps:
        now += step[2]
        before = circuit
        circuit = after(before, now, step)

        if state_of(before, now) == "open":
            assert circuit.open_until >= before.open_until
        assert admits(circuit, now) is False or state_of(circuit, now) != "open"
        if circuit.open_until > now and circuit is not before and not circuit.ordered:
            assert circuit.open_until <= now + POLICY.longest_rest_s


@given(STEPS, st.floats(0, 100))
def test_while_half_open_at_most_one_call_is_admitted(steps: Sequence[Step], wait_s: float) -> None:
    circuit, now = CLOSED, 0.0
    for step in steps:
        now += step[2]
        circuit = after(circuit, now, step)
    now += wait_s
    if state_of(circuit, now) == "half_open" and admits(circuit, now):
        assert not admits(called(circuit, POLICY, now), now)
