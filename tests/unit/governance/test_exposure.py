"""What requests may cost beyond what is reserved for them is bounded near the end of a budget."""

from dataclasses import dataclass

from hypothesis import given
from hypothesis import strategies as st

from shared.events import Charge
from shared.governance.admission import Admitted, Refused, decide
from shared.governance.exposure import Exposure
from shared.governance.model import Budget, VirtualKey
from shared.governance.spend_view import SpendView
from tests.support.gateway import budget, virtual_key

NOW = 1_800_000_000_000
LIMIT = 1_000


def governed() -> tuple[VirtualKey, Budget]:
    cap = budget(LIMIT)
    return virtual_key(budgets=(cap,))[1], cap


def test_what_is_held_is_released_budget_by_budget() -> None:
    exposure = Exposure()
    one, both = [Charge("a", 0, 1)], [Charge("a", 0, 1), Charge("b", 0, 1)]

    exposure.hold(one, 5)
    exposure.hold(both, 7)
    assert (exposure.of("a"), exposure.of("b"), exposure.of("c")) == (12, 7, 0)

    exposure.release(both, 7)
    assert (exposure.of("a"), exposure.of("b")) == (5, 0)
    exposure.release(one, 5)
    assert exposure.of("a") == 0


def test_beside_a_bet_there_must_be_money_for_the_most() -> None:
    key, cap = governed()
    view, exposure = SpendView("me"), Exposure()

    def ask(most: int) -> Admitted | Refused:
        return decide(view, key, 10, NOW, most_nanos=most, exposure=exposure)

    first = ask(5_000)
    assert isinstance(first, Admitted)  # alone it may: what it will probably cost is there
    view.reserve(0, 0, first.charges, 10)
    exposure.hold(first.charges, 4_990)

    second = ask(10)
    assert isinstance(second, Refused)
    assert (second.code, second.status, second.retry_after_s) == ("budget_reserved", 429, 1)
    assert second.budget_id == cap.id

    exposure.release(first.charges, 4_990)
    assert isinstance(ask(10), Admitted)


@dataclass(frozen=True)
class Bet:
    """A request: what is reserved, what it may cost beyond, and what of that it does cost, in tenths."""

    reserved: int
    beyond: int
    tenths: int
    ends_others: bool


bets = st.builds(Bet, st.integers(0, 400), st.integers(0, 3_000), st.integers(0, 10), st.booleans())


@given(st.lists(bets, max_size=40))
def test_a_limit_is_passed_by_no_more_than_one_lost_bet(requests: list[Bet]) -> None:
    """Whatever requests cost within the most that was said, and however many run at once."""
    key, cap = governed()
    view, exposure = SpendView("me"), Exposure()
    running: list[tuple[Bet, tuple[Charge, ...]]] = []
    seq = 0

    def end_all() -> None:
        nonlocal seq
        for bet, charges in running:
            cost = bet.reserved + bet.beyond * bet.tenths // 10
            view.settle(0, seq, charges, cost, bet.reserved)
            exposure.release(charges, bet.beyond)
            seq += 1
        running.clear()

    for bet in requests:
        most = bet.reserved + bet.beyond
        decision = decide(view, key, bet.reserved, NOW, most_nanos=most, exposure=exposure)
        if isinstance(decision, Admitted):
            view.reserve(0, seq, decision.charges, bet.reserved)
            exposure.hold(decision.charges, bet.beyond)
            seq += 1
            running.append((bet, decision.charges))
        if bet.ends_others:
            end_all()
    end_all()

    largest = max((bet.beyond for bet in requests), default=0)
    assert view.totals(cap, NOW).settled_nanos <= LIMIT + largest
    assert exposure.of(cap.id) == 0
