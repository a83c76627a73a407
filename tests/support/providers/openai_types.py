"""OpenAI's format by its own SDK: its parameter types judge requests, and answers are made that its models know whole."""

import base64
import copy
from collections.abc import Iterator, Mapping
from typing import Any, Final

import msgspec
from openai.types import (
    Completion,
    CompletionCreateParams,
    CreateEmbeddingResponse,
    EmbeddingCreateParams,
    ImageCreateVariationParams,
    ImageEditParams,
    ImageGenerateParams,
    ImagesResponse,
    Model,
    Moderation,
    ModerationCreateParams,
    ModerationCreateResponse,
    audio,
)
from openai.types.chat import ChatCompletion, ChatCompletionChunk
from openai.types.chat.completion_create_params import CompletionCreateParams as ChatCreateParams
from openai.types.responses.response_create_params import ResponseCreateParams

from tests.support.providers.script import Call, Document, Turn, cut
from tests.support.providers.sdk_types import problems, refuse
from tests.support.upstream.answers import PIXEL

CREATED: Final = 1_700_000_000
SOUND: Final = b"\xff\xfb\x90\xc4" + bytes(413)
"""The beginning of an MP3."""
REQUESTS: Final[Mapping[str, Any]] = {
    "/chat/completions": ChatCreateParams,
    "/completions": CompletionCreateParams,
    "/embeddings": EmbeddingCreateParams,
    "/images/generations": ImageGenerateParams,
    "/images/edits": ImageEditParams,
    "/images/variations": ImageCreateVariationParams,
    "/audio/speech": audio.SpeechCreateParams,
    "/audio/transcriptions": audio.TranscriptionCreateParams,
    "/audio/translations": audio.TranslationCreateParams,
    "/moderations": ModerationCreateParams,
    "/responses": ResponseCreateParams,
}
"""Path -> what may be sent there."""


def wrong_in(path: str, body: Document) -> list[str]:
    """What OpenAI's types have against a request in JSON."""
    return problems(REQUESTS[path], body)


def wrong_in_form(kind: Any, fields: Document) -> list[str]:
    """What a type has against a form, whose fields are all texts: each is read as JSON too, as a server would."""
    typed: Document = {}
    for field, value in fields.items():
        name = field.removesuffix("[]")
        candidates = [value, *_as_json(value), *([[value]] if field != name else [])]
        typed[name] = next((one for one in candidates if not _wrong_field(kind, name, one)), value)
    return [problem for problem in problems(kind, typed) if not problem.startswith((".file", ".image"))]


def usage_of(turn: Turn, times: int = 1) -> Document:
    usage: Document = {
        "prompt_tokens": turn.prompt,
        "completion_tokens": turn.completion * times,
        "total_tokens": turn.prompt + turn.completion * times,
    }
    if turn.cached:
        usage["prompt_tokens_details"] = {"cached_tokens": turn.cached}
    return usage


def chat_answer(turn: Turn, model: str, *, n: int = 1, logprobs: bool = False) -> Document:
    """A whole answer; reasoning is not among OpenAI's own fields."""
    message: Document = {"role": "assistant", "content": turn.text or None, "refusal": None}
    if turn.calls:
        message |= {"content": None, "tool_calls": [_call(call) for call in turn.calls]}
    tokens = {"content": _logprobs(turn.text), "refusal": None} if logprobs else None
    said = {"message": message, "logprobs": tokens, "finish_reason": turn.finish}
    answer = _head(model, "chat.completion") | {
        "choices": [copy.deepcopy({"index": at, **said}) for at in range(n)],
        "usage": usage_of(turn, n),
    }
    refuse(ChatCompletion, answer)
    return answer


def chat_chunks(turn: Turn, model: str, *, thought: str = "", logprobs: bool = False) -> list[Document]:
    """A stream without its usage. `thought` is the field that reasoning comes in; empty: it does not come."""
    deltas: list[tuple[Document, Any]] = [({"role": "assistant", "content": ""}, None)]
    extras = [{thought: piece} for piece in cut(turn.thought)] if thought else []
    if turn.calls:
        deltas += [(delta, None) for at, call in enumerate(turn.calls) for delta in _call_deltas(at, call)]
    else:
        deltas += [
            ({"content": piece}, {"content": _logprobs(piece), "refusal": None} if logprobs else None)
            for piece in cut(turn.text)
        ]
    deltas.append(({}, None))
    chunks = []
    for at, (delta, tokens) in enumerate(deltas):
        finish = turn.finish if at == len(deltas) - 1 else None
        choice = {"index": 0, "delta": delta, "logprobs": tokens, "finish_reason": finish}
        chunks.append(_head(model, "chat.completion.chunk") | {"choices": [choice]})
        refuse(ChatCompletionChunk, chunks[-1])
    thoughts = [_with_delta(chunks[0], delta) for delta in extras]
    return [chunks[0], *thoughts, *chunks[1:]]


