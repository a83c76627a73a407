"""The items of a Responses request as chat messages: what was said, called, answered and thought so far."""

from typing import Any, Final

import msgspec

from services.gateway.providers.chat.memory import Memory, remembered
from services.gateway.providers.responses.parts import (
    Content,
    InputPart,
    content_of,
    result_of,
    text_of,
)
from services.gateway.providers.responses.reading import Json, decoded, missing, refused

_NULL: Final = msgspec.Raw(b"null")


class InputItem(msgspec.Struct):
    """One item. Which fields count depends on `type`; a message may leave it out."""

    type: str | None = None
    id: str | None = None
    role: str | None = None
    content: Content = None
    call_id: str | None = None
    name: str | None = None
    arguments: str | None = None
    input: str | None = None
    action: msgspec.Raw = _NULL
    operation: msgspec.Raw = _NULL
    output: msgspec.Raw = _NULL
    status: str | None = None
    summary: list[InputPart] | None = None
    encrypted_content: str | None = None


class _Kind(msgspec.Struct):
    type: str | None = None


_items: Final = msgspec.json.Decoder(str | list[InputItem])
_kinds: Final = msgspec.json.Decoder(str | list[_Kind])
_output: Final = msgspec.json.Decoder(Content)
_ROLES: Final = frozenset({"user", "system", "developer", "assistant"})
_TRACES: Final = frozenset(
    {
        "web_search_call", "file_search_call", "code_interpreter_call", "image_generation_call",
        "mcp_list_tools", "mcp_call", "mcp_approval_request", "mcp_approval_response",
    }
)  # fmt: skip
"""What OpenAI's servers did for an answer. What came of it stands in the answer itself."""
_COMPACTIONS: Final = frozenset({"compaction", "compaction_summary"})


def messages_of(raw_input: bytes, *, pictures_in_results: bool) -> list[Json]:
    """Chat messages for `input`. Raises BadRequest naming the item that has no place in a chat.

    `pictures_in_results`: the provider takes what a tool shows with its result; else the user shows it thereafter.
    """
    given = decoded(_items, raw_input, "input")
    if isinstance(given, str):
        return [{"role": "user", "content": given}]
    if given and given[-1].type == "mcp_approval_response":
        where = f"input[{len(given) - 1}].type"
        raise refused(where, "what it allows would be done by OpenAI's servers, which do not answer here")
    writer = _Writer(pictures_in_results=pictures_in_results)
    for at, item in enumerate(given):
        writer.add(item, f"input[{at}]")
    return writer.written()


def left_out_of(raw_input: bytes) -> set[str]:
    """The types of the items that `messages_of` leaves out."""
    given = decoded(_kinds, raw_input, "input")
    return set() if isinstance(given, str) else {item.type for item in given if item.type in _TRACES}


