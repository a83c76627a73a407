"""Embeddings: OpenAI's request as Google's three forms of it, and their answers as one."""

import array
import base64
import sys
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
from services.gateway.providers.usage import Usage
from services.gateway.providers.wire_errors import unreadable_answer
from shared.events import Tokens

_texts: Final = msgspec.json.Decoder(str | list[str])
_vector: Final = msgspec.json.Decoder(list[float])
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


def batch_body(body: JsonBody, model: str) -> dict[str, Any]:
    """For `:batchEmbedContents` of the Gemini API."""
    size = body.number("dimensions")
    extra = {} if size is None else {"outputDimensionality": size}
    return {"requests": [{"model": model, "content": _content(text), **extra} for text in texts_of(body)]}


def vertex_embed_body(body: JsonBody) -> tuple[str, dict[str, Any]]:
    """For Gemini's embedding models on Vertex: the method and its body, one text or several."""
    size = body.number("dimensions")
    extra = {} if size is None else {"embedContentConfig": {"outputDimensionality": size}}
    texts = texts_of(body)
    if len(texts) == 1:
        return "embedContent", {"content": _content(texts[0]), **extra}
    return "batchEmbedContents", {"requests": [{"content": _content(text), **extra} for text in texts]}


def predict_body(body: JsonBody) -> dict[str, Any]:
    """For the older embedding models on Vertex."""
    size = body.number("dimensions")
    instances = [{"content": text} for text in texts_of(body)]
    return {
        "instances": instances,
        **({} if size is None else {"parameters": {"outputDimensionality": size}}),
    }


def read_embeddings(body: ParsedBody, answer: bytes) -> OpenAIAnswer:
    """Never raises: an answer that cannot be read has its `error` set."""
    try:
        response = embed_response.decode(answer)
        embeddings = response.embeddings or ([response.embedding] if response.embedding is not None else [])
        if not embeddings:
            predictions = predict_response.decode(answer).predictions
            embeddings = [one.embeddings for one in predictions if one.embeddings is not None]
        encoded = [
            _encoded(one, as_base64=isinstance(body, JsonBody) and _base64(body)) for one in embeddings
        ]
    except msgspec.DecodeError:
        return failed_answer(answer, unreadable_answer())
    error = error_inside(bytes(response.error))
    if error is not None or not embeddings:
        return failed_answer(answer, error or empty_answer("NO_EMBEDDINGS"))
    usage = _usage(response, embeddings) or estimate_answer(Operation.EMBEDDINGS, body, answer)
    counts = {"prompt_tokens": usage.tokens.prompt, "total_tokens": usage.tokens.prompt}
    document = {
        "object": "list",
        "data": [{"object": "embedding", "index": at, "embedding": one} for at, one in enumerate(encoded)],
        "model": body.model,
        "usage": {**counts, "estimated": True} if usage.estimated else counts,
    }
    fields = {name: msgspec.Raw(msgspec.json.encode(value)) for name, value in document.items()}
    return OpenAIAnswer(msgspec.json.encode(fields), "application/json", usage, fields=fields)


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


def _usage(response: EmbedResponse, embeddings: list[Embedding]) -> Usage | None:
    if response.usage_metadata is not None and response.usage_metadata.prompt_token_count:
        return Usage(Tokens(prompt=response.usage_metadata.prompt_token_count))
    counted = sum(int(one.statistics.token_count) for one in embeddings if one.statistics is not None)
    return Usage(Tokens(prompt=counted)) if counted else None
