"""A fake of Mistral: OpenAI's addresses, but the types of Mistral's own SDK as judge of requests and maker of answers."""

from dataclasses import dataclass, field
from typing import Any, Final

import mistralai.client.models as mistral
import msgspec

from tests.support.providers.mistral_types import moderation, speech, speech_events, wrong_in_order
from tests.support.providers.openai_types import CREATED, SOUND, wrong_in_form
from tests.support.providers.openai_wire import FORMS, FakeOpenAI
from tests.support.providers.quirks import QUIRKS, Quirks
from tests.support.providers.script import Call, Document, Turn, cut
from tests.support.providers.sdk_types import problems, refuse

_REQUESTS: Final = {
    "/chat/completions": mistral.ChatCompletionRequest,
    "/fim/completions": mistral.FIMCompletionRequest,
    "/embeddings": mistral.EmbeddingRequest,
    "/audio/transcriptions": mistral.AudioTranscriptionRequest,
    "/audio/speech": mistral.SpeechRequest,
    "/moderations": mistral.ClassificationRequest,
}


@dataclass
class FakeMistral(FakeOpenAI):
    """See FakeOpenAI. A model that thinks answers with a list of chunks, the first of which holds its thoughts."""

    quirks: Quirks = field(default_factory=lambda: QUIRKS["mistral"])

    def has(self, path: str) -> bool:
        return path in _REQUESTS

    def wrong_in(self, path: str, body: Document) -> list[str]:
        kind: Any = _REQUESTS[path]
        if path in FORMS:
            return wrong_in_form(kind, body)
        is_chat = path == "/chat/completions"
        streams = is_chat and body.get("stream")
        found = problems(mistral.ChatCompletionStreamRequest if streams else kind, body)
        return found or (wrong_in_order(body.get("messages", [])) if is_chat else [])

    def chat_answer(self, body: Document) -> Document:
        turn = self.turn
        message: Document = {"role": "assistant", "content": turn.text, "tool_calls": None, "prefix": False}
        if turn.thought:
            message["content"] = [_thought(turn.thought), {"type": "text", "text": turn.text}]
        if turn.calls:
            message |= {"content": "", "tool_calls": [_call(call) for call in turn.calls]}
        answer: Document = {
            "id": "cmpl-e5cc70bb28c444948073e77776eb30ef",
            "object": "chat.completion",
            "created": CREATED,
            "model": body["model"],
            "choices": [
                {"index": at, "message": message, "finish_reason": turn.finish}
                for at in range(body.get("n") or 1)
            ],
            "usage": _usage(turn),
        }
        refuse(mistral.ChatCompletionResponse, answer)
        return _with_cached(answer, turn)

    def chat_chunks(self, body: Document) -> list[Document]:
        turn = self.turn
        deltas: list[Document] = [{"role": "assistant", "content": ""}]
        deltas += [{"content": [_thought(piece)]} for piece in cut(turn.thought)]
        if turn.calls:
            # whole calls, with the end of the choice: Mistral does not cut them
            calls = [{**_call(call), "index": at} for at, call in enumerate(turn.calls)]
            deltas.append({"content": "", "tool_calls": calls})
        else:
            deltas += [{"content": piece} for piece in cut(turn.text)]
            deltas.append({"content": ""})
        chunks = []
        for at, delta in enumerate(deltas):
            last = at == len(deltas) - 1
            choice = {"index": 0, "delta": delta, "finish_reason": turn.finish if last else None}
            chunk: Document = {
                "id": "cmpl-1",
                "object": "chat.completion.chunk",
                "created": CREATED,
                "model": body["model"],
                "choices": [choice],
            }
            if last and turn.fault != "no usage":
                chunk["usage"] = _usage(turn)
            refuse(mistral.CompletionChunk, chunk)
            chunks.append(_with_cached(chunk, turn) if last else chunk)
        return chunks

    def listed(self, model: str) -> Document:
        capabilities = {"completion_chat": True, "function_calling": True, "vision": True}
        found = {"id": model, "object": "model", "created": CREATED, "owned_by": "mistralai"}
        found |= {"capabilities": capabilities, "type": "base"}
        refuse(mistral.BaseModelCard, found)
        return found

    def embeddings(self, body: Document) -> Document:
        given = body.get("input", body.get("inputs"))
        count = len(given) if isinstance(given, list) else 1
        vectors = [
            {"object": "embedding", "embedding": [0.25, -0.5, 1.0], "index": at} for at in range(count)
        ]
        usage = {"prompt_tokens": 3 * count, "total_tokens": 3 * count, "completion_tokens": 0}
        answer: Document = {
            "id": "e1",
            "object": "list",
            "data": vectors,
            "model": body["model"],
            "usage": usage,
        }
        refuse(mistral.EmbeddingResponse, answer)
        return answer

    def transcript(self, model: str) -> Document:
        usage = {"prompt_audio_seconds": 7, "prompt_tokens": 4, "total_tokens": 9, "completion_tokens": 5}
        answer: Document = {
            "model": model,
            "text": "Hello there.",
            "language": None,
            "segments": [],
            "usage": usage,
        }
        refuse(mistral.TranscriptionResponse, answer)
        return answer

    def speech(self) -> tuple[bytes, bytes]:
        return b"application/json", speech(SOUND)

    def verdict(self, body: Document) -> Document:
        """Of texts: what speaks of violence is violent."""
        given = body["input"]
        texts = [given] if isinstance(given, str) else given
        verdicts = [{"violence_and_threats": "kill" in text, "pii": False} for text in texts]
        return moderation(body["model"], *verdicts)

    def pieces(self, path: str, body: Document) -> list[bytes]:
        if path != "/audio/speech":
            return super().pieces("/chat/completions", body)
        half = len(SOUND) // 2
        return speech_events(SOUND[:half], SOUND[half:])


def _usage(turn: Turn) -> Document:
    return {
        "prompt_tokens": turn.prompt,
        "completion_tokens": turn.completion,
        "total_tokens": turn.prompt + turn.completion,
    }


def _with_cached(answer: Document, turn: Turn) -> Document:
    """What was read from a cache, which the SDK keeps without a name of its own for it."""
    if turn.cached and "usage" in answer:
        answer["usage"] |= {"prompt_tokens_details": {"cached_tokens": turn.cached}}
    return answer


def _thought(text: str) -> Document:
    return {"type": "thinking", "thinking": [{"type": "text", "text": text}]}


def _call(call: Call) -> Document:
    arguments = msgspec.json.encode(call.arguments).decode()
    return {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": arguments}}
