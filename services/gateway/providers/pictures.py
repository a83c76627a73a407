"""Fits a request for pictures to a model: the sizes that it makes, and what a provider calls otherwise."""

import math
import re
from collections.abc import Mapping
from typing import Final

from services.gateway.providers.body import JsonBody, ParsedBody
from services.gateway.providers.errors import BadRequest
from services.gateway.providers.usage import picture_of
from shared.pricing.model import Picture

_SIZES: Final[tuple[tuple[str, tuple[str, ...]], ...]] = (
    ("gpt-image", ("1024x1024", "1536x1024", "1024x1536")),
    ("chatgpt-image", ("1024x1024", "1536x1024", "1024x1536")),
    ("dall-e-3", ("1024x1024", "1792x1024", "1024x1792")),
    ("dall-e-2", ("256x256", "512x512", "1024x1024")),
)
_OPENAIS_OWN: Final = ("style", "background", "moderation", "output_compression")
_GROK_SHAPES: Final = ("1:1", "3:4", "4:3", "9:16", "16:9", "2:3", "3:2", "1:2", "2:1")
_GROK_QUALITIES: Final = ("low", "medium", "high")
_FILE_TYPES: Final[Mapping[str, str]] = {"jpeg": "jpg"}

Changes = dict[str, bytes | None]
"""Parameter to its value in the body's notation; None: leave it out."""


Fitted = tuple[Changes, list[str], Picture]
"""What to change; the names to report: left out, or replaced by something else than what was asked for; and what is
asked for then."""


def picture_changes(dialect: str, model: str, body: ParsedBody) -> Fitted:
    """Fits a request to a model of a provider that speaks this dialect."""
    if dialect == "nebius" and isinstance(body, JsonBody):
        return _nebius(body)
    if dialect == "xai":
        return _xai(model, body)
    return _openai(model, body)


def _openai(model: str, body: ParsedBody) -> Fitted:
    changes: Changes = {}
    is_gpt = model.startswith(("gpt-image", "chatgpt-image"))
    if is_gpt and "response_format" in body:
        changes["response_format"] = None
    size = body.text("size")
    sizes = next((sizes for prefix, sizes in _SIZES if model.startswith(prefix)), ())
    if size and sizes and size not in sizes and not (is_gpt and size == "auto"):
        size = nearest_size(size, sizes)
        changes["size"] = None if size is None else body.encoded(size)
    return changes, list(changes), picture_of(_word(body, "quality"), size)


def _word(body: ParsedBody, name: str) -> str:
    """A parameter that is not ours to judge; empty where it is no text."""
    try:
        return body.text(name) or ""
    except BadRequest:
        return ""


def _nebius(body: JsonBody) -> Fitted:
    """Both sides apart, and the kind of file by another name."""
    changes: Changes = {name: None for name in (*_OPENAIS_OWN, "quality") if name in body}
    reported = list(changes)
    size = body.text("size")
    if size is not None:
        changes["size"] = None
        sides = dimensions(size)
        if sides is not None:
            changes |= {"width": b"%d" % sides[0], "height": b"%d" % sides[1]}
        elif size and size != "auto":
            reported.append("size")
    kind = body.text("output_format")
    if kind is not None:
        changes |= {
            "output_format": None,
            "response_extension": body.encoded(_FILE_TYPES.get(kind, kind)),
        }
    return changes, reported, picture_of("", size)


def _xai(model: str, body: ParsedBody) -> Fitted:
    """Shapes instead of sizes; the first of its models made one shape only."""
    changes: Changes = {name: None for name in (*_OPENAIS_OWN, "output_format") if name in body}
    if "quality" in body and body.text("quality") not in _GROK_QUALITIES:
        changes["quality"] = None
    reported = list(changes)
    size = body.text("size")
    if "size" in body:
        changes["size"] = None
        sides = dimensions(size or "")
        if sides is not None and "aspect_ratio" not in body and not model.startswith("grok-2"):
            changes["aspect_ratio"] = body.encoded(_nearest_shape(sides))
        if size and size != "auto":
            reported.append("size")
    quality = "" if "quality" in changes else body.text("quality")
    return changes, reported, picture_of(quality, _word(body, "resolution"))


def _nearest_shape(sides: tuple[int, int]) -> str:
    def distance(shape: str) -> float:
        width, _, height = shape.partition(":")
        return abs(math.log(sides[0] * int(height) / (sides[1] * int(width))))

    return min(_GROK_SHAPES, key=distance)


def nearest_size(size: str, sizes: tuple[str, ...]) -> str | None:
    """The size of the most similar shape, then of the most similar area; None when `size` is no WIDTHxHEIGHT."""
    wanted = dimensions(size)
    if wanted is None:
        return None
    width, height = wanted

    def distance(candidate: str) -> tuple[float, int]:
        w, h = dimensions(candidate) or (1, 1)
        shape = max(w * height, h * width) / min(w * height, h * width)
        return shape, abs(w * h - width * height)

    return min(sizes, key=distance)


def dimensions(size: str) -> tuple[int, int] | None:
    """Width and height of a WIDTHxHEIGHT; None when it is none."""
    match = re.fullmatch(r"(\d{1,6})x(\d{1,6})", size)
    if match is None or not int(match[1]) or not int(match[2]):
        return None
    return int(match[1]), int(match[2])
