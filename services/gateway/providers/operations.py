"""What a client can ask for."""

from enum import StrEnum


class Operation(StrEnum):
    """The value is the `endpoint` in events."""

    CHAT = "chat.completions"
    COMPLETIONS = "completions"
    EMBEDDINGS = "embeddings"
    IMAGES = "images.generations"
    IMAGE_EDITS = "images.edits"
    SPEECH = "audio.speech"
    TRANSCRIPTIONS = "audio.transcriptions"
    MODERATIONS = "moderations"

    @property
    def path(self) -> str:
        """Below `/v1` at the gateway and below the base URL at an OpenAI-compatible provider."""
        return "/" + self.value.replace(".", "/")

    @property
    def multipart(self) -> bool:
        """The client's body is multipart/form-data, not JSON."""
        return self in (Operation.IMAGE_EDITS, Operation.TRANSCRIPTIONS)
