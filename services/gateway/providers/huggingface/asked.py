"""What a client asks for beside chat, in the terms of Hugging Face's tasks: inputs and parameters, whoever serves them."""

import base64
from collections.abc import Mapping
from dataclasses import dataclass
from email.parser import BytesHeaderParser
from types import MappingProxyType
from typing import Any, Final

import msgspec

from services.gateway.providers.body import JsonBody, ParsedBody
from services.gateway.providers.chat.images import media_type_of
from services.gateway.providers.errors import BadRequest
from services.gateway.providers.multipart import MultipartBody, Part
from services.gateway.providers.operations import Operation
from services.gateway.providers.parameters import left_over
from services.gateway.providers.pictures import dimensions

TASKS: Final[Mapping[Operation, str]] = MappingProxyType(
    {
        Operation.EMBEDDINGS: "feature-extraction",
        Operation.IMAGES: "text-to-image",
        Operation.IMAGE_EDITS: "image-to-image",
        Operation.SPEECH: "text-to-speech",
        Operation.TRANSCRIPTIONS: "automatic-speech-recognition",
    }
)
"""What Hugging Face calls an operation."""
TEI: Final = ("normalize", "prompt_name", "truncate", "truncation_direction")
"""Parameters of Hugging Face's own server of vectors."""
DRAWING: Final = ("negative_prompt", "num_inference_steps", "guidance_scale", "scheduler", "seed")
"""Parameters of models that draw."""
_OTHERS_DRAWING: Final = frozenset({"prompt", "n", "size", "response_format", "stream", "image", "image[]"})
_OPENAIS_VOICES: Final = frozenset(
    {
        "alloy", "ash", "ballad", "cedar", "coral", "echo", "fable", "marin", "nova", "onyx", "sage", "shimmer",
        "verse",
    }
)  # fmt: skip
_SOUNDS: Final = (
    (b"RIFF", "audio/wav"),
    (b"fLaC", "audio/flac"),
    (b"OggS", "audio/ogg"),
    (b"\x1aE\xdf\xa3", "audio/webm"),
)
_OTHER_SOUND: Final = "audio/mpeg"
_OTHER_PICTURE: Final = "image/jpeg"
_texts: Final = msgspec.json.Decoder(str | list[str])


@dataclass(frozen=True, slots=True)
class Taste:
    """What an inference provider does with the fields of a client's request."""

    passed: tuple[str, ...] = ()
    """Handed on under their own names."""
    target_size: bool = False
    """The size of a picture to change is one parameter, not two sides."""
    links: bool = True
    """It can answer with the addresses of pictures."""
    own_voices: bool = False
    """Its models have voices of their own: those of OpenAI are left out."""


@dataclass(frozen=True, slots=True)
class Asked:
    """One request. `inputs` are a text or texts, or the bytes of a picture or a recording."""

    task: str
    inputs: str | list[str] | bytes
    parameters: dict[str, Any]
    """By the names that Hugging Face's library has for them."""
    media_type: str = ""
    """Of inputs that are bytes."""
    dropped: tuple[str, ...] = ()
    in_base64: bool = False
    """Pictures must come in the answer."""
    size: str | None = None
    """Of the picture, as the client wrote it."""

    @property
    def data_url(self) -> str:
        """Inputs that are bytes."""
        return self.data_url_of(self.media_type)

    def data_url_of(self, media_type: str) -> str:
        """Inputs that are bytes, said to be of this type."""
        data = self.inputs if isinstance(self.inputs, bytes) else b""
        return f"data:{media_type};base64,{base64.b64encode(data).decode()}"


def asked(operation: Operation, body: ParsedBody, taste: Taste) -> Asked:
    """Raises BadRequest naming the field."""
    if operation is Operation.EMBEDDINGS and isinstance(body, JsonBody):
        return _vectors(body, taste)
    if operation is Operation.SPEECH and isinstance(body, JsonBody):
        return _speech(body, taste)
    if operation is Operation.TRANSCRIPTIONS and isinstance(body, MultipartBody):
        return _recording(body, taste)
    if operation is Operation.IMAGE_EDITS and isinstance(body, MultipartBody):
        return _edit(body, taste)
    return _picture(body, taste)


def _vectors(body: JsonBody, taste: Taste) -> Asked:
    try:
        given = _texts.decode(body.raw("input") or b"[]")
    except msgspec.DecodeError as error:
        raise BadRequest(
            "`input` must be a text or a list of texts with Hugging Face.", param="input"
        ) from error
    if not given:
        raise BadRequest("You must send an input.", param="input")
    if "dimensions" in body and "dimensions" not in taste.passed:
        raise BadRequest("`dimensions` cannot be chosen with this inference provider.", param="dimensions")
    dropped = left_over(body, frozenset({"input", "encoding_format", *taste.passed}))
    return Asked(TASKS[Operation.EMBEDDINGS], given, _passed(body, taste), dropped=tuple(dropped))


