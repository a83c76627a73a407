"""The messages of a chat as Gemini's contents: roles, parts, calls of functions and their results."""

import mimetypes
from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec

from services.gateway.providers.chat.images import (
    UNKNOWN_TYPE,
    Fetched,
    attached,
    audio_media_type,
    decoded,
    is_data_url,
    media_type_of,
    split_data_url,
)
from services.gateway.providers.chat.request import (
    AudioPart,
    ChatRequest,
    FilePart,
    ImagePart,
    Message,
    Part,
    RefusalPart,
    TextPart,
    ToolCall,
    arguments_of,
)
from services.gateway.providers.errors import BadRequest

SIGNATURE_FORMAT: Final = "google-gemini-v1"
NO_SIGNATURE: Final = "skip_thought_signature_validator"
"""What Google wants in place of the signature of a call that it did not make, or that the client lost."""
_OWN_ADDRESSES: Final = (
    "gs://",
    "https://generativelanguage.googleapis.com/",
    "https://www.youtube.com/",
    "https://youtu.be/",
)
"""What Google's servers read themselves."""

_HEAD_CHARS: Final = 32
"""Of base64, in which a file says what it is."""

WirePart = dict[str, Any]
Content = dict[str, Any]


class Contents:
    """Reads the messages once, in order."""

    def __init__(self, fetched: Mapping[str, Fetched], *, wants_signatures: bool) -> None:
        self.system: list[WirePart] = []
        self.contents: list[Content] = []
        self._fetched = fetched
        self._wants_signatures = wants_signatures
        self._names: dict[str, str] = {}

    def read(self, chat: ChatRequest) -> None:
        """Raises BadRequest naming the message at fault."""
        for at, message in enumerate(chat.messages):
            where = f"messages[{at}]"
            if message.role in ("system", "developer"):
                self.system += self._texts(message, where)
            elif message.role == "assistant":
                self._add("model", self._said(message, where))
            elif message.role == "tool":
                self._add("user", self._result(message, where))
            else:
                self._add("user", self._parts(message.parts, f"{where}.content"))
        if not self.contents:
            # Gemini answers to nobody's instructions alone.
            self.contents, self.system = [{"role": "user", "parts": self.system}], []
        if not self.contents[0]["parts"]:
            raise BadRequest("`messages` holds nothing to answer to.", param="messages")

    def _add(self, role: str, parts: list[WirePart]) -> None:
        """Neighbours of one role are one turn: the results of parallel calls must stand together."""
        if not parts:
            return
        if self.contents and self.contents[-1]["role"] == role:
            self.contents[-1]["parts"] += parts
        else:
            self.contents.append({"role": role, "parts": parts})

    def _texts(self, message: Message, where: str) -> list[WirePart]:
        for at, part in enumerate(message.parts):
            if not isinstance(part, TextPart):
                param = f"{where}.content[{at}]"
                raise BadRequest(f"`{param}`: instructions can only be text.", param=param)
        return self._parts(message.parts, f"{where}.content")

    def _said(self, message: Message, where: str) -> list[WirePart]:
        parts = self._parts(message.parts, f"{where}.content")
        if message.refusal and not parts:
            parts.append({"text": message.refusal})
        signature = _signature_of(message)
        if signature and parts:
            parts[-1]["thoughtSignature"] = signature
        for at, call in enumerate(message.tool_calls or ()):
            self._names[call.id] = call.function.name
            parts.append(self._call(call, f"{where}.tool_calls[{at}]", first=at == 0))
        return parts

    def _call(self, call: ToolCall, where: str, *, first: bool) -> WirePart:
        arguments = arguments_of(call, where)
        part: WirePart = {"functionCall": {"id": call.id, "name": call.function.name, "args": arguments}}
        signature = _signature_in(call.extra_content)
        if signature:
            part["thoughtSignature"] = signature
        elif first and self._wants_signatures:
            part["thoughtSignature"] = NO_SIGNATURE
        return part

    def _result(self, message: Message, where: str) -> list[WirePart]:
        call_id = message.tool_call_id or ""
        name = self._names.get(call_id) or message.name
        if not name:
            param = f"{where}.tool_call_id"
            raise BadRequest(f"`{param}` names no call of an earlier message.", param=param)
        response = {"id": call_id, "name": name, "response": _as_object(message.text)}
        others = [part for part in message.parts if not isinstance(part, TextPart)]
        return [{"functionResponse": response}, *self._parts(others, f"{where}.content")]

    def _parts(self, parts: Sequence[Part], where: str) -> list[WirePart]:
        return [
            wire for at, part in enumerate(parts) if (wire := self._part(part, f"{where}[{at}]")) is not None
        ]

    def _part(self, part: Part, where: str) -> WirePart | None:
        match part:
            case TextPart():
                return {"text": part.text} if part.text else None
            case RefusalPart():
                return {"text": part.refusal} if part.refusal else None
            case ImagePart():
                return self._data(part.image_url.url, f"{where}.image_url.url")
            case AudioPart():
                audio = part.input_audio
                decoded(audio.data, f"{where}.input_audio.data")  # the whole request would be refused for it
                return inline(audio_media_type(audio.format), audio.data)
            case FilePart():
                return self._file(part, where)

    def _file(self, part: FilePart, where: str) -> WirePart:
        address = part.file.file_data or part.file.file_id or ""
        if not address:
            raise BadRequest(f"`{where}.file` holds no file.", param=f"{where}.file")
        if part.file.file_data:
            place = f"{where}.file.file_data"
            found = attached(address, place, self._fetched, part.file.filename)
            if found is None:
                return self._data(address, place)
            if found.media_type == UNKNOWN_TYPE:
                raise BadRequest(f"`{place}` does not say what kind of file it is.", param=place)
            return inline(found.media_type, found.base64)
        if not address.startswith(_OWN_ADDRESSES):
            param = f"{where}.file.file_id"
            raise BadRequest(f"`{param}`: Gemini knows no such file; send `file_data`.", param=param)
        return self._data(address, f"{where}.file.file_id")

    def _data(self, address: str, where: str) -> WirePart:
        if is_data_url(address):
            declared, data = split_data_url(address, where)
            return inline(media_type_of(decoded(data[:_HEAD_CHARS], where)) or declared, data)
        if address.startswith(_OWN_ADDRESSES):
            guessed = mimetypes.guess_type(address)[0]
            return {"fileData": {"fileUri": address, **({"mimeType": guessed} if guessed else {})}}
        found = self._fetched.get(address)
        if found is None:
            raise BadRequest(f"`{where}` must be a data URL or an https address.", param=where)
        return inline(media_type_of(found.data) or found.media_type, found.base64)


