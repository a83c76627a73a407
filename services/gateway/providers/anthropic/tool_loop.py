"""Where a conversation stands in the middle of a loop of tools: Claude thinks on in it only if it thought before.

Anthropic takes the turns of a loop for one turn of the assistant's, and with `thinking` enabled wants it to begin with
thoughts that it has signed (platform.claude.com, "Extended thinking with tool use").
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

_THOUGHTS: Final = ("thinking", "redacted_thinking")


@dataclass(frozen=True, slots=True)
class LoopTurn:
    """What a turn of either side is to a loop."""

    of_user: bool
    answers: bool = False
    """It gives the result of a call."""
    thought: bool = False
    """It begins with thoughts of Claude's own."""


def loop_turn(turn: Mapping[str, Any]) -> LoopTurn:
    """Of a turn of Anthropic's Messages API, which need not be a good one."""
    content = turn.get("content")
    types = (
        [block.get("type") for block in content if isinstance(block, dict)]
        if isinstance(content, list)
        else []
    )
    return LoopTurn(
        of_user=turn.get("role") != "assistant",
        answers="tool_result" in types,
        thought=bool(types) and types[0] in _THOUGHTS,
    )


def lacks_thoughts(backwards: Iterable[LoopTurn]) -> bool:
    """Whether the conversation, read from its last turn, ends in a loop that nobody's thoughts can be gone on from."""
    answered = called = False
    for turn in backwards:
        if turn.of_user and not turn.answers:
            break
        if not turn.of_user and (turn.thought or not answered):
            return False
        answered, called = True, called or not turn.of_user
    return called
