"""Makes a JSON Schema what Gemini takes in `parametersJsonSchema` and `responseJsonSchema`: a subset of the standard.

What it does not know only narrows what may be said (a pattern, a bound), so leaving it out changes no meaning that
the model could keep anyway; what can be said in another way is said that way.
"""

from collections.abc import Mapping
from typing import Any, Final

from services.gateway.providers.errors import BadRequest

MAX_DEPTH: Final = 64
_KEPT: Final = frozenset(
    {
        "$id", "$ref", "$anchor", "type", "format", "title", "description", "enum", "minItems", "maxItems", "minimum",
        "maximum", "required", "propertyOrdering", "default", "minLength", "maxLength", "pattern", "minProperties",
        "maxProperties", "nullable",
    }
)  # fmt: skip
_ONE: Final = frozenset({"items", "additionalProperties"})
_LISTS: Final = frozenset({"anyOf", "oneOf", "prefixItems"})
_MAPS: Final = frozenset({"properties", "$defs"})


def fitted_schema(schema: object, field: str) -> dict[str, Any]:
    """The schema as Gemini takes it. Raises BadRequest naming `field` when it is not one."""
    if not isinstance(schema, dict):
        raise BadRequest(f"`{field}` must be a JSON Schema.", param=field)
    return _fit(schema, field, 0)


def _fit(schema: Mapping[str, Any], field: str, depth: int) -> dict[str, Any]:
    if depth > MAX_DEPTH:
        raise BadRequest(f"`{field}` is nested too deeply.", param=field)
    if isinstance(schema.get("$ref"), str):
        # Nothing else may stand beside a reference, but what it refers to.
        fitted: dict[str, Any] = {"$ref": schema["$ref"].replace("#/definitions/", "#/$defs/", 1)}
        schema = {name: schema[name] for name in ("$defs", "definitions") if name in schema}
    else:
        fitted = {name: value for name, value in schema.items() if name in _KEPT}
    for name, value in _renamed(schema).items():
        if name == "additionalProperties" and isinstance(value, bool):
            fitted[name] = value
        elif name in _ONE:
            fitted[name] = _any(value, field, depth)
        elif name in _LISTS and isinstance(value, list):
            fitted[name] = [_any(item, field, depth) for item in value]
        elif name in _MAPS and isinstance(value, Mapping):
            fitted[name] = {key: _any(item, field, depth) for key, item in value.items()}
    if "const" in schema:
        fitted["enum"] = [schema["const"]]
    parts = schema.get("allOf")
    for part in parts if isinstance(parts, list) else ():
        if isinstance(part, Mapping):
            _merge(fitted, _fit(part, field, depth + 1))
    return fitted


def _renamed(schema: Mapping[str, Any]) -> dict[str, Any]:
    """With the names of today: `definitions` were renamed, and a list of `items` too."""
    renamed = dict(schema)
    older, newer = renamed.pop("definitions", None), renamed.get("$defs")
    if isinstance(older, Mapping):
        renamed["$defs"] = {**older, **newer} if isinstance(newer, Mapping) else older
    if isinstance(renamed.get("items"), list):
        renamed["prefixItems"] = renamed.pop("items")
    return renamed


def _any(value: object, field: str, depth: int) -> object:
    """A schema in a place where `true` and `false` may stand as well, which Gemini does not know: anything goes."""
    return _fit(value, field, depth + 1) if isinstance(value, Mapping) else {}


def _merge(into: dict[str, Any], part: Mapping[str, Any]) -> None:
    """Both must hold: properties and requirements add up, all else is the first's."""
    for name, value in part.items():
        if name in ("properties", "$defs") and name in into:
            into[name] = {**value, **into[name]}
        elif name == "required" and isinstance(into.get(name), list) and isinstance(value, list):
            into[name] = list(dict.fromkeys([*into[name], *value]))
        else:
            into.setdefault(name, value)
