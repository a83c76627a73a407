"""What the log keeps of a body: payloads in base64 cut to their size, the rest up to a limit.

Nothing is scanned twice, and a body without payloads costs one search of its bytes.
"""

import re
import sys
from typing import Final

import msgspec

BASE64_MIN_BYTES: Final = 256
"""Shorter runs are left alone: they may be ids, and cutting them saves nothing."""

_START: Final = re.compile(rb';base64,|"(?:b64_json|data|embedding|audio)"\s*:\s*"')
_RUN: Final = re.compile(rb"(?:[A-Za-z0-9+/=_-]++|\\/)*+")
_LARGEST_WINDOW: Final = 1_048_576
_BASE64: Final = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/=_-"
_NULL: Final = msgspec.Raw(b"null")


def cut_payloads(body: bytes, enough: int = sys.maxsize) -> bytes:
    """`body` with every run of base64 after a data URL or in a payload field replaced by its size.

    JSON stays JSON: only characters inside a string are replaced. After `enough` bytes nothing more is replaced.
    """
    if len(body) < BASE64_MIN_BYTES or not _may_hold_payload(body):
        return body
    pieces: list[bytes] = []
    size = kept = at = 0
    while size + at - kept <= enough and (match := _START.search(body, at)) is not None:
        start = match.end()
        at = _end_of_run(body, start)
        if at - start >= BASE64_MIN_BYTES:
            mark = b"[cut %d bytes]" % (at - start)
            pieces += (body[kept:start], mark)
            size += start - kept + len(mark)
            kept = at
    if not pieces:
        return body
    pieces.append(body[kept:])
    return b"".join(pieces)


def logged_json(body: bytes, limit: int) -> msgspec.Raw:
    """A body that is valid JSON, as a JSON value: itself where it fits into `limit` bytes, else its head as a string."""
    short = cut_payloads(body, limit)
    return msgspec.Raw(short) if len(short) <= limit else _as_string(short, limit)


def logged_text(body: bytes, limit: int) -> msgspec.Raw:
    """A body that is no JSON (a stream's transcript, a page of an error) as a JSON string, cut at `limit` bytes."""
    return _as_string(cut_payloads(body, limit), limit)


def logged_any(body: bytes, limit: int) -> msgspec.Raw:
    """A body of unknown kind: JSON where it is JSON, a string where it is text, only its size where it is neither."""
    if not body:
        return _NULL
    if is_json(body):
        return logged_json(body, limit)
    try:
        body[: limit + 4].decode()
    except UnicodeDecodeError as error:
        if error.start < min(len(body), limit) - 4:
            return logged_size(len(body))
    return logged_text(body, limit)


def logged_size(size: int) -> msgspec.Raw:
    """Stands for a body that is not text."""
    return msgspec.Raw(b'"[%d bytes of binary data]"' % size)


def is_json(body: bytes) -> bool:
    """Whether `body` is one JSON value in UTF-8."""
    try:
        if not body.isascii():
            body.decode()
        msgspec.json.decode(body, type=msgspec.Raw)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return False  # what is nested too deeply for us is as well kept as text
    return True


def _may_hold_payload(body: bytes) -> bool:
    """One fast search for each mark: most bodies hold none of them."""
    return (
        b";base64," in body
        or b'"b64_json"' in body
        or b'"data"' in body
        or b'"embedding"' in body
        or b'"audio"' in body
    )


def _end_of_run(body: bytes, start: int) -> int:
    """Where the base64 that begins at `start` ends. Looks at windows that grow with the run, so that a body full of
    beginnings costs no more than one long run does."""
    at, size = start, BASE64_MIN_BYTES
    while at < len(body):
        window = body[at : at + size]
        end = at + len(window)
        if window.translate(None, _BASE64):  # something else is in it
            match = _RUN.match(body, at, end)
            stop = match.end() if match is not None else at
            if stop < end and body[stop : stop + 2] != b"\\/":
                return stop
            end = stop  # only escaped slashes, the last one perhaps across the edge
        at = end
        size = min(2 * size, _LARGEST_WINDOW)
    return at


def _as_string(body: bytes, limit: int) -> msgspec.Raw:
    text = body[:limit].decode("utf-8", "replace")
    if len(body) > limit:
        text += f"… [cut: {len(body)} bytes in all]"
    return msgspec.Raw(msgspec.json.encode(text))