def _speech(body: JsonBody, taste: Taste) -> Asked:
    text = body.text("input")
    if not text:
        raise BadRequest("You must send an input.", param="input")
    if body.text("stream_format") == "sse":
        raise BadRequest("`stream_format` cannot be used with this model.", param="stream_format")
    parameters, taken = _passed(body, taste), {"input", "stream_format", *taste.passed}
    if taste.own_voices and body.raw("voice") in _encoded_voices:
        taken.discard("voice")
        parameters.pop("voice")
    dropped = left_over(body, frozenset(taken))
    return Asked(TASKS[Operation.SPEECH], text, parameters, dropped=tuple(dropped))


def _recording(body: MultipartBody, taste: Taste) -> Asked:
    form = body.text("response_format") or "json"
    if form not in ("json", "text"):
        raise BadRequest(
            "`response_format` must be `json` or `text` with Hugging Face.", param="response_format"
        )
    if body.stream:
        raise BadRequest("`stream` cannot be used with this model.", param="stream")
    if len(body.files) != 1:
        raise BadRequest("You must send one file.", param="file")
    (part,) = body.files
    data = body.content_of(part)
    return Asked(
        TASKS[Operation.TRANSCRIPTIONS],
        data,
        _passed(body, taste),
        _sound_type(part, data),
        tuple(left_over(body, frozenset({"file", "response_format", "stream", *taste.passed}))),
    )


def _picture(body: ParsedBody, taste: Taste) -> Asked:
    prompt, in_base64 = _drawing(body, taste)
    return Asked(
        TASKS[Operation.IMAGES],
        prompt,
        _passed(body, taste) | _sides(body),
        dropped=tuple(left_over(body, _OTHERS_DRAWING.union(taste.passed))),
        in_base64=in_base64,
        size=body.text("size"),
    )


def _edit(body: MultipartBody, taste: Taste) -> Asked:
    pictures = [part for part in body.files if part.name in ("image", "image[]")]
    if len(pictures) != 1:
        raise BadRequest("You must send one image.", param="image")
    if any(part.name == "mask" for part in body.files):
        raise BadRequest("`mask` cannot be used with Hugging Face.", param="mask")
    prompt, in_base64 = _drawing(body, taste)
    sides = _sides(body)
    data = body.content_of(pictures[0])
    return Asked(
        TASKS[Operation.IMAGE_EDITS],
        data,
        {"prompt": prompt}
        | _passed(body, taste)
        | ({"target_size": sides} if sides and taste.target_size else sides),
        media_type_of(data) or _OTHER_PICTURE,
        tuple(left_over(body, _OTHERS_DRAWING.union(taste.passed))),
        in_base64,
        body.text("size"),
    )


def _drawing(body: ParsedBody, taste: Taste) -> tuple[str, bool]:
    """The prompt, and whether pictures must come in base64."""
    prompt = body.text("prompt")
    if not prompt:
        raise BadRequest("You must send a prompt.", param="prompt")
    if body.n > 1:
        raise BadRequest("`n` must be 1 with Hugging Face.", param="n")
    form = body.text("response_format")
    if form == "url" and not taste.links:
        raise BadRequest(
            "`response_format` must be `b64_json` with this inference provider.", param="response_format"
        )
    if body.stream:
        raise BadRequest("`stream` cannot be used with this model.", param="stream")
    return prompt, form == "b64_json"


def _passed(body: ParsedBody, taste: Taste) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name in taste.passed:
        if isinstance(body, JsonBody):
            raw = body.raw(name)
            if raw is not None:
                found[name] = msgspec.Raw(raw)
        else:
            text = body.text(name)
            if text is not None:
                found[name] = _number(text)
    return found


def _sides(body: ParsedBody) -> dict[str, int]:
    size = body.text("size")
    if not size or size == "auto":
        return {}
    sides = dimensions(size)
    if sides is None:
        raise BadRequest("`size` must be WIDTHxHEIGHT.", param="size")
    return {"width": sides[0], "height": sides[1]}


def _number(text: str) -> Any:
    """A field of a form as the number that it writes, if it writes one."""
    try:
        return msgspec.json.decode(text, type=int | float)
    except msgspec.DecodeError:
        return text


def _sound_type(part: Part, data: bytes) -> str:
    """What the client says that its file is, else what its first bytes say: nothing else tells the model."""
    said = BytesHeaderParser().parsebytes(part.head).get_content_type()
    if said.startswith(("audio/", "video/")):
        return said
    return next((kind for start, kind in _SOUNDS if data.startswith(start)), _OTHER_SOUND)


_encoded_voices: Final = frozenset(msgspec.json.encode(voice) for voice in _OPENAIS_VOICES)
