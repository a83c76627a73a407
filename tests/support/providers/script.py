"""What a fake says next, in no vendor's words, so that one test can be run in front of every fake."""

import asyncio
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

Document = dict[str, Any]
Fault = Literal[
    "",
    "refused",  # 400, and the provider says why
    "denied",  # 401
    "limited",  # 429, with a time to wait where the provider gives one
    "overloaded",  # 503, or what the provider has instead
    "error in 200",  # an error that comes with a good status
    "error event",  # half of a stream, then the provider's error
    "break",  # half of the answer, then the connection drops
    "early",  # half of a stream, then a clean end
    "stall",  # half of a stream, then nothing until the client leaves
    "no usage",  # nothing is said of tokens
]
RETRY_AFTER_S = 7
REFUSAL = "the fake refuses this"
"""Is in the message of every error that a fake makes."""


@dataclass(frozen=True, slots=True)
class Call:
    """A call of a tool."""

    id: str
    name: str
    arguments: Document


@dataclass(frozen=True, slots=True)
class Turn:
    """An answer, and what goes wrong with it."""

    text: str = "Hello there, how are you today?"
    thought: str = ""
    calls: tuple[Call, ...] = ()
    prompt: int = 25
    completion: int = 14
    cached: int = 0
    """Of the prompt, read from a cache."""
    fault: Fault = ""

    @property
    def finish(self) -> str:
        """OpenAI's word for the end of it."""
        return "tool_calls" if self.calls else "stop"


@dataclass
class Asked:
    """A request as a fake saw it; `body` is JSON, or the fields of a form."""

    path: str
    headers: dict[str, str]
    body: Document = field(default_factory=dict)


class Fake(Protocol):
    """A server that speaks one vendor's wire."""

    left: asyncio.Event
    """A client went away from a stream that stalled."""

    def play(self, turn: Turn) -> None:
        """Answer every chat with this from now on."""
        ...

    def received(self) -> list[Document]:
        """The requests so far that were judged good."""
        ...


def cut(text: str, size: int = 5) -> list[str]:
    """A text in the pieces that it is streamed in."""
    return [text[at : at + size] for at in range(0, len(text), size)]
