"""Token counts guessed from sizes, for reservations and for answers whose provider sent no usage."""

from typing import Final

BYTES_PER_TWO_TOKENS: Final = 7
"""Tokenizers of today make about one token of four bytes of English, of three of other languages or code."""


def estimate_tokens(utf8_bytes: int) -> int:
    """About how many tokens a text of this size is; at least 1 for a text that is not empty."""
    return -(-2 * utf8_bytes // BYTES_PER_TWO_TOKENS)
