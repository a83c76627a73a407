"""JSON schemas as Anthropic's structured output takes them: a subset, where what is left out is told in words."""

import json
from typing import Any, Final

from services.gateway.providers.errors import BadRequest

Schema = dict[str, Any]

MAX_DEPTH: Final = 128
"""Of JSON: about half as many schemas, one within the other."""
_STRING_FORMATS: Final = frozenset(
    {"date-time", "time", "date", "duration", "email", "hostname", "uri", "ipv4", "ipv6", "uuid"}
)
_UNIONS: Final = (("anyOf", "anyOf"), ("oneOf", "anyOf"), ("allOf", "allOf"))
_SIMPLE: Final = (str, int, float, bool, type(None))


def accepted_schema(schema: Schema, field: str = "response_format") -> Schema:
    """The same schema in the accepted subset. Constraints outside of it end up in the description.

    Raises BadRequest naming `field` when it is nested too deeply.
    """
    refuse_too_deep(schema, field)
    return _subset(schema)


def refuse_too_deep(schema: Schema, field: str) -> None:
    """Raises BadRequest naming `field`."""
    layer: list[Any] = [schema]
    for _ in range(MAX_DEPTH):
        layer = [
            inner
            for value in layer
            if isinstance(value, dict | list)
            for inner in (value.values() if isinstance(value, dict) else value)
        ]
        if not layer:
            return
    raise BadRequest(f"`{field}` is nested too deeply.", param=field)


def strict_schema(schema: Schema, field: str) -> Schema:
    """The accepted schema that a model is held to. Raises BadRequest naming `field` when it cannot be."""
    if not is_closed(schema):
        raise BadRequest(
            f"`{field}`: a model can be held only to a schema whose values all have a type and whose objects all list "
            "their `properties` and have `additionalProperties` false.",
            param=field,
        )
    return accepted_schema(schema, field)


def is_closed(schema: Schema) -> bool:
    """Whether structured output can keep to what it says: all objects list their properties, all values have a type.

    What it cannot keep open it would close: a map of names that nobody knows yet would stay empty.
    """
    found: list[Any] = [schema]
    while found:
        inner = found.pop()
        if not isinstance(inner, dict):
            if inner is True:
                return False
            continue
        found += [one for name in ("$defs", "definitions") for one in _values(inner.get(name))]
        if "$ref" in inner or "enum" in inner or "const" in inner:
            continue
        variants = [one for name, _ in _UNIONS for one in _values(inner.get(name))]
        kind = inner.get("type")
        kinds = kind if isinstance(kind, list) else [kind]
        if (kind is None and not variants) or ("object" in kinds and _is_open(inner)):
            return False
        found += [*variants, *_values(inner.get("properties")), inner.get("items")]
    return True


def _is_open(schema: Schema) -> bool:
    further = schema.get("additionalProperties", False if "properties" in schema else None)
    return further is not False


def _values(value: Any) -> list[Any]:
    if isinstance(value, dict):
        return list(value.values())
    return value if isinstance(value, list) else []


def _subset(schema: Schema) -> Schema:
    left = dict(schema)
    out: Schema = {}
    for name in ("$defs", "definitions"):
        definitions = left.pop(name, None)
        if isinstance(definitions, dict):
            out[name] = {key: _accepted(value) for key, value in definitions.items()}
    if "$ref" in left:
        out["$ref"] = left["$ref"]
        return out
    for name in ("title", "description"):
        if isinstance(left.get(name), str):
            out[name] = left.pop(name)
    kind = left.pop("type", None)
    if not _take_literals(left, out) and not _take_union(left, out) and kind is not None:
        out["type"] = kind
    kinds = kind if isinstance(kind, list) else [kind]
    if "object" in kinds:
        _take_object(left, out)
    if "array" in kinds:
        _take_array(left, out)
    form = left.get("format")
    if "string" in kinds and isinstance(form, str) and form in _STRING_FORMATS:
        out["format"] = left.pop("format")
    _tell(left, out)
    return out


def _accepted(value: Any) -> Any:
    return _subset(value) if isinstance(value, dict) else value


def _take_literals(left: Schema, out: Schema) -> bool:
    values = left.get("enum")
    if isinstance(values, list) and values and all(isinstance(value, _SIMPLE) for value in values):
        out["enum"] = left.pop("enum")
    if "const" in left and isinstance(left["const"], _SIMPLE):
        out["const"] = left.pop("const")
    return "enum" in out or "const" in out


def _take_union(left: Schema, out: Schema) -> bool:
    for name, accepted in _UNIONS:
        if isinstance(left.get(name), list):
            out[accepted] = [_accepted(variant) for variant in left.pop(name)]
            return True
    return False


def _take_object(left: Schema, out: Schema) -> None:
    properties = left.pop("properties", None)
    known = properties if isinstance(properties, dict) else {}
    out["properties"] = {key: _accepted(value) for key, value in known.items()}
    left.pop("additionalProperties", None)
    out["additionalProperties"] = False
    if isinstance(left.get("required"), list):
        out["required"] = left.pop("required")


def _take_array(left: Schema, out: Schema) -> None:
    if isinstance(left.get("items"), dict):
        out["items"] = _accepted(left.pop("items"))
    if left.get("minItems") in (0, 1):
        out["minItems"] = left.pop("minItems")


def _tell(left: Schema, out: Schema) -> None:
    """What the model is to keep although nothing enforces it."""
    told = {name: value for name, value in left.items() if not name.startswith("$")}
    if not told:
        return
    words = ", ".join(f"{name}: {json.dumps(value)}" for name, value in sorted(told.items()))
    before = out.get("description")
    out["description"] = f"{before}\n\n{{{words}}}" if before else f"{{{words}}}"
