"""Whether a request may begin: models allowed, budgets left. Pure; the sentences are read by chat users.

settled >= limit                      402 budget_exceeded   the window's money is gone
settled + this request > limit        402 budget_exceeded   what is left is too little for this request
settled + reserved + this > limit     429 budget_reserved   other requests hold the rest: try again
the most that all may cost > limit    429 budget_reserved   the same, while any of them may cost more than is reserved
spend not verifiable, key denies      503 spend_unverifiable
"""

import re
from collections.abc import Sequence
from datetime import UTC, datetime
from functools import lru_cache
from typing import Final, Literal

import msgspec

from shared.events import Charge
from shared.governance.exposure import NO_EXPOSURE, Exposure
from shared.governance.model import Budget, VirtualKey
from shared.governance.money import dollars_for_people
from shared.governance.spend_view import Spend, SpendView
from shared.governance.windows import charges_for, leaves_at_ms, resets_at_ms

BUSY_RETRY_S: Final = 1
STALE_RETRY_S: Final = 5

RefusalCode = Literal["budget_exceeded", "budget_reserved", "spend_unverifiable"]

_SPAN: Final = {
    ("1h", "calendar"): "this hour",
    ("1d", "calendar"): "today",
    ("1w", "calendar"): "this week",
    ("1M", "calendar"): "this month",
    ("1Y", "calendar"): "this year",
    ("1h", "rolling"): "in the last hour",
    ("1d", "rolling"): "in the last 24 hours",
    ("1w", "rolling"): "in the last 7 days",
    ("1M", "rolling"): "in the last 30 days",
    ("1Y", "rolling"): "in the last 365 days",
}


class Admitted(msgspec.Struct, frozen=True):
    """The request may begin; it is charged to these counters, now fixed."""

    charges: tuple[Charge, ...]


class Refused(msgspec.Struct, frozen=True, kw_only=True):
    """The request may not begin. `retry_after_s` is None when waiting does not help."""

    code: RefusalCode
    message: str
    status: int
    retry_after_s: int | None
    budget_id: str


def decide(
    view: SpendView,
    key: VirtualKey,
    reserve_nanos: int,
    now_ms: int,
    *,
    most_nanos: int = 0,
    exposure: Exposure = NO_EXPOSURE,
    stale_after_ms: int | None = None,
) -> Admitted | Refused:
    """Check every budget of `key` for a request that will probably cost no more than `reserve_nanos`.

    `most_nanos`: what it may cost at most, where that is more. `exposure`: what those that run may cost beyond what
    is reserved for them.

    `stale_after_ms`: above this age of the counters a key with budgets and `on_unavailable="deny"` is refused;
    None: any age will do. The answer binds nobody: the caller writes `RequestStarted` and calls `view.reserve`
    before anything else runs.
    """
    if not key.budgets:
        return Admitted(charges_for(key, now_ms))
    if (
        stale_after_ms is not None
        and key.on_unavailable == "deny"
        and (age_ms := view.age_ms(now_ms)) > stale_after_ms
    ):
        return _unverifiable(key, age_ms)
    busy: Refused | None = None
    for budget in key.budgets:
        spend = view.totals(budget, now_ms)
        limit = budget.limit_nanos
        if (
            spend.settled_nanos + spend.reserved_nanos + reserve_nanos <= limit
            and spend.settled_nanos < limit
        ):
            exposed = exposure.of(budget.id)
            held = spend.reserved_nanos + exposed
            if exposed and spend.settled_nanos + held + max(reserve_nanos, most_nanos) > limit:
                busy = busy or _busy(key, budget, held)
            continue
        if spend.settled_nanos >= limit:
            return _used_up(view, key, budget, spend, now_ms)
        if spend.settled_nanos + reserve_nanos > limit:
            return _too_little(view, key, budget, spend, reserve_nanos, now_ms)
        busy = busy or _busy(key, budget, spend.reserved_nanos)
    return busy or Admitted(charges_for(key, now_ms))


def model_allowed(key: VirtualKey, model: str) -> bool:
    """Whether `key` may use `model` (as `provider/model`)."""
    return matches(key.allowed_models, model)


