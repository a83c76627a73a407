"""What the mock answers at /responses: a response object, and the typed events that build it up."""

from typing import Any

import msgspec

from tests.support.upstream.directives import Directives

_CREATED = 1_700_000_000
WORD = "word "


def response_document(model: str, orders: Directives, status: str = "completed") -> dict[str, Any]:
    """A response with one message of `orders.completion` words; without output and usage while in progress."""
    finished = status != "in_progress"
    text = "x" * orders.size if orders.size else WORD * orders.completion
    document: dict[str, Any] = {
        "id": f"resp_{orders.marker}",
        "object": "response",
        "created_at": _CREATED,
        "status": status,
        "error": None,
        "incomplete_details": {"reason": "max_output_tokens"} if status == "incomplete" else None,
        "instructions": None,
        "metadata": {},
        "model": model,
        "output": [_message(orders, text, status)] if finished else [],
        "parallel_tool_calls": True,
        "temperature": 1.0,
        "tool_choice": "auto",
        "tools": [],
        "top_p": 1.0,
        "usage": None,
    }
    if status == "failed":
        document["error"] = {"code": "server_error", "message": "mock failure of a response"}
    if finished and not orders.has("no-usage"):
        document["usage"] = _usage(orders)
    return document


def response_pieces(model: str, orders: Directives) -> tuple[list[bytes], str]:
    """The events of a streamed response, and how it ends: done, cut, stall or error."""
    events: list[bytes] = []

    def add(kind: str, **told: Any) -> None:
        data = msgspec.json.encode({"type": kind, "sequence_number": len(events), **told})
        end = b"\r\n" if orders.has("crlf") else b"\n"
        events.append(b"event: " + kind.encode() + end + b"data: " + data + end + end)

    if orders.has("error-first"):
        add("error", code="mock_failure", message="mock failure in the stream", param=None)
        return events, "error"
    status = last_status(orders)
    item_id = f"msg_{orders.marker}"
    place = {"item_id": item_id, "output_index": 0, "content_index": 0}
    add("response.created", response=response_document(model, orders, "in_progress"))
    add("response.in_progress", response=response_document(model, orders, "in_progress"))
    add("response.output_item.added", output_index=0, item=_message(orders, None, "in_progress"))
    add("response.content_part.added", **place, part=_part(""))
    for _ in range(orders.completion):
        add("response.output_text.delta", **place, delta=WORD, logprobs=[])
    if orders.has("error-event"):
        add("error", code="mock_failure", message="mock failure in the stream", param=None)
        return events, "error"
    if orders.has("cut") or orders.has("stall-stream"):
        return events, "cut" if orders.has("cut") else "stall"
    if orders.has("end-early"):
        return events, "done"
    text = WORD * orders.completion
    add("response.output_text.done", **place, text=text, logprobs=[])
    add("response.content_part.done", **place, part=_part(text))
    add("response.output_item.done", output_index=0, item=_message(orders, text, "completed"))
    add(f"response.{status}", response=response_document(model, orders, status))
    return events, "done"


def last_status(orders: Directives) -> str:
    """How the response is ordered to end."""
    if orders.has("incomplete"):
        return "incomplete"
    return "failed" if orders.has("fail-last") else "completed"


def _message(orders: Directives, text: str | None, status: str) -> dict[str, Any]:
    content = [] if text is None else [_part(text)]
    shown = status if status in ("in_progress", "completed") else "incomplete"
    item_id = f"msg_{orders.marker}"
    return {"type": "message", "id": item_id, "status": shown, "role": "assistant", "content": content}


def _part(text: str) -> dict[str, Any]:
    return {"type": "output_text", "annotations": [], "logprobs": [], "text": text}


def _usage(orders: Directives) -> dict[str, Any]:
    usage: dict[str, Any] = {
        "input_tokens": orders.prompt,
        "input_tokens_details": {"cached_tokens": orders.cached, "cache_write_tokens": 0},
        "output_tokens": orders.completion,
        "output_tokens_details": {"reasoning_tokens": 0},
        "total_tokens": orders.prompt + orders.completion,
    }
    if orders.cost:
        usage["cost"] = msgspec.Raw(orders.cost.encode())
    return usage
