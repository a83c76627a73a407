"""A chat completion, whole or in chunks, as Anthropic's message."""

from collections.abc import Mapping
from typing import Any, Final

import msgspec

from services.gateway.providers.anthropic.content import SIGNED_BY_CLAUDE
from services.gateway.providers.anthropic.errors import error_json
from services.gateway.providers.chat.completion import new_id
from services.gateway.providers.chat.memory import Memory, sealed
from services.gateway.providers.errors import UpstreamError
from services.gateway.providers.inbound import Chunk, ChunkDelta, ToolCallPiece
from services.gateway.providers.messages.tool_input import input_of
from services.gateway.providers.usage import Usage

Json = dict[str, Any]

STOP_REASONS: Final[Mapping[str, str]] = {
    "stop": "end_turn",
    "length": "max_tokens",
    "tool_calls": "tool_use",
    "function_call": "tool_use",
    "content_filter": "refusal",
}
_CUT: Final = frozenset({"length", "content_filter"})
"""The model had not come to its end."""


class _Choice(msgspec.Struct):
    message: ChunkDelta
    finish_reason: str | None = None


_choices: Final = msgspec.json.Decoder(list[_Choice])
_id: Final = msgspec.json.Decoder(str)


def message_of(model: str, chat: Mapping[str, msgspec.Raw], usage: Usage) -> bytes:
    """A whole answer. Raises msgspec.DecodeError when `chat` is no chat completion."""
    choices = _choices.decode(chat["choices"]) if "choices" in chat else []
    if not choices:
        raise msgspec.DecodeError("a chat completion without choices")
    choice = choices[0]
    content = _thoughts(choice.message)
    text = choice.message.text or choice.message.refusal
    if text:
        content.append({"type": "text", "text": text})
    cut = choice.finish_reason in _CUT
    for call in choice.message.tool_calls or ():
        content += [*_mark(call), _tool_use(call, cut=cut)]
    message = _message(_id.decode(chat["id"]) if "id" in chat else "", model)
    message["content"] = content
    message["stop_reason"] = STOP_REASONS.get(choice.finish_reason or "stop", "end_turn")
    message["usage"] = {**usage_of(usage), **_written(usage)}
    return msgspec.json.encode(message)


def usage_of(usage: Usage) -> Json:
    """Their input leaves out what was read from and written to the cache."""
    tokens = usage.tokens
    return {
        "input_tokens": max(0, tokens.prompt - tokens.cached_read - tokens.cache_write),
        "cache_creation_input_tokens": tokens.cache_write,
        "cache_read_input_tokens": tokens.cached_read,
        "output_tokens": tokens.completion,
    }


def _written(usage: Usage) -> Json:
    """How long the cache keeps what was written to it."""
    tokens = usage.tokens
    if not tokens.cache_write:
        return {}
    hour = min(tokens.cache_write_1h, tokens.cache_write)
    kept = {"ephemeral_5m_input_tokens": tokens.cache_write - hour, "ephemeral_1h_input_tokens": hour}
    return {"cache_creation": kept}


def _message(id: str, model: str) -> Json:
    return {
        "id": id or new_id("msg_"),
        "type": "message",
        "role": "assistant",
        "model": model,
        "content": [],
        "stop_reason": None,
        "stop_sequence": None,
        "usage": {"input_tokens": 0, "output_tokens": 0},
    }


def _thoughts(said: ChunkDelta) -> list[Json]:
    blocks = [block for detail in said.reasoning_details or () if (block := _thinking(detail)) is not None]
    if blocks or not said.thought:
        return blocks
    return [{"type": "thinking", "thinking": said.thought, "signature": ""}]


def _thinking(detail: Json) -> Json | None:
    if detail.get("format") not in SIGNED_BY_CLAUDE:
        foreign = detail.get("type") == "reasoning.encrypted" or detail.get("signature")
        return _hidden(Memory(details=[detail])) if foreign else None
    if detail.get("type") == "reasoning.text":
        return {
            "type": "thinking",
            "thinking": detail.get("text") or "",
            "signature": detail.get("signature") or "",
        }
    if detail.get("type") == "reasoning.encrypted" and detail.get("data"):
        return {"type": "redacted_thinking", "data": detail["data"]}
    return None


def _hidden(memory: Memory) -> Json:
    """What another provider wants back, where this format has a place for it."""
    return {"type": "redacted_thinking", "data": sealed(memory)}


def _mark(call: ToolCallPiece) -> list[Json]:
    """What goes before a call that its provider wants something back with."""
    if call.extra_content is None or not call.id:
        return []
    return [_hidden(Memory(calls={call.id: call.extra_content}))]


