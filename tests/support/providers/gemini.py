"""A fake of Google's generative servers: the Gemini API and Vertex AI, with its token server.

Requests are checked and answers are made with google-genai's own types. What goes wrong is asked for in the prompt,
as with the mock upstream: `mock(fault=cut)`. A prompt with the word `tool` is answered by a call of each declared
function until their results stand in the request.
"""

import asyncio
import base64
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import parse_qs

from google.genai import types
from pydantic import ValidationError
from starlette.types import Receive, Scope, Send

from tests.support.gateway import served
from tests.support.providers import anthropic, vertex_claude
from tests.support.providers.gemini_counts import (
    CLAUDES_COUNTER,
    check_count,
    claudes_count,
    counted,
    uncounted,
)
from tests.support.providers.gemini_pieces import (
    SIGNATURE as SIGNATURE,
)
from tests.support.providers.gemini_pieces import (
    check_signatures,
    event,
    in_pieces,
    joined,
    orders_of,
    plain,
    said,
)
from tests.support.providers.model_garden import ModelGarden, publisher_in
from tests.support.providers.script import REFUSAL, Turn
from tests.support.upstream.answers import answer_document, stream_pieces
from tests.support.upstream.directives import Directives, read_directives

KEY: Final = "AIza-fake"
PNG: Final = b"\x89PNG\r\n\x1a\n fake"
MODELS: Final = {
    "gemini-3-pro-preview": ["generateContent", "countTokens"],
    "gemini-2.5-flash": ["generateContent", "countTokens"],
    "gemini-2.5-flash-image": ["generateContent", "countTokens"],
    "gemini-2.5-flash-preview-tts": ["generateContent"],
    "gemini-embedding-001": ["embedContent"],
    "imagen-4.0-generate-001": ["predict"],
    "aqa": ["generateAnswer"],
    "gemini-2.5-pro": ["generateContent", "countTokens"],
}
_BODY_FIELDS: Final = {
    "contents", "systemInstruction", "tools", "toolConfig", "generationConfig", "safetySettings", "serviceTier",
}  # fmt: skip


