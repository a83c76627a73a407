"""Parts of a chat as Converse's content blocks: text, pictures, documents, recordings, reasoning."""

import re
from collections.abc import Mapping
from typing import Any, Final

from services.gateway.providers.bedrock.families import CACHING, CACHING_EVERYWHERE, TAKES_REASONING, Family
from services.gateway.providers.chat.images import (
    Fetched,
    attached,
    data_url,
    decoded,
    is_data_url,
    media_type_of,
)
from services.gateway.providers.chat.policy import Fit
from services.gateway.providers.chat.request import (
    AudioPart,
    CacheControl,
    File,
    FilePart,
    ImagePart,
    Message,
    Part,
    ReasoningDetail,
    RefusalPart,
)
from services.gateway.providers.errors import BadRequest

Block = dict[str, Any]

REASONING_FORMAT: Final = "bedrock-converse-v1"
"""Marks reasoning that came from Bedrock, and so may go back to it."""
_OWN_FORMATS: Final = frozenset({None, REASONING_FORMAT, "anthropic-claude-v1"})
_IMAGES: Final = {"image/png": "png", "image/jpeg": "jpeg", "image/gif": "gif", "image/webp": "webp", "image/jpg": "jpeg"}  # fmt: skip
_DOCUMENTS: Final = {
    "application/pdf": "pdf",
    "text/csv": "csv",
    "application/msword": "doc",
    "application/vnd.openxmlformats-officedocument.wordprocessingml.document": "docx",
    "application/vnd.ms-excel": "xls",
    "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet": "xlsx",
    "text/html": "html",
    "text/plain": "txt",
    "text/markdown": "md",
}
_AUDIO: Final = frozenset({"mp3", "opus", "wav", "aac", "flac", "mp4", "ogg", "m4a", "mpeg", "mpga", "webm"})
_NOT_IN_NAMES: Final = re.compile(r"[^A-Za-z0-9\-()\[\]]+")
_NAME_CHARS: Final = 180


class Blocks:
    """Makes blocks; documents get names that are different within one request, as Converse wants them."""

    def __init__(self, fit: Fit, family: Family, fetched: Mapping[str, Fetched]) -> None:
        self._fit = fit
        self._family = family
        self._fetched = fetched
        self._names: set[str] = set()

    def of(self, message: Message, where: str) -> list[Block]:
        """The content of a message. Blank texts are left out: Converse refuses them."""
        found: list[Block] = []
        for at, part in enumerate(message.parts):
            place = f"{where}.content[{at}]" if isinstance(message.content, list) else f"{where}.content"
            found += self._part(part, place)
            if not isinstance(part, RefusalPart) and found:
                found += self.cache_point(part.cache_control)
        if isinstance(message.content, list) and found:
            found += self.cache_point(message.cache_control)
        return found

    def cache_point(self, control: CacheControl | None, *, of_tool: bool = False) -> list[Block]:
        """What stands behind the block that carries a caching marker."""
        if control is None:
            return []
        everywhere = self._family in CACHING_EVERYWHERE
        if self._family not in CACHING or (of_tool and not everywhere):
            self._fit.drop("cache_control")
            return []
        point = {"type": "default"}
        if control.ttl == "1h" and everywhere:
            point["ttl"] = control.ttl
        elif control.ttl not in (None, "5m"):
            self._fit.drop("cache_control.ttl")
        return [{"cachePoint": point}]

    def reasoning(self, details: list[ReasoningDetail] | None, where: str) -> list[Block]:
        """The reasoning that Bedrock signed. Unsigned reasoning, and other providers', would be refused."""
        found: list[Block] = []
        if self._family not in TAKES_REASONING:
            return found
        for at, detail in enumerate(details or ()):
            if detail.format not in _OWN_FORMATS:
                continue
            if detail.signature and detail.text:
                text = {"text": detail.text, "signature": detail.signature}
                found.append({"reasoningContent": {"reasoningText": text}})
            elif detail.data:
                data = decoded(detail.data, f"{where}.reasoning_details[{at}].data")
                found.append({"reasoningContent": {"redactedContent": data}})
        return found

    def _part(self, part: Part, where: str) -> list[Block]:
        if isinstance(part, ImagePart):
            return [self._image(part.image_url.url, f"{where}.image_url.url")]
        if isinstance(part, FilePart):
            return [self._file(part.file, f"{where}.file")]
        if isinstance(part, AudioPart):
            return [self._audio(part, f"{where}.input_audio")]
        text = part.refusal if isinstance(part, RefusalPart) else part.text
        return [{"text": text}] if text.strip() else []

    def _image(self, url: str, where: str) -> Block:
        declared, data = self._bytes(url, where)
        kind = _IMAGES.get(media_type_of(data) or declared)
        if kind is None:
            raise BadRequest(f"`{where}` must be a PNG, JPEG, GIF or WebP picture.", param=where)
        return {"image": {"format": kind, "source": {"bytes": data}}}

    def _file(self, file: File, where: str) -> Block:
        if not file.file_data:
            raise BadRequest(
                f"`{where}.file_data` is missing: the provider knows no uploaded files.",
                param=f"{where}.file_data",
            )
        where = f"{where}.file_data"
        found = attached(file.file_data, where, self._fetched, file.filename)
        if found is None:
            raise BadRequest(f"`{where}` must be a file in base64 or an https address.", param=where)
        media_type, data = found.media_type, _not_empty(found.data, where)
        if media_type in _IMAGES:
            return {"image": {"format": _IMAGES[media_type], "source": {"bytes": data}}}
        kind = _DOCUMENTS.get(media_type)
        if kind is None:
            raise BadRequest(
                f"`{where}` is a {media_type} file, which the provider cannot read.", param=where
            )
        name = self._name(file.filename or "document")
        return {"document": {"format": kind, "name": name, "source": {"bytes": data}}}

    def _audio(self, part: AudioPart, where: str) -> Block:
        if part.input_audio.format not in _AUDIO:
            raise BadRequest(f"`{where}.format` is not one that the provider knows.", param=f"{where}.format")
        data = _not_empty(decoded(part.input_audio.data, f"{where}.data"), f"{where}.data")
        return {"audio": {"format": part.input_audio.format, "source": {"bytes": data}}}

    def _bytes(self, url: str, where: str) -> tuple[str, bytes]:
        if is_data_url(url):
            declared, data = data_url(url, where)
        elif (found := self._fetched.get(url)) is not None:
            declared, data = found.media_type, found.data
        else:
            raise BadRequest(f"`{where}` must be a data URL or an https address.", param=where)
        return declared, _not_empty(data, where)

    def _name(self, filename: str) -> str:
        """The name that the model is shown: few characters are allowed in it, and no two may be the same."""
        stem = filename.rpartition(".")[0] or filename
        base = _NOT_IN_NAMES.sub(" ", stem).strip()[:_NAME_CHARS].strip() or "document"
        name, number = base, 2
        while name in self._names:
            name, number = f"{base} {number}", number + 1
        self._names.add(name)
        return name


def addresses(message: Message) -> list[str]:
    """The https addresses in a message, whose bytes Bedrock wants."""
    found = []
    for part in message.parts:
        if isinstance(part, ImagePart):
            found.append(part.image_url.url)
        elif isinstance(part, FilePart) and part.file.file_data:
            found.append(part.file.file_data)
    return [url for url in found if url[:8].lower() == "https://"]


def _not_empty(data: bytes, where: str) -> bytes:
    if not data:
        raise BadRequest(f"`{where}` is empty.", param=where)
    return data
