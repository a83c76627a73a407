"""A whole answer of Converse in OpenAI's format."""

import base64
from collections.abc import Mapping
from typing import Any, Final

import msgspec

from services.gateway.providers.answer import OpenAIAnswer
from services.gateway.providers.bedrock.content import REASONING_FORMAT
from services.gateway.providers.bedrock.errors import broken_answer, fault_in
from services.gateway.providers.bedrock.tools import ANSWER_TOOL
from services.gateway.providers.body import ParsedBody
from services.gateway.providers.chat.completion import Said, chat_answer, failed_answer
from services.gateway.providers.chat.request import CalledFunction, ReasoningDetail, ToolCall
from services.gateway.providers.estimate import estimate_prompt
from services.gateway.providers.operations import Operation
from services.gateway.providers.usage import Usage
from services.gateway.providers.wire_errors import unreadable_answer
from shared.events import Tokens
from shared.pricing.estimate import estimate_tokens

_FINISH: Final[Mapping[str, str]] = {
    "end_turn": "stop",
    "stop_sequence": "stop",
    "tool_use": "tool_calls",
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "guardrail_intervened": "content_filter",
    "content_filtered": "content_filter",
}


class _CacheWrite(msgspec.Struct):
    ttl: str = ""
    inputTokens: int = 0


class TokenUsage(msgspec.Struct):
    inputTokens: int = 0
    outputTokens: int = 0
    cacheReadInputTokens: int | None = None
    cacheWriteInputTokens: int | None = None
    cacheDetails: list[_CacheWrite] | None = None
    """The writes by how long they are kept."""


class _ToolUse(msgspec.Struct):
    toolUseId: str
    name: str
    input: msgspec.Raw = msgspec.Raw(b"{}")
    type: str | None = None


class _ReasoningText(msgspec.Struct):
    text: str = ""
    signature: str | None = None


class _Reasoning(msgspec.Struct):
    reasoningText: _ReasoningText | None = None
    redactedContent: str | None = None


class _Text(msgspec.Struct):
    text: str = ""


class _Citations(msgspec.Struct):
    content: list[_Text] = []
    citations: list[dict[str, Any]] = []


class _Source(msgspec.Struct):
    bytes: str | None = None


class _Image(msgspec.Struct):
    format: str
    source: _Source = msgspec.field(default_factory=_Source)


class _Block(msgspec.Struct):
    text: str | None = None
    toolUse: _ToolUse | None = None
    reasoningContent: _Reasoning | None = None
    citationsContent: _Citations | None = None
    image: _Image | None = None


class _Message(msgspec.Struct):
    content: list[_Block] = []


class _Output(msgspec.Struct):
    message: _Message | None = None


class _Converse(msgspec.Struct):
    output: _Output
    stopReason: str = "end_turn"
    usage: TokenUsage | None = None
    trace: msgspec.Raw = msgspec.Raw(b"")
    additionalModelResponseFields: msgspec.Raw = msgspec.Raw(b"")


_converse: Final = msgspec.json.Decoder(_Converse)


def read_converse(body: ParsedBody, answer: bytes) -> OpenAIAnswer:
    """Never raises: an answer that cannot be read has its `error` set. Usage that is missing is estimated."""
    try:
        converse = _converse.decode(answer)
    except msgspec.DecodeError:
        return failed_answer(answer, fault_in(answer) or unreadable_answer())
    said = _said(converse)
    usage = tokens_of(converse.usage) if converse.usage is not None else _estimated(body, said)
    if (error := broken_answer(converse.stopReason)) is not None:
        return failed_answer(answer, error, usage)
    extras = {
        name: value
        for name, value in (
            ("trace", converse.trace),
            ("additionalModelResponseFields", converse.additionalModelResponseFields),
        )
        if bytes(value)
    }
    return chat_answer(model=body.model, choices=[said], usage=usage, extras=extras)


def _estimated(body: ParsedBody, said: Said) -> Usage:
    texts = [said.text or "", said.reasoning, *(call.function.arguments for call in said.tool_calls)]
    size = len("".join(texts).encode())
    prompt = estimate_prompt(Operation.CHAT, body).prompt
    return Usage(Tokens(prompt=prompt, completion=estimate_tokens(size) if size else 0), estimated=True)