@dataclass
class FakeGoogle:
    """The application. `bodies` and `paths` keep what was asked; `tokens` the access tokens that were given out."""

    turn: Turn | None = None
    """What is answered whatever is asked."""
    bodies: list[dict[str, Any]] = field(default_factory=list)
    paths: list[str] = field(default_factory=list)
    tokens: list[str] = field(default_factory=list)
    token_status: int = 200
    expires_in: int = 3600
    left: asyncio.Event = field(default_factory=asyncio.Event)
    """A client went away from a stream that stalled."""
    garden: ModelGarden = field(default_factory=ModelGarden)
    payers: list[str] = field(default_factory=list)
    """The project that each request for models names to be charged; empty where it names none."""
    lists: list[str] = field(default_factory=list)
    """The addresses of the requests for models."""
    without_counter: set[str] = field(default_factory=set)
    """Locations of Vertex AI where nobody counts Claude's tokens."""

    def play(self, turn: Turn) -> None:
        self.turn = turn

    def received(self) -> list[dict[str, Any]]:
        return self.bodies

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        raw = await _body(receive)
        path = scope["path"]
        headers = {name.decode(): value.decode() for name, value in scope["headers"]}
        if path == "/token":
            await self._token(send)
            return
        if scope["method"] == "GET":
            self.lists.append(f"{path}?{scope['query_string'].decode()}")
        else:
            self.paths.append(path)
        if (refusal := self._refusal(path, headers)) is not None:
            await _json(send, refusal[0], refusal[1])
        elif scope["method"] == "GET":
            self.payers.append(headers.get("x-goog-user-project", ""))
            query = parse_qs(scope["query_string"].decode())
            if (publisher := publisher_in(path)) is not None:
                await _json(send, *self.garden.page(publisher, query))
            else:
                await _json(send, 200, _listed(query))
        else:
            body = json.loads(raw)
            self.bodies.append(body)
            await self._serve(path.rpartition(":")[2], path, body, raw, receive, send)

    async def _token(self, send: Send) -> None:
        if self.token_status != 200:
            refusal = {"error": "invalid_grant", "error_description": "Invalid JWT Signature."}
            await _json(send, self.token_status, refusal)
            return
        self.tokens.append(f"ya29.fake-{len(self.tokens) + 1}")
        answer = {"access_token": self.tokens[-1], "expires_in": self.expires_in, "token_type": "Bearer"}
        await _json(send, 200, answer)

    def _refusal(self, path: str, headers: dict[str, str]) -> tuple[int, Any] | None:
        token = headers.get("authorization", "").removeprefix("Bearer ")
        if "/projects/" in path or (token and publisher_in(path) is not None):
            if token in self.tokens:
                return None
            return 401, status(401, "Request had invalid authentication credentials.", "UNAUTHENTICATED")
        if headers.get("x-goog-api-key") == KEY:
            return None
        info = {"@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": "API_KEY_INVALID"}
        return 400, status(400, "API key not valid.", "INVALID_ARGUMENT", [info])

    async def _serve(
        self, method: str, path: str, body: dict[str, Any], raw: bytes, receive: Receive, send: Send
    ) -> None:
        orders = read_directives(raw) if self.turn is None else orders_of(self.turn)
        if orders.status != 200:
            await _failure(send, orders)
            return
        if path.endswith(f"/{CLAUDES_COUNTER}:rawPredict"):
            await _json(send, *claudes_count(body, path, self.without_counter))
            return
        if "/publishers/anthropic/" in path and (wrong := vertex_claude.wrong_in(path, body)):
            self.bodies.pop()
            await _json(send, 400, anthropic.error("invalid_request_error", wrong))
            return
        if (other := _other_publishers(path, body, orders)) is not None:
            await _send(send, 200, *other)
            return
        try:
            if method == "countTokens" and (unknown := uncounted(path, MODELS)) is not None:
                await _json(send, 404, unknown)
                return
            answers = _answers(method, path, body, orders, self.turn)
        except (ValidationError, ValueError) as error:
            await _json(send, 400, status(400, f"Invalid JSON payload: {error}", "INVALID_ARGUMENT"))
            return
        if orders.has("error-200"):
            await _json(send, 200, [status(503, f"{REFUSAL}: overloaded", "UNAVAILABLE")])
        elif method == "streamGenerateContent":
            await self._stream(answers, orders, receive, send)
        else:
            await _json(send, 200, answers[0])

    async def _stream(self, answers: list[Any], orders: Directives, receive: Receive, send: Send) -> None:
        half = max(1, len(answers) // 2)
        error = status(503, f"{REFUSAL}: overloaded", "UNAVAILABLE")
        if orders.has("error-first"):
            answers = [error]
        elif orders.has("error-event"):
            answers = [*answers[:half], error]
        elif orders.faults & {"cut", "end-early", "stall-stream"}:
            answers = answers[:half]
        headers = [(b"content-type", b"text/event-stream")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        for answer in answers:
            await send({"type": "http.response.body", "body": event(answer), "more_body": True})
        if orders.has("stall-stream"):
            while (await receive())["type"] != "http.disconnect":
                pass
            self.left.set()
        elif not orders.has("cut"):
            await send({"type": "http.response.body", "body": b""})


def _listed(query: dict[str, list[str]]) -> dict[str, Any]:
    """A page of the models; never more than four, whatever was asked for."""
    at = int(query.get("pageToken", ["0"])[0])
    names = list(MODELS)[at : at + 4]
    page: dict[str, Any] = {
        "models": [{"name": f"models/{name}", "supportedGenerationMethods": MODELS[name]} for name in names]
    }
    if at + 4 < len(MODELS):
        page["nextPageToken"] = str(at + 4)
    return page


def status(code: int, message: str, name: str, details: list[Any] | None = None) -> dict[str, Any]:
    """A `google.rpc.Status`."""
    return {"error": {"code": code, "message": message, "status": name, "details": details or []}}


def checked(body: dict[str, Any]) -> types.GenerateContentConfig:
    """The body's settings, all of it read by the SDK's types. Raises ValidationError or ValueError."""
    if unknown := set(body) - _BODY_FIELDS:
        raise ValueError(f"unknown fields {unknown}")
    contents = [types.Content.model_validate(one) for one in body["contents"]]
    if not contents or any(not one.parts or one.role not in ("user", "model") for one in contents):
        raise ValueError("contents need parts and a role")
    for part in (part for one in contents for part in one.parts or ()):
        if len(part.model_fields_set - {"thought_signature", "thought"}) != 1:
            raise ValueError(f"a part has exactly one kind of data: {part}")
    rest = {
        name: body[name]
        for name in ("systemInstruction", "tools", "toolConfig", "serviceTier")
        if name in body
    }
    config = types.GenerateContentConfig.model_validate({**body.get("generationConfig", {}), **rest})
    for tool in config.tools or ():
        for declaration in getattr(tool, "function_declarations", None) or ():
            check_schema(declaration.parameters_json_schema)
    check_schema(config.response_json_schema)
    return config


def check_model(model: str, config: types.GenerateContentConfig) -> None:
    """Raises ValueError for what a model older than Gemini 3 refuses."""
    if config.tools and config.response_mime_type and model.startswith(("gemini-1", "gemini-2")):
        raise ValueError(
            f"Function calling with a response mime type: {config.response_mime_type!r} is unsupported"
        )


def check_schema(schema: Any) -> None:
    """Raises ValidationError unless the SDK's own subset of JSON Schema holds all of it."""
    if schema is not None:
        known = {name for name in schema if not name.startswith("$")} - {"prefixItems", "propertyOrdering"}
        types.JSONSchema.model_validate({name: schema[name] for name in known})


def _answers(
    method: str, path: str, body: dict[str, Any], orders: Directives, turn: Turn | None
) -> list[Any]:
    if method in ("generateContent", "streamGenerateContent"):
        config = checked(body)
        model = path.rpartition("/")[2].partition(":")[0]
        check_model(model, config)
        if turn is None:
            responses = _generated(body, config, model, orders)
        else:
            responses = in_pieces(
                said(turn, body), model, orders, bool(turn.thought), types.FinishReason.STOP
            )
        if method == "generateContent":
            responses = [joined(responses)]
        return [plain(one) for one in responses]
    if method == "rank":
        return [_ranked(body)]
    if method == "countTokens":
        check_count(path, body, checked)
        return [counted(orders.prompt)]
    if method == "predict":
        if "prompt" in body["instances"][0]:
            types.GenerateImagesConfig(
                number_of_images=body["parameters"]["sampleCount"],
                aspect_ratio=body["parameters"].get("aspectRatio"),
            )
            picture = {"bytesBase64Encoded": base64.b64encode(PNG).decode(), "mimeType": "image/png"}
            return [{"predictions": [picture] * body["parameters"]["sampleCount"]}]
        numbers = {"values": [0.5, -0.25, 1.0], "statistics": {"token_count": 3, "truncated": False}}
        return [{"predictions": [{"embeddings": numbers}] * len(body["instances"])}]
    asked = body.get("requests") or [body]
    for one in asked:
        types.Content.model_validate(one["content"])
    vectors = [types.ContentEmbedding(values=[0.5, -0.25, 1.0]).model_dump(exclude_none=True) for _ in asked]
    usage = {"usageMetadata": {"promptTokenCount": 3 * len(asked)}}
    if method == "embedContent":
        return [{"embedding": vectors[0], **usage}]
    return [{"embeddings": vectors, **usage}]


def _ranked(body: dict[str, Any]) -> dict[str, Any]:
    """The service has no types in the SDK: this is its reference in words."""
    if unknown := set(body) - {"model", "query", "records", "topN", "ignoreRecordDetailsInResponse"}:
        raise ValueError(f"unknown fields {unknown}")
    records = body["records"]
    if (
        not body["query"]
        or not records
        or len(records) > 200
        or len({one["id"] for one in records}) < len(records)
    ):
        raise ValueError("a query and 1 to 200 records, each with an id of its own")
    best = sorted(records, key=lambda one: one["content"], reverse=True)[: body["topN"]]
    return {"records": [{"id": one["id"], "score": 1 / (at + 1)} for at, one in enumerate(best)]}


def _generated(
    body: dict[str, Any], config: types.GenerateContentConfig, model: str, orders: Directives
) -> list[types.GenerateContentResponse]:
    """The pieces of an answer; only the last has a finish reason."""
    contents = [types.Content.model_validate(one) for one in body["contents"]]
    last = contents[-1].parts or []
    text = " ".join(part.text or "" for part in last)
    thinks = config.thinking_config is not None and bool(config.thinking_config.include_thoughts)
    if "blocked" in text:
        feedback = types.GenerateContentResponsePromptFeedback(block_reason=types.BlockedReason.SAFETY)
        usage = types.GenerateContentResponseUsageMetadata(prompt_token_count=orders.prompt)
        return [types.GenerateContentResponse(prompt_feedback=feedback, usage_metadata=usage)]
    ends = {"unsafe": types.FinishReason.SAFETY, "malformed": types.FinishReason.MALFORMED_FUNCTION_CALL}
    parts: list[types.Part] = []
    if thinks:
        parts.append(types.Part(text="Let me think. ", thought=True))
    if any(part.function_response for part in last):
        check_signatures(contents)
        results = [part.function_response.response for part in last if part.function_response]
        parts.append(types.Part(text=json.dumps(results)))
    elif config.tools and "tool" in text:
        parts += _calls(config)
    elif config.response_modalities and "IMAGE" in config.response_modalities:
        parts.append(types.Part(inline_data=types.Blob(data=PNG, mime_type="image/png")))
    elif config.response_modalities and "AUDIO" in config.response_modalities:
        parts.append(
            types.Part(inline_data=types.Blob(data=b"\x01\x00" * 100, mime_type="audio/L16;rate=24000"))
        )
    elif config.response_json_schema is not None:
        parts.append(types.Part(text='{"city": "Paris", "population": 2100000}'))
    else:
        parts += [types.Part(text="wörd ") for _ in range(orders.completion)]
    reason = next((ends[word] for word in ends if word in text), types.FinishReason.STOP)
    return in_pieces(parts, model, orders, thinks, reason)


def _calls(config: types.GenerateContentConfig) -> list[types.Part]:
    names = [
        declaration.name
        for tool in config.tools or ()
        for declaration in getattr(tool, "function_declarations", None) or ()
    ]
    return [
        types.Part(
            function_call=types.FunctionCall(id=f"fc-{at}", name=name, args={"city": "Paris"}),
            thought_signature=SIGNATURE if at == 0 else None,
        )
        for at, name in enumerate(names)
    ]


def _other_publishers(path: str, body: dict[str, Any], orders: Directives) -> tuple[bytes, bytes] | None:
    """What Claude, Mistral and the OpenAI-compatible endpoint answer: content type and body."""
    streams = bool(body.get("stream"))
    content_type = b"text/event-stream" if streams else b"application/json"
    if "/publishers/anthropic/" in path:
        text = anthropic.text("Bonjour.")
        if streams:
            return content_type, anthropic.wire(*anthropic.events(text))
        return content_type, json.dumps(anthropic.message(text)).encode()
    if "/publishers/mistralai/" in path or path.endswith("/chat/completions"):
        if streams:
            pieces, _ = stream_pieces("chat.completions", body["model"], orders, include_usage=True)
            return content_type, b"".join(pieces)
        return content_type, answer_document("chat.completions", body["model"], orders, 1, None)[1]
    return None


async def _failure(send: Send, orders: Directives) -> None:
    if orders.has("html"):
        await _send(send, orders.status, b"text/html", b"<html><body><h1>Error</h1></body></html>")
        return
    details = []
    if orders.retry_after:
        kind = "type.googleapis.com/google.rpc.RetryInfo"
        details.append({"@type": kind, "retryDelay": f"{orders.retry_after}s"})
    name = {429: "RESOURCE_EXHAUSTED", 503: "UNAVAILABLE", 400: "INVALID_ARGUMENT"}.get(
        orders.status, "INTERNAL"
    )
    await _json(send, orders.status, status(orders.status, f"{REFUSAL} ({orders.status})", name, details))


async def _json(send: Send, code: int, document: Any) -> None:
    await _send(send, code, b"application/json; charset=UTF-8", json.dumps(document).encode())


async def _send(send: Send, code: int, content_type: bytes, body: bytes) -> None:
    headers = [(b"content-type", content_type), (b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": code, "headers": headers})
    await send({"type": "http.response.body", "body": body})


async def _body(receive: Receive) -> bytes:
    pieces = []
    while True:
        message = await receive()
        pieces.append(message.get("body", b""))
        if not message.get("more_body"):
            return b"".join(pieces)


@asynccontextmanager
async def running_google() -> AsyncIterator[tuple[FakeGoogle, str]]:
    """The fake on a free port, and its address without a path."""
    app = FakeGoogle()
    async with served(app) as url:
        yield app, url
