"""Bodies with large payloads, searched without reading the payloads.

Most of a large body is a few strings of base64. Inside of one there is no quotation mark, and looking for that single
byte is about ten times as fast as looking for a word. So the insides of such stretches are left out once, and every
search after that looks at what is left.
"""

from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple

LARGE_BYTES: Final = 1_048_576
"""Smaller bodies are read and searched as they are: at their size nothing is gained."""
WINDOW_BYTES: Final = 65_536
"""Stretches of twice this length are always found, shorter ones by chance."""
HEAD_BYTES: Final = 2_048
"""Kept of each stretch, so that it is still known for what it is."""
TAIL_BYTES: Final = 16
AROUND_BYTES: Final = 256
"""Kept before the `;base64,` of a data URL inside of a text."""
_BASE64_MARK: Final = b";base64,"
_QUOTE: Final = b'"'


class Gap(NamedTuple):
    """`size` bytes are left out at `place` of what is left."""

    place: int
    size: int


def abridged(body: bytes) -> tuple[bytes, Sequence[Gap]]:
    """`body` without the insides of its long stretches between two quotation marks, and where they were.

    Whatever begins with a quotation mark is found in it as often as in the body, and so is `;base64,`. `body` itself
    where nothing is left out.
    """
    pieces: list[bytes] = []
    gaps: list[Gap] = []
    kept = at = size = 0
    while at + WINDOW_BYTES <= len(body):
        last = body.rfind(_QUOTE, at, at + WINDOW_BYTES)
        if last >= 0:
            at = last + 1
            continue
        end = body.find(_QUOTE, at + WINDOW_BYTES)
        end = len(body) if end < 0 else end
        for first, last in _insides(body, at, end):
            piece = body[kept:first]
            pieces.append(piece)
            size += len(piece)
            gaps.append(Gap(size, last - first))
            kept = last
        at = end
    if not gaps:
        return body, gaps
    pieces.append(body[kept:])
    return b"".join(pieces), gaps


def _insides(body: bytes, start: int, end: int) -> Iterator[tuple[int, int]]:
    """What may be left out of one stretch: all but its head, its tail, and what is around each beginning of base64."""
    while True:
        first, last = start + HEAD_BYTES, end - TAIL_BYTES
        mark = body.find(_BASE64_MARK[:1], first - len(_BASE64_MARK), last)
        if mark >= 0:
            mark = body.find(_BASE64_MARK, mark, last)
        if mark >= 0:
            last = mark - AROUND_BYTES
        if first < last:
            yield first, last
        if mark < 0:
            return
        start = mark


def left_out(gaps: Sequence[Gap], start: int, end: int) -> int:
    """How many bytes are left out from `start` to `end` of what is left."""
    return sum(gap.size for gap in gaps if start <= gap.place < end)


def searchable(body: bytes) -> bytes:
    """The body, or what is as good for finding names in quotation marks where it is large."""
    return body if len(body) <= LARGE_BYTES else abridged(body)[0]
