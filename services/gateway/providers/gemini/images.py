"""Pictures: Imagen by `:predict`, Gemini's own by `:generateContent`, both answered as OpenAI's pictures in base64."""

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import msgspec

from services.gateway.providers.answer import OpenAIAnswer
from services.gateway.providers.body import JsonBody, ParsedBody
from services.gateway.providers.chat.completion import failed_answer, unix_now
from services.gateway.providers.chat.images import media_type_of
from services.gateway.providers.errors import BadRequest, UpstreamError
from services.gateway.providers.estimate import estimate_prompt
from services.gateway.providers.gemini.answer import block_message, blocked, read_generated, reported_in
from services.gateway.providers.gemini.contents import inline
from services.gateway.providers.gemini.errors import error_inside
from services.gateway.providers.gemini.thinking import generation_of
from services.gateway.providers.gemini.usage import tokens_of, usage_of
from services.gateway.providers.gemini.wire import InlineData, predict_response
from services.gateway.providers.multipart import MultipartBody
from services.gateway.providers.operations import Operation
from services.gateway.providers.parameters import left_over
from services.gateway.providers.several import answers_in
from services.gateway.providers.usage import Usage
from services.gateway.providers.wire_errors import unreadable_answer
from shared.events import Tokens

_IMAGEN_RATIOS: Final = ("1:1", "3:4", "4:3", "9:16", "16:9")
_GEMINI_RATIOS: Final = ("1:1", "2:3", "3:2", "3:4", "4:3", "4:5", "5:4", "9:16", "16:9", "21:9")
_RESOLUTIONS: Final = ((3_072, "4K"), (1_793, "2K"))
_TAKEN: Final = frozenset({"prompt", "n", "size", "response_format", "stream", "image", "image[]", "mask"})
MAX_IMAGES: Final = 4
MAX_CALLS: Final = 10
"""As many pictures as OpenAI draws at most."""
TOKENS_PER_IMAGE: Final = 1_290
"""Of a picture of a million pixels: these models are priced by the token."""


def is_imagen(model: str) -> bool:
    return model.rpartition("/")[2].startswith(("imagen", "imagegeneration"))


def times_to_ask(body: ParsedBody, model: str) -> int:
    """Imagen draws all pictures at once, Gemini one at a time."""
    return 1 if is_imagen(model) else body.n


def picture_body(body: ParsedBody, model: str) -> tuple[str, dict[str, Any], tuple[str, ...]]:
    """The method, its body and what was left out; see `times_to_ask`. Raises BadRequest."""
    prompt = body.text("prompt")
    if not prompt:
        raise BadRequest("`prompt` must say what to draw.", param="prompt")
    if body.stream:
        raise BadRequest("`stream` cannot be used with this model: pictures come whole.", param="stream")
    dropped = left_over(body, _TAKEN)
    if body.text("response_format") == "url":
        dropped.append("response_format")  # there are no addresses: the picture itself is the answer
    size = _size(body)
    if size is not None:
        dropped.append("size")  # the ratio is kept, the number of pixels is the model's
    if is_imagen(model):
        return "predict", _imagen(body, prompt, _ratio(size, _IMAGEN_RATIOS)), tuple(dropped)
    if body.n > MAX_CALLS:
        raise BadRequest(f"`n` cannot be above {MAX_CALLS} with this model.", param="n")
    config: dict[str, Any] = {"responseModalities": ["TEXT", "IMAGE"]}
    if size is not None:
        resolution = _resolution(size) if generation_of(model) >= 3 else {}
        config["imageConfig"] = {"aspectRatio": _ratio(size, _GEMINI_RATIOS), **resolution}
    parts = [*_sources(body), {"text": prompt}]
    contents = [{"role": "user", "parts": parts}]
    return "generateContent", {"contents": contents, "generationConfig": config}, tuple(dropped)


def read_pictures(body: ParsedBody, answer: bytes) -> OpenAIAnswer:
    """Never raises: an answer that cannot be read, or holds no picture, has its `error` set."""
    try:
        answers = answers_in(answer)
    except msgspec.DecodeError:
        return failed_answer(answer, unreadable_answer())
    found = [_found(body, one) for one in answers]
    drawn = [one for one in found if not isinstance(one, UpstreamError)]
    errors = [one for one in found if isinstance(one, UpstreamError)]
    # What was not drawn has its price all the same.
    lost = [
        cost
        for one, read in zip(answers, found, strict=True)
        if isinstance(read, UpstreamError) and (cost := reported_in(one)) is not None
    ]
    if not drawn:
        return failed_answer(answer, errors[0], _sum_of(lost) if lost else None)
    usage, seen = _sum_of([*(one.usage for one in drawn), *lost]), sum(one.seen for one in drawn)
    tokens = usage.tokens
    counts = {
        "input_tokens": tokens.prompt,
        "output_tokens": tokens.completion,
        "total_tokens": tokens.prompt + tokens.completion,
        "input_tokens_details": {"text_tokens": tokens.prompt - seen, "image_tokens": seen},
    }
    document: dict[str, Any] = {"created": unix_now(), "data": [one for each in drawn for one in each.data]}
    document["output_format"] = drawn[0].pictures[0].mime_type.removeprefix("image/") or "png"
    if tokens.prompt or tokens.completion:
        document["usage"] = counts
    fields = {name: msgspec.Raw(msgspec.json.encode(value)) for name, value in document.items()}
    return OpenAIAnswer(msgspec.json.encode(fields), "application/json", usage, fields=fields)


