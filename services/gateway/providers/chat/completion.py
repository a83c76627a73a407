"""Builds answers in OpenAI's chat format from what another format's answer holds."""

import secrets
import time
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from services.gateway.providers.answer import OpenAIAnswer
from services.gateway.providers.chat.request import ReasoningDetail, ToolCall
from services.gateway.providers.errors import UpstreamError
from services.gateway.providers.usage import Usage
from shared.events import Tokens


class Said(msgspec.Struct):
    """One choice: what the model said, thought and called, and why it ended, all in OpenAI's words."""

    text: str | None = None
    finish_reason: str = "stop"
    reasoning: str = ""
    reasoning_details: list[ReasoningDetail] = []
    tool_calls: list[ToolCall] = []
    refusal: str | None = None
    logprobs: Any = None
    annotations: list[Any] = []
    extras: dict[str, Any] = {}
    """More fields of the message, such as `images`."""


def new_id(prefix: str) -> str:
    """An id where the provider gives none: `chatcmpl-...`, `call_...`."""
    return f"{prefix}{secrets.token_hex(12)}"


def unix_now() -> int:
    """Now, for `created`."""
    return int(time.time())


def chat_answer(
    *,
    model: str,
    choices: Sequence[Said],
    usage: Usage,
    id: str = "",
    extras: Mapping[str, Any] | None = None,
) -> OpenAIAnswer:
    """A `chat.completion`. `extras` are more fields beside `choices`, such as `service_tier` or `citations`."""
    document = {
        "id": id or new_id("chatcmpl-"),
        "object": "chat.completion",
        "created": unix_now(),
        "model": model,
        "choices": [_choice(index, said) for index, said in enumerate(choices)],
        "usage": chat_usage(usage),
        **(extras or {}),
    }
    fields = {name: msgspec.Raw(msgspec.json.encode(value)) for name, value in document.items()}
    return OpenAIAnswer(
        msgspec.json.encode(fields),
        "application/json",
        usage,
        fields=fields,
        finish_reason=choices[0].finish_reason if choices else "",
    )


def failed_answer(body: bytes, error: UpstreamError, usage: Usage | None = None) -> OpenAIAnswer:
    """An answer that is an error, or that nobody can read. `usage`: what it cost all the same, where that is known."""
    return OpenAIAnswer(body, "application/json", usage or Usage(Tokens(), estimated=True), error=error)


def chat_usage(usage: Usage) -> dict[str, Any]:
    """A chat's `usage` object with everything that is known."""
    tokens = usage.tokens
    counts: dict[str, Any] = {
        "prompt_tokens": tokens.prompt,
        "completion_tokens": tokens.completion,
        "total_tokens": tokens.prompt + tokens.completion,
        "prompt_tokens_details": {"cached_tokens": tokens.cached_read, "audio_tokens": tokens.prompt_audio},
        "completion_tokens_details": {
            "reasoning_tokens": tokens.reasoning,
            "audio_tokens": tokens.completion_audio,
        },
    }
    if tokens.cache_write:
        counts["prompt_tokens_details"]["cache_write_tokens"] = tokens.cache_write
    if usage.estimated:
        counts["estimated"] = True
    return counts


def _choice(index: int, said: Said) -> dict[str, Any]:
    message: dict[str, Any] = {"role": "assistant", "content": said.text, "refusal": said.refusal}
    if said.reasoning:
        message["reasoning_content"] = said.reasoning
    if said.reasoning_details:
        message["reasoning_details"] = said.reasoning_details
    if said.tool_calls:
        message["tool_calls"] = [call_json(call) for call in said.tool_calls]
    if said.annotations:
        message["annotations"] = said.annotations
    message.update(said.extras)
    return {
        "index": index,
        "message": message,
        "logprobs": said.logprobs,
        "finish_reason": said.finish_reason,
    }


def call_json(call: ToolCall) -> dict[str, Any]:
    """A tool call as it stands in an answer."""
    shown: dict[str, Any] = {
        "id": call.id,
        "type": "function",
        "function": {"name": call.function.name, "arguments": call.function.arguments},
    }
    if call.extra_content is not None:
        shown["extra_content"] = call.extra_content
    return shown
