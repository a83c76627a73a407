"""What a provider wants back with the next turn (signatures of reasoning, marks on calls), as a text for the client.

Two formats have one field for what only the server can read: `encrypted_content` of a reasoning item in Responses,
and `data` of a redacted thought in Messages. Clients send it back as it came.
"""

import base64
import binascii
from typing import Any, Final, Literal

import msgspec

MARK: Final = "finops1."
"""Tells ours from what another server wrote."""

ThoughtField = Literal["", "reasoning", "reasoning_content"]


class Memory(msgspec.Struct, omit_defaults=True):
    """`details`: the `reasoning_details` of a message. `calls`: call id -> its `extra_content`."""

    details: list[Any] = []
    calls: dict[str, Any] = {}
    thought_in: ThoughtField = ""
    """The field of a message that visible reasoning came in, for providers that take it back as it was."""


_memory: Final = msgspec.json.Decoder(Memory)


def sealed(memory: Memory) -> str | None:
    """As a text; None when there is nothing to remember."""
    if memory == Memory():
        return None
    return MARK + base64.urlsafe_b64encode(msgspec.json.encode(memory)).decode()


def remembered(text: str | None) -> Memory:
    """What `sealed` wrote; empty for anything else."""
    if not text or not text.startswith(MARK):
        return Memory()
    try:
        return _memory.decode(base64.urlsafe_b64decode(text[len(MARK) :]))
    except (binascii.Error, ValueError):
        return Memory()  # cut or changed on the way: the provider reasons anew
