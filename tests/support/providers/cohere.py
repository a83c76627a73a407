"""A fake of Cohere: answers and streams made of its SDK's own types, requests judged by the SDK's own signatures."""

import asyncio
import inspect
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Literal, get_type_hints

import cohere
import msgspec
import pydantic
from cohere.audio.transcriptions.client import TranscriptionsClient
from cohere.audio.transcriptions.types import AudioTranscriptionsCreateResponse
from cohere.v2 import types as v2
from cohere.v2.client import V2Client
from starlette.requests import Request

from tests.support.gateway import served
from tests.support.providers.script import REFUSAL, RETRY_AFTER_S, Turn, cut
from tests.support.upstream.app import Receive, Scope, Send

Document = dict[str, Any]
Ending = Literal["done", "cut", "early", "stall"]

USAGE: Document = {
    "billed_units": {"input_tokens": 11.0, "output_tokens": 5.0},
    "tokens": {"input_tokens": 74.0, "output_tokens": 5.0},
    "cached_tokens": 4.0,
}
META: Document = {"api_version": {"version": "2"}, "billed_units": {"input_tokens": 6.0}}
_STATUS = {"refused": 400, "denied": 401, "limited": 429, "overloaded": 503}
_ENDINGS: dict[str, Ending] = {"break": "cut", "early": "early", "stall": "stall"}
_JUDGES: dict[str, Callable[..., Any]] = {
    "/v2/chat": V2Client.chat,
    "/v2/embed": V2Client.embed,
    "/v2/rerank": V2Client.rerank,
    "/v2/audio/transcriptions": TranscriptionsClient.create,
}
FORM = "/v2/audio/transcriptions"


def chat_answer(**changes: Any) -> Document:
    """A whole answer as the SDK's type has it."""
    values: Document = {
        "id": "c14c80c3",
        "finish_reason": "COMPLETE",
        "message": {"role": "assistant", "content": [{"type": "text", "text": "Hello there."}]},
        "usage": USAGE,
    }
    return dumped(v2.V2ChatResponse.model_validate(values | changes))


def chat_events(*middle: Document, finish: str = "COMPLETE", **end: Any) -> list[Document]:
    """A stream of the SDK's events: these between the first and the last."""
    start = {"type": "message-start", "id": "29f14a5a", "delta": {"message": {"role": "assistant"}}}
    delta = {"finish_reason": finish, "usage": USAGE, **end}
    last = {
        "type": "message-end",
        "delta": {name: value for name, value in delta.items() if value is not None},
    }
    return [dumped(_EVENT.validate_python(item)) for item in (start, *middle, last)]


def text_events(*texts: str, kind: str = "text", index: int = 0) -> list[Document]:
    """One block of content."""
    return [
        {
            "type": "content-start",
            "index": index,
            "delta": {"message": {"content": {"type": kind, kind: ""}}},
        },
        *(
            {"type": "content-delta", "index": index, "delta": {"message": {"content": {kind: text}}}}
            for text in texts
        ),
        {"type": "content-end", "index": index},
    ]


def call_events(index: int, id: str, name: str, *arguments: str) -> list[Document]:
    """One tool call."""
    function = {"name": name, "arguments": ""}
    call = {"id": id, "type": "function", "function": function}
    return [
        {"type": "tool-call-start", "index": index, "delta": {"message": {"tool_calls": call}}},
        *(
            {
                "type": "tool-call-delta",
                "index": index,
                "delta": {"message": {"tool_calls": {"function": {"arguments": piece}}}},
            }
            for piece in arguments
        ),
        {"type": "tool-call-end", "index": index},
    ]


def framed(events: Sequence[Document]) -> list[bytes]:
    """Events as they stand on the wire."""
    return [
        b"event: " + event["type"].encode() + b"\ndata: " + msgspec.json.encode(event) + b"\n\n"
        for event in events
    ]


_EVENT: pydantic.TypeAdapter[Any] = pydantic.TypeAdapter(v2.V2ChatStreamResponse)


def dumped(model: Any) -> Document:
    """A model as JSON holds it, provided that the SDK knows every field."""
    assert_known(model)
    document: Document = model.model_dump(mode="json", by_alias=True, exclude_unset=True)
    return document | ({"type": model.type} if hasattr(model, "type") else {})


def judge(path: str, body: Document) -> None:
    """Fails unless the SDK's own method could send this body. `stream` is the SDK's own business."""
    hints = get_type_hints(_JUDGES[path])
    for name, value in body.items():
        if name == "stream" and path == "/v2/chat":
            continue
        assert name in hints, f"{path} has no {name}"
        assert_known(pydantic.TypeAdapter(hints[name]).validate_python(value))


def judge_form(fields: Document) -> None:
    """Fails unless the SDK's own method could send these fields, files by their names."""
    judge(FORM, {name: value for name, value in fields.items() if name != "file"})
    parameters = inspect.signature(_JUDGES[FORM]).parameters.values()
    needed = {one.name for one in parameters if one.default is inspect.Parameter.empty} - {"self"}
    assert needed <= fields.keys(), f"{FORM} needs {sorted(needed)}"


def assert_known(value: Any) -> None:
    """Fails on a field that the SDK's type does not have, however deep."""
    if isinstance(value, pydantic.BaseModel):
        assert not value.model_extra, f"{type(value).__name__} has no {sorted(value.model_extra or ())}"
        for name in type(value).model_fields:
            assert_known(getattr(value, name))
    elif isinstance(value, list | tuple):
        for item in value:
            assert_known(item)


