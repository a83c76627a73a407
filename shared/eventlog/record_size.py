"""How large a record counts against its topic's limit, the same on every adapter."""

from shared.eventlog.port import NewRecord

RECORD_OVERHEAD = 64
"""Lengths, offset and time of one record on the wire, generously."""
HEADER_OVERHEAD = 8


def record_bytes(record: NewRecord) -> int:
    """Key, value and headers in UTF-8, with their framing."""
    size = RECORD_OVERHEAD + _utf8_bytes(record.key)
    if record.value is not None:
        size += len(record.value)
    for name, value in record.headers.items():
        size += len(name) + _utf8_bytes(value) + HEADER_OVERHEAD
    return size


def _utf8_bytes(text: str) -> int:
    return len(text) if text.isascii() else len(text.encode())
