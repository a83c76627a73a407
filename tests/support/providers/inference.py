"""A fake of the inference providers behind Hugging Face's router, and of the hub that knows who serves which model.

Nothing here knows the gateway: what it answers `huggingface_hub` reads, and what Nebius and SambaNova are sent, of whom
that library knows no more, is judged by OpenAI's types.
"""

import asyncio
import base64
from dataclasses import dataclass, field
from typing import Any, Final

import msgspec
from huggingface_hub import ModelInfo
from starlette.datastructures import UploadFile
from starlette.requests import Request

from tests.support.providers import openai_types as made
from tests.support.providers.script import Document
from tests.support.upstream.answers import PIXEL
from tests.support.upstream.app import Receive, Scope, Send

JSON: Final = "application/json"
HEARD: Final = " Good morning."
SOUND: Final = b"fLaC" + bytes(40)
VECTOR: Final = [0.5, -1.0, 2.0]
JOB: Final = "b4f2d0c1"
PAINTER, EDITOR = "black-forest-labs/FLUX.1-dev", "black-forest-labs/FLUX.1-Kontext-dev"
ADAPTER, SPEAKER = "acme/watercolour", "hexgrad/Kokoro-82M"
LISTENER, EMBEDDER = "openai/whisper-large-v3", "intfloat/multilingual-e5-large-instruct"
OLD_EMBEDDER: Final = "acme/old-name"
"""Leads to EMBEDDER."""


def _served(provider_id: str, task: str, **further: str) -> Document:
    return {"providerId": provider_id, "task": task, "status": "live", **further}


def _hub() -> dict[str, Document]:
    draw, edit, speak = "text-to-image", "image-to-image", "text-to-speech"
    listen, embed = "automatic-speech-recognition", "feature-extraction"
    return {
        PAINTER: {
            "fal-ai": _served("fal-ai/flux/dev", draw),
            "nebius": _served("black-forest-labs/flux-dev", draw),
            "nscale": _served("black-forest-labs/FLUX.1-dev", draw),
            "replicate": _served("black-forest-labs/flux-dev", draw),
            "together": _served("black-forest-labs/FLUX.1-dev", draw),
            "hf-inference": _served("black-forest-labs/FLUX.1-dev", draw),
            "somebody-new": _served("flux", draw),
        },
        EDITOR: {
            "fal-ai": _served("fal-ai/flux-kontext/dev", edit),
            "replicate": _served(f"black-forest-labs/flux-kontext-dev:{'a' * 64}", edit),
            "together": _served("black-forest-labs/FLUX.1-kontext-dev", edit),
        },
        ADAPTER: {
            "fal-ai": _served("fal-ai/lora", draw, adapterWeightsPath="watercolour.safetensors"),
            "replicate": _served("acme/flux-lora:b00c", draw, adapterWeightsPath="watercolour.safetensors"),
            "together": _served("acme/FLUX.2-dev", edit),
        },
        SPEAKER: {
            "deepinfra": _served("hexgrad/Kokoro-82M", speak),
            "fal-ai": _served("fal-ai/kokoro/american-english", speak),
            "replicate": _served("jaaari/kokoro-82m:f559", speak),
            "together": _served("hexgrad/Kokoro-82M", speak),
        },
        LISTENER: {
            "deepinfra": _served("openai/whisper-large-v3", listen),
            "fal-ai": _served("fal-ai/whisper", listen),
            "replicate": _served("openai/whisper:8099", listen),
        },
        EMBEDDER: {
            name: _served("multilingual-e5", embed)
            for name in ("deepinfra", "nebius", "sambanova", "scaleway", "together")
        },
    }


@dataclass
class Sent:
    """A call as the providers, or the hub, saw it: path with its query, and JSON, the fields of a form, or bytes."""

    method: str
    path: str
    headers: dict[str, str]
    body: Any


