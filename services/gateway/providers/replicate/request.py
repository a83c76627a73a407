"""What clients ask of Replicate, as inputs of a prediction."""

import base64
import math
from collections.abc import Mapping
from typing import Any, Final

import msgspec

from services.gateway.providers.body import JsonBody, ParsedBody
from services.gateway.providers.chat.images import media_type_of
from services.gateway.providers.chat.policy import CHANGES_MEANING, Fit, Policy, fit
from services.gateway.providers.chat.request import (
    ChatRequest,
    ImagePart,
    Message,
    RefusalPart,
    TextPart,
    read_chat,
)
from services.gateway.providers.errors import BadRequest
from services.gateway.providers.multipart import MultipartBody, Part
from services.gateway.providers.parameters import left_over

Json = dict[str, Any]

_POLICY: Final = Policy(
    "Replicate",
    keeps=frozenset(
        {
            "max_tokens", "max_completion_tokens", "temperature", "top_p", "top_k", "stop", "seed", "input",
            "presence_penalty", "frequency_penalty", "reasoning_effort",
        }
    ),
    refuses=CHANGES_MEANING,
)  # fmt: skip
_TAKES_MESSAGES: Final = "openai/"
"""Models of this owner take a conversation; all others take one prompt."""
_SPEAKERS: Final[Mapping[str, str]] = {"user": "User", "assistant": "Assistant"}
_IMAGE_OWN: Final = ("seed", "negative_prompt", "num_inference_steps", "guidance_scale", "output_format")
_IMAGE_TAKEN: Final = frozenset(
    {"prompt", "n", "size", "response_format", "stream", "input", "image", "image[]", "mask", *_IMAGE_OWN}
)
_PICTURES_IN: Final = (
    ("black-forest-labs/flux-kontext", ("input_image", False)),
    ("black-forest-labs/flux-2", ("input_images", True)),
    ("black-forest-labs/flux-1.1-pro", ("image_prompt", False)),
    ("black-forest-labs/flux-pro", ("image_prompt", False)),
    ("openai/gpt-image", ("input_images", True)),
    ("google/nano-banana", ("image_input", True)),
    ("bytedance/seedream", ("image_input", True)),
    ("qwen/qwen-image-edit-plus", ("image", True)),
)
"""(Beginning of a model's name, (input for the pictures to change, whether it is a list)); else it is `image`."""
_input: Final = msgspec.json.Decoder(dict[str, msgspec.Raw])


def chat_input(body: JsonBody, model: str) -> tuple[Json, tuple[str, ...]]:
    """The inputs of a model of texts, and what was left out. Raises BadRequest.

    A client's own `input` object names further inputs of the model, which differ from one to the other.
    """
    chat = read_chat(body)
    fitted = fit(_POLICY, chat)
    values = _conversation(body, chat) if model.startswith(_TAKES_MESSAGES) else _flattened(chat, fitted)
    values |= {
        "temperature": chat.temperature,
        "top_p": chat.top_p,
        "top_k": chat.top_k,
        "seed": chat.seed,
        "presence_penalty": chat.presence_penalty,
        "frequency_penalty": chat.frequency_penalty,
        "reasoning_effort": chat.reasoning_effort,
    }
    return {name: value for name, value in values.items() if value is not None} | _own(body), fitted.dropped


def picture_input(body: ParsedBody, model: str) -> tuple[Json, tuple[str, ...]]:
    """The inputs of a model of pictures, and what was left out. Raises BadRequest."""
    prompt = body.text("prompt")
    if not prompt:
        raise BadRequest("You must send a prompt.", param="prompt")
    if body.stream:
        raise BadRequest("`stream` cannot be used with this model.", param="stream")
    values: Json = {"prompt": prompt}
    if body.n > 1:
        values["num_outputs"] = body.n
    size = body.text("size")
    if size and size != "auto":
        values |= _dimensions(size)
    if isinstance(body, MultipartBody):
        values |= _sources(body, model)
        values |= {name: text for name in _IMAGE_OWN if (text := body.text(name)) is not None}
    else:
        values |= {name: msgspec.Raw(raw) for name in _IMAGE_OWN if (raw := body.raw(name)) is not None}
        values |= _own(body)
    return values, tuple(left_over(body, _IMAGE_TAKEN))


