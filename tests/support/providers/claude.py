"""What Claude refuses although the types know it: by the words of Anthropic's documentation and of the types'."""

import re
from typing import Any, Final

_LEVELS_BY_VERSION: Final = {"4-5": ("low", "medium", "high"), "4-6": ("low", "medium", "high", "max")}
_VERSION: Final = re.compile(r"claude-[a-z]+-(\d-\d)(?!\d)")


def check_claude(body: dict[str, Any], model: str = "") -> None:
    """Raises ValueError for a body of the Messages API that this model refuses."""
    thinking, choice = body.get("thinking") or {}, body.get("tool_choice") or {}
    config = body.get("output_config") or {}
    if thinking.get("type") == "enabled":
        if not 1_024 <= thinking["budget_tokens"] < body["max_tokens"]:
            raise ValueError("thinking.budget_tokens must be at least 1024 and less than max_tokens")
        if choice.get("type") in ("any", "tool"):
            raise ValueError("thinking may not be enabled when tool_choice forces tool use")
    check_effort(config.get("effort"), model or body.get("model", ""), thinking.get("type") != "disabled")
    if config.get("format"):
        check_closed(config["format"]["schema"])
    for tool in body.get("tools") or ():
        if tool.get("strict"):
            check_closed(tool["input_schema"])


def check_effort(effort: str | None, model: str, thinks: bool) -> None:
    """Raises ValueError for a level that the model does not have."""
    version = _VERSION.search(model)
    levels = _LEVELS_BY_VERSION.get(version[1]) if version is not None else None
    if effort is not None and levels is not None and effort not in levels:
        raise ValueError(f"output_config.effort: {model} does not support {effort}")
    if effort in ("xhigh", "max") and not thinks:
        raise ValueError(f"output_config.effort: {effort} is not available with thinking disabled")


def check_closed(schema: Any) -> None:
    """Raises ValueError unless every object says all that it may hold, and everything has a type."""
    if isinstance(schema, list):
        for inner in schema:
            check_closed(inner)
    if not isinstance(schema, dict):
        return
    kinds = schema.get("type")
    if "object" in (kinds if isinstance(kinds, list) else [kinds]):
        if schema.get("additionalProperties") is not False:
            raise ValueError("For 'object' type, 'additionalProperties' must be explicitly set to false")
    elif not schema.keys() & {"type", "anyOf", "allOf", "enum", "const", "$ref"}:
        raise ValueError("Schema must have a type")
    for name in ("properties", "$defs", "definitions"):
        for inner in (schema.get(name) or {}).values():
            check_closed(inner)
    for name in ("anyOf", "allOf", "items"):
        check_closed(schema.get(name))
