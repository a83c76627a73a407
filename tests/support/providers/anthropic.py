"""A fake of Anthropic's API: answers and streams made of its SDK's types, requests judged by its request types."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Literal

import msgspec
from anthropic._constants import ANTHROPIC_API_VERSION as API_VERSION
from anthropic.types import Message, MessageTokensCount, ModelInfo, RawMessageStreamEvent
from anthropic.types.message_count_tokens_params import MessageCountTokensParams
from anthropic.types.message_create_params import (
    MessageCreateParamsNonStreaming,
    MessageCreateParamsStreaming,
)
from anthropic.types.shared import ErrorResponse
from pydantic import TypeAdapter

from tests.support.gateway import served
from tests.support.providers.claude import check_claude
from tests.support.providers.script import REFUSAL, RETRY_AFTER_S, Turn
from tests.support.providers.sdk_types import refuse
from tests.support.upstream.app import Receive, Scope, Send

Document = dict[str, Any]
Ending = Literal["done", "early", "break", "stall"]
"""How a stream ends: as it should, with an early but clean end, with a broken connection, or not at all."""

USAGE: Document = {
    "input_tokens": 11,
    "output_tokens": 7,
    "cache_read_input_tokens": 100,
    "cache_creation_input_tokens": 30,
    "cache_creation": {"ephemeral_5m_input_tokens": 10, "ephemeral_1h_input_tokens": 20},
    "service_tier": "standard",
}
_EVENT: TypeAdapter[Any] = TypeAdapter(RawMessageStreamEvent)
_FAILURES: dict[str, tuple[int, str]] = {
    "refused": (400, "invalid_request_error"),
    "denied": (401, "authentication_error"),
    "limited": (429, "rate_limit_error"),
    "overloaded": (529, "overloaded_error"),
}
_ENDINGS: dict[str, Ending] = {"break": "break", "early": "early", "stall": "stall"}
_MANY = 50


def text(value: str = "Hello there.") -> Document:
    return {"type": "text", "text": value, "citations": None}


def thinking(value: str = "Hm.", signature: str = "c2ln") -> Document:
    return {"type": "thinking", "thinking": value, "signature": signature}


def tool_use(id: str = "toolu_1", tool: str = "look", /, **arguments: Any) -> Document:
    return {"type": "tool_use", "id": id, "name": tool, "input": arguments, "caller": {"type": "direct"}}


def message(*content: Document, stop_reason: str = "end_turn", **changes: Any) -> Document:
    """A whole answer as the SDK's type has it."""
    values: Document = {
        "id": "msg_013Zva2CMHLNnXjNJJKqJ2EF",
        "type": "message",
        "role": "assistant",
        "model": "claude-opus-5",
        "content": list(content),
        "stop_reason": stop_reason,
        "usage": USAGE,
    }
    return Message.model_validate(values | changes).model_dump(mode="json")


def events(
    *content: Document, stop_reason: str = "end_turn", pieces: int = 3, usage: Document = USAGE
) -> list[Document]:
    """The stream of such an answer, each block in so many pieces."""
    begun = message(usage=usage | {"output_tokens": 1}) | {"stop_reason": None}
    found: list[Document] = [{"type": "message_start", "message": begun}]
    for index, block in enumerate(content):
        start, deltas = _in_pieces(block, pieces)
        found.append({"type": "content_block_start", "index": index, "content_block": start})
        found += [{"type": "content_block_delta", "index": index, "delta": delta} for delta in deltas]
        found.append({"type": "content_block_stop", "index": index})
    produced = {"output_tokens": usage["output_tokens"]}
    found.append({"type": "message_delta", "delta": {"stop_reason": stop_reason}, "usage": produced})
    found.append({"type": "message_stop"})
    return [_EVENT.validate_python(item).model_dump(mode="json", exclude_none=True) for item in found]


def error(kind: str, said: str = "That did not work.") -> Document:
    """The body of an error, which is also an event."""
    body = {"type": "error", "error": {"type": kind, "message": said}, "request_id": "req_011C"}
    return ErrorResponse.model_validate(body).model_dump(mode="json")


