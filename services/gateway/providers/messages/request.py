"""A request to Anthropic's Messages API as a chat completion."""

import re
from typing import Any, Final

import msgspec

from services.gateway.providers.anthropic.content import FORMAT
from services.gateway.providers.body import JsonBody, parse_json
from services.gateway.providers.chat.memory import MARK, remembered
from services.gateway.providers.errors import BadRequest
from services.gateway.providers.messages.thinking import Way, thinking_fields
from services.gateway.providers.messages.wire import (
    Block,
    Document,
    HiddenThoughts,
    Image,
    Json,
    MessagesRequest,
    OutputConfig,
    Source,
    Text,
    Thinking,
    Thoughts,
    ToolDefinition,
    ToolResult,
    ToolUse,
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
_thinking: Final = msgspec.json.Decoder(Thinking)
_output_config: Final = msgspec.json.Decoder(OutputConfig)


def read_messages(body: JsonBody) -> MessagesRequest:
    """Raises BadRequest naming the place of the first thing that is wrong, or has no counterpart elsewhere."""
    try:
        asked = _decoder.decode(body.raw_body)
    except msgspec.ValidationError as error:
        raise _bad_request(str(error)) from error
    except msgspec.DecodeError as error:
        raise BadRequest(f"The body is not valid JSON: {error}.") from error
    for name, nothing in _REFUSED:
        if (raw := body.raw(name)) is not None and raw != nothing:
            raise BadRequest(f"`{name}` is Anthropic's alone: this model has none.", param=name)
    if asked.max_tokens is None and "max_tokens" not in body:
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


def as_chat(body: JsonBody, way: Way = "thinking") -> JsonBody:
    """The same request as a chat completion. Raises BadRequest naming the field. `way`: how thinking is spoken of."""
    asked = read_messages(body)
    chat: Json = {"model": asked.model, "messages": _messages(asked), "max_tokens": asked.max_tokens}
    if asked.stream:
        chat |= {"stream": True, "stream_options": {"include_usage": True}}
    for name, value in (
        ("temperature", asked.temperature),
        ("top_p", asked.top_p),
        ("top_k", asked.top_k),
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


def left_out(body: JsonBody, way: Way = "thinking") -> tuple[str, ...]:
    """What of a request that `as_chat` takes is not in the chat."""
    names = {name for name in body.names - _TRANSLATED if body.raw(name) is not None}
    thinking, config = body.raw("thinking"), body.raw("output_config")
    if thinking is not None or config is not None:
        asked = _thinking.decode(thinking) if thinking is not None else None
        effort = _output_config.decode(config).effort if config is not None else None
        names.update(thinking_fields(asked, effort, way)[1])
    return tuple(sorted(names))


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
    return _marked({"type": "function", "function": function}, tool.cache_control)


def _messages(asked: MessagesRequest) -> list[Json]:
    messages: list[Json] = []
    if asked.system:
        messages.append({"role": "system", "content": _system(asked.system)})
    for at, turn in enumerate(asked.messages):
        if isinstance(turn.content, str):
            messages.append({"role": turn.role, "content": turn.content})
        elif turn.role == "assistant":
            messages.append(_assistant(turn.content, f"messages[{at}].content"))
        else:
            messages += _user(turn.role, turn.content, f"messages[{at}].content")
    if messages:
        _marked(messages[-1], asked.cache_control)  # of the request: it means the last block there is
    return messages


def _system(system: str | list[Text]) -> Any:
    """One text where nothing speaks against it: not every server takes parts here."""
    if isinstance(system, str):
        return system
    if any(block.cache_control for block in system):
        return [_part(block, "system") for block in system]
    return "\n".join(block.text for block in system)


def _assistant(blocks: list[Block], where: str) -> Json:
    message: Json = {"role": "assistant"}
    texts: list[str] = []
    details: list[Json] = []
    calls: list[Json] = []
    marks: Json = {}
    for at, block in enumerate(blocks):
        if isinstance(block, Text):
            texts.append(block.text)
        elif isinstance(block, ToolUse):
            function = {"name": block.name, "arguments": msgspec.json.encode(block.input).decode()}
            calls.append({"id": block.id, "type": "function", "function": function})
        elif isinstance(block, Thoughts):
            if block.signature:
                signed = {"text": block.thinking, "signature": block.signature, "format": FORMAT}
                details.append({"type": "reasoning.text", **signed})
        elif isinstance(block, HiddenThoughts) and block.data.startswith(MARK):
            memory = remembered(block.data)
            details += memory.details
            marks |= memory.calls
        elif isinstance(block, HiddenThoughts):
            details.append({"type": "reasoning.encrypted", "data": block.data, "format": FORMAT})
        else:
            raise _misplaced(f"{where}[{at}]", "an assistant")
    message["content"] = "".join(texts) if texts else None
    if calls:
        message["tool_calls"] = [
            {**call, "extra_content": marks[call["id"]]} if call["id"] in marks else call for call in calls
        ]
    if details:
        message["reasoning_details"] = details
    return message


def _user(role: str, blocks: list[Block], where: str) -> list[Json]:
    """Results of tools come first, as messages of their own; their pictures go along with what the user says."""
    results: list[Json] = []
    parts: list[Json] = []
    for at, block in enumerate(blocks):
        place = f"{where}[{at}]"
        if isinstance(block, ToolResult):
            results.append(_result(block, place, parts))
        elif isinstance(block, Text | Image | Document):
            parts.append(_part(block, place))
        else:
            raise _misplaced(place, "a user")
    return results + ([{"role": role, "content": parts}] if parts else [])


def _result(block: ToolResult, where: str, parts: list[Json]) -> Json:
    content = block.content
    if not isinstance(content, str):
        parts += [_part(inner, where) for inner in content if not isinstance(inner, Text)]
        content = "\n".join(inner.text for inner in content if isinstance(inner, Text))
    if block.is_error:
        content = f"Error: {content}"
    message = {"role": "tool", "tool_call_id": block.tool_use_id, "content": content}
    return _marked(message, block.cache_control)


def _part(block: Text | Image | Document, where: str) -> Json:
    if isinstance(block, Text):
        part: Json = {"type": "text", "text": block.text}
    elif isinstance(block, Image):
        part = {"type": "image_url", "image_url": {"url": _address(block.source, where)}}
    elif block.source.type == "text":
        title = f"{block.title}\n\n" if block.title else ""
        part = {"type": "text", "text": title + block.source.data}
    else:
        file = {"file_data": _address(block.source, where), "filename": block.title or "document.pdf"}
        part = {"type": "file", "file": file}
    return _marked(part, block.cache_control)


def _address(source: Source, where: str) -> str:
    if source.type == "url" and source.url:
        return source.url
    if source.type != "base64" or not source.media_type:
        raise BadRequest(f"`{where}.source` must be in base64 or an address.", param=f"{where}.source")
    return f"data:{source.media_type};base64,{source.data}"


def _marked(part: Json, cache_control: Json | None) -> Json:
    if cache_control:
        part["cache_control"] = cache_control
    return part


def _misplaced(where: str, whose: str) -> BadRequest:
    return BadRequest(f"`{where}.type` does not belong into a message of {whose}.", param=f"{where}.type")


def _bad_request(message: str) -> BadRequest:
    match = _PLACE.fullmatch(message)
    if match is None or not match[2]:
        missing = _MISSING.search(message)
        name = missing[1] if missing else None
        return BadRequest(f"`{name}` is missing." if name else f"{message}.", param=name)
    return BadRequest(f"`{match[2]}` is wrong: {match[1]}.", param=match[2])
