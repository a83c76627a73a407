"""What is known of the Claude models by their names: which of their API's ways each one has."""

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

_NAME: Final = re.compile(
    r"claude-(?:(?P<old>\d)(?:[-.](?P<old_minor>\d))?-)?(?:[a-z]+)"
    r"(?:-(?P<new>\d{1,2})(?:[-.](?P<new_minor>\d{1,2}))?)?(?!\d)"
)
_NEWEST: Final = (99, 0)
_UNKNOWN_LIMIT: Final = 4_096


@dataclass(frozen=True, slots=True)
class Traits:
    """Names that say no version are taken for the newest."""

    thinks: bool
    adaptive: bool
    """It decides itself how much to think, guided by an effort; before, by a budget of tokens."""
    works_long: bool
    """It knows the effort `xhigh`."""
    schemas: bool
    """It keeps to a JSON schema; before, only a tool that it must call does that."""
    max_tokens: int
    """Assumed where the client sets no limit: their API must have one."""


@lru_cache(maxsize=1024)
def traits_of(model: str) -> Traits:
    """`model` in any cloud's notation of it."""
    match = _NAME.search(model)
    version = _NEWEST
    if match is not None and match["old"]:
        version = (int(match["old"]), int(match["old_minor"] or 0))
    elif match is not None and match["new"]:
        version = (int(match["new"]), int(match["new_minor"] or 0))
    return Traits(
        thinks=version >= (3, 7),
        adaptive=version >= (4, 6),
        works_long=version >= (4, 7),
        schemas=version >= (4, 1),
        max_tokens=_limit(version) if match is not None else _UNKNOWN_LIMIT,
    )


def _limit(version: tuple[int, int]) -> int:
    if version < (3, 5):
        return 4_096
    return 8_192 if version < (4, 0) else 32_000
