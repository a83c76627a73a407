"""Answers of OpenAI's Responses API, whole and as the events that build them up, all of its SDK's own types."""

from typing import Any, Final

import msgspec
import pydantic
from openai.types.responses import Response, ResponseStreamEvent

from tests.support.providers.openai_types import CREATED
from tests.support.providers.script import REFUSAL, Call, Document, Turn, cut
from tests.support.providers.sdk_types import refuse

_EVENT: Final[pydantic.TypeAdapter[Any]] = pydantic.TypeAdapter(ResponseStreamEvent)


def response_answer(turn: Turn, model: str, status: str = "completed") -> Document:
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
        "output": _output(turn) if finished else [],
        "parallel_tool_calls": True,
        "temperature": 1.0,
        "tool_choice": "auto",
        "tools": [],
        "top_p": 1.0,
        "usage": _usage(turn) if finished and turn.fault != "no usage" else None,
    }
    refuse(Response, answer)
    return answer


def response_events(turn: Turn, model: str) -> list[bytes]:
    """The events of the same response."""
    events: list[bytes] = []

    def add(kind: str, **told: Any) -> None:
        document = {"type": kind, "sequence_number": len(events), **told}
        _EVENT.validate_python(document)
        events.append(f"event: {kind}\ndata: ".encode() + msgspec.json.encode(document) + b"\n\n")

    add("response.created", response=response_answer(turn, model, "in_progress"))
    add("response.in_progress", response=response_answer(turn, model, "in_progress"))
    for at, item in enumerate(_output(turn)):
        if item["type"] == "message":
            _say(add, at, item)
        else:
            _call(add, at, item)
    if turn.fault == "error event":
        del events[len(events) // 2 :]
        add("error", code="server_error", message=f"{REFUSAL}: overloaded", param=None)
    else:
        add("response.completed", response=response_answer(turn, model))
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


def _output(turn: Turn) -> list[Document]:
    if turn.calls:
        return [_call_item(call) for call in turn.calls]
    part = {"type": "output_text", "annotations": [], "logprobs": [], "text": turn.text}
    return [{"type": "message", "id": "msg_1", "status": "completed", "role": "assistant", "content": [part]}]


def _call_item(call: Call) -> Document:
    return {
        "type": "function_call",
        "id": f"fc_{call.id}",
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
