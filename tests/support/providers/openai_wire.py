"""A fake of every vendor that speaks OpenAI's format: requests judged and answers made by OpenAI's SDK, quirks as data."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import msgspec
from starlette.requests import Request

from tests.support.gateway import served
from tests.support.providers import openai_types as made
from tests.support.providers.openai_models import wrong_for_model
from tests.support.providers.openai_responses import (
    Made,
    response_answer,
    response_events,
    with_trimmings,
)
from tests.support.providers.quirks import Quirks
from tests.support.providers.script import REFUSAL, RETRY_AFTER_S, Asked, Document, Turn
from tests.support.upstream.app import Receive, Scope, Send

DONE = b"data: [DONE]\n\n"
_STATUS = {"refused": 400, "denied": 401, "limited": 429, "overloaded": 503}
STREAMED = ("/chat/completions", "/completions", "/responses", "/audio/speech", "/fim/completions")
FORMS = ("/images/edits", "/images/variations", "/audio/transcriptions", "/audio/translations")


@dataclass
class FakeOpenAI:
    """ASGI. `asked` are the requests that were judged good, `refused` what was wrong with the others."""

    quirks: Quirks = field(default_factory=Quirks)
    key: str = "wire-key"
    models: tuple[str, ...] = ("some-model",)
    turn: Turn = field(default_factory=Turn)
    asked: list[Asked] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)
    kept: Made = field(default_factory=Made)
    """What it remembers of its responses."""
    left: asyncio.Event = field(default_factory=asyncio.Event)
    """A client went away from a stream that stalled."""

    def play(self, turn: Turn) -> None:
        self.turn = turn

    def received(self) -> list[Document]:
        return [asked.body for asked in self.asked]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = {name.decode(): value.decode("latin-1") for name, value in scope["headers"]}
        path = scope["path"].removeprefix(self.quirks.root)
        body = await _body(path, Request(scope, receive))
        if headers.get("authorization") != f"Bearer {self.key}" or self.turn.fault == "denied":
            await self._fail(send, 401, f"{REFUSAL}: no such key")
        elif scope["method"] == "GET":
            await self._list(path, send)
        elif not self.has(path):
            await self._fail(send, 404, f"{REFUSAL}: nothing at {scope['path']}")
        elif wrong := self.wrong_in(path, body):
            self.refused += wrong
            await self._fail(send, self.quirks.invalid, "; ".join(wrong), _named(wrong[0]))
        else:
            self.asked.append(Asked(path, headers, body))
            await self._answer(path, body, receive, send)

    def has(self, path: str) -> bool:
        """Something may be asked for there."""
        return path in made.REQUESTS

    def wrong_in(self, path: str, body: Document) -> list[str]:
        """What this vendor has against a request."""
        judged = with_trimmings(body) if path == "/responses" and self.quirks.bare_items else body
        found = (
            made.wrong_in_form(made.REQUESTS[path], body) if path in FORMS else made.wrong_in(path, judged)
        )
        if not self.quirks.strict:
            found = [problem for problem in found if not problem.endswith("is unknown")]
        taken = {f".{name} is unknown" for name in self.quirks.takes}
        back = tuple(f".{name} is unknown" for name in self.quirks.told_back)
        found = [problem for problem in found if problem not in taken and not _told_back(problem, back)]
        if path == "/responses":
            found += self.kept.wrong_in(body)
        found += [f".{name} is not supported" for name in sorted(self.quirks.refuses & body.keys())]
        return found + (wrong_for_model(path, body) if self.quirks.openais_models else [])

    def chat_answer(self, body: Document) -> Document:
        answer = made.chat_answer(
            self.turn, body["model"], n=body.get("n") or 1, logprobs=bool(body.get("logprobs"))
        )
        if self.turn.thought and self.quirks.thought:
            for choice in answer["choices"]:
                choice["message"][self.quirks.thought] = self.turn.thought
        answer["usage"] = self._usage(answer["usage"])
        return answer | dict(self.quirks.chunk_extras)

    def chat_chunks(self, body: Document) -> list[Document]:
        """The stream as this vendor sends it, usage and all."""
        thought = self.quirks.thought if self.turn.thought else ""
        model = body["model"]
        chunks = made.chat_chunks(self.turn, model, thought=thought, logprobs=bool(body.get("logprobs")))
        chunks = [chunk | dict(self.quirks.chunk_extras) for chunk in chunks]
        if self.quirks.role_in_each:
            for chunk in chunks:
                chunk["choices"][0]["delta"]["role"] = "assistant"
        if self.turn.fault == "no usage":
            return chunks
        usage = self._usage(made.usage_of(self.turn))
        wanted = (body.get("stream_options") or {}).get("include_usage")
        match self.quirks.usage:
            case "every chunk":
                counts = range(1, len(chunks) + 1)
                chunks = [
                    chunk | {"usage": usage | {"completion_tokens": min(count, usage["completion_tokens"])}}
                    for chunk, count in zip(chunks, counts, strict=True)
                ]
                chunks[-1]["usage"] = usage
            case "last choice":
                chunks[-1]["usage"] = usage
            case "x_groq":
                chunks[-1]["x_groq"] = {"id": "req_1", "usage": usage}
        if wanted and self.quirks.usage in ("chunk", "x_groq"):
            last = made.usage_chunk(self.turn, model) | dict(self.quirks.chunk_extras)
            chunks.append(last | {"usage": usage})
        return chunks

    def listed(self, model: str) -> Document:
        """A model in the list of all."""
        return made.listed(model) | dict(self.quirks.model_extras)

    def embeddings(self, body: Document) -> Document:
        return made.embeddings(body["input"], body["model"], body.get("encoding_format") or "float")

    def transcript(self, model: str) -> Document:
        return made.transcript()

    def verdict(self, body: Document) -> Document:
        return made.verdict(body.get("model", ""))

    def speech(self) -> tuple[bytes, bytes]:
        """Content type and body."""
        return b"audio/mpeg", made.SOUND

    def _usage(self, usage: Document) -> Document:
        if self.turn.thought and self.quirks.thought:
            usage = usage | {"completion_tokens_details": {"reasoning_tokens": 6}}
            if self.quirks.reasoning_beside:
                usage |= {"total_tokens": usage["total_tokens"] + 6}
        return usage | dict(self.quirks.usage_extras)

    async def _answer(self, path: str, body: Document, receive: Receive, send: Send) -> None:
        fault = self.turn.fault
        if fault in _STATUS:
            await self._fail(send, _STATUS[fault], f"{REFUSAL}: {fault}")
        elif fault == "error in 200":
            await _json(send, 200, self.quirks.stream_error(f"{REFUSAL}: overloaded"))
        elif body.get("stream") and path in STREAMED:
            await self._stream(self.pieces(path, body), receive, send)
        elif path == "/audio/speech":
            await _whole(send, 200, *self.speech())
        else:
            document = self._document(path, body)
            if fault == "no usage":
                document.pop("usage", None)
            await _whole(send, 200, b"application/json", msgspec.json.encode(document), half=fault == "break")

    def _document(self, path: str, body: Document) -> Document:
        model = body.get("model", "")
        match path:
            case "/chat/completions" | "/fim/completions":
                return self.chat_answer(body)
            case "/completions":
                return made.text_answer(self.turn, model)
            case "/responses":
                return response_answer(self.turn, model, self.kept.output(self.turn, body))
            case "/embeddings":
                return self.embeddings(body)
            case "/moderations":
                return self.verdict(body)
            case "/audio/transcriptions" | "/audio/translations":
                return self.transcript(model)
        return made.pictures(int(body.get("n") or 1))

    def pieces(self, path: str, body: Document) -> list[bytes]:
        """A whole stream, event by event."""
        if path == "/responses":
            return response_events(self.turn, body["model"], self.kept.output(self.turn, body))
        chunks = (
            self.chat_chunks(body)
            if path == "/chat/completions"
            else made.text_chunks(self.turn, body["model"])
        )
        end = [DONE] if self.quirks.done else []
        comments = [f": {comment}\n\n".encode() for comment in self.quirks.comments]
        return [*comments, *(made.event(chunk) for chunk in chunks), *end]

    async def _stream(self, pieces: list[bytes], receive: Receive, send: Send) -> None:
        fault = self.turn.fault
        if fault in ("error event", "break", "early", "stall"):
            pieces = pieces[: len(pieces) // 2]
        if fault == "error event":
            pieces.append(made.event(self.quirks.stream_error(f"{REFUSAL}: overloaded")))
            pieces += [DONE] if self.quirks.done_after_error else []
        headers = [(b"content-type", b"text/event-stream")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        for piece in pieces:
            await send({"type": "http.response.body", "body": piece, "more_body": True})
        if fault == "stall":
            while (await receive())["type"] != "http.disconnect":
                pass
            self.left.set()
        elif fault != "break":  # else the server drops the connection
            await send({"type": "http.response.body", "body": b""})

    async def _list(self, path: str, send: Send) -> None:
        if path != "/models" or not self.quirks.lists:
            await self._fail(send, 404, f"{REFUSAL}: nothing at {path}")
            return
        await _json(send, 200, {"object": "list", "data": [self.listed(name) for name in self.models]})

    async def _fail(self, send: Send, status: int, message: str, param: str | None = None) -> None:
        wait = [(b"retry-after", b"%d" % RETRY_AFTER_S)] if status == 429 and self.quirks.retry_after else []
        await _json(send, status, self.quirks.error(status, message, param), wait)


@asynccontextmanager
async def running_openai(fake: FakeOpenAI) -> AsyncIterator[str]:
    """Gives the base URL of the fake on a free port."""
    async with served(fake) as url:
        yield url + fake.quirks.root


def _told_back(problem: str, fields: tuple[str, ...]) -> bool:
    return problem.startswith(".messages[") and bool(fields) and problem.endswith(fields)


def _named(problem: str) -> str:
    """The place in `.messages[0].name is unknown`."""
    return problem.split()[0].removeprefix(".")


async def _body(path: str, request: Request) -> Any:
    if path not in FORMS:
        raw = await request.body()
        return msgspec.json.decode(raw) if raw else {}
    async with request.form() as form:
        return {name: value if isinstance(value, str) else value.filename for name, value in form.items()}


async def _json(
    send: Send, status: int, document: Any, extra: list[tuple[bytes, bytes]] | None = None
) -> None:
    await _whole(send, status, b"application/json", msgspec.json.encode(document), extra)


async def _whole(
    send: Send,
    status: int,
    kind: bytes,
    body: bytes,
    extra: list[tuple[bytes, bytes]] | None = None,
    *,
    half: bool = False,
) -> None:
    headers = [(b"content-type", kind), (b"content-length", b"%d" % len(body)), *(extra or [])]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    if half:
        await send({"type": "http.response.body", "body": body[: len(body) // 2], "more_body": True})
    else:
        await send({"type": "http.response.body", "body": body})
