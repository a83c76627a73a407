"""What a model wrote as the arguments of a call, as the object that Anthropic's clients want."""

import re
from typing import Any, Final

import msgspec

Json = dict[str, Any]

UNREADABLE: Final = "INVALID_JSON"
"""Holds a text that is no object, under the key that Anthropic's guide to streams of tool input gives such a text."""

_anything: Final = msgspec.json.Decoder()
_STRING: Final = r'"(?:[^"\\]|\\.)*+(?P<closed>"?)'
"""Also one that is cut: what is in it is never looked at on its own, however long it is."""
_SLIPS: Final = re.compile(rf"(?P<string>{_STRING})|,(?=\s*[}}\]])", re.DOTALL)
"""Strings, to be passed over, and commas that nothing follows."""
_CONTROL: Final = re.compile(r"[\x00-\x1f]")
_TOKENS: Final = re.compile(rf'{_STRING}|[{{}}\[\],:]|[^\s"{{}}\[\],:]+', re.DOTALL)
_CLOSERS: Final = {"{": "}", "[": "]"}


def input_of(arguments: str, *, cut: bool) -> Json:
    """Never raises: it is the model that wrote this, and the answer is good all the same. `cut`: it may end anywhere.

    Slips are mended: commas before a bracket, line breaks in strings, an object inside a string. Of what is cut all
    that is whole is kept, as Anthropic's own client keeps it of a stream; a number at the end may not be whole. Any
    other text is handed on as one, so that no tool is called with less than the model said.
    """
    if not arguments.strip():
        return {}
    found = _object(arguments)
    if found is None:
        found = _object(mended := _SLIPS.sub(_without_slips, arguments))
        if found is None and cut:
            found = _object(_whole_part(mended))
    return {UNREADABLE: arguments} if found is None else found


def _object(text: str) -> Json | None:
    try:
        value = _anything.decode(text)
        if isinstance(value, str):
            value = _anything.decode(value)
    except (msgspec.DecodeError, RecursionError):
        return None
    if value is None:
        return {}
    return value if isinstance(value, dict) else None


def _without_slips(found: re.Match[str]) -> str:
    string: str | None = found["string"]
    if string is None:
        return ""
    return _CONTROL.sub(lambda control: f"\\u{ord(control[0]):04x}", string)


def _whole_part(text: str) -> str:
    """The text up to where the last whole value in it ends, and what closes all that is open there."""
    open_ones: list[str] = []
    end, before = 0, ""
    for token in _TOKENS.finditer(text):
        piece = token[0]
        if token["closed"] == "" or (piece in "]}" and open_ones[-1:] != [piece]):
            break
        if piece in _CLOSERS:
            open_ones.append(_CLOSERS[piece])
        elif piece in "]}":
            open_ones.pop()
        is_value = piece[0] == '"' and bool(open_ones) and (before == ":" or open_ones[-1] == "]")
        if piece in "{[]}" or is_value:
            end = token.end()
        elif piece == ",":
            end = token.start()
        before = piece
    # Nothing was opened or closed after that place.
    return text[:end] + "".join(reversed(open_ones))
