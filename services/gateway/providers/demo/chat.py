"""Demo chat and text completions: `echo` says what it was told, `lorem` says nothing at length."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import msgspec

from services.gateway.providers.body import JsonBody
from services.gateway.providers.errors import BadRequest
from services.gateway.providers.operations import Operation
from services.gateway.providers.sse import DONE_EVENT, event

IMAGE_TOKENS: Final = 85
MAX_CHOICES: Final = 8
MAX_PROMPT_CHARS: Final = 100_000
"""The demo answers within the gateway's own process, so nobody may keep it busy for long."""
MAX_PIECES: Final = 1_000
_PIECE: Final = re.compile(r"\s*\S{1,12}|\s+")
_LOREM: Final = (
    "Demo text: lorem ipsum dolor sit amet, consectetur adipiscing elit, sed do eiusmod tempor incididunt ut labore "
    "et dolore magna aliqua. Ut enim ad minim veniam, quis nostrud exercitation ullamco laboris nisi ut aliquip ex "
    "ea commodo consequat. Duis aute irure dolor in reprehenderit in voluptate velit esse cillum dolore eu fugiat "
    "nulla pariatur. Excepteur sint occaecat cupidatat non proident, sunt in culpa qui officia deserunt mollit anim "
    "id est laborum."
)


class _ImageUrl(msgspec.Struct):
    url: str = ""


class _Part(msgspec.Struct):
    type: str = "text"
    text: str = ""
    image_url: _ImageUrl | str | None = None


class _Message(msgspec.Struct):
    role: str
    content: str | list[_Part] | None = None


_messages: Final = msgspec.json.Decoder(list[_Message])
_prompts: Final = msgspec.json.Decoder(str | list[str])


@dataclass(frozen=True, slots=True)
class DemoAnswer:
    """The pieces (the demo's tokens) of one answer, the same for each of `n` choices."""

    operation: Operation
    id: str
    created: int
    model: str
    pieces: tuple[str, ...]
    finish_reason: str
    n: int
    prompt_tokens: int

    @property
    def usage(self) -> dict[str, int]:
        completion = len(self.pieces) * self.n
        return {
            "prompt_tokens": self.prompt_tokens,
            "completion_tokens": completion,
            "total_tokens": self.prompt_tokens + completion,
        }

    def head(self, *, chunk: bool) -> dict[str, object]:
        is_chat = self.operation is Operation.CHAT
        kind = ("chat.completion.chunk" if chunk else "chat.completion") if is_chat else "text_completion"
        return {
            "id": self.id,
            "object": kind,
            "created": self.created,
            "model": self.model,
            "system_fingerprint": "demo",
        }

    def document(self) -> dict[str, object]:
        """The whole answer of a request that is not streamed."""
        text = "".join(self.pieces)
        said: dict[str, object] = (
            {"message": {"role": "assistant", "content": text}}
            if self.operation is Operation.CHAT
            else {"text": text}
        )
        choices = [
            {"index": index, **said, "logprobs": None, "finish_reason": self.finish_reason}
            for index in range(self.n)
        ]
        return {**self.head(chunk=False), "choices": choices, "usage": self.usage}


def answer_chat(operation: Operation, body: JsonBody, answer_id: str, created: int) -> DemoAnswer:
    """Raises BadRequest on messages that are not OpenAI's, or too long."""
    texts, images, last = _said(operation, body)
    if sum(map(len, texts)) > MAX_PROMPT_CHARS:
        raise BadRequest(
            f"The demo reads at most {MAX_PROMPT_CHARS:,} characters.",
            param="messages" if operation is Operation.CHAT else "prompt",
        )
    if body.model == "lorem":
        reply = _LOREM
    else:
        reply = f"Demo echo: {last}"
        if images:
            reply += "\n\nDemo: I was also shown " + _shown(images) + "."
    finish_reason = "stop"
    for stop in _stops(body):
        reply = reply.split(stop, 1)[0]
    pieces = tuple(_PIECE.findall(reply))
    limit = MAX_PIECES if body.max_tokens is None else min(body.max_tokens, MAX_PIECES)
    if limit < len(pieces):
        pieces, finish_reason = pieces[:limit], "length"
    prompt_tokens = sum(len(_PIECE.findall(text)) + 3 for text in texts) + IMAGE_TOKENS * len(images)
    n = min(body.n, MAX_CHOICES)
    return DemoAnswer(operation, answer_id, created, body.model, pieces, finish_reason, n, prompt_tokens)


