from hypothesis import given
from hypothesis import strategies as st

from shared.governance.reservation import FIRST_CAP, MIN_SAMPLES, UNKNOWN_TOKENS, CompletionEstimates


def seen(*tokens: int) -> CompletionEstimates:
    estimates = CompletionEstimates()
    for count in tokens:
        estimates.observe("key", "demo/echo", count)
    return estimates


def test_before_anything_was_seen_the_clients_limit_is_taken_up_to_a_cap() -> None:
    estimates = CompletionEstimates()

    assert estimates.expected("key", "demo/echo", None) == UNKNOWN_TOKENS
    assert estimates.expected("key", "demo/echo", 16) == 16
    assert estimates.expected("key", "demo/echo", 1_000_000) == FIRST_CAP


def test_a_few_samples_decide_nothing() -> None:
    assert seen(*[1] * (MIN_SAMPLES - 1)).expected("key", "demo/echo", None) == UNKNOWN_TOKENS


def test_a_high_quantile_of_what_was_seen_is_reserved() -> None:
    estimates = seen(*[100, 110, 120, 130] * 20, 4000)

    assert 130 <= estimates.expected("key", "demo/echo", 1_000_000) <= 155
    assert estimates.expected("key", "demo/echo", 50) == 50


def test_old_samples_fade() -> None:
    estimates = seen(*[4000] * 100, *[100] * 200)

    assert estimates.expected("key", "demo/echo", None) <= 120


def test_keys_and_models_are_told_apart() -> None:
    estimates = seen(*[100] * 50)

    assert estimates.expected("key", "demo/lorem", None) == UNKNOWN_TOKENS
    assert estimates.expected("other", "demo/echo", None) == UNKNOWN_TOKENS


def test_the_least_recently_used_are_forgotten() -> None:
    estimates = CompletionEstimates(capacity=2)
    for _ in range(MIN_SAMPLES):
        for key_id in ("a", "b"):
            estimates.observe(key_id, "m", 10)

    estimates.observe("a", "m", 10)
    estimates.observe("c", "m", 10)

    assert len(estimates) == 2
    assert estimates.expected("a", "m", None) < UNKNOWN_TOKENS
    assert estimates.expected("b", "m", None) == UNKNOWN_TOKENS


@given(st.lists(st.integers(0, 3_000_000), min_size=MIN_SAMPLES, max_size=60), st.integers(1, 4_000_000))
def test_the_reservation_is_bounded_by_what_was_seen_and_by_the_limit(
    tokens: list[int], max_tokens: int
) -> None:
    expected = seen(*tokens).expected("key", "demo/echo", max_tokens)

    assert 0 <= expected <= max_tokens
    assert expected <= max(1, max(tokens)) * 1.2 + 1
