"""A request to Anthropic's Messages API as a chat completion."""

import re
from collections.abc import Iterator
from typing import Final

import msgspec

from services.gateway.providers.body import JsonBody, parse_json
from services.gateway.providers.errors import BadRequest
from services.gateway.providers.messages.conversation import chat_messages, marked
from services.gateway.providers.messages.thinking import USUAL_WAY, Way, thinking_fields
from services.gateway.providers.messages.wire import (
    TRACES,
    Json,
    MessagesRequest,
    OutputConfig,
    Thinking,
    ToolDefinition,
    ToolResult,
    Trace,
)

_decoder: Final = msgspec.json.Decoder(MessagesRequest)
_PLACE: Final = re.compile(r"(.*?) - at `\$\.?(.*)`", re.DOTALL)
_MISSING: Final = re.compile(r"required field `(\w+)`")
_REFUSED: Final = (
    ("container", b""),
    ("mcp_servers", b"[]"),
    ("inference_geo", b'"global"'),
)
"""Fields without a counterpart that the answer would be another without, and the value that asks for nothing."""
_TRANSLATED: Final = frozenset(MessagesRequest.__struct_fields__) | {name for name, _ in _REFUSED}
_CHOICES: Final = {"auto": "auto", "any": "required", "none": "none"}
_TRACE: Final = re.compile(rb'"type"\s*:\s*"(?:' + "|".join(sorted(TRACES)).encode() + rb')"')
_thinking: Final = msgspec.json.Decoder(Thinking)
_output_config: Final = msgspec.json.Decoder(OutputConfig)


def read_messages(body: JsonBody, *, counting: bool = False) -> MessagesRequest:
    """Raises BadRequest naming the place of the first thing that is wrong, or has no counterpart elsewhere.

    `counting`: only the tokens of it are asked for, so that it needs no limit on those of the answer.
    """
    try:
        asked = _decoder.decode(body.raw_body)
    except msgspec.ValidationError as error:
        raise _bad_request(str(error)) from error
    except msgspec.DecodeError as error:
        raise BadRequest(f"The body is not valid JSON: {error}.") from error
    for name, nothing in _REFUSED:
        if (raw := body.raw(name)) is not None and raw != nothing:
            raise BadRequest(f"`{name}` is Anthropic's alone: this model has none.", param=name)
    if asked.max_tokens is None and "max_tokens" not in body and not counting:
        raise BadRequest("`max_tokens` is missing.", param="max_tokens")
    for at, tool in enumerate(asked.tools or ()):
        if tool.type not in (None, "custom"):
            raise BadRequest(
                f"`tools[{at}].type` {tool.type} is one of Anthropic's own tools: this model has none here.",
                param=f"tools[{at}].type",
            )
        if not tool.name:
            raise BadRequest(f"`tools[{at}].name` is missing.", param=f"tools[{at}].name")
    return asked


def as_chat(body: JsonBody, way: Way = USUAL_WAY, *, counting: bool = False) -> JsonBody:
    """The same request as a chat completion. Raises BadRequest naming the field.

    `way`: how thinking is spoken of, and what else is known. `counting`: see `read_messages`.
    """
    asked = read_messages(body, counting=counting)
    chat: Json = {"model": asked.model, "messages": chat_messages(asked)}
    if asked.stream and not counting:
        chat |= {"stream": True, "stream_options": {"include_usage": True}}
    for name, value in (
        ("max_tokens", asked.max_tokens),
        ("temperature", asked.temperature),
        ("top_p", asked.top_p),
        ("top_k", asked.top_k if way.top_k else None),
        ("stop", asked.stop_sequences or None),
        ("user", asked.metadata.user_id if asked.metadata is not None else None),
    ):
        if value is not None:
            chat[name] = value
    effort = asked.output_config.effort if asked.output_config is not None else None
    chat |= thinking_fields(asked.thinking, effort, way)[0]
    _tools(asked, chat)
    if asked.output_config is not None and asked.output_config.format is not None:
        form = {"name": "answer", "schema": asked.output_config.format.schema, "strict": True}
        chat["response_format"] = {"type": "json_schema", "json_schema": form}
    return parse_json(msgspec.json.encode(chat))


def left_out(body: JsonBody, way: Way = USUAL_WAY) -> tuple[str, ...]:
    """What of a request that `as_chat` takes is not in the chat."""
    names = {name for name in body.names - _TRANSLATED if body.raw(name) is not None}
    if not way.top_k and body.raw("top_k") is not None:
        names.add("top_k")
    thinking, config = body.raw("thinking"), body.raw("output_config")
    if thinking is not None or config is not None:
        asked = _thinking.decode(thinking) if thinking is not None else None
        effort = _output_config.decode(config).effort if config is not None else None
        names.update(thinking_fields(asked, effort, way)[1])
    if _TRACE.search(body.raw("messages") or b"") is not None:
        names.update(f"messages.{name}" for name in _traces(_decoder.decode(body.raw_body)))
    return tuple(sorted(names))


def _traces(asked: MessagesRequest) -> Iterator[str]:
    """The types of the blocks that are nowhere in the chat."""
    for turn in asked.messages:
        for block in turn.content if isinstance(turn.content, list) else ():
            inner = block.content if isinstance(block, ToolResult) else ""
            for found in (block, *(inner if isinstance(inner, list) else ())):
                if isinstance(found, Trace):
                    yield str(found.__struct_config__.tag)


def _tools(asked: MessagesRequest, chat: Json) -> None:
    if not asked.tools:
        return
    chat["tools"] = [_tool(tool) for tool in asked.tools]
    choice = asked.tool_choice
    if choice is None:
        return
    if choice.type == "tool":
        chat["tool_choice"] = {"type": "function", "function": {"name": choice.name}}
    else:
        chat["tool_choice"] = _CHOICES[choice.type]
    if choice.disable_parallel_tool_use:
        chat["parallel_tool_calls"] = False


def _tool(tool: ToolDefinition) -> Json:
    function: Json = {"name": tool.name, "parameters": tool.input_schema or {"type": "object"}}
    if tool.description is not None:
        function["description"] = tool.description
    if tool.strict is not None:
        function["strict"] = tool.strict
    return marked({"type": "function", "function": function}, tool.cache_control)


def _bad_request(message: str) -> BadRequest:
    match = _PLACE.fullmatch(message)
    if match is None or not match[2]:
        missing = _MISSING.search(message)
        name = missing[1] if missing else None
        return BadRequest(f"`{name}` is missing." if name else f"{message}.", param=name)
    return BadRequest(f"`{match[2]}` is wrong: {match[1]}.", param=match[2])
