"""Pictures by InvokeModel: Amazon's Titan and Nova Canvas, and Stability's models."""

import base64
from typing import Any, Final

import msgspec

from services.gateway.providers.answer import OpenAIAnswer
from services.gateway.providers.bedrock.errors import fault_in
from services.gateway.providers.bedrock.families import family_of
from services.gateway.providers.body import JsonBody, ParsedBody
from services.gateway.providers.chat.completion import failed_answer, unix_now
from services.gateway.providers.errors import BadRequest, Unsupported, UpstreamError
from services.gateway.providers.multipart import MultipartBody
from services.gateway.providers.operations import Operation
from services.gateway.providers.parameters import left_over
from services.gateway.providers.port import Target
from services.gateway.providers.several import answers_in
from services.gateway.providers.usage import NO_PICTURE, Usage, picture_of
from services.gateway.providers.wire_errors import unreadable_answer
from shared.events import Tokens
from shared.pricing.model import Picture

MAX_PICTURES: Final = 5
_RATIOS: Final = ("16:9", "1:1", "21:9", "2:3", "3:2", "4:5", "5:4", "9:16", "9:21")
_STABILITY: Final = frozenset(
    {
        "prompt",
        "n",
        "size",
        "response_format",
        "stream",
        "seed",
        "negative_prompt",
        "image",
        "image[]",
        "mask",
    }
)
_AMAZON: Final = _STABILITY | {"quality", "mask_prompt"}
"""What each maker's models take, or have refused below."""
_STRENGTH: Final = 0.7
"""How far Stability's models may leave the picture that they start from: 0 not at all, 1 altogether."""
_PREMIUM: Final = frozenset({"hd", "high", "premium"})
_AS_ITS_SOURCE: Final = "source"
"""The size of a picture of which a part is drawn anew. On no list, so held at the dearest until the answer is there."""
_PNG: Final = b"\x89PNG\r\n\x1a\n"
_PNG_HEAD_CHARS: Final = 32
"""Of base64: the signature, and the first chunk as far as the picture's sides."""


class _Pictures(msgspec.Struct):
    images: list[str | None] | None = None
    finish_reasons: list[str | None] | None = None
    error: str | None = None


_pictures: Final = msgspec.json.Decoder(_Pictures)


def picture_bodies(operation: Operation, target: Target, body: ParsedBody) -> tuple[list[bytes], list[str]]:
    """A body for each call, and what was left out. Raises BadRequest or Unsupported."""
    prompt = body.text("prompt") or ""
    if not prompt and operation is not Operation.IMAGE_VARIATIONS:
        raise BadRequest("`prompt` must say what to draw.", param="prompt")
    if body.n > MAX_PICTURES:
        raise BadRequest(f"`n` cannot be above {MAX_PICTURES} with this model.", param="n")
    if body.stream:
        raise BadRequest("`stream` cannot be used with this model: pictures come whole.", param="stream")
    family = family_of(target.model, target.alias)
    dropped = left_over(body, _STABILITY if family == "stability" else _AMAZON)
    if body.text("response_format") == "url":
        dropped.append("response_format")  # there are no addresses: the picture itself is the answer
    if family in ("nova", "titan"):
        return [msgspec.json.encode(_amazon(prompt, body))], dropped
    if family == "stability" and operation is not Operation.IMAGE_VARIATIONS:
        return [msgspec.json.encode(_stability(prompt, body, dropped))] * body.n, dropped
    raise Unsupported(f"{target.provider.name} draws no pictures with the model {target.model}.")


def picture_asked(target: Target, body: ParsedBody) -> Picture:
    """What the bodies ask for, as far as the model lets one choose."""
    if family_of(target.model, target.alias) == "stability":
        return NO_PICTURE
    size = _size(body)
    if size is not None:
        return picture_of(_quality(body), f"{size[0]}x{size[1]}")
    return picture_of(_quality(body), _AS_ITS_SOURCE if body.text("mask_prompt") else None)


def read_pictures(answer: bytes) -> OpenAIAnswer:
    """Never raises: an answer that cannot be read, or holds no picture, has its `error` set."""
    try:
        answers = [_pictures.decode(one) for one in answers_in(answer)]
    except msgspec.DecodeError:
        return failed_answer(answer, fault_in(answer) or unreadable_answer())
    pictures = [picture for one in answers for picture in one.images or () if picture]
    if not pictures:
        reasons = [one.error or "" for one in answers]
        reasons += [reason or "" for one in answers for reason in one.finish_reasons or ()]
        said = next(filter(None, reasons), "")
        return failed_answer(answer, _filtered(said) if said else fault_in(answer) or unreadable_answer())
    document = {"created": unix_now(), "data": [{"b64_json": picture} for picture in pictures]}
    fields = {name: msgspec.Raw(msgspec.json.encode(value)) for name, value in document.items()}
    usage = Usage(Tokens(images=len(pictures)), picture=_picture_made(pictures[0]))
    return OpenAIAnswer(msgspec.json.encode(fields), "application/json", usage, fields=fields)


