"""A fake of Hugging Face's router: OpenAI's chat below `/v1` in the types of its own library, its inference beside it."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Final

import huggingface_hub
import msgspec

from tests.support.gateway import served
from tests.support.providers.inference import HEARD, JSON, SOUND, FakeProviders, reply
from tests.support.providers.openai_wire import FakeOpenAI
from tests.support.providers.quirks import QUIRKS, Quirks
from tests.support.providers.script import Document
from tests.support.providers.sdk_types import refuse
from tests.support.upstream.answers import PIXEL
from tests.support.upstream.app import Receive, Scope, Send

INFERENCE: Final = "/hf-inference/models/"
_FINGERPRINT: Final = {"system_fingerprint": "3.3.4-sha-1"}


@dataclass
class FakeRouter(FakeOpenAI):
    """See FakeOpenAI. Each model is listed with the inference providers that serve it."""

    key: str = "hf_wire-key"
    quirks: Quirks = field(default_factory=lambda: QUIRKS["huggingface"])
    models: tuple[str, ...] = ("openai/gpt-oss-120b",)
    inferred: list[tuple[str, Any]] = field(default_factory=list)
    """Path and body, from JSON where it is JSON, of what was asked of its own inference."""
    inferred_kinds: list[str] = field(default_factory=list)
    """The content types of the same."""
    others: FakeProviders = field(init=False)
    """The other inference providers, and the hub."""

    def __post_init__(self) -> None:
        self.others = FakeProviders(self.key)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["path"].startswith(INFERENCE):
            await self._infer(scope, receive, send)
        elif self.others.serves(scope["path"]):
            await self.others(scope, receive, send)
        else:
            await super().__call__(scope, receive, send)

    def chat_answer(self, body: Document) -> Document:
        answer = super().chat_answer(body) | _FINGERPRINT
        for choice in answer["choices"]:
            del choice["message"]["refusal"]
            if choice["logprobs"]:
                choice["logprobs"] = _plain_logprobs(choice["logprobs"])
        refuse(huggingface_hub.ChatCompletionOutput, _known(answer))
        return answer

    def chat_chunks(self, body: Document) -> list[Document]:
        """Every piece of a call has its id."""
        chunks = []
        ids: dict[int, str] = {}
        for chunk in super().chat_chunks(body):
            chunk |= _FINGERPRINT
            for choice in chunk["choices"]:
                for call in choice["delta"].get("tool_calls", ()):
                    ids.setdefault(call["index"], call.get("id", ""))
                    call |= {"id": ids[call["index"]], "type": "function"}
                if choice["logprobs"]:
                    choice["logprobs"] = _plain_logprobs(choice["logprobs"])
            refuse(huggingface_hub.ChatCompletionStreamOutput, _known(chunk))
            chunks.append(chunk)
        return chunks

    def listed(self, model: str) -> Document:
        served_by = [{"provider": "groq", "status": "live"}, {"provider": "hf-inference", "status": "live"}]
        return super().listed(model) | {"providers": served_by}

    async def _infer(self, scope: Scope, receive: Receive, send: Send) -> None:
        """A task for each model: who listens, who speaks, who draws."""
        headers = {name.decode(): value.decode("latin-1") for name, value in scope["headers"]}
        raw = (await receive())["body"]
        path, kind = scope["path"], headers.get("content-type", "")
        asked: Any = msgspec.json.decode(raw) if kind == JSON else raw
        if headers.get("authorization") != f"Bearer {self.key}":
            await reply(send, 401, JSON, b'{"error":"Invalid username or password."}')
            return
        self.inferred.append((path, asked))
        self.inferred_kinds.append(kind)
        if self.turn.fault:
            await reply(send, 503, JSON, b'{"error":"Model is overloaded"}')
        elif "whisper" in path:
            heard = {"text": HEARD}
            refuse(huggingface_hub.AutomaticSpeechRecognitionOutput, heard)
            await reply(send, 200, JSON, msgspec.json.encode(heard))
        elif "kokoro" in path:
            await reply(send, 200, "audio/flac", SOUND)
        elif path.endswith("/pipeline/feature-extraction"):
            inputs = asked["inputs"]
            count = 1 if isinstance(inputs, str) else len(inputs)
            vectors = [[0.5, -1.0, float(index)] for index in range(count)]
            await reply(send, 200, JSON, msgspec.json.encode(vectors))
        else:
            await reply(send, 200, "image/png", PIXEL)


@asynccontextmanager
async def running_router() -> AsyncIterator[tuple[FakeRouter, str]]:
    """The fake on a free port, and the base URL of its chat."""
    fake = FakeRouter()
    async with served(fake) as url:
        fake.others.url = url
        yield fake, f"{url}/v1"


def _known(document: Document) -> Document:
    """Without what their library keeps without a name of its own for it: the kind of the object, details of usage."""
    usage = document.get("usage") or {}
    plain = {name: value for name, value in usage.items() if not name.endswith("_details")}
    kept = {name: value for name, value in document.items() if name != "object"}
    return kept | ({"usage": plain} if usage else {})


def _plain_logprobs(logprobs: Any) -> Document:
    """Without the bytes and the refusal that OpenAI has."""
    return {
        "content": [
            {name: value for name, value in one.items() if name != "bytes"} for one in logprobs["content"]
        ]
    }
