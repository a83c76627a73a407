"""What a request asks the mock to do: `mock(name=value; ...)`."""

import re
import zlib
from dataclasses import dataclass, field, fields

FAULTS = frozenset(
    {
        "stall-headers",  # never answers, until the client leaves
        "stall-stream",  # half of the events, then silence until the client leaves
        "cut",  # half of the events (or of the body), then the connection drops
        "end-early",  # half of the events, then a clean end without finish_reason
        "error-event",  # half of the events, then an error event
        "error-first",  # an error event at once
        "error-200",  # 200 with an error object, also where a stream was asked for
        "json-on-stream",  # a whole JSON answer where a stream was asked for
        "no-usage",  # says nothing of usage
        "negative-usage",  # counts below zero
        "usage-everywhere",  # cumulative usage in every event
        "usage-on-last",  # usage on the last event with choices, no separate one
        "no-done",  # ends without [DONE]
        "crlf",  # lines end with CRLF, and comments stand between the events
        "incomplete",  # a response that ran into its limit
        "fail-last",  # a response whose last event says that it failed
        "html",  # with an error status: a web page
    }
)
_DIRECTIVES = re.compile(rb"mock\(([^()]*)\)")


@dataclass(slots=True)
class Directives:
    """Numbers that are not given depend on the marker alone, so that both sides of a test can know them."""

    marker: str = ""
    status: int = 200
    retry_after: str = ""
    fail_first: int = 0
    """Only the first so many requests with this marker get `status` and `fault`."""
    prompt: int = -1
    completion: int = -1
    """Tokens; a stream has one event for each."""
    cached: int = 0
    cost: str = ""
    """Reported as `usage.cost`."""
    delay_ms: int = 0
    """Before the headers."""
    chunk_ms: int = 0
    """Before each event of a stream."""
    size: int = 0
    """Bytes of text in the answer."""
    call: str = ""
    """A chat answers with a call of this function, for Oslo."""
    said: str = ""
    """What a chat answers, percent-encoded."""
    fault: str = ""
    """One or more, joined by +."""
    faults: frozenset[str] = field(default=frozenset())

    def has(self, fault: str) -> bool:
        return fault in self.faults


_KINDS = {item.name: item.type for item in fields(Directives)}


def read_directives(*sources: bytes, marker: str = "") -> Directives:
    """Without a marker of its own a request has `marker` (its `user`). Later sources override earlier ones. An unknown name is a mistake in the test: it raises ValueError."""
    found = Directives(marker=marker)
    for source in sources:
        for match in _DIRECTIVES.finditer(source):
            for item in match[1].decode().split(";"):
                name, _, value = item.strip().partition("=")
                if not name:
                    continue
                if name not in _KINDS:
                    raise ValueError(f"unknown directive {name!r}")
                setattr(found, name, int(value) if _KINDS[name] is int else value)
    found.faults = frozenset(filter(None, found.fault.split("+")))
    if found.faults - FAULTS:
        raise ValueError(f"unknown fault in {found.fault!r}")
    found.prompt = found.prompt if found.prompt >= 0 else prompt_tokens_of(found.marker)
    found.completion = found.completion if found.completion >= 0 else completion_tokens_of(found.marker)
    return found


def prompt_tokens_of(marker: str) -> int:
    return 10 + zlib.crc32(marker.encode()) % 90


def completion_tokens_of(marker: str) -> int:
    return 5 + zlib.crc32(b"c" + marker.encode()) % 20
