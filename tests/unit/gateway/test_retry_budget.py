"""The retry budget: rare failures are tried again, floods of them are not."""

import hypothesis.strategies as st
from hypothesis import given

from services.gateway.retry_budget import CAPACITY, FLOOR, SHARE, TRICKLE_PER_S, RetryBudget


def test_a_quiet_provider_has_a_few_retries_and_gets_them_back_with_time() -> None:
    budget = RetryBudget(0.0)

    assert [budget.take(0.0) for _ in range(int(FLOOR) + 1)] == [True] * int(FLOOR) + [False]
    assert not budget.take(1.0)
    assert budget.take(1.0 / TRICKLE_PER_S + 1.0)


def test_each_request_earns_a_share_of_a_retry_up_to_a_limit() -> None:
    budget = RetryBudget(0.0)

    for _ in range(100_000):
        budget.first_call()

    assert sum(budget.take(0.0) for _ in range(1_000)) == int(CAPACITY)


@given(st.lists(st.tuples(st.booleans(), st.floats(0, 60)), max_size=300))
def test_retries_stay_within_their_share_of_the_requests(steps: list[tuple[bool, float]]) -> None:
    budget, now, requests, retries = RetryBudget(0.0), 0.0, 0, 0
    for is_request, wait_s in steps:
        now += wait_s
        if is_request:
            requests += 1
            budget.first_call()
        else:
            retries += budget.take(now)

        assert retries <= FLOOR + requests * SHARE + now * TRICKLE_PER_S + 1e-6
        assert 0 <= budget.tokens <= CAPACITY


def test_a_failing_provider_under_load_gets_a_tenth_more_calls_and_no_more() -> None:
    budget, retries = RetryBudget(0.0), 0

    for number in range(10_000):
        budget.first_call()
        retries += budget.take(number / 1_000)

    assert retries <= 10_000 * SHARE + FLOOR + 10 * TRICKLE_PER_S
