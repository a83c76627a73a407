"""Answers of OpenAI's Responses API, whole and as the events that build them up, all of its SDK's own types; and what it
has against items that come back to it, which types cannot tell."""

import re
import secrets
from collections import Counter
from dataclasses import dataclass, field
from typing import Any, Final

import msgspec
import pydantic
from openai.types.responses import Response, ResponseStreamEvent

from tests.support.providers.openai_types import CREATED
from tests.support.providers.script import REFUSAL, Call, Document, Turn, cut
from tests.support.providers.sdk_types import refuse

_EVENT: Final[pydantic.TypeAdapter[Any]] = pydantic.TypeAdapter(ResponseStreamEvent)
_PREFIXES: Final = {"message": "msg", "function_call": "fc", "reasoning": "rs"}
_ID: Final = re.compile(r"[A-Za-z0-9_-]+")
_MAX_ID_CHARS: Final = 64
_ENCRYPTED: Final = "reasoning.encrypted_content"


@dataclass
class Made:
    """What one server remembers of what it made: the reasoning that it stored, and what it encrypted."""

    stored: set[str] = field(default_factory=set)
    encrypted: set[str] = field(default_factory=set)

    def output(self, turn: Turn, body: Document) -> list[Document]:
        """The items of an answer, with ids that no other answer has. Reasoning is kept, or handed out encrypted."""
        key = secrets.token_hex(12)
        items = [_call_item(call, f"fc_{key}{at}") for at, call in enumerate(turn.calls)]
        if not items:
            part = {"type": "output_text", "annotations": [], "logprobs": [], "text": turn.text}
            said = {"type": "message", "id": f"msg_{key}", "status": "completed", "role": "assistant"}
            items = [{**said, "content": [part]}]
        if turn.thought:
            summary = [{"type": "summary_text", "text": turn.thought}]
            thought: Document = {"type": "reasoning", "id": f"rs_{key}", "summary": summary}
            if body.get("store") is not False:
                self.stored.add(thought["id"])
            if _ENCRYPTED in (body.get("include") or ()):
                thought["encrypted_content"] = f"gAAAAAB{key}"
                self.encrypted.add(thought["encrypted_content"])
            items.insert(0, thought)
        return items

    def wrong_in(self, body: Document) -> list[str]:
        """What it has against the items of a request."""
        given = body.get("input")
        if not isinstance(given, list):
            return []
        found: list[str] = []
        for at, item in enumerate(given):
            where = f".input[{at}]"
            found += _wrong_ids(item, where)
            if item.get("type") == "reasoning":
                found += self._wrong_reasoning(item, where)
        times = Counter(item["id"] for item in given if item.get("id"))
        found += [f".input has a duplicate item with id {id!r}" for id, count in times.items() if count > 1]
        return found + _without_counterpart(given)

    def _wrong_reasoning(self, item: Document, where: str) -> list[str]:
        encrypted = item.get("encrypted_content")
        if encrypted is not None:
            known = encrypted in self.encrypted
            return [] if known else [f"{where}.encrypted_content could not be decrypted or parsed"]
        known = item.get("id") in self.stored
        return [] if known else [f"{where}.id {item.get('id')!r} not found: items are not persisted"]


def with_trimmings(body: Document) -> Document:
    """The same request with what OpenAI itself does not miss in items, though its types do: ids, states, sources."""
    given = body.get("input")
    if not isinstance(given, list):
        return body
    return body | {"input": [_whole(item) for item in given]}


def _whole(item: Document) -> Document:
    if item.get("type") == "reasoning":
        return {"id": "rs_1", **item}
    if item.get("role") != "assistant" or not isinstance(item.get("content"), list):
        return item
    parts = [{"annotations": [], **part} for part in item["content"]]
    return {"id": "msg_1", "status": "completed", **item, "content": parts}


def _wrong_ids(item: Document, where: str) -> list[str]:
    found = []
    id, call_id = item.get("id"), item.get("call_id")
    prefix = _PREFIXES.get(item.get("type") or "message", "")
    if id is not None:
        if not id.startswith(prefix):
            found.append(f"{where}.id does not begin with {prefix!r}")
        if not _ID.fullmatch(id):
            found.append(f"{where}.id contains other characters than letters, numbers, underscores or dashes")
        if len(id) > _MAX_ID_CHARS:
            found.append(f"{where}.id is too long")
    if call_id is not None and len(call_id) > _MAX_ID_CHARS:
        found.append(f"{where}.call_id is too long")
    return found