@dataclass
class FakeProviders:
    """`polls`: how often a job at fal's is asked for before it is done. `url` is that of the server."""

    key: str
    url: str = ""
    hub: dict[str, Document] = field(default_factory=_hub)
    hub_listed: bool = False
    """The hub tells who serves a model in a list, as it does for several models."""
    hub_refusal: tuple[int, Document, dict[str, str]] | None = None
    hub_answers: asyncio.Event = field(default_factory=asyncio.Event)
    """Clear it, and the hub answers when it is set again."""
    looked_up: list[Sent] = field(default_factory=list)
    sent: list[Sent] = field(default_factory=list)
    fetched: list[Sent] = field(default_factory=list)
    """Files."""
    refusal: tuple[int, Document] | None = None
    polls: int = 1
    job_status: str = "COMPLETED"
    """How a job ends."""
    job_refusal: tuple[int, Document] | None = None
    """What is answered instead of what a job made."""
    lookups_fail: list[int] = field(default_factory=list)
    """Statuses of the next questions after a job."""
    jobs_made: asyncio.Event = field(default_factory=asyncio.Event)
    """Clear it, and jobs are made when it is set again."""
    cancelled: int = 0
    prediction: Document = field(default_factory=dict)
    """What is different in Replicate's answer."""
    links: dict[str, str] = field(default_factory=dict)
    """Kind of file -> its address, instead of one of this server."""
    _left: int = 0

    def __post_init__(self) -> None:
        self.hub_answers.set()
        self.jobs_made.set()

    def serves(self, path: str) -> bool:
        first = path.split("/")[1]
        return first in ("api", "files") or any(first in served for served in self.hub.values())

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        sent = await _sent(scope, receive)
        if sent.path.startswith("/files/"):
            self.fetched.append(sent)
            data, kind = _FILES[sent.path.rpartition("/")[2]]
            await reply(send, 200, kind, data)
        elif sent.path.startswith("/api/models/"):
            await self._look_up(sent, send)
        else:
            self.sent.append(sent)
            await self._serve(sent, send)

    async def _look_up(self, sent: Sent, send: Send) -> None:
        self.looked_up.append(sent)
        await self.hub_answers.wait()
        model = sent.path.partition("?")[0].removeprefix("/api/models/")
        if self.hub_refusal is not None:
            status, document, headers = self.hub_refusal
            await reply(send, status, JSON, msgspec.json.encode(document), headers)
        elif model == OLD_EMBEDDER:
            await reply(send, 307, JSON, b"{}", {"location": sent.path.replace(OLD_EMBEDDER, EMBEDDER)})
        elif model not in self.hub:
            error = b'{"error":"Repository not found"}'
            await reply(send, 401, JSON, error, {"x-error-code": "RepoNotFound"})
        else:
            served: Any = self.hub[model]
            if self.hub_listed:
                served = [{"provider": name, **each} for name, each in served.items()]
            document = {"id": model, "inferenceProviderMapping": served}
            ModelInfo(**document)
            await reply(send, 200, JSON, msgspec.json.encode(document))

    async def _serve(self, sent: Sent, send: Send) -> None:
        provider = sent.path.split("/")[1]
        if sent.headers.get("authorization") != f"Bearer {self.key}":
            await _json(send, 401, {"error": "Invalid username or password."})
        elif self.refusal is not None:
            await _json(send, *self.refusal)
        elif provider == "fal-ai":
            await self._fal(sent, send)
        elif provider == "replicate":
            await self._replicate(sent, send)
        else:
            await self._openais(provider, sent, send)

    async def _fal(self, sent: Sent, send: Send) -> None:
        path, _, query = sent.path.removeprefix("/fal-ai").partition("?")
        if query == "_subdomain=queue":
            await self._queue(sent.method, path, send)
            return
        match self._task("fal-ai", path[1:]):
            case "text-to-image":
                await _json(send, 200, self._drawn())
            case "text-to-speech":
                await _json(send, 200, {"audio": {"url": self._file("sound"), "content_type": "audio/flac"}})
            case "automatic-speech-recognition":
                heard = {"text": HEARD, "chunks": [{"timestamp": [0.0, 1.5], "text": HEARD}]}
                await _json(send, 200, heard)

    async def _queue(self, method: str, path: str, send: Send) -> None:
        """The application of a job is not always the model that was asked for."""
        job = f"/fal-ai/flux-kontext/requests/{JOB}"
        told = {"request_id": JOB, "response_url": f"https://queue.fal.run{job}"}
        if path.endswith("/cancel"):
            assert (method, path) == ("PUT", f"{job}/cancel")
            self.cancelled += 1
            await _json(send, 202, {"status": "CANCELLATION_REQUESTED"})
        elif method == "POST":
            await self.jobs_made.wait()
            self._left = self.polls
            await _json(send, 200, {"status": "IN_QUEUE", "queue_position": 0, **told})
        elif path == f"{job}/status" and self.lookups_fail:
            await _json(send, self.lookups_fail.pop(0), {"detail": "Try again."})
        elif path == f"{job}/status":
            self._left -= 1
            status = "IN_PROGRESS" if self._left > 0 else self.job_status
            await _json(send, 200, {"status": status, **told})
        else:
            assert path == job
            await _json(send, *(self.job_refusal or (200, self._drawn())))

    async def _replicate(self, sent: Sent, send: Send) -> None:
        path, version = sent.path.removeprefix("/replicate"), sent.body.get("version")
        name = path.removeprefix("/v1/models/").removesuffix("/predictions")
        task = self._task("replicate", f":{version}" if path == "/v1/predictions" else name)
        outputs: dict[str, Any] = {
            "text-to-image": [self._file("picture")],
            "image-to-image": self._file("picture"),
            "text-to-speech": self._file("sound"),
            "automatic-speech-recognition": {"transcription": HEARD, "detected_language": "english"},
        }
        document = {
            "id": "gm3q",
            "status": "succeeded",
            "error": None,
            "output": outputs[task],
            "model": name,
        }
        await _json(send, 201, document | self.prediction)

    async def _openais(self, provider: str, sent: Sent, send: Send) -> None:
        path = sent.path.removeprefix(f"/{provider}").removeprefix("/v1").removeprefix("/openai")
        self._task(provider, sent.body["model"])
        if provider in ("nebius", "sambanova"):
            wrong = [one for one in made.wrong_in(path, sent.body) if not one.endswith("is unknown")]
            assert not wrong, wrong
        match path:
            case "/embeddings":
                given = sent.body["input"]
                count = 1 if isinstance(given, str) else len(given)
                data = [
                    {"object": "embedding", "index": at, "embedding": [*VECTOR[:2], float(at)]}
                    for at in reversed(range(count))
                ]
                usage = {"prompt_tokens": 3 * count, "total_tokens": 3 * count}
                await _json(send, 200, {"object": "list", "data": data, "model": "e5", "usage": usage})
            case "/images/generations":
                drawn: Document = {"b64_json": base64.b64encode(PIXEL).decode()}
                if sent.body["response_format"] == "url":
                    drawn = {"url": self._file("picture")}
                await _json(send, 200, {"id": "img-1", "data": [{"index": 0, **drawn}]})
            case "/audio/speech":
                await reply(send, 200, "audio/mpeg", made.SOUND)
            case "/audio/transcriptions":
                await _json(send, 200, {"text": HEARD, "segments": []})

    def _task(self, provider: str, provider_id: str) -> str:
        """What a provider's model is for, by its name or the end of it. Whoever asks for another is wrong."""
        tasks = [
            served[provider]["task"]
            for served in self.hub.values()
            if provider in served and served[provider]["providerId"].endswith(provider_id)
        ]
        assert tasks, f"{provider} has no {provider_id}"
        return str(tasks[0])

    def _drawn(self) -> Document:
        picture = {"url": self._file("picture"), "width": 512, "height": 256, "content_type": "image/png"}
        return {"images": [picture], "seed": 7, "has_nsfw_concepts": [False]}

    def _file(self, kind: str) -> str:
        return self.links.get(kind, f"{self.url}/files/{kind}")


