"""The types of a vendor's SDK as judges: what they do not know is wrong, however deep it stands."""

import dataclasses
import types
from collections.abc import Iterable, Iterator
from functools import cache
from typing import Annotated, Any, Literal, NotRequired, Required, Union, get_args, get_origin

import pydantic
from typing_extensions import TypeAliasType, get_type_hints, is_typeddict

_NUMBERS = (int, float)


def problems(kind: Any, value: Any, where: str = "") -> list[str]:
    """What is wrong with a JSON value for a type; empty when it fits. Of a union the branch that fits best counts."""
    kind = _plain(kind)
    if kind in (Any, object):
        return []
    if kind is None or kind is types.NoneType:
        return [] if value is None else [f"{where} is not null"]
    origin, inner = get_origin(kind), get_args(kind)
    if origin is Literal:
        return [] if value in inner else [f"{where} is {value!r}, not one of {inner}"]
    if origin in (Union, types.UnionType):
        return min(
            (problems(option, value, where) for option in inner), key=lambda found: _weight(found, where)
        )
    if origin is dict:
        return _each(inner[1], value.items(), where) if isinstance(value, dict) else [f"{where} is no object"]
    if isinstance(origin, type) and issubclass(origin, Iterable):
        return (
            _each(inner[0], enumerate(value), where) if isinstance(value, list) else [f"{where} is no list"]
        )
    fields = _fields(kind)
    if fields is not None:
        return _object(fields, value, where)
    return _scalar(kind, value, where)


def _plain(kind: Any) -> Any:
    while True:
        if isinstance(kind, TypeAliasType):
            kind = kind.__value__
        elif isinstance(get_origin(kind), TypeAliasType):
            kind = get_origin(kind).__value__[get_args(kind)]
        elif get_origin(kind) in (Annotated, Required, NotRequired):
            kind = get_args(kind)[0]
        else:
            return kind


def _weight(found: list[str], where: str) -> tuple[bool, int]:
    """A branch of another kind altogether fits worse than one with a mistake in it."""
    return any(problem.startswith(f"{where} is") for problem in found), len(found)


@cache
def _fields(kind: Any) -> dict[str, tuple[Any, bool]] | None:
    """Name on the wire -> (type, required); None for what is no object."""
    if is_typeddict(kind):
        hints = get_type_hints(kind, include_extras=True)
        return {name: (hint, _is_required(kind, name, hint)) for name, hint in hints.items()}
    if isinstance(kind, type) and issubclass(kind, pydantic.BaseModel):
        return {
            info.serialization_alias or info.alias or name: (info.annotation, info.is_required())
            for name, info in kind.model_fields.items()
        }
    if dataclasses.is_dataclass(kind):
        hints = get_type_hints(kind)
        return {
            field.name: (hints[field.name], field.default is dataclasses.MISSING)
            for field in dataclasses.fields(kind)
        }
    return None


def _is_required(kind: Any, name: str, hint: Any) -> bool:
    """Modules whose annotations are texts do not tell it in `__required_keys__`."""
    told = get_origin(hint)
    return told is Required or (told is not NotRequired and name in kind.__required_keys__)


def _object(fields: dict[str, tuple[Any, bool]], value: Any, where: str) -> list[str]:
    if not isinstance(value, dict):
        return [f"{where} is no object"]
    found = [f"{where}.{name} is unknown" for name in value if name not in fields]
    found += [
        f"{where}.{name} is missing" for name, (_, needed) in fields.items() if needed and name not in value
    ]
    for name, item in value.items():
        if name in fields:
            found += problems(fields[name][0], item, f"{where}.{name}")
    return found


def _each(kind: Any, items: Iterable[tuple[Any, Any]], where: str) -> list[str]:
    return [problem for key, item in items for problem in problems(kind, item, f"{where}[{key}]")]


def _scalar(kind: Any, value: Any, where: str) -> list[str]:
    if kind in (str, bool, int) and type(value) is kind:
        return []
    if kind is float and type(value) in _NUMBERS:
        return []
    return [f"{where} is {value!r}, not {getattr(kind, '__name__', kind)}"]


def refuse(kind: Any, value: Any) -> None:
    """Raises ValueError unless the type allows this value."""
    if found := problems(kind, value):
        raise ValueError("; ".join(found))


def walk(value: Any) -> Iterator[Any]:
    """Every object in a JSON value."""
    if isinstance(value, dict):
        yield value
    for inner in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from walk(inner)
