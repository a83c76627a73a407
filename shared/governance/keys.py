"""The format of virtual keys: `sk-fo-` + 40 random base62 characters + 6 base62 characters of CRC-32.

The checksum lets a secret scanner or a form tell a mistyped key from an unknown one without asking anybody.
Keys are never stored: only their SHA-256 and a prefix for people.
"""

import hashlib
import os
import re
from collections.abc import Callable
from typing import Final
from zlib import crc32

KEY_PREFIX: Final = "sk-fo-"
RANDOM_LENGTH: Final = 40
CHECKSUM_LENGTH: Final = 6
KEY_LENGTH: Final = len(KEY_PREFIX) + RANDOM_LENGTH + CHECKSUM_LENGTH
_ALPHABET: Final = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_KEY = re.compile(rf"{KEY_PREFIX}[0-9A-Za-z]{{{RANDOM_LENGTH + CHECKSUM_LENGTH}}}", re.ASCII)
_UNBIASED_BELOW: Final = 248
"""4 x 62: a random byte at or above would make the first characters of the alphabet more likely."""


def _base62(value: int, length: int) -> str:
    digits = []
    for _ in range(length):
        value, digit = divmod(value, 62)
        digits.append(_ALPHABET[digit])
    return "".join(reversed(digits))


def _checksum(body: str) -> str:
    return _base62(crc32(body.encode()), CHECKSUM_LENGTH)


def new_key(random: Callable[[int], bytes] = os.urandom) -> str:
    """A new key with 238 bits of randomness from `random(n) -> n bytes`."""
    characters: list[str] = []
    while len(characters) < RANDOM_LENGTH:
        characters += [_ALPHABET[byte % 62] for byte in random(64) if byte < _UNBIASED_BELOW]
    body = KEY_PREFIX + "".join(characters[:RANDOM_LENGTH])
    return body + _checksum(body)


def looks_like_key(text: str) -> bool:
    """Whether `text` claims to be a key of ours (by its prefix); such a key is never taken for an anonymous one."""
    return text.startswith(KEY_PREFIX)


def checksum_ok(text: str) -> bool:
    """Whether `text` is a whole, well-formed key with the right checksum. Says nothing about its existence."""
    return _KEY.fullmatch(text) is not None and text[-CHECKSUM_LENGTH:] == _checksum(text[:-CHECKSUM_LENGTH])


def sha256_of(text: str) -> str:
    """Hex digest of the whole key: what is stored and looked up."""
    return hashlib.sha256(text.encode()).hexdigest()


def display_prefix(text: str) -> str:
    """The first characters, enough for people to recognise a key and too few to guess it."""
    return text[: len(KEY_PREFIX) + 4]