@dataclass
class FakeCohere:
    """Says what it is told to."""

    answer: Document = field(default_factory=chat_answer)
    events: list[Document] = field(default_factory=lambda: chat_events(*text_events("Hel", "lo", " there.")))
    refusal: tuple[int, Document] | None = None
    ending: Ending = "done"
    search_units: float = 1.0
    requests: list[Document] = field(default_factory=list)
    headers: dict[str, str] = field(default_factory=dict)
    left: asyncio.Event = field(default_factory=asyncio.Event)

    def play(self, turn: Turn) -> None:
        self.refusal = None
        if turn.fault in _STATUS:
            self.refusal = (_STATUS[turn.fault], {"id": "1f", "message": f"{REFUSAL}: {turn.fault}"})
        failed = turn.fault in ("error in 200", "error event")
        finish = "ERROR" if failed else "TOOL_CALL" if turn.calls else "COMPLETE"
        usage: Document | None = {
            "billed_units": {"input_tokens": float(turn.prompt), "output_tokens": float(turn.completion)},
            "tokens": {"input_tokens": float(turn.prompt + 60), "output_tokens": float(turn.completion)},
            "cached_tokens": float(turn.cached),
        }
        usage = None if turn.fault == "no usage" else usage
        self.answer = chat_answer(finish_reason=finish, message=_message(turn), usage=usage)
        said = _events(turn)
        if turn.fault == "error in 200":
            said = []
        elif turn.fault == "error event":
            said = said[: len(said) // 2]
        self.events = chat_events(
            *said, finish=finish, usage=usage, error=f"{REFUSAL}: overloaded" if failed else None
        )
        self.ending = _ENDINGS.get(turn.fault, "done")

    def received(self) -> list[Document]:
        return self.requests

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        path = scope["path"]
        self.headers = {name.decode(): value.decode("latin-1") for name, value in scope["headers"]}
        if self.refusal is not None:
            await _send(send, *self.refusal)
        elif path == "/v1/models":
            await _send(send, 200, _models())
        elif path == FORM:
            async with Request(scope, receive).form() as form:
                fields: Document = {
                    name: value if isinstance(value, str) else value.filename for name, value in form.items()
                }
            judge_form(fields)
            self.requests.append(fields)
            heard = AudioTranscriptionsCreateResponse(text="Hello there.")
            await _send(send, 200, dumped(heard))
        else:
            body: Document = msgspec.json.decode(await _read(receive))
            judge(path, body)
            self.requests.append(body)
            if body.get("stream"):
                await self._stream(receive, send)
            else:
                await _send(send, 200, self._whole(path, body))

    def _whole(self, path: str, body: Document) -> Document:
        if path == "/v2/chat":
            return self.answer
        if path == "/v2/embed":
            vectors = [[0.25, -0.5, float(index)] for index, _ in enumerate(body["texts"])]
            values = {"id": "e1", "response_type": "embeddings_by_type", "embeddings": {"float": vectors}}
            return dumped(cohere.EmbedByTypeResponse.model_validate(values | {"meta": META}))
        count = min(body.get("top_n", 1000), len(body["documents"]))
        results = [{"index": index, "relevance_score": 0.9 - index / 10} for index in reversed(range(count))]
        meta = {"billed_units": {"search_units": self.search_units}}
        return dumped(v2.V2RerankResponse.model_validate({"id": "r1", "results": results, "meta": meta}))

    async def _stream(self, receive: Receive, send: Send) -> None:
        headers = [(b"content-type", b"text/event-stream")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        pieces = framed(self.events)
        if self.ending != "done":
            pieces = pieces[: len(pieces) // 2]
        for piece in pieces:
            await send({"type": "http.response.body", "body": piece, "more_body": True})
        if self.ending == "stall":
            while (await receive())["type"] != "http.disconnect":
                await asyncio.sleep(0)
            self.left.set()
        if self.ending in ("done", "early"):
            await send({"type": "http.response.body", "body": b""})


@asynccontextmanager
async def running_cohere() -> AsyncIterator[tuple[FakeCohere, str]]:
    """The fake on a free port, and its address."""
    fake = FakeCohere()
    async with served(fake) as url:
        yield fake, url


def _models() -> Document:
    models = [
        {"name": "command-a-03-2025", "endpoints": ["chat"]},
        {"name": "embed-v4.0", "endpoints": ["embed"]},
        {"name": "rerank-v3.5", "endpoints": ["rerank"]},
        {"name": "command", "is_deprecated": True},
    ]
    return dumped(cohere.ListModelsResponse.model_validate({"models": models}))


def _message(turn: Turn) -> Document:
    message: Document = {"role": "assistant"}
    content: list[Document] = [{"type": "thinking", "thinking": turn.thought}] if turn.thought else []
    if turn.calls:
        message["tool_calls"] = [
            {
                "id": call.id,
                "type": "function",
                "function": {
                    "name": call.name,
                    "arguments": msgspec.json.encode(call.arguments).decode(),
                },
            }
            for call in turn.calls
        ]
    else:
        content.append({"type": "text", "text": turn.text})
    return message | ({"content": content} if content else {})


def _events(turn: Turn) -> list[Document]:
    found = text_events(*cut(turn.thought), kind="thinking") if turn.thought else []
    if not turn.calls:
        return found + text_events(*cut(turn.text), index=int(bool(found)))
    for at, call in enumerate(turn.calls):
        arguments = msgspec.json.encode(call.arguments).decode()
        found += call_events(at, call.id, call.name, *cut(arguments))
    return found


async def _read(receive: Receive) -> bytes:
    pieces = []
    while True:
        message = await receive()
        pieces.append(message.get("body", b""))
        if not message.get("more_body"):
            return b"".join(pieces)


async def _send(send: Send, status: int, document: Document) -> None:
    wait = [(b"retry-after", b"%d" % RETRY_AFTER_S)] if status == 429 else []
    headers = [(b"content-type", b"application/json"), *wait]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": msgspec.json.encode(document)})
