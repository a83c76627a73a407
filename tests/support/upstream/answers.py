"""The bodies that the mock answers with."""

import base64
from functools import lru_cache
from typing import Any
from urllib.parse import unquote

import msgspec

from tests.support.upstream.directives import Directives
from tests.support.upstream.responses import last_status, response_document, response_pieces

# A valid PNG of one pixel.
PIXEL = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)
WORD = "word "
_CREATED = 1_700_000_000


def usage_of(orders: Directives, completion: int) -> dict[str, Any]:
    usage: dict[str, Any] = {
        "prompt_tokens": orders.prompt,
        "completion_tokens": completion,
        "total_tokens": orders.prompt + completion,
    }
    if orders.has("negative-usage"):
        usage = {name: -count for name, count in usage.items()}
    if orders.cached:
        usage["prompt_tokens_details"] = {"cached_tokens": orders.cached}
    if orders.cost:
        usage["cost"] = msgspec.Raw(orders.cost.encode())
    return usage


def answer_document(endpoint: str, model: str, orders: Directives, n: int, given: Any) -> tuple[bytes, bytes]:
    """Content type and body of a whole answer."""
    if endpoint == "audio.speech":
        return b"audio/mpeg", b"\xff\xfb\x90\xc4" + bytes(max(413, orders.size))
    document: dict[str, Any] = {"id": f"mock-{orders.marker}", "created": _CREATED, "model": model}
    text = _text_of(orders)
    usage = usage_of(orders, orders.completion * n)
    match endpoint:
        case "chat.completions":
            said: dict[str, Any] = {"message": {"role": "assistant", "content": text}}
            if orders.call:
                said["message"] |= {"content": None, "tool_calls": [_tool_call(orders)]}
            reason = "tool_calls" if orders.call else "stop"
            document |= {"object": "chat.completion", "choices": _choices(n, said, reason), "usage": usage}
        case "responses":
            document = response_document(model, orders, last_status(orders))
        case "completions":
            document |= {"object": "text_completion", "choices": _choices(n, {"text": text}), "usage": usage}
        case "embeddings":
            count = len(given) if isinstance(given, list) and given else 1
            vectors = [
                {"object": "embedding", "index": i, "embedding": [0.25, -0.5, 1.0]} for i in range(count)
            ]
            usage = {"prompt_tokens": orders.prompt, "total_tokens": orders.prompt}
            document |= {"object": "list", "data": vectors, "usage": usage}
        case "images.generations" | "images.edits" | "images.variations":
            picture = base64.b64encode(PIXEL).decode()
            usage = {"input_tokens": orders.prompt, "output_tokens": 0, "total_tokens": orders.prompt}
            document = {"created": _CREATED, "data": [{"b64_json": picture}] * n, "usage": usage}
        case "audio.transcriptions" | "audio.translations":
            document = {"text": "mock transcript", "usage": {"type": "duration", "seconds": 7}}
        case "moderations":
            document |= {"results": [{"flagged": False, "categories": {}, "category_scores": {}}]}
        case _:
            raise ValueError(f"no such endpoint: {endpoint}")
    if orders.has("no-usage"):
        document.pop("usage", None)
    return b"application/json", msgspec.json.encode(document)


