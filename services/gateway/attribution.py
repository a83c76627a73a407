"""For whom a request is made: the end user, the chat, and whether a person or a background task of a client asks.

Whoever holds a key can write any header, so the user headers count only for keys whose callers are trusted. Of a key
with a secret for tokens, only what such a token proves counts: no header without one, and no `user` in a body.
None of these headers reach a provider: its headers are built from nothing.
"""

from collections.abc import Mapping
from typing import Final, Self
from urllib.parse import unquote

import msgspec

from services.gateway.providers.body import JsonBody, ParsedBody
from services.gateway.providers.errors import BadRequest
from services.gateway.user_tokens import UserTokens
from shared.governance.model import VirtualKey
from shared.settings import Settings

MAX_LABEL_CHARS: Final = 256
_USER_CLAIMS: Final = ("email", "sub", "name")
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


class HeaderNames(msgspec.Struct, frozen=True):
    """In small letters, as the server tells them."""

    users: tuple[bytes, ...]
    """The first that says something names the end user."""
    chat_id: bytes
    task: bytes
    user_jwt: bytes

    @classmethod
    def of(cls, settings: Settings) -> Self:
        return cls(
            tuple([name.lower().encode() for name in settings.user_headers]),
            settings.chat_id_header.lower().encode(),
            settings.task_header.lower().encode(),
            settings.user_jwt_header.lower().encode(),
        )


class _Message(msgspec.Struct):
    role: str = ""
    content: msgspec.Raw = msgspec.Raw(b"null")


class _TextPart(msgspec.Struct):
    text: str = ""


_messages: Final = msgspec.json.Decoder(list[_Message])
_content: Final = msgspec.json.Decoder(str | list[_TextPart])


class Attributor:
    """Tells of each request what its headers and its body say."""

    def __init__(self, names: HeaderNames, tokens: UserTokens) -> None:
        self._names = names
        self._tokens = tokens

    def attribute(
        self, key: VirtualKey, headers: Mapping[bytes, bytes], body: ParsedBody | None
    ) -> Attribution:
        """`body` None: it could not be read. A token that is not to be believed is as if there were none."""
        names = self._names
        end_user = chat_id = ""
        if key.user_jwt is not None:
            token = headers.get(names.user_jwt)
            claims = self._tokens.claims(key, token) if token else None
            if claims is not None:
                end_user = next((user for name in _USER_CLAIMS if (user := _claim(claims.get(name)))), "")
                chat_id = _label(headers.get(names.chat_id))
        else:
            if key.trust_user_headers:
                for name in names.users:
                    end_user = _label(headers.get(name))
                    if end_user:
                        break
                chat_id = _label(headers.get(names.chat_id))
            if not end_user and body is not None:
                end_user = _openai_user(body)
        task = _task(headers.get(names.task), body)
        return Attribution(end_user, chat_id, task, _label(headers.get(b"user-agent")))


def _label(value: bytes | None) -> str:
    """A header's value as text: percent-decoded and fit for a log."""
    if not value:
        return ""
    text = value.decode("utf-8", "replace")
    return _shown(unquote(text) if "%" in text else text)


def _claim(value: object) -> str:
    """A claim as text fit for a log: in a token nothing is percent-encoded."""
    return _shown(value) if isinstance(value, str) else ""


def _shown(text: str) -> str:
    """Without control characters, and cut."""
    if not text.isprintable():
        text = "".join(char for char in text if char.isprintable())
    return text.strip()[:MAX_LABEL_CHARS]


def _openai_user(body: ParsedBody) -> str:
    try:
        return body.user[:MAX_LABEL_CHARS]
    except BadRequest:
        return ""  # whether a wrong `user` is an error is for the provider to say


def _task(named: bytes | None, body: ParsedBody | None) -> str:
    """`named`: what the client calls it, if it says so."""
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
