"""A response of the Responses format, from the events of its stream."""

from typing import Any, Final

_ENDS: Final = frozenset({"response.completed", "response.incomplete", "response.failed"})
_ARGUMENTS: Final = {"function_call_arguments": "arguments", "custom_tool_call_input": "input"}
_CONTENTS: Final = {"output_text": "text", "reasoning_text": "text", "refusal": "refusal"}
"""Kind of a content part -> the field with its text."""
_MAX_ITEMS: Final = 1000


class ResponsesStream:
    """Add its events in order, then take the whole: the one in the last event, else what came until the cut."""

    def __init__(self) -> None:
        self._response: dict[str, Any] = {}
        self._is_whole = False
        self._items: dict[int, dict[str, Any]] = {}
        self._pieces: dict[int, dict[str, list[str]]] = {}
        """Output index -> kind of delta -> its pieces, of items that are not done."""

    def add(self, event: dict[str, Any]) -> None:
        kind = str(event.get("type", ""))
        match event:
            case {"response": dict(response)}:
                self._response = response
                self._is_whole = kind in _ENDS
            case {"output_index": int(index), "item": dict(item)}:
                if index in self._items or len(self._items) < _MAX_ITEMS:
                    self._items[index] = item
                    self._pieces[index] = {}
            case {"output_index": int(index), "delta": str(piece)} if index in self._items:
                name = kind.removeprefix("response.").removesuffix(".delta")
                self._pieces[index].setdefault(name, []).append(piece)
            case {"type": "error"}:
                self._response = self._response | {"error": event.get("error") or event}

    def whole(self) -> dict[str, Any]:
        if self._is_whole:
            return self._response
        return self._response | {"output": [self._item(index) for index in sorted(self._items)]}

    def _item(self, index: int) -> dict[str, Any]:
        item = dict(self._items[index])
        for name, pieces in self._pieces[index].items():
            text = "".join(pieces)
            if name in _ARGUMENTS:
                item[_ARGUMENTS[name]] = text
            elif name in _CONTENTS:
                item["content"] = [{"type": name, _CONTENTS[name]: text}]
            elif name == "reasoning_summary_text":
                item["summary"] = [{"type": "summary_text", "text": text}]
        return item