@dataclass(frozen=True, slots=True)
class _Drawn:
    """What one answer holds."""

    pictures: list[InlineData]
    usage: Usage
    said: str = ""
    """Beside the pictures."""
    seen: int = 0
    """How much of the prompt was pictures."""

    @property
    def data(self) -> list[dict[str, str]]:
        said = {"revised_prompt": self.said} if self.said else {}
        return [{"b64_json": picture.data, **said} for picture in self.pictures]


def _sum_of(usages: Sequence[Usage]) -> Usage:
    """All of them in the tier of the first."""
    counts = [msgspec.structs.asdict(one.tokens) for one in usages]
    tokens = Tokens(**{name: sum(count[name] for count in counts) for name in counts[0]})
    estimated = any(one.estimated for one in usages)
    return msgspec.structs.replace(usages[0], tokens=tokens, estimated=estimated)


def _found(body: ParsedBody, answer: bytes) -> _Drawn | UpstreamError:
    predicted = _predicted(answer)
    return _generated(body, answer) if predicted is None else predicted


def _predicted(answer: bytes) -> _Drawn | UpstreamError | None:
    """Imagen's pictures; None when the answer is not of `:predict`."""
    try:
        response = predict_response.decode(answer)
    except msgspec.DecodeError:
        return unreadable_answer()
    error = error_inside(bytes(response.error))
    if error is not None:
        return error
    pictures = [
        InlineData(one.mime_type, one.bytes_base64_encoded)
        for one in response.predictions
        if one.bytes_base64_encoded
    ]
    if pictures:
        said = next((one.prompt for one in response.predictions if one.prompt), "")
        return _Drawn(pictures, Usage(Tokens(images=len(pictures))), said)
    reasons = [one.rai_filtered_reason for one in response.predictions if one.rai_filtered_reason]
    if reasons or (b'"candidates"' not in answer and b'"promptFeedback"' not in answer):
        return _filtered(reasons[0] if reasons else "The provider filtered out all pictures.")
    return None


def _generated(body: ParsedBody, answer: bytes) -> _Drawn | UpstreamError:
    response = read_generated(answer)
    if isinstance(response, UpstreamError):
        return response
    parts = [part for one in response.candidates for part in one.content.parts if not part.thought]
    pictures = [part.inline_data for part in parts if part.inline_data is not None]
    said = "".join(part.text or "" for part in parts)
    if not pictures:
        if blocked(response.prompt_feedback):
            return _filtered(block_message(response.prompt_feedback))
        reason = response.candidates[0].finish_reason if response.candidates else "no candidates"
        return _filtered(said or f"The model drew no picture ({reason}).")
    reported = response.usage_metadata
    if reported is None:
        drawn = len(pictures) * TOKENS_PER_IMAGE
        tokens = Tokens(
            prompt=estimate_prompt(Operation.IMAGES, body).prompt,
            completion=drawn,
            completion_image=drawn,
            images=len(pictures),
        )
        return _Drawn(pictures, Usage(tokens, estimated=True), said)
    seen = tokens_of("IMAGE", reported.prompt_tokens_details)
    return _Drawn(pictures, usage_of(reported, images=len(pictures)), said, seen)


def _filtered(message: str) -> UpstreamError:
    return UpstreamError(
        status=400, message=message, code="content_filter", type="image_generation_user_error"
    )


def _imagen(body: ParsedBody, prompt: str, ratio: str) -> dict[str, Any]:
    if isinstance(body, MultipartBody):
        raise BadRequest("`model`: Imagen changes no pictures; use a Gemini image model.", param="model")
    if body.n > MAX_IMAGES:
        raise BadRequest(f"`n` cannot be above {MAX_IMAGES} with this model.", param="n")
    parameters: dict[str, Any] = {"sampleCount": body.n, "includeRaiReason": True}
    if ratio:
        parameters["aspectRatio"] = ratio
    return {"instances": [{"prompt": prompt}], "parameters": parameters}


def _sources(body: ParsedBody) -> list[dict[str, Any]]:
    """The pictures to change."""
    if isinstance(body, JsonBody):
        return []
    if any(part.name == "mask" for part in body.files):
        raise BadRequest(
            "`mask` cannot be used with this model: say in the prompt what to change.", param="mask"
        )
    pictures = [body.content_of(part) for part in body.files if part.name.startswith("image")]
    if not pictures:
        raise BadRequest("`image` must hold the picture to change.", param="image")
    return [inline(media_type_of(one) or "image/png", base64.b64encode(one).decode()) for one in pictures]


def _size(body: ParsedBody) -> tuple[int, int] | None:
    size = body.text("size") or "auto"
    if size == "auto":
        return None
    width, _, height = size.lower().partition("x")
    if not (width.isdecimal() and height.isdecimal() and int(width) and int(height)):
        raise BadRequest("`size` must be like '1024x1024'.", param="size")
    return int(width), int(height)


def _ratio(size: tuple[int, int] | None, known: tuple[str, ...]) -> str:
    """The nearest to the size asked for; empty where none was asked for."""
    if size is None:
        return ""
    wanted = size[0] / size[1]
    return min(known, key=lambda ratio: abs(_value(ratio) / wanted - 1))


def _resolution(size: tuple[int, int]) -> dict[str, str]:
    """In the words of the models that have several; nothing for the smallest, which they draw unasked."""
    return next(({"imageSize": name} for pixels, name in _RESOLUTIONS if max(size) >= pixels), {})


def _value(ratio: str) -> float:
    width, _, height = ratio.partition(":")
    return int(width) / int(height)