_FILES: Final = {
    "picture": (PIXEL, "image/png"),
    "sound": (SOUND, "audio/flac"),
    "text": (HEARD.encode(), "text/plain"),
}


async def _sent(scope: Scope, receive: Receive) -> Sent:
    headers = {name.decode(): value.decode("latin-1") for name, value in scope["headers"]}
    query = scope["query_string"].decode()
    path = scope["path"] + (f"?{query}" if query else "")
    kind = headers.get("content-type", "")
    request = Request(scope, receive)
    if kind.startswith("multipart/"):
        async with request.form() as form:
            body: Any = {name: await _field(value) for name, value in form.items()}
    else:
        raw = await request.body()
        body = msgspec.json.decode(raw) if kind == JSON and raw else raw
    return Sent(scope["method"], path, headers, body)


async def _field(value: UploadFile | str) -> Any:
    if isinstance(value, str):
        return value
    return await value.read(), value.filename, value.content_type


async def _json(send: Send, status: int, document: Document) -> None:
    await reply(send, status, JSON, msgspec.json.encode(document))


async def reply(
    send: Send, status: int, kind: str, body: bytes, further: dict[str, str] | None = None
) -> None:
    """A whole answer."""
    headers = {"content-type": kind, "content-length": str(len(body)), **(further or {})}
    start = {"type": "http.response.start", "status": status}
    await send(start | {"headers": [(name.encode(), value.encode()) for name, value in headers.items()]})
    await send({"type": "http.response.body", "body": body})
