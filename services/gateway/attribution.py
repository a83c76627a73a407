"""For whom a request is made: the end user, the chat, and whether a person or a background task of a client asks.

Whoever holds a key can write any header, so the user headers count only for keys whose callers are trusted.
None of these headers reach a provider: its headers are built from nothing.
"""

from collections.abc import Mapping
from typing import Final
from urllib.parse import unquote

import msgspec

from services.gateway.providers.body import JsonBody, ParsedBody
from services.gateway.providers.errors import BadRequest
from shared.governance.model import VirtualKey

MAX_LABEL_CHARS: Final = 256
_USER_HEADERS: Final = (b"x-openwebui-user-email", b"x-openwebui-user-id", b"x-openwebui-user-name")
_CHAT_HEADER: Final = b"x-openwebui-chat-id"
_TASK_HEADER: Final = b"x-finops-task"
_TASK_MARK: Final = "### Task:"
_TASK_MARK_BYTES: Final = _TASK_MARK.encode()
_TASK_WORDS: Final = (
    ("follow_up", "follow_ups"),
    ("follow-up", "follow_ups"),
    ("follow up", "follow_ups"),
    ("send next", "follow_ups"),
    ("tag", "tags"),
    ("title", "title"),
    ("quer", "query"),
)
_TASK_HEAD_CHARS: Final = 300


class Attribution(msgspec.Struct, frozen=True):
    """Empty strings where nothing is known."""

    end_user: str = ""
    chat_id: str = ""
    task: str = ""
    """title, tags, follow_ups, query or other; empty for a person's own message."""
    client: str = ""


class _Message(msgspec.Struct):
    role: str = ""
    content: msgspec.Raw = msgspec.Raw(b"null")


class _TextPart(msgspec.Struct):
    text: str = ""


_messages: Final = msgspec.json.Decoder(list[_Message])
_content: Final = msgspec.json.Decoder(str | list[_TextPart])


def attribute(key: VirtualKey, headers: Mapping[bytes, bytes], body: ParsedBody | None) -> Attribution:
    """Read what the headers and the body say. `body` None: it could not be read."""
    end_user = chat_id = ""
    if key.trust_user_headers:
        for name in _USER_HEADERS:
            end_user = _label(headers.get(name))
            if end_user:
                break
        chat_id = _label(headers.get(_CHAT_HEADER))
    if not end_user and body is not None:
        end_user = _openai_user(body)
    return Attribution(end_user, chat_id, _task(headers, body), _label(headers.get(b"user-agent")))


def _label(value: bytes | None) -> str:
    """A header's value as text: percent-decoded, without control characters, cut at a length fit for a log."""
    if not value:
        return ""
    text = value.decode("utf-8", "replace")
    if "%" in text:
        text = unquote(text)
    return text.strip()[:MAX_LABEL_CHARS] if text.isprintable() else _printable(text)


def _printable(text: str) -> str:
    return "".join(char for char in text if char.isprintable()).strip()[:MAX_LABEL_CHARS]


def _openai_user(body: ParsedBody) -> str:
    try:
        return body.user[:MAX_LABEL_CHARS]
    except BadRequest:
        return ""  # whether a wrong `user` is an error is for the provider to say


def _task(headers: Mapping[bytes, bytes], body: ParsedBody | None) -> str:
    named = headers.get(_TASK_HEADER)
    if named is not None:
        text = named.decode("latin-1").strip()
        return _task_label(text) if text else ""
    if not isinstance(body, JsonBody) or body.stream or _TASK_MARK_BYTES not in body.searchable:
        return ""
    text = _last_user_text(body)
    return _task_label(text[len(_TASK_MARK) :]) if text.startswith(_TASK_MARK) else ""


def _task_label(text: str) -> str:
    """The kind of task by the first of its telling words."""
    head = text[:_TASK_HEAD_CHARS].lower()
    found = [(head.find(word), label) for word, label in _TASK_WORDS if word in head]
    return min(found)[1] if found else "other"


def _last_user_text(body: JsonBody) -> str:
    raw = body.raw("messages")
    if raw is None:
        return ""
    try:
        last = next((message for message in reversed(_messages.decode(raw)) if message.role == "user"), None)
        content = _content.decode(last.content) if last is not None else ""
    except msgspec.DecodeError:
        return ""  # not the shape of a chat: the provider will say so
    return content if isinstance(content, str) else next((part.text for part in content if part.text), "")