def _without_counterpart(given: list[Document]) -> list[str]:
    called = {item["call_id"] for item in given if item.get("type") == "function_call"}
    answered = {item["call_id"] for item in given if item.get("type") == "function_call_output"}
    return [f".input has no output for the call {id!r}" for id in sorted(called - answered)] + [
        f".input has no call for the output of {id!r}" for id in sorted(answered - called)
    ]


def response_answer(turn: Turn, model: str, output: list[Document], status: str = "completed") -> Document:
    """Without output and usage while it is in progress."""
    finished = status == "completed"
    answer: Document = {
        "id": "resp_1",
        "object": "response",
        "created_at": CREATED,
        "status": status,
        "error": None,
        "incomplete_details": None,
        "instructions": None,
        "metadata": {},
        "model": model,
        "output": output if finished else [],
        "parallel_tool_calls": True,
        "temperature": 1.0,
        "tool_choice": "auto",
        "tools": [],
        "top_p": 1.0,
        "usage": _usage(turn) if finished and turn.fault != "no usage" else None,
    }
    refuse(Response, answer)
    return answer


def response_events(turn: Turn, model: str, output: list[Document]) -> list[bytes]:
    """The events of the same response."""
    events: list[bytes] = []

    def add(kind: str, **told: Any) -> None:
        document = {"type": kind, "sequence_number": len(events), **told}
        _EVENT.validate_python(document)
        events.append(f"event: {kind}\ndata: ".encode() + msgspec.json.encode(document) + b"\n\n")

    add("response.created", response=response_answer(turn, model, [], "in_progress"))
    add("response.in_progress", response=response_answer(turn, model, [], "in_progress"))
    for at, item in enumerate(output):
        if item["type"] == "message":
            _say(add, at, item)
        elif item["type"] == "reasoning":
            _think(add, at, item)
        else:
            _call(add, at, item)
    if turn.fault == "error event":
        del events[len(events) // 2 :]
        add("error", code="server_error", message=f"{REFUSAL}: overloaded", param=None)
    else:
        add("response.completed", response=response_answer(turn, model, output))
    return events


def _say(add: Any, at: int, item: Document) -> None:
    (part,) = item["content"]
    place = {"item_id": item["id"], "output_index": at, "content_index": 0}
    begun = item | {"content": [], "status": "in_progress"}
    add("response.output_item.added", output_index=at, item=begun)
    add("response.content_part.added", **place, part=part | {"text": ""})
    for piece in cut(part["text"]):
        add("response.output_text.delta", **place, delta=piece, logprobs=[])
    add("response.output_text.done", **place, text=part["text"], logprobs=[])
    add("response.content_part.done", **place, part=part)
    add("response.output_item.done", output_index=at, item=item)


def _call(add: Any, at: int, item: Document) -> None:
    place = {"item_id": item["id"], "output_index": at}
    add("response.output_item.added", output_index=at, item=item | {"arguments": "", "status": "in_progress"})
    for piece in cut(item["arguments"]):
        add("response.function_call_arguments.delta", **place, delta=piece)
    arguments, name = item["arguments"], item["name"]
    add("response.function_call_arguments.done", **place, arguments=arguments, name=name)
    add("response.output_item.done", output_index=at, item=item)


def _think(add: Any, at: int, item: Document) -> None:
    (part,) = item["summary"]
    place = {"item_id": item["id"], "output_index": at, "summary_index": 0}
    add("response.output_item.added", output_index=at, item=item | {"summary": []})
    add("response.reasoning_summary_part.added", **place, part=part | {"text": ""})
    for piece in cut(part["text"]):
        add("response.reasoning_summary_text.delta", **place, delta=piece)
    add("response.reasoning_summary_text.done", **place, text=part["text"])
    add("response.reasoning_summary_part.done", **place, part=part)
    add("response.output_item.done", output_index=at, item=item)


def _call_item(call: Call, id: str) -> Document:
    return {
        "type": "function_call",
        "id": id,
        "call_id": call.id,
        "name": call.name,
        "arguments": msgspec.json.encode(call.arguments).decode(),
        "status": "completed",
    }


def _usage(turn: Turn) -> Document:
    return {
        "input_tokens": turn.prompt,
        "input_tokens_details": {"cached_tokens": turn.cached, "cache_write_tokens": 0},
        "output_tokens": turn.completion,
        "output_tokens_details": {"reasoning_tokens": 0},
        "total_tokens": turn.prompt + turn.completion,
    }
