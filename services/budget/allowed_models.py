"""Patterns of allowed models that allow nothing: a model goes by `provider/model`, a route by its name, and by nothing
else."""

from collections.abc import Collection, Iterator, Sequence
from typing import Final

from shared.governance.admission import matches

EXPECTED_PATTERN: Final = "write provider/model, such as openai/gpt-4o-mini, a pattern over it, such as openai/*, or the name of a route"


def idle_patterns(
    patterns: Sequence[str], routes: Collection[str], providers: Collection[str]
) -> Iterator[str]:
    """Those without a slash that are no route's name, match none, and do not begin as a provider's name does.

    One with a slash may be meant for a provider that is still to come, and is taken at its word.
    """
    for pattern in patterns:
        if "/" in pattern:
            continue
        beginning, star, _ = pattern.partition("*")
        begins_a_provider = star and (not beginning or any(name.startswith(beginning) for name in providers))
        if not begins_a_provider and not any(matches((pattern,), route) for route in routes):
            yield pattern
