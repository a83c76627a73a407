"""Fits a request for pictures to a model: the sizes that it makes, and what a provider calls otherwise."""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from services.gateway.providers.body import JsonBody, ParsedBody
from services.gateway.providers.errors import BadRequest
from services.gateway.providers.usage import picture_of
from shared.pricing.model import Picture

_ANY: Final = "*"
"""Stands for all sizes of which `is_free_size` is true."""
_FREE: Final = ("auto", _ANY)
_CLASSIC: Final = ("auto", "1024x1024", "1536x1024", "1024x1536")
_NO_STYLE: Final = frozenset({"style", "response_format"})
_NO_FIDELITY: Final = _NO_STYLE | {"input_fidelity"}
_BEST: Final = {"standard": "medium", "hd": "high"}
_HIGH: Final = {**_BEST, "xhigh": "high", "max": "high"}
_HD: Final = {"low": "standard", "medium": "standard", "high": "hd", "xhigh": "hd", "max": "hd"}
_MINI: Final = {"quality": _HIGH, "input_fidelity": {"high": "low"}}


@dataclass(frozen=True, slots=True)
class _Family:
    """What models of OpenAI's draw, as the types of its SDK tell it. The defaults: whatever they are asked for."""

    names: re.Pattern[str]
    """How their names begin."""
    lacks: frozenset[str] = frozenset()
    nearest: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    """Parameter -> word that they do not know -> the nearest that they know; an empty one: leave it out."""
    sizes: tuple[str, ...] = ()


_FAMILIES: Final = (
    _Family(re.compile("gpt-image-1-mini"), _NO_STYLE, _MINI, _CLASSIC),
    _Family(re.compile(r"gpt-image-1(?!\d)|chatgpt-image"), _NO_STYLE, {"quality": _HIGH}, _CLASSIC),
    _Family(re.compile(r"gpt-image-2(?![.\d])"), _NO_FIDELITY, {"quality": _HIGH}, _FREE),
    _Family(re.compile(r"gpt-image-2\.5(?!\d)"), _NO_FIDELITY, {"quality": _BEST}, _FREE),
    _Family(re.compile("gpt-image"), _NO_STYLE),
    _Family(re.compile("dall-e-3"), nearest={"quality": _HD}, sizes=("1024x1024", "1792x1024", "1024x1792")),
    _Family(
        re.compile("dall-e-2"),
        frozenset({"style"}),
        {"quality": dict.fromkeys((*_HD, "hd"), "")},
        ("256x256", "512x512", "1024x1024"),
    ),
)
_OTHER: Final = _Family(re.compile(""))
_STEP: Final = 16
_MAX_EDGE: Final = 3_840
_PIXELS: Final = (655_360, 8_294_400)
_MAX_RATIO: Final = 3
"""Of the longer edge to the shorter."""
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
    family = next((one for one in _FAMILIES if one.names.match(model)), _OTHER)
    changes: Changes = dict.fromkeys(sorted(body.names & family.lacks))
    quality, size = _word(body, "quality"), body.text("size")
    for name, nearest in family.nearest.items():
        word = nearest.get(_word(body, name))
        if word is not None:
            changes[name] = body.encoded(word) if word else None
    quality = family.nearest.get("quality", {}).get(quality, quality)
    if size and not _draws_otherwise(body):
        fitted = _nearest(size, family.sizes)
        if fitted != size:
            changes["size"] = None if fitted is None else body.encoded(fitted)
        size = fitted
    return changes, list(changes), picture_of(quality, size)


def _nearest(size: str, sizes: tuple[str, ...]) -> str | None:
    if not sizes or size in sizes:
        return size
    return nearest_free_size(size) if _ANY in sizes else nearest_size(size, sizes)


def _draws_otherwise(body: ParsedBody) -> bool:
    """A kind of file with limits of its own to the size."""
    return _word(body, "output_format") in ("gif", "svg")


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
    drawn = {size: sides for size in sizes if (sides := dimensions(size)) is not None}
    return min(drawn, key=lambda size: _distance(wanted, drawn[size]))


def is_free_size(width: int, height: int) -> bool:
    """Whether models that draw any size draw this one.

    The limits are those of gpt-image-2 and gpt-image-2.5: edges in steps of 16, up to 3840; up to three times as long as
    wide; as many pixels as 3840x2160 at most, and 655,360 at least.
    """
    return (
        width % _STEP == height % _STEP == 0
        and max(width, height) <= _MAX_EDGE
        and max(width, height) <= _MAX_RATIO * min(width, height)
        and _PIXELS[0] <= width * height <= _PIXELS[1]
    )


def nearest_free_size(size: str) -> str | None:
    """The nearest to it of which `is_free_size` is true; None when `size` is no WIDTHxHEIGHT."""
    wanted = dimensions(size)
    if wanted is None:
        return None
    ratio = min(max(wanted[0] / wanted[1], 1 / _MAX_RATIO), _MAX_RATIO)
    pixels = min(max(wanted[0] * wanted[1], _PIXELS[0]), _PIXELS[1])
    width, height = math.sqrt(pixels * ratio), math.sqrt(pixels / ratio)
    shrunk = min(1.0, _MAX_EDGE / max(width, height))
    aim = (max(1, round(width * shrunk)), max(1, round(height * shrunk)))
    found = [(w, h) for w in _steps(aim[0]) for h in _steps(aim[1]) if is_free_size(w, h)]
    best = min(found, key=lambda candidate: _distance(aim, candidate))
    return f"{best[0]}x{best[1]}"


def _steps(edge: int) -> tuple[int, ...]:
    below = edge // _STEP * _STEP
    return below - _STEP, below, below + _STEP, below + 2 * _STEP


def _distance(wanted: tuple[int, int], size: tuple[int, int]) -> tuple[float, int]:
    shape = size[0] * wanted[1], size[1] * wanted[0]
    return max(shape) / min(shape), abs(size[0] * size[1] - wanted[0] * wanted[1])


def dimensions(size: str) -> tuple[int, int] | None:
    """Width and height of a WIDTHxHEIGHT; None when it is none."""
    match = re.fullmatch(r"(\d{1,6})x(\d{1,6})", size)
    if match is None or not int(match[1]) or not int(match[2]):
        return None
    return int(match[1]), int(match[2])
