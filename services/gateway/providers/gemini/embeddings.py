"""Embeddings: OpenAI's request as Google's three forms of it, and their answers as one."""

import array
import base64
import sys
from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec

from services.gateway.providers.answer import OpenAIAnswer
from services.gateway.providers.body import JsonBody, ParsedBody
from services.gateway.providers.chat.completion import failed_answer
from services.gateway.providers.errors import BadRequest
from services.gateway.providers.estimate import estimate_answer
from services.gateway.providers.gemini.errors import empty_answer, error_inside
from services.gateway.providers.gemini.wire import Embedding, EmbedResponse, embed_response, predict_response
from services.gateway.providers.operations import Operation
from services.gateway.providers.several import MAX_CALLS, answers_in
from services.gateway.providers.usage import Usage
from services.gateway.providers.wire_errors import unreadable_answer
from shared.events import Tokens

_texts: Final = msgspec.json.Decoder(str | list[str])
_vector: Final = msgspec.json.Decoder(list[float])
MAX_BATCH: Final = 100
MAX_INSTANCES: Final = 250
"""Texts that Google takes in one call."""
TAKEN: Final = frozenset({"input", "dimensions", "encoding_format"})
_format: Final = frozenset({"float", "base64"})


def texts_of(body: JsonBody) -> list[str]:
    """What is to be embedded. Raises BadRequest: Google takes no tokens of another's tokenizer."""
    try:
        found = _texts.decode(body.raw("input") or b"null")
    except msgspec.DecodeError as error:
        raise BadRequest("`input` must be a text or a list of texts.", param="input") from error
    texts = [found] if isinstance(found, str) else found
    if not texts:
        raise BadRequest("`input` must hold at least one text.", param="input")
    _base64(body)
    return texts


def batch_bodies(body: JsonBody, model: str) -> list[bytes]:
    """For `:batchEmbedContents` of the Gemini API."""
    size = body.number("dimensions")
    extra = {} if size is None else {"outputDimensionality": size}
    requests = [{"model": model, "content": _content(text), **extra} for text in texts_of(body)]
    return _cut(requests, MAX_BATCH, "requests", {})


def vertex_embed_bodies(body: JsonBody) -> tuple[str, list[bytes]]:
    """For Gemini's embedding models on Vertex: the method and its bodies, of one text or several."""
    size = body.number("dimensions")
    extra = {} if size is None else {"embedContentConfig": {"outputDimensionality": size}}
    requests = [{"content": _content(text), **extra} for text in texts_of(body)]
    if len(requests) == 1:
        return "embedContent", [msgspec.json.encode(requests[0])]
    return "batchEmbedContents", _cut(requests, MAX_BATCH, "requests", {})


def predict_bodies(body: JsonBody) -> list[bytes]:
    """For the older embedding models on Vertex."""
    size = body.number("dimensions")
    instances = [{"content": text} for text in texts_of(body)]
    rest = {} if size is None else {"parameters": {"outputDimensionality": size}}
    return _cut(instances, MAX_INSTANCES, "instances", rest)


def read_embeddings(body: ParsedBody, answer: bytes) -> OpenAIAnswer:
    """Never raises: an answer that cannot be read has its `error` set."""
    as_base64 = isinstance(body, JsonBody) and _base64(body)
    encoded: list[object] = []
    counted = 0
    try:
        for one in answers_in(answer):
            response = embed_response.decode(one)
            embeddings = _embeddings(response, one)
            error = error_inside(bytes(response.error))
            if error is not None or not embeddings:
                return failed_answer(answer, error or empty_answer("NO_EMBEDDINGS"))
            encoded += [_encoded(embedding, as_base64=as_base64) for embedding in embeddings]
            counted += _counted(response, embeddings)
    except msgspec.DecodeError:
        return failed_answer(answer, unreadable_answer())
    usage = Usage(Tokens(prompt=counted)) if counted else estimate_answer(Operation.EMBEDDINGS, body, answer)
    counts = {"prompt_tokens": usage.tokens.prompt, "total_tokens": usage.tokens.prompt}
    document = {
        "object": "list",
        "data": [{"object": "embedding", "index": at, "embedding": one} for at, one in enumerate(encoded)],
        "model": body.model,
        "usage": {**counts, "estimated": True} if usage.estimated else counts,
    }
    fields = {name: msgspec.Raw(msgspec.json.encode(value)) for name, value in document.items()}
    return OpenAIAnswer(msgspec.json.encode(fields), "application/json", usage, fields=fields)


def _cut(items: Sequence[Any], most: int, name: str, rest: Mapping[str, Any]) -> list[bytes]:
    """A body for each call, which takes so many of them. Raises BadRequest for more calls than are made."""
    if len(items) > most * MAX_CALLS:
        raise BadRequest(
            f"`input` must hold at most {most * MAX_CALLS} texts with this model.", param="input"
        )
    return [msgspec.json.encode({name: items[at : at + most], **rest}) for at in range(0, len(items), most)]


def _embeddings(response: EmbedResponse, answer: bytes) -> list[Embedding]:
    if response.embeddings or response.embedding is not None:
        return response.embeddings or [response.embedding or Embedding()]
    predictions = predict_response.decode(answer).predictions
    return [one.embeddings for one in predictions if one.embeddings is not None]


def _content(text: str) -> dict[str, Any]:
    return {"parts": [{"text": text}]}


def _base64(body: JsonBody) -> bool:
    """Whether the vectors are wanted in base64. Raises BadRequest for any other form."""
    wanted = body.text("encoding_format") or "float"
    if wanted not in _format:
        raise BadRequest("`encoding_format` must be 'float' or 'base64'.", param="encoding_format")
    return wanted == "base64"


def _encoded(embedding: Embedding, *, as_base64: bool) -> object:
    """The vector as it came, or as the bytes of little-endian 32-bit floats."""
    if not as_base64:
        return embedding.values
    values = array.array("f", _vector.decode(embedding.values))
    if sys.byteorder == "big":
        values.byteswap()
    return base64.b64encode(values.tobytes()).decode()


def _counted(response: EmbedResponse, embeddings: list[Embedding]) -> int:
    """The tokens of the texts; 0 when nobody says."""
    if response.usage_metadata is not None and response.usage_metadata.prompt_token_count:
        return response.usage_metadata.prompt_token_count
    return sum(int(one.statistics.token_count) for one in embeddings if one.statistics is not None)
