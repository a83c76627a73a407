"""Parts of OpenAI's messages as content blocks of Anthropic's."""

import re
from collections.abc import Mapping
from typing import Any, Final

from services.gateway.providers.chat.images import (
    Attached,
    Fetched,
    attached,
    decoded,
    is_data_url,
    media_type_of,
    split_data_url,
)
from services.gateway.providers.chat.request import (
    CacheControl,
    FilePart,
    ImagePart,
    Message,
    Part,
    RefusalPart,
    TextPart,
    arguments_of,
)
from services.gateway.providers.errors import BadRequest

Block = dict[str, Any]

FORMAT: Final = "anthropic-claude-v1"
"""How reasoning is marked that Claude has signed, wherever it runs."""
SIGNED_BY_CLAUDE: Final = frozenset({None, FORMAT, "bedrock-converse-v1"})
"""Formats of reasoning that any of them takes back."""
_IMAGE_TYPES: Final = frozenset({"image/jpeg", "image/png", "image/gif", "image/webp"})
_NOT_IN_IDS: Final = re.compile(r"[^a-zA-Z0-9_-]")
_TTLS: Final = ("5m", "1h")
_PDF: Final = "application/pdf"


def blocks_of(message: Message, where: str, fetched: Mapping[str, Fetched]) -> list[Block]:
    """The parts of a message. Raises BadRequest naming a part that has no counterpart."""
    single = isinstance(message.content, str)
    blocks = []
    for at, part in enumerate(message.parts):
        place = f"{where}.content" if single else f"{where}.content[{at}]"
        block = _block(part, place, fetched)
        if block is not None:
            blocks.append(_marked(block, part.cache_control if not isinstance(part, RefusalPart) else None))
    if message.cache_control is not None and not single and blocks:
        _marked(blocks[-1], message.cache_control)
    return blocks


def assistant_blocks(message: Message, where: str, fetched: Mapping[str, Fetched]) -> list[Block]:
    """What an assistant said, in Anthropic's order: thoughts, text, calls."""
    blocks = _thoughts(message)
    blocks += blocks_of(message, where, fetched)
    if message.refusal and message.refusal.strip():
        blocks.append({"type": "text", "text": message.refusal})
    for at, call in enumerate(message.tool_calls or ()):
        blocks.append(
            {
                "type": "tool_use",
                "id": tool_id(call.id),
                "name": call.function.name,
                "input": arguments_of(call, f"{where}.tool_calls[{at}]"),
            }
        )
    return blocks


def tool_result(message: Message, where: str, fetched: Mapping[str, Fetched]) -> Block:
    """A message of role `tool`."""
    block: Block = {"type": "tool_result", "tool_use_id": tool_id(message.tool_call_id or "")}
    if isinstance(message.content, str):
        block["content"] = message.content
        return _marked(block, message.cache_control)
    content = blocks_of(message, where, fetched)
    if content:
        block["content"] = content
    # A marker may stand on the result alone, not inside of it.
    for inner in content:
        marked = inner.pop("cache_control", None)
        if marked is not None:
            block["cache_control"] = marked
    return block


def tool_id(id: str) -> str:
    """An id that Anthropic takes, whoever made it; the same for the same."""
    return _NOT_IN_IDS.sub("_", id) or "call"


def marker(control: CacheControl) -> Block:
    """A caching marker. It keeps for five minutes where another time is asked for than there is."""
    return {"type": "ephemeral", "ttl": control.ttl} if control.ttl in _TTLS else {"type": "ephemeral"}


def _marked(block: Block, control: CacheControl | None) -> Block:
    if control is not None:
        block["cache_control"] = marker(control)
    return block


def _thoughts(message: Message) -> list[Block]:
    """Only what carries its signature: the provider refuses thoughts that it cannot verify."""
    blocks: list[Block] = []
    for detail in message.reasoning_details or ():
        if detail.format not in SIGNED_BY_CLAUDE:
            continue
        if detail.type == "reasoning.text" and detail.signature:
            blocks.append({"type": "thinking", "thinking": detail.text or "", "signature": detail.signature})
        elif detail.type == "reasoning.encrypted" and detail.data:
            blocks.append({"type": "redacted_thinking", "data": detail.data})
    return blocks


def _block(part: Part, where: str, fetched: Mapping[str, Fetched]) -> Block | None:
    if isinstance(part, TextPart | RefusalPart):
        text = part.text if isinstance(part, TextPart) else part.refusal
        return {"type": "text", "text": text} if text.strip() else None  # blank ones are refused
    if isinstance(part, ImagePart):
        return {
            "type": "image",
            "source": _image_source(part.image_url.url, f"{where}.image_url.url", fetched),
        }
    if isinstance(part, FilePart):
        return _document(part, f"{where}.file", fetched)
    raise BadRequest(f"`{where}.input_audio` cannot be used: this model does not hear.", param=where)


def _image_source(url: str, where: str, fetched: Mapping[str, Fetched]) -> Block:
    known = fetched.get(url)
    if known is not None:
        media_type, data = media_type_of(known.data) or known.media_type, known.base64
    elif is_data_url(url):
        media_type, data = split_data_url(url, where)
        media_type = media_type_of(decoded(data[:32], where)) or media_type
    elif url.startswith("https://"):
        return {"type": "url", "url": url}
    else:
        raise BadRequest(f"`{where}` must be a data URL or an https address.", param=where)
    if media_type not in _IMAGE_TYPES:
        raise BadRequest(f"`{where}` must be a JPEG, PNG, GIF or WebP, not {media_type}.", param=where)
    return {"type": "base64", "media_type": media_type, "data": data}


def _document(part: FilePart, where: str, fetched: Mapping[str, Fetched]) -> Block:
    text = part.file.file_data
    if not text:
        raise BadRequest(
            f"`{where}.file_data` is needed: files uploaded to another provider cannot be used here.",
            param=f"{where}.file_id" if part.file.file_id else f"{where}.file_data",
        )
    place, title = f"{where}.file_data", part.file.filename
    found = attached(text, place, fetched, title)
    if found is not None and found.media_type in _IMAGE_TYPES:
        return {"type": "image", "source": _in_base64(found)}
    if found is not None:
        source = _document_source(found, place)
    elif text.startswith("https://"):
        source = {"type": "url", "url": text}
    else:
        raise BadRequest(f"`{place}` must be a file in base64 or an https address.", param=place)
    return {"type": "document", "source": source, **({"title": title} if title else {})}


def _document_source(found: Attached, where: str) -> Block:
    if found.media_type == _PDF and media_type_of(found.data) == _PDF:
        return _in_base64(found)
    if found.media_type.startswith("text/") or found.media_type == "application/json":
        return {"type": "text", "media_type": "text/plain", "data": found.data.decode("utf-8", "replace")}
    raise BadRequest(f"`{where}` must be a PDF or a text, not {found.media_type}.", param=where)


def _in_base64(found: Attached) -> Block:
    return {"type": "base64", "media_type": found.media_type, "data": found.base64}
