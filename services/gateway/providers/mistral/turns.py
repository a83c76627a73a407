"""The order of messages that Mistral insists on, where a conversation of OpenAI's has another.

Mistral refuses with a 400 what other vendors take: ids of calls that are not nine letters and digits (its code 3280),
a user who speaks right after a tool (3230), and a last word of the assistant's that is not marked as the beginning of
what is to come. The last is `prefix` of AssistantMessage in the vendor's SDK.
"""

import hashlib
import re
import string
from typing import Final

import msgspec

from services.gateway.providers.errors import BadRequest

Message = dict[str, msgspec.Raw]

_OWN_ID: Final = re.compile(r"[A-Za-z0-9]{9}")
_ID_CHARS: Final = string.digits + string.ascii_letters
_ID_LENGTH: Final = 9
_BETWEEN: Final[Message] = {"role": msgspec.Raw(b'"assistant"'), "content": msgspec.Raw(b'"Understood."')}
"""Stands between a tool's result and what the user says to it. It may not be empty."""
_LAST: Final = (b"", b'"user"', b'"tool"')
"""Whom Mistral answers; and where there are no messages, it says so itself."""
_TRUE: Final = msgspec.Raw(b"true")
_calls: Final = msgspec.json.Decoder(list[Message])
_id: Final = msgspec.json.Decoder(str)


def in_order(messages: list[Message]) -> tuple[list[Message], bool]:
    """The messages as Mistral takes them, and whether that is another list. May change those that it is given.

    Raises BadRequest when nobody is to be answered, msgspec.DecodeError when calls or ids have another type than
    they have in a chat.
    """
    ordered: list[Message] = []
    changed = False
    before = b""
    for message in messages:
        role = bytes(message.get("role", b""))
        if role == b'"user"' and before == b'"tool"':
            ordered.append(_BETWEEN)
            changed = True
        changed |= _with_own_ids(message)
        ordered.append(message)
        before = role
    if before == b'"assistant"' and _is_begun(messages[-1]):
        messages[-1]["prefix"] = _TRUE
        changed = True
    elif before not in _LAST and bytes(messages[-1].get("prefix", b"")) != b"true":
        param = f"messages[{len(messages) - 1}]"
        raise BadRequest(
            f"`{param}` must be the user's, a tool's, or what the assistant has begun to say.", param=param
        )
    return ordered, changed


def own_id(id: str) -> str:
    """An id that Mistral takes, whoever made it; the same for the same."""
    if _OWN_ID.fullmatch(id):
        return id
    number = int.from_bytes(hashlib.sha256(id.encode()).digest()[:8])
    chars = []
    for _ in range(_ID_LENGTH):
        number, at = divmod(number, len(_ID_CHARS))
        chars.append(_ID_CHARS[at])
    return "".join(chars)


def _with_own_ids(message: Message) -> bool:
    """Whether an id was changed."""
    changed = _with_own_id(message, "tool_call_id")
    raw = message.get("tool_calls")
    if raw is None or bytes(raw) == b"null":
        return changed
    calls = _calls.decode(raw)
    renamed = [_with_own_id(call, "id") for call in calls]
    if any(renamed):
        message["tool_calls"] = msgspec.Raw(msgspec.json.encode(calls))
        changed = True
    return changed


def _with_own_id(fields: Message, name: str) -> bool:
    raw = fields.get(name)
    if raw is None or bytes(raw) == b"null":
        return False
    given = _id.decode(raw)
    id = own_id(given)
    fields[name] = msgspec.Raw(msgspec.json.encode(id))
    return id != given


def _is_begun(last: Message) -> bool:
    """The assistant is to go on from here: it has said something, and waits for no tool."""
    return (
        bytes(last.get("content", b"null")) not in (b"null", b'""', b"[]")
        and bytes(last.get("tool_calls", b"null")) in (b"null", b"[]")
        and "prefix" not in last
    )
