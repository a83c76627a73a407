"""Reasoning items: made here of what a chat model thought, and known again when they come back."""

from typing import Any, Final

import msgspec

from services.gateway.providers.chat.memory import MARK, Memory, ThoughtField, sealed
from services.gateway.providers.inbound import ChunkDelta

OUR_PREFIX: Final = "rs_finops"
"""Of the ids of reasoning items that were made here."""
_IN_BOTH: Final = b"finops"
"""Stands in the prefix and in the mark."""


class _Item(msgspec.Struct):
    type: str | None = None
    id: str | None = None
    encrypted_content: str | None = None

    @property
    def is_ours(self) -> bool:
        return self.type == "reasoning" and (
            (self.encrypted_content or "").startswith(MARK) or (self.id or "").startswith(OUR_PREFIX)
        )


_items: Final = msgspec.json.Decoder(list[msgspec.Raw])
_item: Final = msgspec.json.Decoder(_Item)


def thought_field(said: ChunkDelta) -> ThoughtField:
    """Where the provider shows reasoning, as Memory has it: empty where it shows none, or says more with it.

    What it gives in details goes back in those.
    """
    if said.reasoning_details:
        return ""
    return "reasoning_content" if said.reasoning_content else "reasoning" if said.reasoning else ""


def open_reasoning(item_id: str) -> dict[str, Any]:
    """The item while it is being written."""
    return {"type": "reasoning", "id": item_id, "summary": []}


def reasoning_item(item_id: str, text: str, memory: Memory) -> dict[str, Any]:
    """The visible reasoning as its summary: what chat providers show is what they want to be seen.

    Beside it stands what the provider wants back, if only our mark: clients send back an item without its id, or
    without the other, and either tells that it was made here.
    """
    summary = [{"type": "summary_text", "text": text}] if text else []
    return {**open_reasoning(item_id), "summary": summary, "encrypted_content": sealed(memory) or MARK}


def without_ours(raw_input: bytes) -> bytes | None:
    """An `input` without the reasoning items that were made here; None when it holds none.

    A server that speaks this format refuses reasoning that it did not encrypt or store itself, and the whole
    conversation with it. Its own items stay, and their bytes as they came. It costs one search where there is
    nothing to find.
    """
    if _IN_BOTH not in raw_input:
        return None
    try:
        items = _items.decode(raw_input)
        kept = [item for item in items if not _item.decode(item).is_ours]
    except msgspec.DecodeError:
        return None  # a text that has the mark in it, or no input at all: the server says best what is wrong
    return msgspec.json.encode(kept) if len(kept) < len(items) else None
