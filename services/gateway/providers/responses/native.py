"""Responses at a provider that speaks them itself: the request as it wants it, the answer and its events as they come.

Only the last event is read and written anew, for its usage and cost. The rest passes untouched.
"""

import re
from collections.abc import Mapping
from typing import Any, Final

import msgspec

from services.gateway.providers.answer import OpenAIAnswer
from services.gateway.providers.body import JsonBody
from services.gateway.providers.dialects import DIALECTS, NOTHING, grok_fields
from services.gateway.providers.errors import UpstreamError
from services.gateway.providers.estimate import estimate_prompt
from services.gateway.providers.operations import Operation
from services.gateway.providers.parameters import Adjusted, adjust
from services.gateway.providers.responses.reading import decoded
from services.gateway.providers.responses.reasoning import without_ours
from services.gateway.providers.responses.request import CLIENTS_OWN, refuse_background, tools_of
from services.gateway.providers.usage import Usage, at_tier, read_usage, usage_json, with_cost
from services.gateway.providers.wire_errors import error_in, unreadable_answer
from shared.events import Tokens
from shared.pricing.estimate import estimate_tokens

_CHAT_ONLY: Final = frozenset(
    {"seed", "frequency_penalty", "presence_penalty", "logit_bias", "logprobs", "n", "reasoning_effort"}
)
"""What chat clients send along and this API refuses."""
_LIMITS: Final = ("max_completion_tokens", "max_tokens")
_fields: Final = msgspec.json.Decoder(dict[str, msgspec.Raw])
_raw_tools: Final = msgspec.json.Decoder(list[dict[str, msgspec.Raw]])
_FUNCTION: Final = msgspec.Raw(b'"function"')


class _Incomplete(msgspec.Struct):
    reason: str = ""


class _Part(msgspec.Struct):
    text: str = ""
    refusal: str = ""


class _Action(msgspec.Struct):
    type: str = ""


class _Item(msgspec.Struct):
    type: str = ""
    action: msgspec.Raw = msgspec.Raw(b"null")
    content: list[_Part] | None = None
    summary: list[_Part] | None = None
    arguments: str | None = None


class Outcome(msgspec.Struct):
    """How a response ended, in its own words."""

    status: str = ""
    incomplete_details: _Incomplete | None = None
    output: list[_Item] = []
    usage: msgspec.Raw = msgspec.Raw(b"null")
    service_tier: msgspec.Raw = msgspec.Raw(b"null")
    error: msgspec.Raw = msgspec.Raw(b"null")

    @property
    def reported(self) -> Usage | None:
        """What the provider says was used; None when it does not say."""
        usage = read_usage(bytes(self.usage))
        if usage is None:
            return None
        tokens = msgspec.structs.replace(usage.tokens, searches=self._searches)
        return at_tier(msgspec.structs.replace(usage, tokens=tokens), self.service_tier)

    @property
    def _searches(self) -> int:
        """Calls of the provider's own search that are billed: opening a page that was found is not."""
        return sum(item.type == "web_search_call" and _is_search(bytes(item.action)) for item in self.output)

    @property
    def finish_reason(self) -> str:
        """In the words of a chat completion."""
        if self.status == "incomplete":
            reason = self.incomplete_details.reason if self.incomplete_details is not None else ""
            return "length" if reason == "max_output_tokens" else reason
        if self.status != "completed":
            return ""
        return "tool_calls" if any(item.type == "function_call" for item in self.output) else "stop"

    @property
    def text_bytes(self) -> int:
        """Size of what the model wrote and let be seen."""
        size = 0
        for item in self.output:
            size += len((item.arguments or "").encode())
            for part in (*(item.content or ()), *(item.summary or ())):
                size += len((part.text or part.refusal).encode())
        return size


outcome_decoder: Final = msgspec.json.Decoder(Outcome)
_action: Final = msgspec.json.Decoder(_Action | None)


def _is_search(action: bytes) -> bool:
    """Older servers do not say what a call did: all there was to do was to search."""
    try:
        known = _action.decode(action)
    except msgspec.DecodeError:
        return False  # an action of another tool
    return known is None or known.type == "search"