def usage_chunk(turn: Turn, model: str) -> Document:
    """The chunk that a client gets who asks for usage."""
    chunk = _head(model, "chat.completion.chunk") | {"choices": [], "usage": usage_of(turn)}
    refuse(ChatCompletionChunk, chunk)
    return chunk


def text_answer(turn: Turn, model: str) -> Document:
    """Of `/completions`."""
    choice = {"index": 0, "text": turn.text, "logprobs": None, "finish_reason": "stop"}
    answer = _head(model, "text_completion") | {"choices": [choice], "usage": usage_of(turn)}
    refuse(Completion, answer)
    return answer


def text_chunks(turn: Turn, model: str) -> list[Document]:
    """The same as a stream, whose last chunk is the usage."""
    pieces: list[tuple[str, str | None]] = [(piece, None) for piece in cut(turn.text)]
    chunks = [
        _head(model, "text_completion")
        | {"choices": [{"index": 0, "text": text, "logprobs": None, "finish_reason": finish}]}
        for text, finish in [*pieces, ("", "stop")]
    ]
    for chunk in chunks:
        refuse(Completion, chunk | {"choices": [chunk["choices"][0] | {"finish_reason": "stop"}]})
    return [*chunks, _head(model, "text_completion") | {"choices": [], "usage": usage_of(turn)}]


def embeddings(given: Any, model: str, encoding: str) -> Document:
    count = len(given) if isinstance(given, list) and not isinstance(given[0], int) else 1
    vector: Any = [0.25, -0.5, 1.0]
    usage = {"prompt_tokens": 3 * count, "total_tokens": 3 * count}
    data = [{"object": "embedding", "index": at, "embedding": vector} for at in range(count)]
    answer: Document = {"object": "list", "model": model, "data": data, "usage": usage}
    refuse(CreateEmbeddingResponse, answer)
    if encoding == "base64":
        packed = base64.b64encode(b"\x00\x00\x80>\x00\x00\x00\xbf\x00\x00\x80?").decode()
        answer["data"] = [item | {"embedding": packed} for item in data]
    return answer


def pictures(count: int) -> Document:
    data = [{"b64_json": base64.b64encode(PIXEL).decode()}] * count
    usage: Document = {"input_tokens": 9, "output_tokens": 100, "total_tokens": 109}
    usage["input_tokens_details"] = {"text_tokens": 9, "image_tokens": 0}
    answer: Document = {"created": CREATED, "data": data, "usage": usage}
    refuse(ImagesResponse, answer)
    return answer


def transcript() -> Document:
    answer: Document = {"text": "Hello there.", "usage": {"type": "duration", "seconds": 7}}
    refuse(audio.Transcription, answer)
    return answer


def verdict(model: str) -> Document:
    """Of a moderation: nothing is wrong."""

    def each(name: str, value: Any) -> Document:
        fields = Moderation.model_fields[name].annotation.model_fields  # type: ignore[union-attr]  # a model each
        return {field.alias or key: value for key, field in fields.items()}

    result = {
        "flagged": False,
        "categories": each("categories", False),
        "category_scores": each("category_scores", 0.01),
        "category_applied_input_types": each("category_applied_input_types", ["text"]),
    }
    answer: Document = {"id": "modr-1", "model": model, "results": [result]}
    refuse(ModerationCreateResponse, answer)
    return answer


def listed(model: str) -> Document:
    """A model in the list of all."""
    found: Document = {"id": model, "object": "model", "created": CREATED, "owned_by": "fake"}
    refuse(Model, found)
    return found


def event(document: Document) -> bytes:
    """A chunk as it stands in a stream."""
    return b"data: " + msgspec.json.encode(document) + b"\n\n"


def _head(model: str, kind: str) -> Document:
    return {"id": "chatcmpl-9f3", "object": kind, "created": CREATED, "model": model}


def _with_delta(chunk: Document, delta: Document) -> Document:
    """The same chunk with another delta."""
    return chunk | {"choices": [chunk["choices"][0] | {"delta": delta}]}


def _call(call: Call) -> Document:
    function = {"name": call.name, "arguments": msgspec.json.encode(call.arguments).decode()}
    return {"id": call.id, "type": "function", "function": function}


def _call_deltas(index: int, call: Call) -> Iterator[Document]:
    """The call, then its arguments in pieces."""
    begun = _call(call)
    function = begun["function"]
    yield {"tool_calls": [{"index": index, **begun, "function": function | {"arguments": ""}}]}
    for piece in cut(function["arguments"]):
        yield {"tool_calls": [{"index": index, "function": {"arguments": piece}}]}


def _logprobs(text: str) -> list[Document]:
    return [{"token": text, "logprob": -0.25, "bytes": list(text.encode()), "top_logprobs": []}]


def _as_json(value: str) -> list[Any]:
    try:
        return [msgspec.json.decode(value)]
    except msgspec.DecodeError:
        return []


def _wrong_field(kind: Any, name: str, value: Any) -> bool:
    return any(problem.startswith(f".{name}") for problem in problems(kind, {name: value}))
