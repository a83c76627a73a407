"""Text completions in the terms of chats: a prompt is one question, and the answer is the text alone."""

from collections.abc import Mapping
from typing import Any, Final

import msgspec

from services.gateway.providers.answer import OpenAIAnswer
from services.gateway.providers.body import JsonBody, parse_json
from services.gateway.providers.chat.completion import new_id, unix_now
from services.gateway.providers.errors import BadRequest, UpstreamError
from services.gateway.providers.inbound import Chunk
from services.gateway.providers.sse import DONE_EVENT, event
from services.gateway.providers.usage import Usage
from services.gateway.providers.wire_errors import error_body, unreadable_answer

_NOT_IN_CHATS: Final[Mapping[str, bytes]] = {
    "best_of": b"1",
    "echo": b"false",
    "suffix": b'""',
    "logprobs": b"0",
}
"""Parameters without a counterpart, and the value that asks for nothing."""
_prompt: Final = msgspec.json.Decoder(str | list[str])


class _Message(msgspec.Struct):
    content: str | None = None


class _Choice(msgspec.Struct):
    message: _Message
    finish_reason: str | None = None


class _Completion(msgspec.Struct):
    choices: list[_Choice]


_completion: Final = msgspec.json.Decoder(_Completion)
_fields: Final = msgspec.json.Decoder(dict[str, msgspec.Raw])


def as_chat(body: JsonBody) -> JsonBody:
    """The same request as a chat. Raises BadRequest naming the field."""
    for name, nothing in _NOT_IN_CHATS.items():
        raw = body.raw(name)
        if raw is not None and raw != nothing:
            raise BadRequest(f"`{name}` cannot be used with this model.", param=name)
    try:
        given = _prompt.decode(body.raw("prompt") or b'""')
    except msgspec.DecodeError as error:
        raise BadRequest("`prompt` must be one text with this model.", param="prompt") from error
    prompts = [given] if isinstance(given, str) else given
    if len(prompts) != 1 or not prompts[0]:
        raise BadRequest("`prompt` must be one text with this model.", param="prompt")
    chat: dict[str, Any] = {
        name: msgspec.Raw(raw)
        for name in body.names - {"prompt", *_NOT_IN_CHATS}
        if (raw := body.raw(name)) is not None
    }
    chat["messages"] = [{"role": "user", "content": prompts[0]}]
    return parse_json(msgspec.json.encode(chat))


def text_answer(chat: OpenAIAnswer) -> OpenAIAnswer:
    """The answer to the chat as that to the prompt."""
    if chat.error is not None:
        return chat
    try:
        fields = _fields.decode(chat.body)
        choices = _completion.decode(chat.body).choices
    except msgspec.DecodeError:
        return OpenAIAnswer(chat.body, chat.content_type, chat.usage, error=unreadable_answer())
    pieces = [_choice(item.message.content or "", item.finish_reason) for item in choices]
    fields["object"] = msgspec.Raw(b'"text_completion"')
    fields["choices"] = msgspec.Raw(msgspec.json.encode(pieces))
    return OpenAIAnswer(
        msgspec.json.encode(fields),
        chat.content_type,
        chat.usage,
        fields=fields,
        finish_reason=chat.finish_reason,
    )


class TextWriter:
    """See ChunkTranslator."""

    def __init__(self, model: str) -> None:
        self._head: dict[str, Any] = {
            "id": new_id("cmpl-"),
            "object": "text_completion",
            "created": unix_now(),
            "model": model,
        }

    def chunk(self, chunk: Chunk) -> bytes:
        if not chunk.choices:
            return event(msgspec.json.encode({**self._head, "choices": [], "usage": chunk.usage}))
        choice = chunk.choices[0]
        text = choice.delta.text if choice.delta is not None else ""
        if not text and choice.finish_reason is None:
            return b""
        return event(msgspec.json.encode({**self._head, "choices": [_choice(text, choice.finish_reason)]}))

    def finish(self, usage: Usage) -> bytes:
        return DONE_EVENT

    def fail(self, error: UpstreamError) -> bytes:
        return event(error_body(error)) + DONE_EVENT


def _choice(text: str, finish_reason: str | None) -> dict[str, Any]:
    return {"index": 0, "text": text, "logprobs": None, "finish_reason": finish_reason}
