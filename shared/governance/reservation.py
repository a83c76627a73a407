"""CompletionEstimates: how many output tokens to reserve for a request, learned per key and model.

Reserving `max_tokens` for each request would refuse most of a budget's last part; reserving the mean would let
bursts overshoot. A high quantile of what was really produced is a good bet. What a request may cost beyond it is
bounded elsewhere (see `exposure`). Pure state: no clock, bounded memory.
"""

from bisect import bisect_left
from collections import OrderedDict
from math import ceil
from typing import Final

UNKNOWN_TOKENS: Final = 1024
"""Reserved before anything was seen and without `max_tokens`."""
FIRST_CAP: Final = 4096
"""Before enough was seen, a huge `max_tokens` (clients send the model's maximum) is not believed beyond this. Else a key
whose whole budget is smaller than that maximum could never begin, and nothing would ever be learned of it."""
MOST_TOKENS: Final = 131_072
"""No model says more at once: a `max_tokens` beyond this means that there is no limit."""
QUANTILE: Final = 0.95
MIN_SAMPLES: Final = 10
DECAY: Final = 0.98
"""Weight of the past at each new sample: the last 50 or so decide."""
RENEWED_EVERY: Final = 8
"""Samples between two looks at the quantile, once there are some: one sample more hardly moves it."""
HEAVIEST: Final = 1e100
_EDGES: Final = tuple(sorted({ceil(2 ** (step / 4)) for step in range(81)}))
"""Upper edges of the histogram: steps of a quarter of an octave (at most 19 % too much), 1 to 2^20 tokens."""


class _Histogram:
    """Newer samples weigh more, which is the same as older ones fading."""

    __slots__ = ("_newest", "quantile", "samples", "weights")

    def __init__(self) -> None:
        self.samples = 0
        self.weights: dict[int, float] = {}
        self.quantile = 0
        self._newest = 1.0
        """Weight of the newest sample."""

    def observe(self, tokens: int) -> None:
        place = min(bisect_left(_EDGES, tokens), len(_EDGES) - 1)
        self._newest /= DECAY
        self.weights[place] = self.weights.get(place, 0.0) + self._newest
        self.samples += 1
        if self.samples <= MIN_SAMPLES or self.samples % RENEWED_EVERY == 0:
            self._renew()

    def _renew(self) -> None:
        wanted = sum(self.weights.values()) * QUANTILE
        reached = 0.0
        for place in sorted(self.weights):
            reached += self.weights[place]
            if reached >= wanted:
                self.quantile = _EDGES[place]
                break
        if self._newest > HEAVIEST:
            self.weights = {place: weight / self._newest for place, weight in self.weights.items()}
            self._newest = 1.0


class CompletionEstimates:
    """Keeps the `capacity` most recently used (key, model) pairs."""

    def __init__(self, capacity: int = 4096) -> None:
        self._capacity = capacity
        self._seen: OrderedDict[tuple[str, str], _Histogram] = OrderedDict()

    def __len__(self) -> int:
        return len(self._seen)

    def observe(self, key_id: str, model: str, completion_tokens: int) -> None:
        """Learn from a request that ended by itself."""
        pair = (key_id, model)
        histogram = self._seen.get(pair)
        if histogram is None:
            histogram = self._seen[pair] = _Histogram()
            if len(self._seen) > self._capacity:
                self._seen.popitem(last=False)
        else:
            self._seen.move_to_end(pair)
        histogram.observe(completion_tokens)

    def expected(self, key_id: str, model: str, max_tokens: int | None) -> int:
        """Output tokens to reserve: never more than `max_tokens`."""
        histogram = self._seen.get((key_id, model))
        if histogram is not None and histogram.samples >= MIN_SAMPLES:
            tokens = histogram.quantile
            return tokens if max_tokens is None else min(tokens, max_tokens)
        return UNKNOWN_TOKENS if max_tokens is None else min(max_tokens, FIRST_CAP)
