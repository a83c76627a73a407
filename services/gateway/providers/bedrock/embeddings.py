"""Embeddings by InvokeModel: Amazon Titan takes one text in a call, Cohere up to 96."""

import array
import base64
import sys
from collections.abc import Mapping
from typing import Any, Final

import msgspec

from services.gateway.providers.answer import OpenAIAnswer
from services.gateway.providers.bedrock.errors import fault_in
from services.gateway.providers.bedrock.families import family_of, telling_name
from services.gateway.providers.body import JsonBody
from services.gateway.providers.chat.completion import failed_answer
from services.gateway.providers.errors import BadRequest, Unsupported
from services.gateway.providers.estimate import estimate_answer
from services.gateway.providers.operations import Operation
from services.gateway.providers.port import Target
from services.gateway.providers.several import MAX_CALLS, answers_in, count_in
from services.gateway.providers.usage import Usage
from services.gateway.providers.wire_errors import unreadable_answer
from shared.events import Tokens

TOKEN_HEADER: Final = "x-amzn-bedrock-input-token-count"
"""Input tokens as Bedrock counts them for any model."""
TAKEN: Final = frozenset({"input", "dimensions", "encoding_format", "input_type"})
COHERE_TEXTS: Final = 96
_FORMATS: Final = frozenset({"float", "base64"})
_texts: Final = msgspec.json.Decoder(str | list[str])
_vector: Final = msgspec.json.Decoder(list[float])


class _ByType(msgspec.Struct):
    float: list[msgspec.Raw] = []


class _Answer(msgspec.Struct):
    """Titan says `embedding`; Cohere `embeddings`, by type where types were asked for."""

    embedding: msgspec.Raw = msgspec.Raw(b"")
    inputTextTokenCount: int = 0
    embeddings: list[msgspec.Raw] | _ByType | None = None


_answer: Final = msgspec.json.Decoder(_Answer)


def embedding_bodies(target: Target, body: JsonBody) -> list[bytes]:
    """A body for each call. Raises BadRequest, or Unsupported for a maker whose embeddings have another format."""
    texts = _read_texts(body)
    _as_base64(body)
    model = telling_name(target.model, target.alias)
    family = family_of(model)
    if family == "cohere":
        bodies = [
            _cohere(texts[at : at + COHERE_TEXTS], body, model) for at in range(0, len(texts), COHERE_TEXTS)
        ]
    elif family == "titan":
        bodies = [_titan(text, body, model) for text in texts]
    else:
        raise Unsupported(f"{target.provider.name} has no embeddings of the model {target.model}.")
    if len(bodies) > MAX_CALLS:
        raise BadRequest(f"`input` must hold at most {MAX_CALLS} texts with this model.", param="input")
    return [msgspec.json.encode(one) for one in bodies]


def read_embeddings(body: JsonBody, headers: Mapping[str, str], answer: bytes) -> OpenAIAnswer:
    """Never raises: an answer that cannot be read has its `error` set."""
    try:
        answers = [_answer.decode(one) for one in answers_in(answer)]
        encoded = [_shown(raw, body) for one in answers for raw in _vectors(one)]
    except msgspec.DecodeError:
        return failed_answer(answer, fault_in(answer) or unreadable_answer())
    if not encoded:
        return failed_answer(answer, fault_in(answer) or unreadable_answer())
    counted = count_in(headers, TOKEN_HEADER) or sum(one.inputTextTokenCount for one in answers)
    usage = Usage(Tokens(prompt=counted)) if counted else estimate_answer(Operation.EMBEDDINGS, body, answer)
    counts: dict[str, Any] = {"prompt_tokens": usage.tokens.prompt, "total_tokens": usage.tokens.prompt}
    if usage.estimated:
        counts["estimated"] = True
    document = {
        "object": "list",
        "data": [{"object": "embedding", "index": at, "embedding": one} for at, one in enumerate(encoded)],
        "model": body.model,
        "usage": counts,
    }
    fields = {name: msgspec.Raw(msgspec.json.encode(value)) for name, value in document.items()}
    return OpenAIAnswer(msgspec.json.encode(fields), "application/json", usage, fields=fields)


def _read_texts(body: JsonBody) -> list[str]:
    try:
        found = _texts.decode(body.raw("input") or b"null")
    except msgspec.DecodeError as error:
        raise BadRequest("`input` must be a text or a list of texts.", param="input") from error
    texts = [found] if isinstance(found, str) else found
    if not texts or not all(texts):
        raise BadRequest("`input` must hold at least one text, and none that is empty.", param="input")
    return texts


def _titan(text: str, body: JsonBody, model: str) -> dict[str, Any]:
    size = body.number("dimensions")
    if "embed-image" in model:
        extra = {} if size is None else {"embeddingConfig": {"outputEmbeddingLength": size}}
        return {"inputText": text, **extra}
    if size is None:
        return {"inputText": text}
    if "embed-text-v1" in model or "embed-g1" in model:
        raise BadRequest("`dimensions` cannot be used with this model: it has one size.", param="dimensions")
    return {"inputText": text, "dimensions": size}


def _cohere(texts: list[str], body: JsonBody, model: str) -> dict[str, Any]:
    request: dict[str, Any] = {
        "texts": texts,
        "input_type": body.text("input_type") or "search_document",
        "embedding_types": ["float"],
    }
    size = body.number("dimensions")
    if size is not None:
        if "-v3" in model:
            raise BadRequest(
                "`dimensions` cannot be used with this model: it has one size.", param="dimensions"
            )
        request["output_dimension"] = size
    return request


def _as_base64(body: JsonBody) -> bool:
    """Whether the vectors are wanted in base64. Raises BadRequest for any other form."""
    wanted = body.text("encoding_format") or "float"
    if wanted not in _FORMATS:
        raise BadRequest("`encoding_format` must be 'float' or 'base64'.", param="encoding_format")
    return wanted == "base64"


def _vectors(answer: _Answer) -> list[msgspec.Raw]:
    if bytes(answer.embedding):
        return [answer.embedding]
    if isinstance(answer.embeddings, _ByType):
        return answer.embeddings.float
    return answer.embeddings or []


def _shown(raw: msgspec.Raw, body: JsonBody) -> object:
    """The vector as it came, or as the bytes of little-endian 32-bit floats."""
    values = array.array("f", _vector.decode(raw))
    if not _as_base64(body):
        return raw
    if sys.byteorder == "big":
        values.byteswap()
    return base64.b64encode(values.tobytes()).decode()