def _sources(body: MultipartBody, model: str) -> Json:
    """The pictures to change, where the model looks for them."""
    pictures = [_data_url(body, part) for part in body.files if part.name in ("image", "image[]")]
    masks = [_data_url(body, part) for part in body.files if part.name == "mask"]
    if not pictures:
        raise BadRequest("You must send an image.", param="image")
    name, many = next((place for start, place in _PICTURES_IN if model.startswith(start)), ("image", False))
    if len(pictures) > 1 and not many:
        raise BadRequest("This model changes one image at a time.", param="image")
    return {name: pictures if many else pictures[0]} | ({"mask": masks[0]} if masks else {})


def _data_url(body: MultipartBody, part: Part) -> str:
    data = body.content_of(part)
    kind = media_type_of(data) or "application/octet-stream"
    return f"data:{kind};base64,{base64.b64encode(data).decode()}"


def _own(body: JsonBody) -> Json:
    try:
        return dict(_input.decode(body.raw("input") or b"{}"))
    except msgspec.DecodeError as error:
        raise BadRequest("`input` must be an object of the model's inputs.", param="input") from error


def _dimensions(size: str) -> Json:
    """Models take either the shape or both sides; what a model does not know it ignores."""
    width, _, height = size.partition("x")
    if not width.isdecimal() or not height.isdecimal() or not int(width) or not int(height):
        raise BadRequest("`size` must be WIDTHxHEIGHT.", param="size")
    w, h = int(width), int(height)
    common = math.gcd(w, h)
    return {"aspect_ratio": f"{w // common}:{h // common}", "width": w, "height": h}


def _conversation(body: JsonBody, chat: ChatRequest) -> Json:
    if chat.stops:
        raise BadRequest("`stop` cannot be used with this model.", param="stop")
    return {
        "messages": msgspec.Raw(body.raw("messages") or b"[]"),
        "max_completion_tokens": chat.limit,
    }


def _flattened(chat: ChatRequest, fitted: Fit) -> Json:
    """One prompt. A single question stands as it is; a conversation is told with its speakers."""
    system: list[str] = []
    said: list[tuple[str, str]] = []
    images: list[str] = []
    for at, message in enumerate(chat.messages):
        where = f"messages[{at}]"
        if message.role == "tool" or message.tool_calls:
            fitted.refuse(where, "Replicate's models have no tools")
        text = _text(message, where, images, fitted)
        if message.role in ("system", "developer"):
            system.append(text)
        else:
            said.append((_SPEAKERS[message.role], text))
    alone = len(said) == 1 and said[0][0] == "User"
    turns = [f"{speaker}: {text}" for speaker, text in said]
    return {
        "prompt": said[0][1] if alone else "\n\n".join([*turns, "Assistant:"]),
        "system_prompt": "\n\n".join(system) or None,
        "image_input": images or None,
        "max_tokens": chat.limit,
        "stop_sequences": ",".join(chat.stops) or None,
    }


def _text(message: Message, where: str, images: list[str], fitted: Fit) -> str:
    """The text of a message; its pictures are put with the others."""
    texts = []
    for at, part in enumerate(message.parts):
        if isinstance(part, TextPart):
            texts.append(part.text)
        elif isinstance(part, RefusalPart):
            texts.append(part.refusal)
        elif isinstance(part, ImagePart):
            images.append(part.image_url.url)
        else:
            fitted.refuse(f"{where}.content[{at}]", "Replicate's models take text and pictures")
    return "".join(texts)
