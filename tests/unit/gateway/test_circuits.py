"""All circuits of a gateway: whom a failure is laid to, and who is passed over because of it."""

import hypothesis.strategies as st
import pytest
from hypothesis import given

from services.gateway.circuits import MAX_KEPT, PROVIDER, Blame, Circuits
from shared.governance.model import Provider

P = Provider(name="p", type="openai", base_url="http://x", version=1)
NAMES = ("a", "b")


def resting(circuits: Circuits, model: str = "m", now: float = 0.0, provider: Provider = P) -> set[str]:
    return set(circuits.resting(provider, NAMES, model, now))


def test_a_refused_credential_rests_for_all_models_a_limited_one_for_its_model() -> None:
    circuits = Circuits()
    circuits.failed(P, "a", "m", "credential", 0.0)
    circuits.failed(P, "b", "m", "quota", 0.0)

    assert resting(circuits, "m") == {"a", "b"}
    assert resting(circuits, "other") == {"a"}
    assert circuits.admits_provider(P, 0.0)


def test_a_provider_that_fails_again_and_again_rests_and_its_credentials_do_not() -> None:
    circuits = Circuits()
    for _ in range(PROVIDER.threshold):
        assert circuits.admits_provider(P, 0.0)
        circuits.failed(P, "a", "m", "provider", 0.0)

    assert not circuits.admits_provider(P, 0.0)
    assert resting(circuits) == set()
    assert circuits.open_count(0.0) == 1
    assert circuits.admits_provider(P, PROVIDER.rest_s)


def test_a_request_that_is_refused_for_its_own_fault_shows_that_the_provider_works() -> None:
    circuits = Circuits()
    for _ in range(PROVIDER.threshold - 1):
        circuits.failed(P, "a", "m", "provider", 0.0)
    circuits.failed(P, "a", "m", "request", 0.0)

    assert circuits.all_closed


def test_a_pause_asked_for_is_known_by_its_length() -> None:
    circuits = Circuits()
    circuits.failed(P, "a", "m", "quota", 0.0, 30.0)

    assert circuits.ordered_rest_s(P, NAMES, "m", 10.0) == 0  # b may be used
    circuits.failed(P, "b", "m", "quota", 0.0, 15.0)
    assert circuits.ordered_rest_s(P, NAMES, "m", 10.0) == 5
    assert circuits.ordered_rest_s(P, NAMES, "other", 10.0) == 0


def test_a_changed_provider_starts_anew() -> None:
    circuits = Circuits()
    circuits.failed(P, "a", "m", "credential", 0.0)
    repaired = Provider(name="p", type="openai", base_url="http://x", version=2)

    assert resting(circuits, provider=repaired) == set()


@pytest.mark.parametrize("now", [0.0, 10_000.0])
def test_memory_has_a_bound_whatever_models_are_asked_for(now: float) -> None:
    circuits = Circuits()
    for number in range(MAX_KEPT + 50):
        circuits.failed(P, "a", f"m{number}", "quota", now)

    assert circuits.open_count(now) <= MAX_KEPT


CALLS = st.tuples(
    st.sampled_from(NAMES),
    st.sampled_from(["m", "n"]),
    st.sampled_from(["ok", "left", "credential", "quota", "provider", "model", "request"]),
    st.one_of(st.none(), st.floats(0, 2_000)),
    st.floats(0, 50),
)


@given(st.lists(CALLS, max_size=40))
def test_after_long_enough_everything_may_be_tried_and_success_forgets_all(
    calls: list[tuple[str, str, str, float | None, float]],
) -> None:
    circuits, now = Circuits(), 0.0
    for credential, model, result, retry_after_s, wait_s in calls:
        now += wait_s
        circuits.called(P, credential, model, now)
        if result == "ok":
            circuits.succeeded(P, credential, model, now)
        elif result == "left":
            circuits.left(P, credential, model, now)
        else:
            blame: Blame = result  # type: ignore[assignment]  # one of them, by the strategy
            circuits.failed(P, credential, model, blame, now, retry_after_s)

    later = now + 1_000.0
    assert circuits.admits_provider(P, later)
    assert resting(circuits, "m", later) == resting(circuits, "n", later) == set()
    for credential in NAMES:
        for model in ("m", "n"):
            circuits.succeeded(P, credential, model, later)
    assert circuits.all_closed


def test_after_a_rest_one_call_at_a_time_may_try() -> None:
    circuits = Circuits()
    circuits.failed(P, "a", "m", "quota", 0.0, 10.0)

    assert resting(circuits, now=10.0) == set()
    circuits.called(P, "a", "m", 10.0)
    assert resting(circuits, now=10.1) == {"a"}
    circuits.left(P, "a", "m", 10.2)
    assert resting(circuits, now=10.3) == set()
    circuits.called(P, "a", "m", 10.3)
    circuits.succeeded(P, "a", "m", 11.0)
    assert circuits.all_closed
