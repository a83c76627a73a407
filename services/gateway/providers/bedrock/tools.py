"""Tools, the choice between them, and structured answers, which are asked for as the input of one more tool."""

from typing import Any, Final

import msgspec

from services.gateway.providers.anthropic.schema import is_closed, refuse_too_deep, strict_schema
from services.gateway.providers.bedrock.content import Blocks
from services.gateway.providers.bedrock.messages import called_names, speaks_of_tools, tool_name
from services.gateway.providers.chat.policy import Fit
from services.gateway.providers.chat.request import (
    AllowedToolChoice,
    ChatRequest,
    JsonObjectFormat,
    JsonSchemaFormat,
    NamedTool,
    Tool,
)

ANSWER_TOOL: Final = "gateway_structured_answer"
"""A call of it is the answer itself. No client's tool may have this name."""
_ANY_OBJECT: Final = {"type": "object", "properties": {}}
_ANSWER_DESCRIPTION: Final = (
    "Give your final answer with this tool: its input is the answer, in the format asked for."
)
_SCHEMA: Final = "response_format.json_schema.schema"
_ToolSpec = dict[str, Any]


def wants_structure(chat: ChatRequest) -> bool:
    """The answer must be JSON."""
    return isinstance(chat.response_format, JsonObjectFormat | JsonSchemaFormat)


def forces_tool(chat: ChatRequest) -> bool:
    """The model is made to call some tool, which models that think refuse."""
    choice = chat.tool_choice
    if isinstance(choice, NamedTool) or choice == "required":
        return True
    return isinstance(choice, AllowedToolChoice) and choice.allowed_tools.mode == "required"


def tool_config(
    chat: ChatRequest,
    messages: list[dict[str, Any]],
    blocks: Blocks,
    fit: Fit,
    *,
    native: bool,
    keeps_strictly: bool,
) -> _ToolSpec | None:
    """`toolConfig`; None where there is nothing to call. `native`: a structured answer is asked for elsewhere.

    `keeps_strictly`: the model can be held to the schema of a tool.
    """
    tools, choice = _client_tools(chat, blocks, fit, keeps_strictly=keeps_strictly), _choice(chat)
    if chat.tool_choice == "none" and chat.tools:
        if speaks_of_tools(messages):
            fit.refuse(
                "tool_choice", "the conversation holds calls, and then Converse cannot forbid more of them"
            )
        tools = []
    if not tools and speaks_of_tools(messages):
        tools = [_spec(name, "", _ANY_OBJECT) for name in called_names(messages)] or [
            _spec("unknown_tool", "", _ANY_OBJECT)
        ]
    if wants_structure(chat) and not native and not forces_tool(chat):
        # Where the client's own tools may be called as well, any of them will do before the answer.
        choice = {"any": {}} if tools and chat.tools else {"tool": {"name": ANSWER_TOOL}}
        tools = [*tools, _answer_tool(chat)]
    if not tools:
        return None
    config: _ToolSpec = {"tools": tools}
    if choice is not None:
        config["toolChoice"] = choice
    return config


def native_format(chat: ChatRequest) -> dict[str, Any] | None:
    """`outputConfig.textFormat`, for models that cannot be forced to call a tool; None for what has to be said in words.

    That is JSON without a schema, and one that leaves something open and that nobody wants to be held to. Raises BadRequest.
    """
    asked = chat.response_format
    if not isinstance(asked, JsonSchemaFormat):
        return None
    if not (asked.json_schema.strict or is_closed(asked.json_schema.schema)):
        refuse_too_deep(asked.json_schema.schema, _SCHEMA)
        return None
    schema: dict[str, Any] = {
        "schema": msgspec.json.encode(strict_schema(asked.json_schema.schema, _SCHEMA)).decode(),
        "name": asked.json_schema.name,
    }
    if asked.json_schema.description:
        schema["description"] = asked.json_schema.description
    return {"type": "json_schema", "structure": {"jsonSchema": schema}}


def _client_tools(chat: ChatRequest, blocks: Blocks, fit: Fit, *, keeps_strictly: bool) -> list[_ToolSpec]:
    allowed: set[str] | None = None
    if isinstance(chat.tool_choice, AllowedToolChoice):
        allowed = {tool.function.name for tool in chat.tool_choice.allowed_tools.tools}
    found: list[_ToolSpec] = []
    for at, tool in enumerate(chat.tools or ()):
        where = f"tools[{at}].function"
        name = tool_name(tool.function.name, f"{where}.name")
        if name == ANSWER_TOOL:
            fit.refuse(f"{where}.name", "the gateway needs this name for itself")
        if allowed is None or name in allowed:
            found += [_client_spec(tool, where, fit, keeps_strictly=keeps_strictly)]
            found += blocks.cache_point(tool.cache_control, of_tool=True)
    return found


def _client_spec(tool: Tool, where: str, fit: Fit, *, keeps_strictly: bool) -> _ToolSpec:
    name, description = tool.function.name, tool.function.description or ""
    schema = tool.function.parameters or _ANY_OBJECT
    if not tool.function.strict:
        return _spec(name, description, schema)
    if not keeps_strictly:
        fit.drop("strict")
        return _spec(name, description, schema)
    kept = strict_schema({**_ANY_OBJECT, **schema}, f"{where}.parameters")
    spec = _spec(name, description, kept)
    spec["toolSpec"]["strict"] = True
    return spec


def _choice(chat: ChatRequest) -> _ToolSpec | None:
    choice = chat.tool_choice
    if isinstance(choice, NamedTool):
        return {"tool": {"name": tool_name(choice.function.name, "tool_choice.function.name")}}
    if forces_tool(chat):
        return {"any": {}}
    # "auto" is what happens anyway, and not every model takes the word.
    return None


def _answer_tool(chat: ChatRequest) -> _ToolSpec:
    asked = chat.response_format
    if not isinstance(asked, JsonSchemaFormat):
        return _spec(ANSWER_TOOL, _ANSWER_DESCRIPTION, {"type": "object", "additionalProperties": True})
    described = f"{_ANSWER_DESCRIPTION} {asked.json_schema.description or ''}".strip()
    return _spec(ANSWER_TOOL, described, asked.json_schema.schema or _ANY_OBJECT)


def _spec(name: str, description: str, schema: dict[str, Any]) -> _ToolSpec:
    spec: _ToolSpec = {"name": name, "inputSchema": {"json": {"type": "object", **schema}}}
    if description.strip():
        spec["description"] = description
    return {"toolSpec": spec}
