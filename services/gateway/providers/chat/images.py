"""Pictures, recordings and documents inside a chat: data URLs, and how a file says what it is."""

import base64
import binascii
import mimetypes
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from services.gateway.providers.errors import BadRequest

_SIGNATURES: Final = (
    (b"\x89PNG\r\n\x1a\n", "image/png"),
    (b"\xff\xd8\xff", "image/jpeg"),
    (b"GIF8", "image/gif"),
    (b"%PDF-", "application/pdf"),
)
UNKNOWN_TYPE: Final = "application/octet-stream"
_ADDRESS: Final = re.compile(r"[a-z][a-z0-9+.-]*://", re.IGNORECASE)
_URL_SAFE: Final = str.maketrans("-_", "+/")
_AUDIO_TYPES: Final = {"wav": "audio/wav", "mp3": "audio/mp3"}


@dataclass(frozen=True, slots=True)
class Fetched:
    """What an https address in a request holds, fetched by the gateway."""

    media_type: str
    data: bytes

    @property
    def base64(self) -> str:
        return base64.b64encode(self.data).decode()


def is_data_url(text: str) -> bool:
    return text[:5].lower() == "data:"


def split_data_url(text: str, where: str) -> tuple[str, str]:
    """Media type and plain base64 of a data URL. Raises BadRequest naming `where` when it is not one in base64."""
    head, comma, data = text.partition(",")
    media_type, *flags = head[5:].split(";")
    if not is_data_url(text) or not comma or "base64" not in [flag.strip().lower() for flag in flags]:
        raise BadRequest(f"`{where}` must be a data URL in base64.", param=where)
    return media_type.strip().lower() or UNKNOWN_TYPE, _plain(data)


def _plain(encoded: str) -> str:
    """Base64 as every vendor takes it: on one line, padded, with the plain alphabet. What is none stays none."""
    text = encoded.strip()
    if "\n" in text:
        text = text.replace("\r", "").replace("\n", "")
    if "-" in text or "_" in text:
        text = text.translate(_URL_SAFE)
    return text + "=" * (-len(text) % 4)


@dataclass(frozen=True, slots=True)
class Attached:
    """A file in a request."""

    media_type: str
    """What its first bytes say, else what was declared, else what its name tells; UNKNOWN_TYPE where nothing does."""
    data: bytes
    base64: str


def attached(
    text: str, where: str, fetched: Mapping[str, Fetched], filename: str | None = None
) -> Attached | None:
    """What `file_data` holds: a data URL, an address that was fetched, or bare base64, as some clients send it.

    None: an address that was not fetched. Raises BadRequest naming `where`.
    """
    known = fetched.get(text)
    if known is not None:
        return Attached(_kind(known.media_type, known.data, filename), known.data, known.base64)
    if is_data_url(text):
        declared, encoded = split_data_url(text, where)
    elif _ADDRESS.match(text):
        return None
    else:
        declared, encoded = UNKNOWN_TYPE, _plain(text)
    data = decoded(encoded, where)
    return Attached(_kind(declared, data, filename), data, encoded)


def _kind(declared: str, data: bytes, filename: str | None) -> str:
    found = media_type_of(data) or declared
    if found != UNKNOWN_TYPE:
        return found
    return mimetypes.guess_type(filename or "")[0] or UNKNOWN_TYPE


def data_url(text: str, where: str) -> tuple[str, bytes]:
    """Media type and bytes of a data URL. Raises BadRequest naming `where`."""
    media_type, data = split_data_url(text, where)
    return media_type, decoded(data, where)


def decoded(data: str, where: str) -> bytes:
    """The bytes of a base64 text. Raises BadRequest naming `where`."""
    try:
        return base64.b64decode(data, validate=True)
    except (binascii.Error, ValueError) as error:
        raise BadRequest(f"`{where}` is not valid base64.", param=where) from error


def media_type_of(data: bytes) -> str:
    """What the first bytes of a file say that it is; empty when they say nothing known here."""
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "image/webp"
    return next((kind for start, kind in _SIGNATURES if data.startswith(start)), "")


def audio_media_type(format: str) -> str:
    """The media type of an `input_audio` format."""
    return _AUDIO_TYPES.get(format, f"audio/{format}")