def chat_events(answer: DemoAnswer, body: JsonBody) -> list[bytes]:
    """The answer as server-sent events, one for each piece, in the order of a real provider."""
    head = answer.head(chunk=True)
    is_chat = answer.operation is Operation.CHAT
    events: list[bytes] = []

    def add(index: int, delta: Mapping[str, object], finish_reason: str | None) -> None:
        said: Mapping[str, object] = {"delta": delta} if is_chat else {"text": delta.get("content", "")}
        choice = {"index": index, **said, "logprobs": None, "finish_reason": finish_reason}
        events.append(event(msgspec.json.encode({**head, "choices": [choice]})))

    for index in range(answer.n):
        if is_chat:
            add(index, {"role": "assistant", "content": ""}, None)
    for piece in answer.pieces:
        for index in range(answer.n):
            add(index, {"content": piece}, None)
    for index in range(answer.n):
        add(index, {}, answer.finish_reason)
    if body.include_usage:
        events.append(event(msgspec.json.encode({**head, "choices": [], "usage": answer.usage})))
    events.append(DONE_EVENT)
    return events


def _said(operation: Operation, body: JsonBody) -> tuple[list[str], list[str], str]:
    """All texts of the prompt, the pictures in it, and the last thing that the user said."""
    name = "messages" if operation is Operation.CHAT else "prompt"
    raw = body.raw(name)
    if raw is None:
        raise BadRequest(f"`{name}` is missing.", param=name)
    try:
        if operation is Operation.COMPLETIONS:
            prompt = _prompts.decode(raw)
            texts = [prompt] if isinstance(prompt, str) else prompt
            return texts, [], texts[-1] if texts else ""
        messages = _messages.decode(raw)
    except msgspec.DecodeError as error:
        raise BadRequest(f"`{name}` is not what the API describes: {error}.", param=name) from error
    if not messages:
        raise BadRequest("`messages` must hold at least one message.", param="messages")
    texts, images, last = [], [], ""
    for message in messages:
        parts = (
            [_Part(text=message.content or "")] if not isinstance(message.content, list) else message.content
        )
        text = "\n".join(part.text for part in parts if part.text)
        texts.append(text)
        if message.role == "user":
            last = text
        images += [_url(part.image_url) for part in parts if part.image_url is not None]
    return texts, images, last


def _url(image: _ImageUrl | str) -> str:
    return image if isinstance(image, str) else image.url


def _shown(images: list[str]) -> str:
    kinds = []
    for url in images:
        if url.startswith("data:"):
            comma = url.find(",")  # not cut apart: what comes after it may be large
            kind, size = (url[5:], 0) if comma < 0 else (url[5:comma], len(url) - comma - 1)
            kinds.append(f"{kind.partition(';')[0]}, about {size * 3 // 4} bytes")
        else:
            kinds.append("a link")
    return f"{len(images)} image{'s' if len(images) > 1 else ''} ({'; '.join(kinds)})"


def _stops(body: JsonBody) -> list[str]:
    raw = body.raw("stop")
    if raw is None:
        return []
    try:
        stop = _prompts.decode(raw)
    except msgspec.DecodeError as error:
        raise BadRequest("`stop` must be a string or a list of strings.", param="stop") from error
    return [text for text in ([stop] if isinstance(stop, str) else stop) if text]