def adjust_responses(dialect: str, model: str, body: JsonBody) -> Adjusted:
    """The changes that make a body right for the provider. Raises BadRequest."""
    refuse_background(body)
    adjusted = adjust(dialect, Operation.RESPONSES, model, body)
    refused = _CHAT_ONLY | {CLIENTS_OWN} | (DIALECTS[dialect].chat.drop & DIALECTS["openai"].chat.drop)
    for name in sorted(body.names & refused):
        adjusted.leave_out(name)
    effort = body.raw("reasoning_effort")
    if effort is not None:
        adjusted.dropped.remove("reasoning_effort")  # it goes, but what it says stays
        raw = body.raw("reasoning")
        reasoning = decoded(_fields, raw, "reasoning") if raw is not None else {}
        reasoning.setdefault("effort", msgspec.Raw(effort))
        adjusted.changes["reasoning"] = msgspec.json.encode(reasoning)
    if dialect == "xai" and "reasoning_effort" in grok_fields(NOTHING, model).drop:
        _without_effort(body, adjusted)
    for name in _LIMITS:
        limit = body.raw(name)
        if name in body:
            adjusted.drop.add(name)
        if limit is not None and body.raw("max_output_tokens") is None:
            adjusted.changes.setdefault("max_output_tokens", limit)
    if b'"include_usage"' in (body.raw("stream_options") or b""):
        adjusted.drop.add("stream_options")  # a chat's; a response has its usage anyway
    _flatten_tools(body, adjusted)
    _leave_out_foreign_reasoning(body, adjusted)
    return adjusted


def _leave_out_foreign_reasoning(body: JsonBody, adjusted: Adjusted) -> None:
    """What a chat model thought earlier in the conversation."""
    raw = body.raw("input")
    kept = without_ours(raw) if raw is not None else None
    if kept is not None:
        adjusted.changes["input"] = kept
        adjusted.dropped.append("input.reasoning")


def _without_effort(body: JsonBody, adjusted: Adjusted) -> None:
    """For models that refuse to be told how hard to think."""
    raw = adjusted.changes.pop("reasoning", None) or body.raw("reasoning")
    reasoning = decoded(_fields, raw, "reasoning") if raw is not None else {}
    if reasoning.pop("effort", None) is not None:
        adjusted.dropped.append("reasoning.effort")
    if reasoning:
        adjusted.changes["reasoning"] = msgspec.json.encode(reasoning)
    else:
        adjusted.drop.add("reasoning")


def _flatten_tools(body: JsonBody, adjusted: Adjusted) -> None:
    """Functions nested as in chats become flat."""
    raw = body.raw("tools")
    if raw is None or b'"function"' not in raw or not any(tool.function for tool in tools_of(body)):
        return
    flat: list[Any] = []
    for tool in decoded(_raw_tools, raw, "tools"):
        inner = tool.get("function")
        if inner is None:
            flat.append(tool)
        else:
            function = decoded(_fields, bytes(inner), "tools")
            flat.append({"type": _FUNCTION, **function})
    adjusted.changes["tools"] = msgspec.json.encode(flat)


def read_response(body: JsonBody, headers: Mapping[str, str], answer: bytes) -> OpenAIAnswer:
    """A whole response. Never raises: an answer that cannot be read has its `error` set."""
    content_type = headers.get("content-type", "application/json")
    try:
        fields = _fields.decode(answer)
        outcome = outcome_decoder.decode(answer)
    except msgspec.DecodeError:
        return OpenAIAnswer(answer, content_type, Usage(Tokens(), estimated=True), error=unreadable_answer())
    usage = outcome.reported
    if usage is None:
        usage = _estimated(estimate_prompt(Operation.RESPONSES, body).prompt, outcome.text_bytes)
        fields["usage"] = msgspec.Raw(msgspec.json.encode(usage_json(usage, images=True)))
    return OpenAIAnswer(
        answer,
        content_type,
        usage,
        fields=fields,
        finish_reason=outcome.finish_reason,
        error=error_in(fields, named=False) if outcome.status != "cancelled" else None,
    )


def final_event(response: bytes, cost: str | None) -> bytes:
    """The response object of a last event with its cost in its usage."""
    fields = _fields.decode(response)
    raw = bytes(fields.get("usage", b"null"))
    if cost is None or not raw.startswith(b"{"):
        return response
    fields["usage"] = with_cost(raw, cost)
    return msgspec.json.encode(fields)


def _estimated(prompt: int, text_bytes: int) -> Usage:
    completion = estimate_tokens(text_bytes) if text_bytes else 0
    return Usage(Tokens(prompt=prompt, completion=completion), estimated=True)


def error_of(fields: Mapping[str, msgspec.Raw]) -> UpstreamError | None:
    """The error that an `error` event or a failed response tells."""
    return error_in(fields, named=True)


_DELTA: Final = re.compile(rb'"type"\s*:\s*"response\.[a-z_.]+\.delta"')
_DELTA_TEXT: Final = re.compile(rb'"delta"\s*:\s*"((?:[^"\\]|\\.)*)"')


def text_bytes_in(events: bytes) -> int:
    """Size of the text that the deltas in these events carry."""
    if _DELTA.search(events) is None:
        return 0
    return sum(len(text) for text in _DELTA_TEXT.findall(events))
