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
    Turn,
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
    loop = _loop_begins(asked.messages)
    for at, turn in enumerate(asked.messages):
        if isinstance(turn.content, str):
            messages.append({"role": turn.role, "content": turn.content})
        elif turn.role == "assistant":
            message = _assistant(turn.content, f"messages[{at}].content", in_loop=at >= loop)
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


def _loop_begins(turns: list[Turn]) -> int:
    """Where the loop of tools begins that the conversation ends in; at its end where there is none."""
    begins = len(turns)
    while begins and (turns[begins - 1].role == "assistant" or _answers(turns[begins - 1])):
        begins -= 1
    return begins if turns and _answers(turns[-1]) else len(turns)


def _answers(turn: Turn) -> bool:
    return isinstance(turn.content, list) and any(isinstance(block, ToolResult) for block in turn.content)


def _assistant(blocks: list[Block], where: str, *, in_loop: bool) -> Json:
    """Only with a role where nothing was said that another model could read.

    Thoughts that nobody signed go back within a loop of tools: some models do not go on in it without them.
    """
    message: Json = {"role": "assistant"}
    texts: list[str] = []
    uses: list[ToolUse] = []
    for at, block in enumerate(blocks):
        if isinstance(block, Text):
            texts.append(block.text)
        elif isinstance(block, ToolUse):
            uses.append(block)
        elif isinstance(block, Compaction):
            texts += _summary(block, f"{where}[{at}]")
        elif not isinstance(block, Thoughts | HiddenThoughts | Trace):
            raise _misplaced(f"{where}[{at}]", "an assistant")
    details, marks, unsigned = _thoughts(blocks)
    if not in_loop:
        unsigned = []
    if texts or uses or details or unsigned:
        message["content"] = "".join(texts) if texts else None
    if uses:
        message["tool_calls"] = [_call(use, marks) for use in uses]
    if details:
        message["reasoning_details"] = details
    if unsigned:
        message["reasoning_content"] = "\n\n".join(unsigned)
    return message


def _call(use: ToolUse, marks: Json) -> Json:
    function = {"name": use.name, "arguments": msgspec.json.encode(use.input).decode()}
    call: Json = {"id": use.id, "type": "function", "function": function}
    return {**call, "extra_content": marks[use.id]} if use.id in marks else call


def _thoughts(blocks: list[Block]) -> tuple[list[Json], Json, list[str]]:
    """What was thought: signed or hidden, with the marks of calls that came along, and what nobody signed."""
    details: list[Json] = []
    marks: Json = {}
    unsigned: list[str] = []
    for block in blocks:
        if isinstance(block, Thoughts) and block.signature:
            signed = {"text": block.thinking, "signature": block.signature, "format": FORMAT}
            details.append({"type": "reasoning.text", **signed})
        elif isinstance(block, Thoughts):
            unsigned.append(block.thinking)
        elif isinstance(block, HiddenThoughts) and block.data.startswith(MARK):
            memory = remembered(block.data)
            details += memory.details
            marks |= memory.calls
        elif isinstance(block, HiddenThoughts):
            details.append({"type": "reasoning.encrypted", "data": block.data, "format": FORMAT})
    return details, marks, unsigned


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