def inline(media_type: str, data: str) -> WirePart:
    """A file inside the request; `data` is base64."""
    return {"inlineData": {"mimeType": media_type, "data": data}}


def addresses_in(chat: ChatRequest) -> tuple[str, ...]:
    """The https addresses in a chat that Google's servers would not read themselves."""
    found = []
    for message in chat.messages:
        for part in message.parts:
            if isinstance(part, ImagePart):
                found.append(part.image_url.url)
            elif isinstance(part, FilePart):
                found.append(part.file.file_data or "")
    return tuple(
        dict.fromkeys(
            address
            for address in found
            if address[:8].lower() == "https://" and not address.startswith(_OWN_ADDRESSES)
        )
    )


def _as_object(text: str) -> dict[str, Any]:
    """A result as the object that Gemini wants."""
    try:
        value = msgspec.json.decode(text)
    except msgspec.DecodeError:
        value = text  # plain text: a result like any other
    return value if isinstance(value, dict) else {"result": value}


def _signature_in(extra: Mapping[str, Any] | None) -> str:
    google = extra.get("google") if extra else None
    signature = google.get("thought_signature") if isinstance(google, dict) else None
    return signature if isinstance(signature, str) else ""


def _signature_of(message: Message) -> str:
    """The signature of the answer's text, which came as an encrypted piece of its reasoning."""
    details = message.reasoning_details or ()
    return next(
        (detail.data for detail in reversed(details) if detail.format == SIGNATURE_FORMAT and detail.data), ""
    )