def _tool_use(call: ToolCallPiece, *, cut: bool) -> Json:
    arguments = (call.function.arguments if call.function is not None else None) or ""
    return {**_begun(call), "input": input_of(arguments, cut=cut)}


def _begun(call: ToolCallPiece) -> Json:
    """A call whose input is yet to come."""
    name = (call.function.name if call.function is not None else None) or ""
    return {"type": "tool_use", "id": call.id or new_id("toolu_"), "name": name, "input": {}}


class MessageWriter:
    """See ChunkTranslator. The blocks of calls stay open to the end, because pieces of several may interleave."""

    def __init__(self, model: str) -> None:
        self._model = model
        self._begun = False
        self._block = -1
        self._open = ""
        """What the open block holds that is no call: `text` or `thinking`; empty: there is none."""
        self._calls: dict[int, int] = {}
        """Number of a call -> its block."""
        self._stop_reason = "end_turn"

    def chunk(self, chunk: Chunk) -> bytes:
        out: list[bytes] = []
        self._begin(chunk.id or "", out)
        for choice in chunk.choices:
            if choice.index:
                continue
            if choice.delta is not None:
                self._delta(choice.delta, out)
            if choice.finish_reason:
                self._stop_reason = STOP_REASONS.get(choice.finish_reason, "end_turn")
        return b"".join(out)

    def finish(self, usage: Usage) -> bytes:
        out: list[bytes] = []
        self._begin("", out)
        self._close(out)
        out += [_event("content_block_stop", {"index": block}) for block in self._calls.values()]
        delta = {"stop_reason": self._stop_reason, "stop_sequence": None}
        out.append(_event("message_delta", {"delta": delta, "usage": usage_of(usage)}))
        out.append(_event("message_stop", {}))
        return b"".join(out)

    def fail(self, error: UpstreamError) -> bytes:
        return b"event: error\ndata: " + error_json(error.status, error.message, error.type) + b"\n\n"

    def _begin(self, id: str, out: list[bytes]) -> None:
        if not self._begun:
            self._begun = True
            out.append(_event("message_start", {"message": _message(id, self._model)}))

    def _delta(self, delta: ChunkDelta, out: list[bytes]) -> None:
        if delta.thought:
            self._switch("thinking", {"type": "thinking", "thinking": "", "signature": ""}, out)
            self._write({"type": "thinking_delta", "thinking": delta.thought}, out)
        for detail in delta.reasoning_details or ():
            self._detail(detail, out)
        text = delta.text or delta.refusal
        if text:
            self._switch("text", {"type": "text", "text": ""}, out)
            self._write({"type": "text_delta", "text": text}, out)
        for call in delta.tool_calls or ():
            self._call(call, out)

    def _detail(self, detail: Json, out: list[bytes]) -> None:
        """A block of thoughts is whole. Its text has gone out already, unless it was hidden."""
        block = _thinking(detail)
        if block is None:
            return
        if block["type"] == "redacted_thinking":
            self._switch("redacted", block, out)
        else:
            signature = block["signature"]
            if not signature:
                return
            self._switch("thinking", {"type": "thinking", "thinking": "", "signature": ""}, out)
            self._write({"type": "signature_delta", "signature": signature}, out)
        self._close(out)

    def _call(self, call: ToolCallPiece, out: list[bytes]) -> None:
        function = call.function
        number = call.index if call.index is not None else max(self._calls, default=0)
        block = self._calls.get(number)
        if block is None:
            for mark in _mark(call):
                self._switch("redacted", mark, out)
            self._close(out)
            self._block += 1
            block = self._calls[number] = self._block
            out.append(_event("content_block_start", {"index": block, "content_block": _begun(call)}))
        if function is not None and function.arguments:
            delta = {"type": "input_json_delta", "partial_json": function.arguments}
            out.append(_event("content_block_delta", {"index": block, "delta": delta}))

    def _switch(self, what: str, block: Json, out: list[bytes]) -> None:
        if self._open == what:
            return
        self._close(out)
        self._block += 1
        self._open = what
        out.append(_event("content_block_start", {"index": self._block, "content_block": block}))

    def _write(self, delta: Json, out: list[bytes]) -> None:
        out.append(_event("content_block_delta", {"index": self._block, "delta": delta}))

    def _close(self, out: list[bytes]) -> None:
        if self._open:
            out.append(_event("content_block_stop", {"index": self._block}))
            self._open = ""


def _event(kind: str, fields: Json) -> bytes:
    return f"event: {kind}\ndata: ".encode() + msgspec.json.encode({"type": kind, **fields}) + b"\n\n"