def wire(*documents: Document) -> bytes:
    """Events as they stand in a stream."""
    return b"".join(
        f"event: {item['type']}\ndata: ".encode() + msgspec.json.encode(item) + b"\n\n" for item in documents
    )


def judged(path: str, body: Document) -> None:
    """Raises ValueError unless the SDK's types allow this request, with nothing in it that they do not know, and Claude
    takes it."""
    if path.endswith("/count_tokens"):
        refuse(MessageCountTokensParams, body)
    else:
        refuse(MessageCreateParamsStreaming if body.get("stream") else MessageCreateParamsNonStreaming, body)
        check_claude(body)


def refused_thoughts(body: Document) -> str:
    """What the models themselves refuse of a conversation, in their words; empty when it is good."""
    turns = [
        turn["content"] if isinstance(turn["content"], list) else [{"type": "text", "text": turn["content"]}]
        for turn in body["messages"]
    ]
    for block in (block for content in turns for block in content):
        if block["type"] == "thinking" and not block["signature"]:
            return "Invalid `signature` in `thinking` block"
    if body.get("thinking", {}).get("type") != "enabled":
        return ""
    begins = []
    for content, turn in zip(reversed(turns), reversed(body["messages"]), strict=True):
        if turn["role"] == "assistant":
            begins.append(content[0]["type"])
        elif all(block["type"] != "tool_result" for block in content):
            break
    if begins and not {"thinking", "redacted_thinking"}.intersection(begins):
        return f"Expected `thinking` or `redacted_thinking`, but found `{begins[0]}`. When `thinking` is enabled, a final \
`assistant` message must start with a thinking block (preceeding the lastmost set of `tool_use` and `tool_result` blocks)."
    return ""


def exhaust(value: Any) -> None:
    """What pydantic makes of the SDK's types is lazy: what is iterable is only judged when somebody looks at it."""
    if isinstance(value, dict):
        for inner in value.values():
            exhaust(inner)
    elif isinstance(value, list | Iterator):
        for inner in value:
            exhaust(inner)


def _in_pieces(block: Document, pieces: int) -> tuple[Document, list[Document]]:
    if block["type"] == "text":
        return block | {"text": ""}, [{"type": "text_delta", "text": p} for p in _cut(block["text"], pieces)]
    if block["type"] == "thinking":
        thoughts = [{"type": "thinking_delta", "thinking": p} for p in _cut(block["thinking"], pieces)]
        signed = {"type": "signature_delta", "signature": block["signature"]}
        return block | {"thinking": "", "signature": ""}, [*thoughts, signed]
    if block["type"] == "tool_use":
        whole = msgspec.json.encode(block["input"]).decode()
        deltas = [{"type": "input_json_delta", "partial_json": p} for p in ("", *_cut(whole, pieces))]
        return block | {"input": {}}, deltas
    return block, []


