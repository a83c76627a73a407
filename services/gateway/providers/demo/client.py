"""The demo provider: a server of OpenAI's format inside the process. No network, no key, no cost to anybody.

It stands behind the same port as a real provider, so that metering, relaying and pricing are the same code.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Final

import msgspec
from multidict import CIMultiDict

from services.gateway.apart import apart
from services.gateway.providers.body import JsonBody, ParsedBody, parse_json
from services.gateway.providers.demo.chat import answer_chat, chat_events
from services.gateway.providers.demo.media import answer_image, answer_speech, answer_transcription
from services.gateway.providers.demo.vectors import answer_embeddings, answer_moderation
from services.gateway.providers.errors import BadRequest
from services.gateway.providers.multipart import MultipartBody, parse_multipart
from services.gateway.providers.operations import Operation
from services.gateway.providers.stretches import LARGE_BYTES
from services.gateway.upstream.port import UpstreamClient, UpstreamRequest, UpstreamResponse, UpstreamTooLarge
from shared.ids import new_id

PACE_S: Final = 0.02
MODELS: Final[Mapping[Operation, frozenset[str]]] = {
    Operation.CHAT: frozenset({"echo", "lorem"}),
    Operation.COMPLETIONS: frozenset({"echo", "lorem"}),
    Operation.EMBEDDINGS: frozenset({"embedding"}),
    Operation.IMAGES: frozenset({"image"}),
    Operation.IMAGE_EDITS: frozenset({"image"}),
    Operation.SPEECH: frozenset({"speech"}),
    Operation.TRANSCRIPTIONS: frozenset({"transcription"}),
    Operation.MODERATIONS: frozenset({"moderation"}),
}


class DemoResponse:
    """See UpstreamResponse. Events of a stream come at a walking pace."""

    def __init__(self, status: int, content_type: str, pieces: list[bytes], pace_s: float = 0.0) -> None:
        self.status = status
        self.headers: Mapping[str, str] = CIMultiDict({"content-type": content_type})
        self._pieces = pieces
        self._pace_s = pace_s
        self._next = 0

    async def read(self, limit_bytes: int) -> bytes:
        body = b"".join([piece async for piece in self.chunks()])
        if len(body) > limit_bytes:
            raise UpstreamTooLarge(limit_bytes)
        return body

    async def chunks(self) -> AsyncIterator[bytes]:
        while self._next < len(self._pieces):
            if self._pace_s and self._next:
                await asyncio.sleep(self._pace_s)
            self._next += 1
            yield self._pieces[self._next - 1]

    async def drain(self, timeout_s: float) -> None:
        self.close()

    def close(self) -> None:
        self._next = len(self._pieces)


class DemoClient:
    """See UpstreamClient. Keeps nothing, waits for nobody; `pace_s` is the time between the events of a stream."""

    def __init__(
        self, *, pace_s: float = PACE_S, clock_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000
    ) -> None:
        self._pace_s = pace_s
        self._clock_ms = clock_ms

    async def send(self, request: UpstreamRequest) -> UpstreamResponse:
        raw = request.body if isinstance(request.body, bytes) else b""
        if request.body is not None and not isinstance(request.body, bytes):
            raw = b"".join([piece async for piece in request.body])
        try:
            if len(raw) > LARGE_BYTES:
                return await apart(self._answer, request, raw)
            return self._answer(request, raw)
        except BadRequest as error:
            return _refusal(400, error.message, "invalid_request_error", error.param)

    async def close(self) -> None:
        """Nothing is held open."""

    def _answer(self, request: UpstreamRequest, raw: bytes) -> DemoResponse:
        operation = next((known for known in Operation if request.url.endswith(known.path)), None)
        # The longest path wins: "/chat/completions" also ends with "/completions".
        if request.url.endswith(Operation.CHAT.path):
            operation = Operation.CHAT
        if operation is None:
            return _refusal(404, "The demo provider has no such endpoint.", "invalid_request_error", None)
        content_type = request.headers.get("content-type", "")
        body: ParsedBody = parse_multipart(raw, content_type) if operation.multipart else parse_json(raw)
        if body.model not in MODELS[operation]:
            known = ", ".join(f"demo/{model}" for model in sorted(MODELS[operation]))
            message = f"The demo provider has no model {body.model!r} for this endpoint. It has: {known}."
            return _refusal(404, message, "invalid_request_error", "model")
        return self._serve(operation, body)

    def _serve(self, operation: Operation, body: ParsedBody) -> DemoResponse:
        now_ms = self._clock_ms()
        if isinstance(body, MultipartBody):
            if operation is Operation.IMAGE_EDITS:
                return _json(answer_image(body, now_ms // 1000))
            content_type, text = answer_transcription(body)
            return DemoResponse(200, content_type, [text])
        return self._serve_json(operation, body, now_ms)

    def _serve_json(self, operation: Operation, body: JsonBody, now_ms: int) -> DemoResponse:
        match operation:
            case Operation.CHAT | Operation.COMPLETIONS:
                answer = answer_chat(operation, body, new_id("demo", now_ms), now_ms // 1000)
                if body.stream:
                    return DemoResponse(200, "text/event-stream", chat_events(answer, body), self._pace_s)
                return _json(answer.document())
            case Operation.EMBEDDINGS:
                return _json(answer_embeddings(body))
            case Operation.MODERATIONS:
                return _json(answer_moderation(body, new_id("modr", now_ms)))
            case Operation.SPEECH:
                content_type, sound = answer_speech(body)
                return DemoResponse(200, content_type, [sound])
            case _:
                return _json(answer_image(body, now_ms // 1000))


def _json(document: object, status: int = 200) -> DemoResponse:
    return DemoResponse(status, "application/json", [msgspec.json.encode(document)])


def _refusal(status: int, message: str, kind: str, param: str | None) -> DemoResponse:
    error = {"message": message, "type": kind, "param": param, "code": None}
    return _json({"error": error}, status)


def proves_port(client: DemoClient) -> UpstreamClient:
    """Makes the type checker prove that the adapter fits its port."""
    return client
