"""The response object around the output: what was asked, what came of it, what it used."""

import re
from typing import Final

import msgspec

from services.gateway.providers.body import JsonBody
from services.gateway.providers.chat.completion import new_id, unix_now
from services.gateway.providers.responses.reading import Json
from services.gateway.providers.responses.request import Function, reasoning_of, tools_of
from services.gateway.providers.usage import Usage

_NULL: Final = msgspec.Raw(b"null")
_TEXT: Final = msgspec.Raw(b'{"format":{"type":"text"}}')
_ECHOED: Final = (
    ("instructions", _NULL),
    ("max_output_tokens", _NULL),
    ("max_tool_calls", _NULL),
    ("metadata", msgspec.Raw(b"{}")),
    ("parallel_tool_calls", msgspec.Raw(b"true")),
    ("prompt_cache_key", _NULL),
    ("safety_identifier", _NULL),
    ("temperature", _NULL),
    ("text", _TEXT),
    ("tool_choice", msgspec.Raw(b'"auto"')),
    ("top_logprobs", _NULL),
    ("top_p", _NULL),
    ("truncation", msgspec.Raw(b'"disabled"')),
    ("user", _NULL),
)
"""What the response repeats of the request, and what stands there otherwise."""
_UNFINISHED: Final = {
    "length": "max_output_tokens",
    "model_length": "max_output_tokens",  # Mistral's: the model can hold no more
    "content_filter": "content_filter",
}
_NOT_IN_IDS: Final = re.compile(r"[^A-Za-z0-9_-]")
_MAX_ID_CHARS: Final = 56


class Envelope:
    """One response: the same from its creation to its end but for what `document` is given."""

    def __init__(
        self, body: JsonBody, *, chat_id: str | None, model: str | None, created: int | None
    ) -> None:
        self._key = new_id("")
        """What the ids of its items have in common, and those of no other response: servers refuse one that comes
        twice in a conversation, and there are providers that give all their answers the same id."""
        reasoning = reasoning_of(body)
        told = _NOT_IN_IDS.sub("", (chat_id or "").removeprefix("chatcmpl-"))[:_MAX_ID_CHARS]
        self._head: Json = {
            "id": f"resp_{told or self._key}",
            "object": "response",
            "created_at": created or unix_now(),
            "model": model or body.model,
            "previous_response_id": None,
            "reasoning": {
                "effort": reasoning.effort,
                "summary": reasoning.summary or reasoning.generate_summary,
            },
            "store": False,
            "tools": [_tool(tool.called) for tool in tools_of(body)],
        }
        for name, default in _ECHOED:
            raw = body.raw(name)
            self._head[name] = msgspec.Raw(raw) if raw is not None else default

    def item_id(self, prefix: str, index: int) -> str:
        """The id of the item at this place of the output; what it is of is told by the prefix, as at OpenAI."""
        return f"{prefix}_{self._key}_{index}"

    def document(
        self,
        status: str,
        output: list[Json],
        usage: Json | None = None,
        *,
        finish_reason: str = "",
        service_tier: str | None = None,
    ) -> Json:
        """The response object as it is now."""
        reason = _UNFINISHED.get(finish_reason)
        return {
            **self._head,
            "status": status,
            "background": False,
            "error": None,
            "incomplete_details": {"reason": reason} if reason is not None else None,
            "output": output,
            "service_tier": service_tier,
            "usage": usage,
        }


def status_of(finish_reason: str) -> str:
    """OpenAI's word for how a response ended, of its word for how a chat did."""
    return "incomplete" if finish_reason in _UNFINISHED else "completed"


def usage_of(usage: Usage, cost: msgspec.Raw | None = None) -> Json:
    """A Responses `usage` object."""
    tokens = usage.tokens
    counts: Json = {
        "input_tokens": tokens.prompt,
        "input_tokens_details": {
            "cached_tokens": tokens.cached_read,
            "cache_write_tokens": tokens.cache_write,
        },
        "output_tokens": tokens.completion,
        "output_tokens_details": {"reasoning_tokens": tokens.reasoning},
        "total_tokens": tokens.prompt + tokens.completion,
    }
    if usage.estimated:
        counts["estimated"] = True
    if cost is not None:
        counts["cost"] = cost
    return counts


def message_item(item_id: str, parts: list[Json], status: str) -> Json:
    return {"type": "message", "id": item_id, "status": status, "role": "assistant", "content": parts}


def text_part(text: str, logprobs: list[Json], annotations: list[Json]) -> Json:
    return {"type": "output_text", "annotations": annotations, "logprobs": logprobs, "text": text}


def annotation_of(annotation: Json) -> Json:
    """A source as this format shows it: flat, where a chat has it one deeper."""
    kind = str(annotation.get("type", ""))
    inner = annotation.get(kind)
    return {"type": kind, **inner} if isinstance(inner, dict) else annotation


def logprob_of(logprob: Json) -> Json:
    """The odds of a token. Bytes, which may be null in a chat, may not be here."""
    shown = {**logprob, "bytes": logprob.get("bytes") or []}
    shown["top_logprobs"] = [
        {**top, "bytes": top.get("bytes") or []} for top in logprob.get("top_logprobs") or ()
    ]
    return shown


def refusal_part(text: str) -> Json:
    return {"type": "refusal", "refusal": text}


def call_item(item_id: str, call_id: str, name: str, arguments: str, status: str) -> Json:
    return {
        "type": "function_call",
        "id": item_id,
        "status": status,
        "call_id": call_id,
        "name": name,
        "arguments": arguments,
    }


def _tool(function: Function) -> Json:
    return {
        "type": "function",
        "name": function.name,
        "description": function.description,
        "parameters": function.parameters,
        "strict": function.strict,
    }
