"""A fake of Replicate: predictions made of its SDK's own model, which take a while and may be followed."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Literal

import msgspec
from replicate.prediction import Prediction
from replicate.stream import ServerSentEvent

from tests.support.gateway import served
from tests.support.providers.script import REFUSAL, Turn, cut
from tests.support.upstream.answers import PIXEL
from tests.support.upstream.app import Receive, Scope, Send

Document = dict[str, Any]
Ending = Literal["done", "cut", "early", "stall", "error", "canceled"]
_STATUS = {"refused": 422, "denied": 401, "limited": 429, "overloaded": 503}
_ENDINGS: dict[str, Ending] = {"break": "cut", "early": "early", "stall": "stall", "error event": "error"}
ID = "gm3qorzdhgbfurvjtvhg6dckhu"


@dataclass
class Asked:
    """One call as the service saw it."""

    method: str
    path: str
    headers: dict[str, str]
    body: Document


@dataclass
class FakeReplicate:
    """`polls`: how often a prediction is asked for before it is finished."""

    polls: int = 0
    output: Any = field(default_factory=lambda: ["Hello", " there", "."])
    status: str = "succeeded"
    error: str | None = None
    streams: bool = True
    ending: Ending = "done"
    refusal: tuple[int, Document] | None = None
    metrics: Document | None = field(
        default_factory=lambda: {"input_token_count": 9, "output_token_count": 4}
    )
    url: str = ""
    asked: list[Asked] = field(default_factory=list)
    cancelled: int = 0
    made: asyncio.Event = field(default_factory=asyncio.Event)
    """Clear it, and predictions are made when it is set again."""
    lookups_fail: list[int] = field(default_factory=list)
    """Statuses of the next look-ups."""
    _left: int = 0
    left: asyncio.Event = field(default_factory=asyncio.Event)

    def play(self, turn: Turn) -> None:
        if turn.thought or turn.calls:
            raise ValueError("a prediction is nothing but its output")
        self.refusal = None
        if turn.fault in _STATUS:
            status = _STATUS[turn.fault]
            self.refusal = (status, {"title": "No", "detail": f"{REFUSAL}: {turn.fault}", "status": status})
        self.output = cut(turn.text)
        counted = {"input_token_count": turn.prompt, "output_token_count": turn.completion}
        self.metrics = None if turn.fault == "no usage" else counted
        failed = turn.fault == "error in 200"
        self.status, self.error = ("failed", f"{REFUSAL}: overloaded") if failed else ("succeeded", None)
        # a prediction that failed at once has no stream to follow
        self.streams = not failed
        self.ending = _ENDINGS.get(turn.fault, "done")

    def received(self) -> list[Document]:
        return [asked.body for asked in self.asked if asked.method == "POST"]

    def __post_init__(self) -> None:
        self.made.set()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        method, path = scope["method"], scope["path"]
        headers = {name.decode(): value.decode("latin-1") for name, value in scope["headers"]}
        raw = (await receive()).get("body", b"") if method == "POST" else b""
        self.asked.append(Asked(method, path, headers, msgspec.json.decode(raw) if raw else {}))
        if self.refusal is not None:
            await _send(send, *self.refusal)
        elif path == "/v1/deployments":
            await _send(send, 200, {"results": [{"owner": "acme", "name": "chatty"}], "next": None})
        elif path == "/files/out.png":
            await _send(send, 200, PIXEL, b"image/png")
        elif path.startswith("/stream/"):
            await self._stream(receive, send)
        elif path.endswith("/cancel"):
            self.cancelled += 1
            await _send(send, 200, self._prediction(finished=False))
        elif method == "POST":
            await self.made.wait()
            self._left = self.polls
            patient = "prefer" in headers and not self.polls
            await _send(send, 201, self._prediction(finished=patient))
        elif self.lookups_fail:
            await _send(send, self.lookups_fail.pop(0), {"detail": "Try again."})
        else:
            self._left -= 1
            await _send(send, 200, self._prediction(finished=self._left <= 0))

    def _prediction(self, *, finished: bool) -> Document:
        urls = {"get": f"{self.url}/v1/predictions/{ID}", "cancel": f"{self.url}/v1/predictions/{ID}/cancel"}
        if self.streams:
            urls["stream"] = f"{self.url}/stream/{ID}"
        values: Document = {
            "id": ID,
            "model": "meta/meta-llama-3-70b-instruct",
            "version": "hidden",
            "status": self.status if finished else "processing",
            "input": {},
            "output": self.output if finished and self.status == "succeeded" else None,
            "logs": "",
            "error": self.error if finished else None,
            "metrics": self.metrics if finished else None,
            "urls": urls,
        }
        made = Prediction(**values)
        document: Document = made.dict()
        return document

    async def _stream(self, receive: Receive, send: Send) -> None:
        start = {"type": "http.response.start", "status": 200}
        await send(start | {"headers": [(b"content-type", b"text/event-stream")]})
        output = (
            self.output if self.ending in ("done", "canceled") else self.output[: len(self.output) // 2 + 1]
        )
        pieces = output_events(output)
        if self.ending == "done":
            pieces.append(_event("done", "{}", len(pieces)))
        elif self.ending == "canceled":
            pieces.append(_event("done", '{"reason":"canceled"}', len(pieces)))
        elif self.ending == "error":
            pieces.append(_event("error", f'{{"detail":"{REFUSAL}: CUDA out of memory"}}', len(pieces)))
        for piece in pieces:
            await send({"type": "http.response.body", "body": piece, "more_body": True})
        if self.ending == "stall":
            while (await receive())["type"] != "http.disconnect":
                await asyncio.sleep(0)
            self.left.set()
        if self.ending != "cut":
            await send({"type": "http.response.body", "body": b""})


@asynccontextmanager
async def running_replicate() -> AsyncIterator[tuple[FakeReplicate, str]]:
    """The fake on a free port, and its address."""
    fake = FakeReplicate()
    async with served(fake) as url:
        fake.url = url
        yield fake, url


def output_events(output: list[str]) -> list[bytes]:
    """The pieces of an output as they stand in a stream."""
    return [_event("output", text, number) for number, text in enumerate(output)]


def done_event() -> bytes:
    return _event("done", "{}", 1)


def _event(name: str, data: str, number: int) -> bytes:
    kind = ServerSentEvent.EventType(name)
    event = ServerSentEvent(event=kind, data=data, id=f"1690212292:{number}", retry=None)
    lines = "".join(f"data: {line}\n" for line in event.data.split("\n"))
    return f"event: {event.event.value}\nid: {event.id}\n{lines}\n".encode()


async def _send(send: Send, status: int, document: Any, kind: bytes = b"application/json") -> None:
    body = document if isinstance(document, bytes) else msgspec.json.encode(document)
    headers = [(b"content-type", kind), (b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