def tokens_of(usage: TokenUsage, *, includes_cached: bool = False) -> Usage:
    """Cached reads and writes come beside the input. `includes_cached`: they are part of it, as far as they fit."""
    read, write = max(0, usage.cacheReadInputTokens or 0), max(0, usage.cacheWriteInputTokens or 0)
    prompt = max(0, usage.inputTokens)
    if not includes_cached or prompt < read + write:
        prompt += read + write
    hour = sum(one.inputTokens for one in usage.cacheDetails or () if one.ttl == "1h")
    return Usage(
        Tokens(
            prompt=prompt,
            completion=max(0, usage.outputTokens),
            cached_read=read,
            cache_write=write,
            cache_write_1h=min(max(0, hour), write),
        )
    )


def finish_reason(stop_reason: str, *, calls: bool) -> str:
    """OpenAI's word. `calls`: the client is to call something; the call that is the answer itself does not count."""
    reason = _FINISH.get(stop_reason, "stop")
    if reason == "tool_calls" and not calls:
        return "stop"
    return "tool_calls" if reason == "stop" and calls else reason


def _said(converse: _Converse) -> Said:
    texts: list[str] = []
    said = Said(reasoning_details=[], tool_calls=[], annotations=[], extras={})
    for block in converse.output.message.content if converse.output.message is not None else ():
        if block.text is not None:
            texts.append(block.text)
        elif block.toolUse is not None:
            _add_call(block.toolUse, texts, said)
        elif block.reasoningContent is not None:
            _add_reasoning(block.reasoningContent, said)
        elif block.citationsContent is not None:
            texts += [piece.text for piece in block.citationsContent.content]
            shown = (citation(one) for one in block.citationsContent.citations)
            said.annotations += [one for one in shown if one is not None]
        elif block.image is not None and block.image.source.bytes:
            said.extras.setdefault("images", []).append(picture(block.image.format, block.image.source.bytes))
    said.text = "".join(texts) if texts else None
    said.finish_reason = finish_reason(converse.stopReason, calls=bool(said.tool_calls))
    return said


def _add_call(use: _ToolUse, texts: list[str], said: Said) -> None:
    arguments = bytes(use.input).decode() or "{}"
    if use.name == ANSWER_TOOL:
        # What was said before the answer would spoil its JSON.
        texts[:] = [arguments]
    elif use.type != "server_tool_use":
        said.tool_calls.append(ToolCall(use.toolUseId, CalledFunction(use.name, arguments)))


def _add_reasoning(reasoning: _Reasoning, said: Said) -> None:
    if reasoning.reasoningText is not None:
        text, signature = reasoning.reasoningText.text, reasoning.reasoningText.signature
        said.reasoning += text
        said.reasoning_details.append(signed_text(text, signature, len(said.reasoning_details)))
    elif reasoning.redactedContent:
        said.reasoning_details.append(redacted(reasoning.redactedContent, len(said.reasoning_details)))


def signed_text(text: str, signature: str | None, index: int) -> ReasoningDetail:
    return ReasoningDetail(
        "reasoning.text", text=text, signature=signature, format=REASONING_FORMAT, index=index
    )


def redacted(data: str | bytes, index: int) -> ReasoningDetail:
    text = base64.b64encode(data).decode() if isinstance(data, bytes) else data
    return ReasoningDetail("reasoning.encrypted", data=text, format=REASONING_FORMAT, index=index)


def picture(kind: str, data: str) -> dict[str, Any]:
    """A picture inside a chat's answer; `data` is base64."""
    return {"type": "image_url", "image_url": {"url": f"data:image/{kind};base64,{data}"}}


def citation(found: Mapping[str, Any]) -> dict[str, Any] | None:
    """OpenAI's `url_citation`; None for a citation of something that has no address."""
    location = found.get("location")
    web = location.get("web") if isinstance(location, dict) else None
    url = web.get("url") if isinstance(web, dict) else None
    if not isinstance(url, str):
        return None
    title = found.get("title")
    shown = {"url": url, "title": title if isinstance(title, str) else "", "start_index": 0, "end_index": 0}
    return {"type": "url_citation", "url_citation": shown}