def _amazon(prompt: str, body: ParsedBody) -> dict[str, Any]:
    config: dict[str, Any] = {"numberOfImages": body.n}
    size = _size(body)
    if size is not None:
        config["width"], config["height"] = size
    quality = _quality(body)
    if quality is not None:
        config["quality"] = quality
    seed = body.number("seed")
    if seed is not None:
        config["seed"] = seed
    text: dict[str, Any] = {"text": prompt} if prompt else {}
    negative = body.text("negative_prompt")
    if negative:
        text["negativeText"] = negative
    if isinstance(body, JsonBody):
        return {"taskType": "TEXT_IMAGE", "textToImageParams": text, "imageGenerationConfig": config}
    sources, part = _sources(body), body.text("mask_prompt")
    if part:
        text |= {"image": _only(sources), "maskPrompt": part}
        return {"taskType": "INPAINTING", "inPaintingParams": text, "imageGenerationConfig": config}
    text["images"] = sources
    return {"taskType": "IMAGE_VARIATION", "imageVariationParams": text, "imageGenerationConfig": config}


def _stability(prompt: str, body: ParsedBody, dropped: list[str]) -> dict[str, Any]:
    request: dict[str, Any] = {"prompt": prompt, "output_format": "png"}
    size = _size(body)
    if size is not None:
        wanted = size[0] / size[1]
        request["aspect_ratio"] = min(_RATIOS, key=lambda ratio: abs(_value(ratio) / wanted - 1))
        dropped.append("size")  # the ratio is kept, the number of pixels is the model's
    seed = body.number("seed")
    if seed is not None and body.n == 1:
        request["seed"] = seed
    elif seed is not None:
        dropped.append("seed")  # several pictures of one seed would be the same picture
    negative = body.text("negative_prompt")
    if negative:
        request["negative_prompt"] = negative
    if isinstance(body, MultipartBody):
        request.pop("aspect_ratio", None)  # the picture's own
        request |= {"mode": "image-to-image", "image": _only(_sources(body)), "strength": _STRENGTH}
    return request


def _sources(body: MultipartBody) -> list[str]:
    """The pictures to start from, in base64."""
    if any(part.name == "mask" for part in body.files):
        raise BadRequest(
            "`mask` cannot be used with this model: say in `mask_prompt` what to change.", param="mask"
        )
    pictures = [body.content_of(part) for part in body.files if part.name.startswith("image")]
    if not pictures or not all(pictures):
        raise BadRequest("`image` must hold the picture to start from.", param="image")
    return [base64.b64encode(picture).decode() for picture in pictures]


def _only(pictures: list[str]) -> str:
    if len(pictures) > 1:
        raise BadRequest("`image` must hold one picture only with this model.", param="image")
    return pictures[0]


def _quality(body: ParsedBody) -> str | None:
    quality = body.text("quality")
    if not quality or quality == "auto":
        return None
    return "premium" if quality in _PREMIUM else "standard"


def _picture_made(picture: str) -> Picture:
    """How large it is: where one picture is made of another, the request need not say. All of an answer are alike."""
    try:
        head = base64.b64decode(picture[:_PNG_HEAD_CHARS])
    except ValueError:
        return NO_PICTURE  # no base64: the client will see for itself
    if len(head) < 24 or not head.startswith(_PNG) or head[12:16] != b"IHDR":
        return NO_PICTURE
    width, height = int.from_bytes(head[16:20]), int.from_bytes(head[20:24])
    return Picture(size=f"{width}x{height}")


def _size(body: ParsedBody) -> tuple[int, int] | None:
    size = body.text("size") or "auto"
    if size == "auto":
        return None
    width, _, height = size.lower().partition("x")
    if not (width.isdecimal() and height.isdecimal() and int(width) and int(height)):
        raise BadRequest("`size` must be like '1024x1024'.", param="size")
    return int(width), int(height)


def _value(ratio: str) -> float:
    width, _, height = ratio.partition(":")
    return int(width) / int(height)


def _filtered(message: str) -> UpstreamError:
    return UpstreamError(
        status=400, message=message, code="content_filter", type="image_generation_user_error"
    )
