"""What Mistral writes otherwise: documents and recordings in requests; lists of parts, and one end, in answers."""

from typing import Any, Final

import msgspec

from services.gateway.providers.chat.images import attached
from services.gateway.providers.errors import BadRequest
from services.gateway.providers.mistral.turns import in_order
from services.gateway.providers.port import NOTHING_FETCHED

_WRITTEN_OTHERWISE: Final = (b'"input_audio"', b'"file"', b'"refusal"')
_UNKNOWN: Final = frozenset({"audio", "function_call"})
"""What would be lost without a word; where it is empty it is gone already."""
_ROLES: Final = (b'"system"', b'"user"', b'"assistant"', b'"tool"')
_messages: Final = msgspec.json.Decoder(list[dict[str, msgspec.Raw]])
MODEL_LENGTH: Final = b'"model_length"'
"""The finish reason of an answer that filled the model's context."""
_choices: Final = msgspec.json.Decoder(list[dict[str, msgspec.Raw]])
_fields: Final = msgspec.json.Decoder(dict[str, msgspec.Raw])
_content: Final = msgspec.json.Decoder(list[dict[str, Any]])


class _Piece(msgspec.Struct):
    type: str = "text"
    text: str = ""
    thinking: list["_Piece"] = []


class _Call(msgspec.Struct):
    type: str = "function"


_calls: Final = msgspec.json.Decoder(list[_Call])
_pieces: Final = msgspec.json.Decoder(list[_Piece])


def mistral_messages(raw: bytes) -> bytes | None:
    """Messages of a chat as Mistral has them; None when they may stay as they are. Raises BadRequest."""
    try:
        messages = _messages.decode(raw)
        fitted = [_fit(message, f"messages[{at}]") for at, message in enumerate(messages)]
        ordered, reordered = in_order(messages)
    except msgspec.DecodeError as error:
        raise BadRequest("`messages` must be a list of objects.", param="messages") from error
    return msgspec.json.encode(ordered) if reordered or any(fitted) else None


def _fit(message: dict[str, msgspec.Raw], where: str) -> bool:
    """Whether the message was changed."""
    if bytes(message.get("role", b"")) not in _ROLES:
        raise BadRequest(f"`{where}.role` is none that Mistral has.", param=f"{where}.role")
    for name in _UNKNOWN & message.keys():
        raise BadRequest(f"`{where}.{name}` is nothing that Mistral has.", param=f"{where}.{name}")
    calls = bytes(message.get("tool_calls", b"null"))
    if calls != b"null" and any(call.type == "custom" for call in _calls.decode(calls)):
        raise BadRequest(f"`{where}.tool_calls` must be calls of functions.", param=f"{where}.tool_calls")
    refusal = message.pop("refusal", None)
    if refusal is not None and bytes(message.get("content", b"null")) == b"null":
        message["content"] = refusal
    content = bytes(message.get("content", b""))
    if not content.startswith(b"[") or not any(mark in content for mark in _WRITTEN_OTHERWISE):
        return refusal is not None
    parts = [_part(part, f"{where}.content[{at}]") for at, part in enumerate(_content.decode(content))]
    message["content"] = msgspec.Raw(msgspec.json.encode(parts))
    return True


def _part(part: dict[str, Any], where: str) -> dict[str, Any]:
    kind = part.get("type")
    if kind == "refusal":
        return {"type": "text", "text": part.get(kind)}
    if kind not in ("input_audio", "file") or not isinstance(inner := part.get(kind), dict):
        return part
    return _document(inner, where) if kind == "file" else {"type": kind, "input_audio": inner.get("data")}


def _document(file: dict[str, Any], where: str) -> dict[str, Any]:
    given, name = file.get("file_data"), file.get("filename")
    if not given or not isinstance(given, str):
        raise BadRequest(f"`{where}.file` must hold `file_data`.", param=f"{where}.file")
    named = name if isinstance(name, str) else None
    held = attached(given, f"{where}.file.file_data", NOTHING_FETCHED, named)
    address = given if held is None else f"data:{held.media_type};base64,{held.base64}"
    document = {"type": "document_url", "document_url": address}
    return document | ({"document_name": name} if name else {})


def plain_end(fields: dict[str, msgspec.Raw]) -> bool:
    """Calls the end of a model's context by OpenAI's name, `length`; False when no choice ends so.

    Raises msgspec.DecodeError when the choices are another shape.
    """
    choices = _choices.decode(fields.get("choices", b"[]"))
    ended = [choice for choice in choices if bytes(choice.get("finish_reason", b"")) == MODEL_LENGTH]
    for choice in ended:
        choice["finish_reason"] = msgspec.Raw(b'"length"')
    if ended:
        fields["choices"] = msgspec.Raw(msgspec.json.encode(choices))
    return bool(ended)


def plain_content(fields: dict[str, msgspec.Raw], said: str) -> bool:
    """Turns the lists of parts in an answer's choices into text and reasoning; False when there are none.

    `said`: where a choice has its content, `message` or `delta`. Raises msgspec.DecodeError when it is another shape.
    """
    choices = _choices.decode(fields.get("choices", b"[]"))
    changed = False
    for choice in choices:
        message = _fields.decode(choice.get(said, b"{}"))
        content = bytes(message.get("content", b""))
        if not content.startswith(b"["):
            continue
        pieces = _pieces.decode(content)
        thought = "".join(inner.text for piece in pieces for inner in piece.thinking)
        message["content"] = msgspec.Raw(msgspec.json.encode("".join(piece.text for piece in pieces)))
        if thought:
            message["reasoning_content"] = msgspec.Raw(msgspec.json.encode(thought))
        choice[said] = msgspec.Raw(msgspec.json.encode(message))
        changed = True
    if changed:
        fields["choices"] = msgspec.Raw(msgspec.json.encode(choices))
    return changed