class _Writer:
    """An assistant's reasoning, words and calls are separate items here but one message in a chat."""

    def __init__(self, *, pictures_in_results: bool) -> None:
        self._messages: list[Json] = []
        self._pictures_in_results = pictures_in_results
        self._shown: list[Json] = []
        """What tools have shown, for the user to show when all of them have answered."""
        self._details: list[Any] = []
        """What belongs to the assistant's turn that is being written, or is yet to begin."""
        self._thought: tuple[str, str] | None = None
        """So does this: the field that the provider shows reasoning in, and the reasoning."""
        self._thinking: list[tuple[str, Json]] = []
        """(that field, the turn that has it) since the user spoke last."""
        self._calls: dict[str, Json] = {}
        self._marks: Json = {}
        self._shells: dict[str | None, str | None] = {}
        """Id of a call of the local shell -> the id that it is answered by."""

    def add(self, item: InputItem, where: str) -> None:
        match item.type:
            case None | "message":
                self._message(item, where)
            case "function_call":
                self._call(item, item.name, item.arguments or "", where)
            case "custom_tool_call":
                self._call(item, item.name, _encoded({"input": item.input or ""}), where)
            case "local_shell_call" | "shell_call":
                self._own_call(item, item.action, f"{where}.action")
            case "apply_patch_call":
                self._own_call(item, item.operation, f"{where}.operation")
            case "function_call_output" | "custom_tool_call_output":
                content = decoded(_output, bytes(item.output), f"{where}.output")
                text, shown = result_of(content, f"{where}.output")
                self._result(item.call_id, text, shown, f"{where}.call_id")
            case "local_shell_call_output":
                self._result(self._shells.get(item.id, item.id), _said(item), [], f"{where}.id")
            case "shell_call_output" | "apply_patch_call_output":
                self._result(item.call_id, _said(item), [], f"{where}.call_id")
            case "reasoning":
                self._remember(remembered(item.encrypted_content), item)
            case kind if kind in _TRACES:
                pass
            case _:
                raise refused(f"{where}.type", _why_not(item.type))

    def written(self) -> list[Json]:
        self._show()
        self._forget([(field, turn) for field, turn in self._thinking if "tool_calls" not in turn])
        return self._messages

    def _message(self, item: InputItem, where: str) -> None:
        if item.role not in _ROLES:
            raise refused(f"{where}.role", "a role is one of user, system, developer and assistant")
        if item.role != "assistant":
            content = content_of(item.content, f"{where}.content", texts_only=item.role != "user")
            self._reply({"role": item.role, "content": content})
            return
        message = self._assistant(said="content")
        message["content"] = text_of(item.content, f"{where}.content")

    def _call(self, item: InputItem, name: str | None, arguments: str, where: str) -> None:
        if not item.call_id:
            raise missing(f"{where}.call_id")
        if not name:
            raise missing(f"{where}.name")
        message = self._assistant()
        call: Json = {
            "id": item.call_id,
            "type": "function",
            "function": {"name": name, "arguments": arguments},
        }
        if item.call_id in self._marks:
            call["extra_content"] = self._marks[item.call_id]
        message.setdefault("tool_calls", []).append(call)
        self._calls[item.call_id] = call

    def _own_call(self, item: InputItem, asked: msgspec.Raw, where: str) -> None:
        """A tool of OpenAI's own that the client ran: another model may read of it as of any other of the client's."""
        if bytes(asked) == b"null":
            raise missing(where)
        self._shells[item.id] = item.call_id
        name = (item.type or "").removesuffix("_call")
        self._call(item, name, _encoded(asked), where.rpartition(".")[0])

    def _result(self, call_id: str | None, text: str, shown: list[Json], where: str) -> None:
        if not call_id:
            raise missing(where)
        content: str | list[Json] = text
        if shown and self._pictures_in_results:
            content = [*([{"type": "text", "text": text}] if text else []), *shown]
        else:
            self._shown += shown
        self._reply({"role": "tool", "tool_call_id": call_id, "content": content})

    def _reply(self, message: Json) -> None:
        """Somebody else speaks: the assistant's turn is over."""
        if self._messages and self._messages[-1]["role"] == "assistant":
            self._give_back(self._messages[-1])
        self._details, self._thought = [], None
        if message["role"] == "user":
            self._forget(self._thinking)
            self._thinking = []
            if self._shown:
                message["content"] = [*self._taken(), *_as_parts(message["content"])]
        elif message["role"] != "tool":
            self._show()
        self._messages.append(message)

    def _assistant(self, said: str = "") -> Json:
        """The assistant's turn that is being written, unless it has this already; else a new one."""
        self._show()
        last = self._messages[-1] if self._messages else {}
        if last.get("role") == "assistant" and not (said and (last.get(said) or "tool_calls" in last)):
            self._give_back(last)
            return last
        message: Json = {"role": "assistant", "content": None}
        self._give_back(message)
        self._messages.append(message)
        return message

    def _show(self) -> None:
        """What tools have shown, by the user: few providers take more than text as a result."""
        if self._shown:
            self._messages.append({"role": "user", "content": self._taken()})

    def _taken(self) -> list[Json]:
        shown, self._shown = self._shown, []
        return shown

    def _give_back(self, turn: Json) -> None:
        if self._details:
            turn["reasoning_details"] = [*turn.get("reasoning_details", ()), *self._details]
            self._details = []
        if self._thought is not None:
            field, text = self._thought
            turn[field] = turn.get(field, "") + text
            self._thinking.append((field, turn))
            self._thought = None

    def _forget(self, turns: list[tuple[str, Json]]) -> None:
        """Plain reasoning is of use to its model while it calls tools. Later it only costs, and some refuse it."""
        for field, turn in turns:
            turn.pop(field, None)

    def _remember(self, memory: Memory, item: InputItem) -> None:
        """What a provider wants back, with the turn and with its calls, made already or yet to come."""
        self._details += memory.details
        self._marks |= memory.calls
        for call_id, extra in memory.calls.items():
            if call_id in self._calls:
                self._calls[call_id]["extra_content"] = extra
        text = "".join(part.text for part in item.summary or ())
        if memory.thought_in and text:
            before = self._thought[1] if self._thought is not None else ""
            self._thought = memory.thought_in, before + text


def _as_parts(content: str | list[Json]) -> list[Json]:
    return [{"type": "text", "text": content}] if isinstance(content, str) else content


def _said(item: InputItem) -> str:
    """What a tool of OpenAI's own gave; most of them give JSON."""
    output: Any = msgspec.json.decode(item.output)
    if not output:
        return item.status or ""
    return output if isinstance(output, str) else _encoded(output)


def _encoded(value: Any) -> str:
    return msgspec.json.encode(value).decode()


def _why_not(kind: str | None) -> str:
    if kind == "item_reference":
        return "this gateway stores no items to refer to; send the item itself"
    if kind in _COMPACTIONS:
        return (
            "it holds the conversation so far in a form that only OpenAI can read, and the provider of this model "
            "would answer without it; send the items themselves"
        )
    return f"the provider of this model knows no {kind} items"
