"""Reading what a client sent: the place of whatever is wrong is told in the client's own words."""

import re
from typing import Any, Final, TypeVar

import msgspec

from services.gateway.providers.errors import BadRequest

T = TypeVar("T")
Json = dict[str, Any]
_PLACE: Final = re.compile(r"(.*?) - at `\$\.?(.*)`", re.DOTALL)


def decoded(decoder: msgspec.json.Decoder[T], raw: bytes, name: str) -> T:
    """The field `name`. Raises BadRequest naming the place in it that is wrong."""
    try:
        return decoder.decode(raw)
    except msgspec.ValidationError as error:
        found = _PLACE.fullmatch(str(error))
        where = name + (("" if found[2].startswith("[") else ".") + found[2] if found and found[2] else "")
        raise BadRequest(f"`{where}` is wrong: {found[1] if found else error}.", param=where) from error
    except msgspec.DecodeError as error:
        raise BadRequest(f"`{name}` is not valid JSON: {error}.", param=name) from error


def missing(where: str) -> BadRequest:
    return BadRequest(f"`{where}` is missing.", param=where)


def refused(where: str, why: str) -> BadRequest:
    return BadRequest(f"`{where}`: {why}.", param=where)