def _cut(value: str, pieces: int) -> list[str]:
    size = max(1, -(-len(value) // pieces))
    return [value[at : at + size] for at in range(0, len(value), size)]


@dataclass
class Asked:
    path: str
    headers: dict[str, str]
    body: Document


@dataclass
class FakeAnthropic:
    """ASGI. Change what it answers between requests."""

    answer: Document = field(default_factory=lambda: message(text()))
    events: list[Document] = field(default_factory=lambda: events(text()))
    status: int = 200
    failures: list[tuple[int, Document]] = field(default_factory=list)
    """Answered first, one by one."""
    ending: Ending = "done"
    asked: list[Asked] = field(default_factory=list)
    turn: Turn | None = None
    left: asyncio.Event = field(default_factory=asyncio.Event)

    def play(self, turn: Turn) -> None:
        self.turn = turn
        content = [thinking(turn.thought)] if turn.thought else []
        content += [tool_use(call.id, call.name, **call.arguments) for call in turn.calls]
        if not turn.calls:
            content.append(text(turn.text))
        usage: Document = {"input_tokens": turn.prompt - turn.cached, "output_tokens": turn.completion}
        usage |= {"cache_read_input_tokens": turn.cached, "cache_creation_input_tokens": 0}
        self._set(content, "tool_use" if turn.calls else "end_turn", usage)
        failed = error("api_error", f"{REFUSAL}: overloaded")
        if turn.fault == "error in 200":
            self.answer, self.events = failed, [failed]
        elif turn.fault == "error event":
            self.events = [*self.events[: len(self.events) // 2], failed]
        status, kind = _FAILURES.get(turn.fault, (0, ""))
        self.failures = [(status, error(kind, f"{REFUSAL}: {turn.fault}"))] * _MANY if status else []
        self.ending = _ENDINGS.get(turn.fault, "done")

    def received(self) -> list[Document]:
        return [asked.body for asked in self.asked]

    def _set(self, content: list[Document], stop_reason: str, usage: Document) -> None:
        self.answer = message(*content, stop_reason=stop_reason, usage=usage)
        self.events = events(*content, stop_reason=stop_reason, usage=usage)

    def _obey(self, body: Document) -> None:
        """A model that is made to call a tool calls it; what it would have said in JSON is its input."""
        choice = body.get("tool_choice", {})
        if self.turn is None or self.turn.calls or self.turn.fault or choice.get("type") != "tool":
            return
        called = tool_use("toolu_1", choice["name"], **msgspec.json.decode(self.turn.text))
        self._set([called], "tool_use", self.answer["usage"])

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = {name.decode(): value.decode() for name, value in scope["headers"]}
        path: str = scope["path"]
        if headers.get("authorization") != "Bearer anthropic-key":
            await _send(send, 401, error("authentication_error", "invalid API key"))
            return
        if headers.get("anthropic-version") != API_VERSION:
            await _send(send, 400, error("invalid_request_error", "anthropic-version: header is required"))
            return
        if path == "/v1/models":
            await _send(send, 200, _models())
            return
        body: Document = msgspec.json.decode(await _read(receive))
        self.asked.append(Asked(path, headers, body))
        try:
            judged(path, body)
            if wrong := refused_thoughts(body):
                raise ValueError(wrong)
        except ValueError as problem:
            self.asked.pop()
            await _send(send, 400, error("invalid_request_error", str(problem)))
            return
        self._obey(body)
        if self.failures:
            await _send(send, *self.failures.pop(0))
        elif path == "/v1/messages/count_tokens":
            await _send(send, 200, MessageTokensCount(input_tokens=2095).model_dump())
        elif body.get("stream"):
            await self._stream(receive, send)
        else:
            await _send(send, self.status, self.answer)

    async def _stream(self, receive: Receive, send: Send) -> None:
        headers = [(b"content-type", b"text/event-stream; charset=utf-8"), (b"request-id", b"req_011C")]
        if self.ending == "break":
            headers.append((b"content-length", b"1000000"))
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        shown = self.events if self.ending == "done" else self.events[: len(self.events) // 2]
        for at, item in enumerate(shown):
            more = wire(item) + (b'event: ping\ndata: {"type": "ping"}\n\n' if at == 1 else b"")
            await send({"type": "http.response.body", "body": more, "more_body": True})
        if self.ending == "stall":
            while (await receive())["type"] != "http.disconnect":
                await asyncio.sleep(0)
            self.left.set()
        elif self.ending != "break":
            await send({"type": "http.response.body", "body": b""})


@asynccontextmanager
async def running_anthropic() -> AsyncIterator[tuple[FakeAnthropic, str]]:
    """The fake on a free port, and its address without `/v1`."""
    fake = FakeAnthropic()
    async with served(fake) as url:
        yield fake, url


def _models() -> Document:
    info = {
        "id": "claude-opus-5",
        "created_at": "2026-07-01T00:00:00Z",
        "display_name": "Claude Opus 5",
        "lifecycle": "active",
        "type": "model",
    }
    model = ModelInfo.model_validate(info).model_dump(mode="json")
    return {"data": [model], "has_more": False, "first_id": model["id"], "last_id": model["id"]}


async def _read(receive: Receive) -> bytes:
    pieces = []
    while True:
        part = await receive()
        pieces.append(part.get("body", b""))
        if not part.get("more_body"):
            return b"".join(pieces)


async def _send(send: Send, status: int, document: Document) -> None:
    headers = [(b"content-type", b"application/json"), (b"request-id", b"req_011C")]
    if status == 429:
        headers.append((b"retry-after", b"%d" % RETRY_AFTER_S))
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": msgspec.json.encode(document)})
