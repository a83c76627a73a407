"""Reads a whole message of Anthropic's as a chat completion."""

from collections.abc import Mapping
from typing import Final

import msgspec

from services.gateway.providers.answer import OpenAIAnswer
from services.gateway.providers.anthropic.content import FORMAT
from services.gateway.providers.anthropic.errors import Detail, error_inside
from services.gateway.providers.anthropic.request import JSON_TOOL
from services.gateway.providers.anthropic.usage import Counts
from services.gateway.providers.chat.completion import Said, chat_answer, failed_answer
from services.gateway.providers.chat.request import CalledFunction, ReasoningDetail, ToolCall
from services.gateway.providers.wire_errors import unreadable_answer

FINISH_REASONS: Final[Mapping[str, str]] = {
    "end_turn": "stop",
    "stop_sequence": "stop",
    "pause_turn": "stop",
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "tool_use": "tool_calls",
    "refusal": "content_filter",
}
_SERVICE_TIERS: Final[Mapping[str, str]] = {"standard": "default", "priority": "priority"}
"""Their tiers in OpenAI's words."""


class ContentBlock(msgspec.Struct):
    """A block of any kind; a kind has the fields that it needs."""

    type: str = ""
    text: str = ""
    thinking: str = ""
    signature: str = ""
    data: str = ""
    id: str = ""
    name: str = ""
    input: msgspec.Raw = msgspec.Raw(b"{}")


class MessageBody(msgspec.Struct):
    content: list[ContentBlock] | None = None
    id: str = ""
    model: str = ""
    stop_reason: str | None = None
    usage: Counts | None = None
    error: Detail | None = None


_message: Final = msgspec.json.Decoder(MessageBody)


def finish_reason_of(stop_reason: str | None) -> str:
    """OpenAI's word for why a message ended."""
    return FINISH_REASONS.get(stop_reason or "", "stop")


def read_message(answer: bytes) -> OpenAIAnswer:
    """Never raises: an answer that cannot be read has its `error` set."""
    try:
        message = _message.decode(answer)
    except msgspec.DecodeError:
        return failed_answer(answer, unreadable_answer())
    if message.error is not None:
        return failed_answer(answer, error_inside(message.error))
    if message.content is None or message.usage is None:
        return failed_answer(answer, unreadable_answer())
    tier = _SERVICE_TIERS.get(message.usage.service_tier or "")
    return chat_answer(
        id=message.id,
        model=message.model,
        choices=[_said(message, message.content)],
        usage=message.usage.usage(),
        extras={"service_tier": tier} if tier is not None else None,
    )


def thinking_detail(block: ContentBlock, index: int) -> ReasoningDetail:
    """A block of thoughts as clients keep it, to send it back in the next turn."""
    if block.type == "redacted_thinking":
        return ReasoningDetail("reasoning.encrypted", data=block.data, format=FORMAT, index=index)
    return ReasoningDetail(
        "reasoning.text", text=block.thinking, signature=block.signature, format=FORMAT, index=index
    )


def _said(message: MessageBody, blocks: list[ContentBlock]) -> Said:
    texts: list[str] = []
    thoughts: list[str] = []
    details: list[ReasoningDetail] = []
    calls: list[ToolCall] = []
    forced = False
    for block in blocks:
        if block.type == "text":
            texts.append(block.text)
        elif block.type in ("thinking", "redacted_thinking"):
            thoughts.append(block.thinking)
            details.append(thinking_detail(block, len(details)))
        elif block.type == "tool_use" and block.name == JSON_TOOL:
            forced = True
            texts.append(bytes(block.input).decode())
        elif block.type == "tool_use":
            calls.append(ToolCall(block.id, CalledFunction(block.name, bytes(block.input).decode())))
    reason = finish_reason_of(message.stop_reason)
    if forced and reason == "tool_calls":
        reason = "stop"
    return Said(
        text="".join(texts) if texts else None,
        finish_reason=reason,
        reasoning="".join(thoughts),
        reasoning_details=details,
        tool_calls=calls,
    )
