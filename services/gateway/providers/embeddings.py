"""Vectors of other formats as OpenAI's answer."""

import array
import base64
import sys
from collections.abc import Sequence

import msgspec

from services.gateway.providers.answer import OpenAIAnswer
from services.gateway.providers.body import JsonBody
from services.gateway.providers.usage import Usage


def embeddings_answer(request: JsonBody, vectors: Sequence[Sequence[float]], usage: Usage) -> OpenAIAnswer:
    """In base64 where the client asks for it, in the order of the inputs."""
    packed = request.text("encoding_format") == "base64"
    counts: dict[str, object] = {
        "prompt_tokens": usage.tokens.prompt,
        "total_tokens": usage.tokens.prompt,
    }
    if usage.estimated:
        counts["estimated"] = True
    document = {
        "object": "list",
        "data": [
            {"object": "embedding", "index": index, "embedding": packed_vector(vector) if packed else vector}
            for index, vector in enumerate(vectors)
        ],
        "model": request.model,
        "usage": counts,
    }
    fields = {name: msgspec.Raw(msgspec.json.encode(value)) for name, value in document.items()}
    return OpenAIAnswer(msgspec.json.encode(fields), "application/json", usage, fields=fields)


def packed_vector(vector: Sequence[float]) -> str:
    """The numbers as 32 bits each, lowest byte first, in base64."""
    numbers = array.array("f", vector)
    if sys.byteorder == "big":
        numbers.byteswap()
    return base64.b64encode(numbers.tobytes()).decode()
