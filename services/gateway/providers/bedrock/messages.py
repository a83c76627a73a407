"""The conversation as Converse wants it: system apart, users and assistants in turn, results inside user messages."""

import hashlib
import re
from typing import Any, Final

from services.gateway.providers.bedrock.content import Block, Blocks
from services.gateway.providers.chat.request import ChatRequest, Message, ToolCall, arguments_of
from services.gateway.providers.errors import BadRequest

_NOT_IN_IDS: Final = re.compile(r"[^A-Za-z0-9_.:-]")
_ID_CHARS: Final = 64
_NAME: Final = re.compile(r"[A-Za-z0-9_-]{1,64}")


def conversation(chat: ChatRequest, blocks: Blocks) -> tuple[list[Block], list[dict[str, Any]]]:
    """System blocks and messages. Raises BadRequest when nobody but the system says anything."""
    system: list[Block] = []
    messages: list[dict[str, Any]] = []
    for at, message in enumerate(chat.messages):
        where = f"messages[{at}]"
        if message.role in ("system", "developer"):
            system += _system(blocks.of(message, where), where)
            continue
        role = "assistant" if message.role == "assistant" else "user"
        content = _content(message, blocks, where)
        if not content:
            continue
        if messages and messages[-1]["role"] == role:
            messages[-1]["content"] += content
        else:
            messages.append({"role": role, "content": content})
    if not messages:
        raise BadRequest(
            "`messages` must hold at least one message of a user that says something.", param="messages"
        )
    for one in messages:
        _name_documents(one["content"])
    if "cachePoint" not in messages[-1]["content"][-1]:
        messages[-1]["content"] += blocks.cache_point(chat.cache_control)
    return system, messages


def _name_documents(content: list[Block]) -> None:
    """A message with documents must have a text as well."""
    documents = sum("document" in block for block in content)
    if documents and not any("text" in block for block in content):
        content.insert(0, {"text": "The document:" if documents == 1 else "The documents:"})


def called_names(messages: list[dict[str, Any]]) -> list[str]:
    """The tools that were called in the conversation, each once."""
    calls = (
        block["toolUse"]["name"] for message in messages for block in message["content"] if "toolUse" in block
    )
    return list(dict.fromkeys(calls))


def speaks_of_tools(messages: list[dict[str, Any]]) -> bool:
    """Converse wants tools defined as soon as the conversation holds calls or results."""
    return any(
        "toolUse" in block or "toolResult" in block for message in messages for block in message["content"]
    )


def tool_name(name: str, where: str) -> str:
    if not _NAME.fullmatch(name):
        raise BadRequest(f"`{where}` must be 1 to 64 letters, digits, _ or -.", param=where)
    return name


def _content(message: Message, blocks: Blocks, where: str) -> list[Block]:
    if message.role == "tool":
        results = blocks.of(message, where)
        points = [block for block in results if "cachePoint" in block]
        content = [_in_result(block, where) for block in results if "cachePoint" not in block]
        result = {"toolUseId": _id(message.tool_call_id or ""), "content": content}
        return [{"toolResult": result}, *points]
    if message.role == "user":
        return blocks.of(message, where)
    found = blocks.reasoning(message.reasoning_details, where) + blocks.of(message, where)
    if message.refusal and message.refusal.strip() and not message.parts:
        found.append({"text": message.refusal})
    for at, call in enumerate(message.tool_calls or ()):
        found.append({"toolUse": _call(call, f"{where}.tool_calls[{at}]")})
    return found


def _call(call: ToolCall, where: str) -> dict[str, Any]:
    return {
        "toolUseId": _id(call.id),
        "name": tool_name(call.function.name, f"{where}.function.name"),
        "input": arguments_of(call, where),
    }


def _in_result(block: Block, where: str) -> Block:
    if "audio" in block:
        raise BadRequest(
            f"`{where}.content` holds a recording, which a result cannot.", param=f"{where}.content"
        )
    return block


def _system(found: list[Block], where: str) -> list[Block]:
    if any("text" not in block and "cachePoint" not in block for block in found):
        raise BadRequest(f"`{where}.content` must be text in a system message.", param=f"{where}.content")
    return found


def _id(given: str) -> str:
    """A call's id in the characters that Converse allows: the same one for the call and its result."""
    if given and len(given) <= _ID_CHARS and not _NOT_IN_IDS.search(given):
        return given
    return "call_" + hashlib.sha256(given.encode("utf-8", "surrogatepass")).hexdigest()[:32]
