"""The items of a Responses request as chat messages: what was said, called, answered and thought so far."""

import re
from typing import Any, Final, TypeVar

import msgspec

from services.gateway.providers.chat.memory import Memory, remembered
from services.gateway.providers.errors import BadRequest

T = TypeVar("T")
Json = dict[str, Any]
_PLACE: Final = re.compile(r"(.*?) - at `\$\.?(.*)`", re.DOTALL)


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


class InputItem(msgspec.Struct):
    """One item. Which fields count depends on `type`; a message may leave it out."""

    type: str | None = None
    role: str | None = None
    content: str | list[InputPart] | None = None
    call_id: str | None = None
    name: str | None = None
    arguments: str | None = None
    output: str | list[InputPart] | None = None
    encrypted_content: str | None = None


_items: Final = msgspec.json.Decoder(str | list[InputItem])
_ROLES: Final = frozenset({"user", "system", "developer", "assistant"})
_TEXTS: Final = frozenset({"input_text", "output_text", "text", "summary_text", "reasoning_text"})


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


def messages_of(raw_input: bytes) -> list[Json]:
    """Chat messages for `input`. Raises BadRequest naming the item that has no place in a chat."""
    given = decoded(_items, raw_input, "input")
    if isinstance(given, str):
        return [{"role": "user", "content": given}]
    writer = _Writer()
    for at, item in enumerate(given):
        writer.add(item, f"input[{at}]")
    return writer.messages


class _Writer:
    """An assistant's reasoning, words and calls are separate items here but one message in a chat."""

    def __init__(self) -> None:
        self.messages: list[Json] = []
        self._details: list[Any] = []
        """What belongs to the assistant's turn that is being written, or is yet to begin."""
        self._calls: dict[str, Json] = {}
        self._marks: Json = {}

    def add(self, item: InputItem, where: str) -> None:
        match item.type:
            case None | "message":
                self._message(item, where)
            case "function_call":
                self._call(item, where)
            case "function_call_output":
                if not item.call_id:
                    raise _missing(f"{where}.call_id")
                content = _texts_only(item.output, f"{where}.output")
                self._reply({"role": "tool", "tool_call_id": item.call_id, "content": content})
            case "reasoning":
                self._remember(remembered(item.encrypted_content))
            case "item_reference":
                raise _refused(
                    f"{where}.type", "this gateway stores no items to refer to; send the item itself"
                )
            case _:
                raise _refused(f"{where}.type", f"the provider of this model knows no {item.type} items")

    def _message(self, item: InputItem, where: str) -> None:
        if item.role not in _ROLES:
            raise _refused(f"{where}.role", "a role is one of user, system, developer and assistant")
        if item.role != "assistant":
            content = _content(item.content, f"{where}.content", texts_only=item.role != "user")
            self._reply({"role": item.role, "content": content})
            return
        message = self._assistant(said="content")
        message["content"] = _texts_only(item.content, f"{where}.content")

    def _call(self, item: InputItem, where: str) -> None:
        for name in ("call_id", "name"):
            if not getattr(item, name):
                raise _missing(f"{where}.{name}")
        message = self._assistant()
        function = {"name": item.name, "arguments": item.arguments or ""}
        call: Json = {"id": item.call_id, "type": "function", "function": function}
        if item.call_id in self._marks:
            call["extra_content"] = self._marks[item.call_id]
        message.setdefault("tool_calls", []).append(call)
        self._calls[str(item.call_id)] = call

    def _reply(self, message: Json) -> None:
        """Somebody else speaks: the assistant's turn is over."""
        if self.messages and self.messages[-1]["role"] == "assistant":
            self._give_back(self.messages[-1])
        self._details = []
        self.messages.append(message)

    def _assistant(self, said: str = "") -> Json:
        """The assistant's turn that is being written, unless it has this already; else a new one."""
        last = self.messages[-1] if self.messages else {}
        if last.get("role") == "assistant" and not (said and (last.get(said) or "tool_calls" in last)):
            self._give_back(last)
            return last
        message: Json = {"role": "assistant", "content": None}
        self._give_back(message)
        self.messages.append(message)
        return message

    def _give_back(self, turn: Json) -> None:
        if self._details:
            turn["reasoning_details"] = [*turn.get("reasoning_details", ()), *self._details]
            self._details = []

    def _remember(self, memory: Memory) -> None:
        """What a provider wants back, with the turn and with its calls, made already or yet to come."""
        self._details += memory.details
        self._marks |= memory.calls
        for call_id, extra in memory.calls.items():
            if call_id in self._calls:
                self._calls[call_id]["extra_content"] = extra


def _content(content: str | list[InputPart] | None, where: str, *, texts_only: bool) -> str | list[Json]:
    if texts_only:
        _check_texts(content, where)
    if content is None:
        raise _missing(where)
    if isinstance(content, str):
        return content
    if len(content) == 1 and content[0].type in _TEXTS:
        return content[0].text
    return [_part(part, f"{where}[{at}]") for at, part in enumerate(content)]


def _part(part: InputPart, where: str) -> Json:
    match part.type:
        case "input_text" | "output_text" | "text":
            return {"type": "text", "text": part.text}
        case "input_image":
            if not part.image_url:
                raise _refused(
                    f"{where}.image_url",
                    "a picture must be an address or a data URL: no files are stored here",
                )
            shown = {"url": part.image_url} | ({"detail": part.detail} if part.detail else {})
            return {"type": "image_url", "image_url": shown}
        case "input_file":
            data = part.file_data or part.file_url
            if not data:
                raise _refused(
                    f"{where}.file_data", "a file must be sent with its data: no files are stored here"
                )
            named = {"filename": part.filename} if part.filename else {}
            return {"type": "file", "file": {"file_data": data, **named}}
        case "input_audio":
            return {"type": "input_audio", "input_audio": part.input_audio}
        case _:
            raise _refused(f"{where}.type", f"the provider of this model takes no {part.type} parts")


def _texts_only(content: str | list[InputPart] | None, where: str) -> str:
    """Where a chat has text alone."""
    if content is None:
        raise _missing(where)
    if isinstance(content, str):
        return content
    _check_texts(content, where)
    return "".join(part.text or part.refusal for part in content)


def _check_texts(content: str | list[InputPart] | None, where: str) -> None:
    for at, part in enumerate(content if isinstance(content, list) else ()):
        if part.type not in _TEXTS and part.type != "refusal":
            raise _refused(f"{where}[{at}].type", f"there can be no {part.type} here, only text")


def _missing(where: str) -> BadRequest:
    return BadRequest(f"`{where}` is missing.", param=where)


def _refused(where: str, why: str) -> BadRequest:
    return BadRequest(f"`{where}`: {why}.", param=where)
