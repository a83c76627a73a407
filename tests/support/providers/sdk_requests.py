"""Requests made of the types of a vendor's SDK, for hypothesis: every field and every variant that people may send."""

import os
import types
from collections.abc import Iterable, Mapping
from typing import IO, Annotated, Any, Literal, NotRequired, Required, Union, get_args, get_origin

from hypothesis import strategies as st
from pydantic import BaseModel
from typing_extensions import get_type_hints, is_typeddict

Strategy = st.SearchStrategy[Any]

MANY = 9
FEW = 3
"""Of the optional fields of an object that has many: together they would nearly always be refused for one of them."""
PICTURE = "data:image/png;base64,iVBORw0KGgo="
PDF = "data:application/pdf;base64,JVBERi0x"
_json: Strategy = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=4), inner, max_size=2),
    max_leaves=4,
)
_PLAIN: Mapping[Any, Strategy] = {
    str: st.sampled_from(["Hi", "Grüße, 🌍", '"a"\n\\', " \n", ""]) | st.text(max_size=6),
    int: st.integers(0, 5000),
    float: st.floats(0, 2),
    bool: st.booleans(),
    object: _json,
    types.NoneType: st.none(),
}
_NOT_ON_THE_WIRE = (Annotated, IO, os.PathLike)
_IDS = st.sampled_from(["a", "b", "c:1"])
_ADDRESSES = st.sampled_from([PICTURE, "https://example.org/a", "http://example.org/a", "?"])
_FILES = st.sampled_from([PDF, "data:text/plain;base64,aGk=", "JVBERi0x", "https://example.org/a.pdf", "%"])
BETTER: Mapping[str, Strategy] = {
    "arguments": st.sampled_from(["{}", '{"a":[1]}', "", "{", "[1]"]),
    "call_id": _IDS,
    "data": st.sampled_from(["iVBORw0KGgo=", "JVBERi0x", "%"]),
    "file_data": _FILES,
    "file_url": _ADDRESSES,
    "id": _IDS,
    "image_url": _ADDRESSES,
    "tool_call_id": _IDS,
    "tool_use_id": _IDS,
    "url": _ADDRESSES,
}
"""Values of text fields that any text would be too seldom right for."""


class Types:
    """Values of the types of one SDK. `left_out`: names of types that are refused wherever they stand."""

    def __init__(self, *left_out: str) -> None:
        self._left_out = frozenset(left_out)
        self._known: dict[Any, Strategy] = {}

    def of(self, annotation: Any) -> Strategy:
        if annotation not in self._known:
            self._known[annotation] = st.deferred(lambda: self._made(annotation))
        return self._known[annotation]

    def objects(self, kind: Any, **given: Strategy) -> Strategy:
        """Values of a TypedDict. The `given` of its fields are always there, and of these values."""
        hints = get_type_hints(kind, include_extras=True)
        fields = {name: self._field(name, hint) for name, hint in hints.items()}
        required = {name: fields[name] for name, hint in hints.items() if _origin(hint) is Required}
        required |= given
        optional = {name: field for name, field in fields.items() if name not in required}
        if len(optional) < MANY:
            return st.fixed_dictionaries(required, optional=optional)
        chosen = st.lists(st.sampled_from(sorted(optional)), unique=True, max_size=FEW)
        return chosen.flatmap(
            lambda names: st.fixed_dictionaries(required | {name: fields[name] for name in names})
        )

    def _field(self, name: str, hint: Any) -> Strategy:
        plain = get_args(hint)[0] if _origin(hint) in (Required, NotRequired) else hint
        return BETTER[name] if name in BETTER and str in (plain, *get_args(plain)) else self.of(plain)

    def _is_sent(self, option: Any) -> bool:
        """The SDKs also take files, and their own answers back, which on the wire are what the other options are."""
        if isinstance(option, type) and issubclass(option, BaseModel):
            return False
        return _origin(option) not in _NOT_ON_THE_WIRE and _name(option) not in self._left_out

    def _made(self, annotation: Any) -> Strategy:
        if annotation in _PLAIN:
            return _PLAIN[annotation]
        if is_typeddict(annotation):
            return self.objects(annotation)
        origin, inner = get_origin(annotation), get_args(annotation)
        if origin is Literal:
            return st.sampled_from(inner)
        if origin in (Union, types.UnionType):
            return st.one_of([self.of(one) for one in inner if self._is_sent(one)])
        if origin is dict:
            return st.dictionaries(self.of(inner[0]), self.of(inner[1]), max_size=2)
        if isinstance(origin, type) and (issubclass(origin, Iterable) or _name(origin) == "SequenceNotStr"):
            return st.lists(self.of(inner[0]), max_size=3)
        raise TypeError(f"no values of {annotation}")


def _origin(hint: Any) -> Any:
    return get_origin(hint)


def _name(kind: Any) -> str:
    return str(getattr(kind, "__name__", ""))


def texts_in(value: Any, *fields: str) -> list[str]:
    """What is said in a request: the texts under these names, wherever they stand, but for blank ones."""
    if isinstance(value, list):
        return [text for inner in value for text in texts_in(inner, *fields)]
    if not isinstance(value, dict):
        return []
    own = [inner for name, inner in value.items() if name in fields and isinstance(inner, str)]
    return [text for text in own if text.strip()] + texts_in(list(value.values()), *fields)


def strings_in(value: Any) -> list[str]:
    """Every text of a document."""
    if isinstance(value, str):
        return [value]
    if isinstance(value, dict):
        value = list(value.values())
    return [text for inner in value for text in strings_in(inner)] if isinstance(value, list) else []
