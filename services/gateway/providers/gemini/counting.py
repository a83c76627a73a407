"""How many tokens a chat has: `:countTokens`, of both of Google's platforms."""

from typing import Any, Final

import msgspec

from services.gateway.providers.errors import UpstreamError
from services.gateway.providers.gemini.errors import error_inside
from services.gateway.providers.wire_errors import knows_no_address, unreadable_answer

METHOD: Final = "countTokens"
_VERTEX_FIELDS: Final = ("contents", "systemInstruction", "tools", "generationConfig")
_NOT_HERE: Final = "is not supported for counttokens"


class _Count(msgspec.Struct, rename="camel"):
    total_tokens: int | None = None
    error: msgspec.Raw = msgspec.Raw(b"")


_count: Final = msgspec.json.Decoder(_Count)


def gemini_count_body(resource: str, wire: dict[str, Any]) -> dict[str, Any]:
    """Of the Gemini API, for the body of a chat. Only whole requests are counted there with their tools."""
    return {"generateContentRequest": {"model": resource, **wire}}


def vertex_count_body(wire: dict[str, Any]) -> dict[str, Any]:
    """Of Vertex AI, for the body of a chat."""
    return {name: wire[name] for name in _VERTEX_FIELDS if name in wire}


def read_total(answer: bytes) -> int:
    """Raises UpstreamError when the answer is something else."""
    try:
        found = _count.decode(answer)
    except msgspec.DecodeError as error:
        raise unreadable_answer() from error
    if found.total_tokens is None:
        raise error_inside(bytes(found.error)) or unreadable_answer()
    return found.total_tokens


def not_counted(error: UpstreamError) -> bool:
    """Whether an answer with an error status says that this model's tokens are not counted."""
    return _NOT_HERE in error.message.lower() or knows_no_address(error)
