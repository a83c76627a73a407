"""The conversation in a request of Anthropic's as the messages of a chat."""

from typing import Any

import msgspec

from services.gateway.providers.anthropic.content import FORMAT
from services.gateway.providers.chat.memory import MARK, remembered
from services.gateway.providers.errors import BadRequest
from services.gateway.providers.messages.wire import (
    Block,
    Compaction,
    Document,
    HiddenThoughts,
    Image,
    Json,
    MessagesRequest,
    SearchResult,
    Source,
    Text,
    Thoughts,
    ToolReference,
    ToolResult,
    ToolUse,
    Trace,
)


def marked(part: Json, cache_control: Json | None) -> Json:
    """The part with its marker of caching."""
    if cache_control:
        part["cache_control"] = cache_control
    return part


def chat_messages(asked: MessagesRequest) -> list[Json]:
    """All that was said, the system prompt first. Raises BadRequest naming the place of what no chat can hold."""
    messages: list[Json] = []
    if asked.system:
        messages.append({"role": "system", "content": _system(asked.system)})
    for at, turn in enumerate(asked.messages):
        if isinstance(turn.content, str):
            messages.append({"role": turn.role, "content": turn.content})
        elif turn.role == "assistant":
            message = _assistant(turn.content, f"messages[{at}].content")
            messages += [message] if len(message) > 1 else []
        else:
            messages += _user(turn.role, turn.content, f"messages[{at}].content")
    if messages:
        marked(messages[-1], asked.cache_control)  # of the request: it means the last block there is
    return messages


def _system(system: str | list[Text]) -> Any:
    """One text where nothing speaks against it: not every server takes parts here."""
    if isinstance(system, str):
        return system
    if any(block.cache_control for block in system):
        return [_part(block, "system") for block in system]
    return "\n".join(block.text for block in system)


def _assistant(blocks: list[Block], where: str) -> Json:
    """Only with a role where nothing was said that another model could read."""
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
        elif isinstance(block, Compaction):
            texts += _summary(block, f"{where}[{at}]")
        elif not isinstance(block, Trace):
            raise _misplaced(f"{where}[{at}]", "an assistant")
    if texts or calls or details:
        message["content"] = "".join(texts) if texts else None
    if calls:
        message["tool_calls"] = [
            {**call, "extra_content": marks[call["id"]]} if call["id"] in marks else call for call in calls
        ]
    if details:
        message["reasoning_details"] = details
    return message


def _summary(block: Compaction, where: str) -> list[str]:
    if block.tool_changes:
        param = f"{where}.tool_changes"
        raise BadRequest(f"`{param}` cannot be used with this model: name its tools in `tools`.", param=param)
    return [f"{block.content}\n\n"] if block.content else []


def _user(role: str, blocks: list[Block], where: str) -> list[Json]:
    """Results of tools come first, as messages of their own; their pictures go along with what the user says."""
    results: list[Json] = []
    parts: list[Json] = []
    for at, block in enumerate(blocks):
        place = f"{where}[{at}]"
        if isinstance(block, ToolResult):
            results.append(_result(block, place, parts))
        elif isinstance(block, Text | Image | Document | SearchResult):
            parts += _parts(block, place)
        else:
            raise _misplaced(place, "a user")
    return results + ([{"role": role, "content": parts}] if parts else [])


def _result(block: ToolResult, where: str, parts: list[Json]) -> Json:
    content = block.content
    if not isinstance(content, str):
        texts = []
        for inner in content:
            if isinstance(inner, Image | Document):
                parts += _parts(inner, where)
            elif isinstance(inner, ToolReference):
                texts.append(inner.tool_name)
            elif isinstance(inner, Text | SearchResult):
                texts.append(inner.text if isinstance(inner, Text) else _found(inner))
        content = "\n".join(texts)
    if block.is_error:
        content = f"Error: {content}"
    message = {"role": "tool", "tool_call_id": block.tool_use_id, "content": content}
    return marked(message, block.cache_control)


def _parts(block: Text | Image | Document | SearchResult, where: str) -> list[Json]:
    """A document may be several: its texts and its pictures."""
    if not isinstance(block, Document) or block.source.type != "content":
        return [_part(block, where)]
    content = block.source.content
    inside = [Text(content)] if isinstance(content, str) else content
    parts = [_part(Text(block.title), where)] if block.title else []
    parts += [_part(inner, where) for inner in inside]
    if parts:
        marked(parts[-1], block.cache_control)
    return parts


def _part(block: Text | Image | Document | SearchResult, where: str) -> Json:
    if isinstance(block, Text):
        part: Json = {"type": "text", "text": block.text}
    elif isinstance(block, SearchResult):
        part = {"type": "text", "text": _found(block)}
    elif isinstance(block, Image):
        part = {"type": "image_url", "image_url": {"url": _address(block.source, where)}}
    elif block.source.type == "text":
        title = f"{block.title}\n\n" if block.title else ""
        part = {"type": "text", "text": title + block.source.data}
    else:
        file = {"file_data": _address(block.source, where), "filename": block.title or "document.pdf"}
        part = {"type": "file", "file": file}
    return marked(part, block.cache_control)


def _found(result: SearchResult) -> str:
    """A result of a search as a text: what it is, where it is from, what it says."""
    said = [f"{result.title}\n{result.source}", *(text.text for text in result.content)]
    return "\n\n".join(said)


def _address(source: Source, where: str) -> str:
    if source.type == "url" and source.url:
        return source.url
    if source.type != "base64" or not source.media_type:
        raise BadRequest(f"`{where}.source` must be in base64 or an address.", param=f"{where}.source")
    return f"data:{source.media_type};base64,{source.data}"


def _misplaced(where: str, whose: str) -> BadRequest:
    return BadRequest(f"`{where}.type` does not belong into a message of {whose}.", param=f"{where}.type")
