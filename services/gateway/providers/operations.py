"""What a client can ask for."""

from enum import StrEnum
from typing import Final


class Operation(StrEnum):
    """The value is the `endpoint` in events."""

    CHAT = "chat.completions"
    COMPLETIONS = "completions"
    EMBEDDINGS = "embeddings"
    IMAGES = "images.generations"
    IMAGE_EDITS = "images.edits"
    IMAGE_VARIATIONS = "images.variations"
    SPEECH = "audio.speech"
    TRANSCRIPTIONS = "audio.transcriptions"
    TRANSLATIONS = "audio.translations"
    MODERATIONS = "moderations"
    RERANK = "rerank"
    RESPONSES = "responses"
    MESSAGES = "messages"
    COUNT_TOKENS = "messages.count_tokens"

    @property
    def path(self) -> str:
        """Below `/v1` at the gateway and below the base URL at an OpenAI-compatible provider."""
        return "/" + self.value.replace(".", "/")

    @property
    def multipart(self) -> bool:
        """The client's body is multipart/form-data, not JSON."""
        return self in _FORMS


_FORMS: Final = frozenset(
    {
        Operation.IMAGE_EDITS,
        Operation.IMAGE_VARIATIONS,
        Operation.TRANSCRIPTIONS,
        Operation.TRANSLATIONS,
    }
)
PICTURES: Final = frozenset({Operation.IMAGES, Operation.IMAGE_EDITS, Operation.IMAGE_VARIATIONS})
"""What is answered with pictures."""
TRANSCRIPTS: Final = frozenset({Operation.TRANSCRIPTIONS, Operation.TRANSLATIONS})
"""What is answered with the text of a recording."""
FREE: Final = (Operation.COUNT_TOKENS,)
"""What nobody charges for, whatever a model costs. No set: finding one of a few by identity is faster than its hash."""
