"""Parts of messages and of a tool's output, as parts of chat messages."""

from typing import Final

import msgspec

from services.gateway.providers.responses.reading import Json, missing, refused

_TEXTS: Final = frozenset({"input_text", "output_text", "text", "summary_text", "reasoning_text"})


class InputPart(msgspec.Struct):
    """A part of a message or of a tool's output. Which fields count depends on `type`."""

    type: str = "input_text"
    text: str = ""
    refusal: str = ""
    image_url: str | None = None
    detail: str | None = None
    file_id: str | None = None
    file_data: str | None = None
    file_url: str | None = None
    filename: str | None = None
    input_audio: msgspec.Raw = msgspec.Raw(b"null")


Content = str | list[InputPart] | None


def content_of(content: Content, where: str, *, texts_only: bool) -> str | list[Json]:
    """Of a message. Raises BadRequest naming the part that no chat has."""
    if texts_only:
        _check_texts(content, where)
    if content is None:
        raise missing(where)
    if isinstance(content, str):
        return content
    if len(content) == 1 and content[0].type in _TEXTS:
        return content[0].text
    return [_part(part, f"{where}[{at}]") for at, part in enumerate(content)]


def text_of(content: Content, where: str) -> str:
    """Where a chat has text alone."""
    if content is None:
        raise missing(where)
    if isinstance(content, str):
        return content
    _check_texts(content, where)
    return "".join(part.text or part.refusal for part in content)


def result_of(content: Content, where: str) -> tuple[str, list[Json]]:
    """What a tool gave: its text, and what else there is to see or read."""
    if not isinstance(content, list):
        return text_of(content, where), []
    shown = [_part(part, f"{where}[{at}]") for at, part in enumerate(content) if not _is_text(part)]
    return "".join(part.text or part.refusal for part in content), shown


def _part(part: InputPart, where: str) -> Json:
    match part.type:
        case "input_text" | "output_text" | "text":
            return {"type": "text", "text": part.text}
        case "input_image":
            if not part.image_url:
                raise refused(
                    f"{where}.image_url",
                    "a picture must be an address or a data URL: no files are stored here",
                )
            shown = {"url": part.image_url} | ({"detail": part.detail} if part.detail else {})
            return {"type": "image_url", "image_url": shown}
        case "input_file":
            data = part.file_data or part.file_url
            if not data:
                raise refused(
                    f"{where}.file_data", "a file must be sent with its data: no files are stored here"
                )
            named = {"filename": part.filename} if part.filename else {}
            return {"type": "file", "file": {"file_data": data, **named}}
        case "input_audio":
            return {"type": "input_audio", "input_audio": part.input_audio}
        case _:
            raise refused(f"{where}.type", f"the provider of this model takes no {part.type} parts")


def _check_texts(content: Content, where: str) -> None:
    for at, part in enumerate(content if isinstance(content, list) else ()):
        if not _is_text(part):
            raise refused(f"{where}[{at}].type", f"there can be no {part.type} here, only text")


def _is_text(part: InputPart) -> bool:
    return part.type in _TEXTS or part.type == "refusal"