def stream_pieces(
    endpoint: str, model: str, orders: Directives, *, include_usage: bool
) -> tuple[list[bytes], str]:
    """The events of a stream, and how it ends: done, cut, stall or error."""
    if endpoint == "audio.speech":
        return _typed_pieces(orders), "done"
    if endpoint == "responses":
        return response_pieces(model, orders)
    is_chat = endpoint == "chat.completions"
    head = f'{{"id":"mock-{orders.marker}","object":"{"chat.completion.chunk" if is_chat else "text_completion"}"'
    head += f',"created":{_CREATED},"model":{msgspec.json.encode(model).decode()},"choices":'
    no_usage = not include_usage or orders.has("no-usage")
    everywhere = orders.has("usage-everywhere") and not orders.has("no-usage")

    def chunk(choices: str, usage: str) -> bytes:
        tail = f',"usage":{usage}' if usage else ""
        return _framed(orders, f"{head}{choices}{tail}}}".encode())

    pieces = []
    for index in range(orders.completion):
        said = _said(WORD, first=index == 0) if is_chat else f'"text":"{WORD}"'
        usage = _json(usage_of(orders, index + 1)) if everywhere else ("" if no_usage else "null")
        pieces.append(chunk(f'[{{"index":0,{said},"finish_reason":null}}]', usage))
    if orders.call and is_chat:
        deltas = _call_deltas(orders)
        pieces = [chunk(f'[{{"index":0,{delta},"finish_reason":null}}]', "") for delta in deltas]
    elif orders.said and is_chat:
        text = unquote(orders.said)
        words = [text[at : at + 3] for at in range(0, len(text), 3)]
        pieces = [
            chunk(f'[{{"index":0,{_said(word, first=at == 0)},"finish_reason":null}}]', "")
            for at, word in enumerate(words)
        ]
    half = len(pieces) // 2
    if orders.has("error-first"):
        return [_error_event(orders)], "error"
    if orders.has("error-event"):
        return [*pieces[:half], _error_event(orders)], "error"
    if orders.has("end-early"):
        return pieces[:half], "done"
    if orders.has("cut") or orders.has("stall-stream"):
        return pieces[:half], "cut" if orders.has("cut") else "stall"
    reason = "tool_calls" if orders.call else "stop"
    last = (
        f'[{{"index":0,"delta":{{}},"finish_reason":"{reason}"}}]'
        if is_chat
        else '[{"index":0,"text":"","finish_reason":"stop"}]'
    )
    total = _json(usage_of(orders, orders.completion))
    on_last = everywhere or (orders.has("usage-on-last") and not orders.has("no-usage"))
    pieces.append(chunk(last, total if on_last else ("" if no_usage else "null")))
    if not no_usage and not orders.has("usage-on-last"):
        pieces.append(chunk("[]", total))
    if not orders.has("no-done"):
        pieces.append(_framed(orders, b"[DONE]"))
    return pieces, "done"


def _typed_pieces(orders: Directives) -> list[bytes]:
    usage = {"input_tokens": orders.prompt, "output_tokens": orders.completion}
    done = {"type": "speech.audio.done", "usage": {**usage, "total_tokens": sum(usage.values())}}
    delta = {"type": "speech.audio.delta", "audio": base64.b64encode(b"sound").decode()}
    return [_framed(orders, msgspec.json.encode(part)) for part in (delta, done)]


def _text_of(orders: Directives) -> str:
    if orders.said:
        return unquote(orders.said)
    return "x" * orders.size if orders.size else WORD * orders.completion


def _choices(n: int, said: dict[str, Any], reason: str = "stop") -> list[dict[str, Any]]:
    return [{"index": index, **said, "logprobs": None, "finish_reason": reason} for index in range(n)]


def _tool_call(orders: Directives, arguments: str = '{"city":"Oslo"}') -> dict[str, Any]:
    return {
        "id": f"call_{orders.marker}",
        "type": "function",
        "function": {"name": orders.call, "arguments": arguments},
    }


def _call_deltas(orders: Directives) -> list[str]:
    """The call, then its arguments in two pieces."""
    first = {"role": "assistant", "content": None, "tool_calls": [{"index": 0, **_tool_call(orders, "")}]}
    rest = [
        {"tool_calls": [{"index": 0, "function": {"arguments": text}}]} for text in ('{"city":', '"Oslo"}')
    ]
    return [f'"delta":{msgspec.json.encode(delta).decode()}' for delta in (first, *rest)]


def _said(word: str, *, first: bool) -> str:
    role = '"role":"assistant",' if first else ""
    return f'"delta":{{{role}"content":{msgspec.json.encode(word).decode()}}}'


def _error_event(orders: Directives) -> bytes:
    return _framed(
        orders,
        b'{"error":{"message":"mock failure in the stream","type":"server_error","code":"mock_failure"}}',
    )


def _framed(orders: Directives, data: bytes) -> bytes:
    if orders.has("crlf"):
        return b": mock comment\r\n\r\ndata: " + data + b"\r\n\r\n"
    return b"data: " + data + b"\n\n"


@lru_cache(maxsize=256)
def _fixed_json(prompt: int, completion: int) -> str:
    return (
        f'{{"prompt_tokens":{prompt},"completion_tokens":{completion},"total_tokens":{prompt + completion}}}'
    )


def _json(usage: dict[str, Any]) -> str:
    if len(usage) == 3:
        return _fixed_json(usage["prompt_tokens"], usage["completion_tokens"])
    return msgspec.json.encode(usage).decode()
