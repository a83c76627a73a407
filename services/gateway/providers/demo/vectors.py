"""Demo embeddings and moderations: the same text always gives the same vector, and nothing is ever flagged."""

import base64
import hashlib
import math
import struct
from typing import Final

import msgspec

from services.gateway.providers.body import JsonBody
from services.gateway.providers.errors import BadRequest

DEFAULT_DIMENSIONS: Final = 256
MAX_DIMENSIONS: Final = 4096
MAX_INPUTS: Final = 2048
MAX_NUMBERS: Final = 100_000
"""Of one answer: the demo works within the gateway's own process, so nobody may keep it busy for long."""
MAX_CHARS: Final = 1_000_000

_inputs: Final = msgspec.json.Decoder(str | list[str | int | list[int]])
_CATEGORIES: Final = ("harassment", "hate", "self-harm", "sexual", "violence")


def answer_embeddings(body: JsonBody) -> dict[str, object]:
    """Raises BadRequest on an input or size that is none."""
    texts = _texts(body)
    dimensions = body.number("dimensions") or DEFAULT_DIMENSIONS
    if dimensions > MAX_DIMENSIONS:
        raise BadRequest(f"`dimensions` must be at most {MAX_DIMENSIONS}.", param="dimensions")
    if len(texts) * dimensions > MAX_NUMBERS or sum(map(len, texts)) > MAX_CHARS:
        raise BadRequest("The demo takes fewer or shorter texts at once.", param="input")
    as_base64 = body.text("encoding_format") == "base64"
    data = []
    for index, text in enumerate(texts):
        vector = _vector(text, dimensions)
        packed = base64.b64encode(struct.pack(f"<{dimensions}f", *vector)).decode() if as_base64 else vector
        data.append({"object": "embedding", "index": index, "embedding": packed})
    tokens = sum(max(1, len(text) // 4) for text in texts)
    usage = {"prompt_tokens": tokens, "total_tokens": tokens}
    return {"object": "list", "data": data, "model": body.model, "usage": usage}


def answer_moderation(body: JsonBody, answer_id: str) -> dict[str, object]:
    result = {
        "flagged": False,
        "categories": dict.fromkeys(_CATEGORIES, False),
        "category_scores": dict.fromkeys(_CATEGORIES, 0.0),
    }
    return {"id": answer_id, "model": body.model, "results": [result for _ in _texts(body)]}


def _texts(body: JsonBody) -> list[str]:
    """The inputs as texts; lists of token numbers stand for themselves."""
    try:
        given = _inputs.decode(body.raw("input") or b"")
    except msgspec.DecodeError as error:
        raise BadRequest("`input` must be a string or a list.", param="input") from error
    if isinstance(given, str):
        return [given]
    if given and all(isinstance(item, int) for item in given):
        return [str(given)]
    if len(given) > MAX_INPUTS:
        raise BadRequest(f"`input` may hold at most {MAX_INPUTS} texts.", param="input")
    return [str(item) for item in given]


def _vector(text: str, dimensions: int) -> list[float]:
    """Of length 1, made of the text's hash."""
    noise = hashlib.shake_256(text.encode()).digest(2 * dimensions)
    values = [value - 32767.5 for value in struct.unpack(f"<{dimensions}H", noise)]
    length = math.sqrt(sum(value * value for value in values))
    return [value / length for value in values]
