"""Searching in conversations: how a search is split into words, and what is asked of the store's text indexes.

The indexes (migration 0003) split a text at ASCII signs. What they index makes spaces of all other signs first, and
sets each character of a script that is written without spaces apart; the search must split alike.
"""

import re
import unicodedata
from typing import Any, Final

MAX_WORDS: Final = 32
_UNSPACED: Final = (
    (0x0E00, 0x0EFF),  # Thai, Lao
    (0x1000, 0x109F),  # Burmese
    (0x1780, 0x17FF),  # Khmer
    (0x3040, 0x30FF),  # kana
    (0x3400, 0x9FFF),  # Han
    (0xF900, 0xFAFF),
)
_CLASS: Final = "".join(f"{chr(first)}-{chr(last)}" for first, last in _UNSPACED)
_SQL_CLASS: Final = "".join(rf"\\x{{{first:X}}}-\\x{{{last:X}}}" for first, last in _UNSPACED)
_PIECES: Final = re.compile(f"[{_CLASS}]|[^{_CLASS}]+")
_MAX_PIECES: Final = 32
"""Of one word that are looked up in an index; whether they stand together, the text itself says."""


def indexed(column: str) -> str:
    """The SQL of what is indexed of a text."""
    signs = r"[^\\x00-\\x7F\\pL\\pN\\pM]+"
    return f"lowerUTF8(replaceRegexpAll({column}, '([{_SQL_CLASS}])|{signs}', ' \\\\1 '))"


def words_of(text: str) -> list[str]:
    """The words to look for, lower-cased, each once."""
    kept = (each if unicodedata.category(each)[0] in "LNM" else " " for each in text.lower())
    return list(dict.fromkeys("".join(kept).split()))


def signs_of(text: str) -> list[str]:
    """What to look for in a search without words: each run of signs, once."""
    return list(dict.fromkeys(text.split()))


def search_conditions(search: str) -> tuple[list[str], dict[str, Any]]:
    """SQL conditions and their parameters: each word must stand in what was said or in what was answered."""
    where: list[str] = []
    bound: dict[str, Any] = {}
    words = words_of(search)
    if not words:
        return _sign_conditions(search)
    for number, word in enumerate(words):
        pieces = list(dict.fromkeys(_PIECES.findall(word)))[:_MAX_PIECES]
        bound[f"word{number}"] = pieces
        is_whole = pieces == [word]
        if not is_whole:
            bound[f"text{number}"] = f"%{word}%"
        tests = []
        for column in ("prompt_text", "answer_text"):
            test = f"hasAllTokens({indexed(column)}, {{word{number}:Array(String)}})"
            tests.append(test if is_whole else f"{test} AND lowerUTF8({column}) LIKE {{text{number}:String}}")
        where.append(f"({' OR '.join(tests)})")
    return where, bound


def _sign_conditions(search: str) -> tuple[list[str], dict[str, Any]]:
    """No index has signs in it: the texts themselves are read."""
    bound = {f"signs{number}": signs for number, signs in enumerate(signs_of(search))}
    where = [
        "("
        + " OR ".join(
            f"position({column}, {{{name}:String}}) > 0" for column in ("prompt_text", "answer_text")
        )
        + ")"
        for name in bound
    ]
    return where, bound