def matches(patterns: Sequence[str], text: str) -> bool:
    """Whether any pattern matches the whole text; `*` stands for any run of characters, also none."""
    return "*" in patterns or _compiled(tuple(patterns)).fullmatch(text) is not None


@lru_cache(maxsize=8192)
def _compiled(patterns: tuple[str, ...]) -> re.Pattern[str]:
    if not patterns:
        return re.compile(r"(?!)")
    # runs of stars mean the same as one and would make the match slow
    parts = [".*".join(map(re.escape, re.sub(r"\*+", "*", pattern).split("*"))) for pattern in patterns]
    return re.compile("|".join(parts), re.DOTALL)


def _used_up(view: SpendView, key: VirtualKey, budget: Budget, spend: Spend, now_ms: int) -> Refused:
    text = (
        f"The budget of key '{key.name}' is used up: {dollars_for_people(spend.settled_nanos)} of "
        f"{dollars_for_people(budget.limit_nanos)} {_span(budget)}."
    )
    free_ms = _room_at_ms(view, budget, 1, now_ms)
    return _exceeded(text, budget, free_ms, now_ms)


def _too_little(
    view: SpendView, key: VirtualKey, budget: Budget, spend: Spend, reserve_nanos: int, now_ms: int
) -> Refused:
    left = budget.limit_nanos - spend.settled_nanos
    text = (
        f"The budget of key '{key.name}' has {dollars_for_people(left)} of "
        f"{dollars_for_people(budget.limit_nanos)} left {_span(budget)}, "
        f"but this request may cost up to {dollars_for_people(reserve_nanos)}."
    )
    if reserve_nanos > budget.limit_nanos:
        text += " Ask for fewer tokens (max_tokens) or use a cheaper model."
        return Refused(
            code="budget_exceeded", message=text, status=402, retry_after_s=None, budget_id=budget.id
        )
    return _exceeded(text, budget, _room_at_ms(view, budget, reserve_nanos, now_ms), now_ms)


def _exceeded(text: str, budget: Budget, free_ms: int | None, now_ms: int) -> Refused:
    if free_ms is None:
        text += " It does not reset."
    elif budget.alignment == "calendar":
        text += f" It resets on {_when(free_ms)}."
    else:
        text += f" There is room again from {_when(free_ms)}."
    return Refused(
        code="budget_exceeded",
        message=text,
        status=402,
        retry_after_s=None if free_ms is None else max(1, -((now_ms - free_ms) // 1000)),
        budget_id=budget.id,
    )


def _busy(key: VirtualKey, budget: Budget, held_nanos: int) -> Refused:
    return Refused(
        code="budget_reserved",
        message=(
            f"The rest of the budget of key '{key.name}' is held by requests that are still running "
            f"({dollars_for_people(held_nanos)} of {dollars_for_people(budget.limit_nanos)} "
            f"{_span(budget)}). Please try again in a moment."
        ),
        status=429,
        retry_after_s=BUSY_RETRY_S,
        budget_id=budget.id,
    )


def _unverifiable(key: VirtualKey, age_ms: int) -> Refused:
    return Refused(
        code="spend_unverifiable",
        message=(
            f"The spend of key '{key.name}' cannot be verified now, and its settings refuse requests then. "
            "Please try again in a moment."
        ),
        status=503,
        retry_after_s=STALE_RETRY_S,
        budget_id="",
    )


def _room_at_ms(view: SpendView, budget: Budget, nanos: int, now_ms: int) -> int | None:
    """When `nanos` will fit if nothing more is spent: at the reset, or when enough old buckets have left."""
    if budget.window == "lifetime":
        return None
    if budget.alignment == "calendar":
        return resets_at_ms(budget, now_ms)
    buckets = view.buckets(budget, now_ms)
    settled = sum(spend.settled_nanos for _, spend in buckets)
    for bucket_ms, spend in buckets:
        settled -= spend.settled_nanos
        if settled + nanos <= budget.limit_nanos:
            return leaves_at_ms(budget, bucket_ms)
    return None


def _span(budget: Budget) -> str:
    return _SPAN.get((budget.window, budget.alignment), "in total")


def _when(at_ms: int) -> str:
    at = datetime.fromtimestamp(at_ms / 1000, UTC)
    return f"{at.day} {at:%B %Y %H:%M} UTC"
