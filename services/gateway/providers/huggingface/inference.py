"""Hugging Face's own inference: a task per model, asked in JSON or with a file alone."""

import base64
from typing import Final
from urllib.parse import quote

import msgspec

from services.gateway.providers.huggingface.asked import DRAWING, TEI, Asked, Taste
from services.gateway.providers.huggingface.talk import JSON, Call
from services.gateway.providers.operations import Operation

_DRAWN: Final = Taste(DRAWING, target_size=True, links=False)
TASTES: Final = {
    Operation.EMBEDDINGS: Taste(TEI),
    Operation.IMAGES: _DRAWN,
    Operation.IMAGE_EDITS: _DRAWN,
    Operation.SPEECH: Taste(),
    Operation.TRANSCRIPTIONS: Taste(),
}
"""What it does with the fields of a request."""
ACCEPTED: Final = {
    Operation.IMAGES: "image/png",
    Operation.IMAGE_EDITS: "image/png",
    Operation.SPEECH: "audio/*",
}
"""What it answers with; else in JSON."""


def own_call(operation: Operation, asked: Asked, model: str) -> Call:
    """The call of a task of a model."""
    path = f"/models/{quote(model)}"
    if operation is Operation.TRANSCRIPTIONS and isinstance(asked.inputs, bytes):
        return Call(path, asked.inputs, asked.media_type)
    if operation is Operation.EMBEDDINGS:
        texts = [asked.inputs] if isinstance(asked.inputs, str) else asked.inputs
        return _json(f"{path}/pipeline/{asked.task}", {"inputs": texts, **asked.parameters})
    given = asked.inputs
    if isinstance(given, bytes):
        given = base64.b64encode(given).decode()
    return _json(path, {"inputs": given, "parameters": asked.parameters})


def _json(path: str, body: dict[str, object]) -> Call:
    return Call(path, msgspec.json.encode(body), JSON)
