"""RetryBudget: how many retries a provider may get, so that one which fails is not buried under them.

A token bucket: each first call puts in a share of a token, each retry takes a whole one. Pure; time is an argument.
"""

from typing import Final

SHARE: Final = 0.1
"""Tokens per first call: with many requests at most one in ten is tried again."""
CAPACITY: Final = 100.0
FLOOR: Final = 10.0
"""A quiet provider has so many, so that the rare failure of a rare request is still tried again."""
TRICKLE_PER_S: Final = 0.5
"""How fast a bucket that is below the floor gets there on its own."""


class RetryBudget:
    """The bucket of one provider. Seconds of any clock that never goes back."""

    __slots__ = ("_at", "tokens")

    def __init__(self, now: float) -> None:
        self.tokens = FLOOR
        self._at = now

    def first_call(self) -> None:
        if self.tokens < CAPACITY:
            self.tokens = min(CAPACITY, self.tokens + SHARE)

    def take(self, now: float) -> bool:
        """Whether one more retry is allowed; if so it is counted."""
        if self.tokens < FLOOR:
            self.tokens = min(FLOOR, self.tokens + max(0.0, now - self._at) * TRICKLE_PER_S)
        self._at = max(self._at, now)
        if self.tokens < 1.0:
            return False
        self.tokens -= 1.0
        return True
