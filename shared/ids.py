"""Identifiers: a prefix that names the kind, and 26 characters that sort by time (ULID, Crockford base32).

Source of the format: github.com/ulid/spec (48 bits of Unix milliseconds, 80 random bits).
"""

import os

_ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
_PAIRS = [a + b for a in _ALPHABET for b in _ALPHABET]


def new_id(prefix: str, now_ms: int) -> str:
    """`prefix_` + ULID made of `now_ms` (Unix milliseconds) and 80 random bits."""
    value = (now_ms << 80) | int.from_bytes(os.urandom(10), "big")
    return prefix + "_" + "".join([_PAIRS[(value >> shift) & 1023] for shift in range(120, -1, -10)])


def id_time_ms(identifier: str) -> int:
    """The Unix milliseconds inside an id made by `new_id`. Raises ValueError on anything else."""
    ulid = identifier.rpartition("_")[2]
    if len(ulid) != 26:
        raise ValueError(f"{identifier!r} is not an id")
    value = 0
    for char in ulid[:10]:
        value = value * 32 + _ALPHABET.index(char)
    return value
