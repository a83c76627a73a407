"""Cuts a byte stream into server-sent events, wherever the network cut it.

An event is a block of lines ended by an empty line; lines end with LF or CRLF. Blocks are handed out as they came.
"""

import re
from collections.abc import Iterator
from typing import Final

DONE_EVENT: Final = b"data: [DONE]\n\n"
_BLOCK_END: Final = re.compile(rb"\n\r?\n")


class EventBuffer:
    """Holds back what is not yet a whole event."""

    __slots__ = ("_pieces", "_tail", "held_bytes")

    def __init__(self) -> None:
        self._pieces: list[bytes] = []
        self._tail = b""
        self.held_bytes = 0

    def push(self, chunk: bytes) -> bytes:
        """All whole events that stand now, in one piece; empty while none is whole.

        The common case, a chunk that is exactly one or more events, is handed back as it is. An event of many
        chunks (an image) is searched and joined once, not again for each chunk.
        """
        if not self._pieces and chunk.endswith(b"\n\n"):
            return chunk
        # An end of block may straddle two chunks; none stands in what is held, so it ends inside this chunk.
        found = _end_of_last_block(self._tail + chunk)
        if not found:
            self.hold(chunk)
            return b""
        end = found - len(self._tail)
        whole = b"".join((*self._pieces, chunk[:end]))
        self._clear()
        self.hold(chunk[end:])
        return whole

    def hold(self, piece: bytes) -> None:
        """Keep a piece back for `take`, whatever stands in it: the body is no stream of events after all."""
        if piece:
            self._pieces.append(piece)
            self._tail = (self._tail + piece)[-2:]
            self.held_bytes += len(piece)

    def take(self) -> bytes:
        """What came after the last whole event; it is given out once."""
        rest = b"".join(self._pieces)
        self._clear()
        return rest

    def _clear(self) -> None:
        self._pieces.clear()
        self._tail = b""
        self.held_bytes = 0


def _end_of_last_block(data: bytes) -> int:
    """The place after the last empty line; 0 when there is none."""
    lf, crlf = data.rfind(b"\n\n"), data.rfind(b"\n\r\n")
    return max(lf + 2 if lf >= 0 else 0, crlf + 3 if crlf >= 0 else 0)


def blocks(events: bytes) -> Iterator[bytes]:
    """The single blocks of a piece of whole events, untouched: their concatenation is the piece."""
    start = 0
    for match in _BLOCK_END.finditer(events):
        yield events[start : match.end()]
        start = match.end()
    if start < len(events):
        yield events[start:]


def data_of(block: bytes) -> bytes | None:
    """The data of one event: its `data` lines joined by LF. None for a block without any, such as a comment."""
    lines = []
    for line in block.splitlines():
        if line.startswith(b"data:"):
            value = line[5:]
            lines.append(value[1:] if value.startswith(b" ") else value)
    return b"\n".join(lines) if lines else None


def event_name(block: bytes) -> bytes:
    """The `event` field of one event; empty when it has none."""
    for line in block.splitlines():
        if line.startswith(b"event:"):
            return line[6:].strip()
    return b""


def event(data: bytes) -> bytes:
    """An event with this data, on as many lines as it has."""
    if b"\n" in data or b"\r" in data:
        data = b"\ndata: ".join(data.splitlines())
    return b"data: " + data + b"\n\n"
