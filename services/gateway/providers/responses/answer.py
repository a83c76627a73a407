"""A whole chat completion as a response."""

from collections.abc import Mapping
from typing import Any, Final

import msgspec

from services.gateway.providers.body import JsonBody
from services.gateway.providers.chat.memory import Memory, sealed
from services.gateway.providers.inbound import ChunkDelta, ChunkLogprobs, ToolCallPiece
from services.gateway.providers.responses.envelope import (
    Envelope,
    annotation_of,
    call_item,
    logprob_of,
    message_item,
    reasoning_item,
    refusal_part,
    status_of,
    text_part,
    usage_of,
)
from services.gateway.providers.responses.reading import Json
from services.gateway.providers.usage import Usage


class _Choice(msgspec.Struct):
    message: ChunkDelta
    finish_reason: str | None = None
    logprobs: ChunkLogprobs | None = None


class _Completion(msgspec.Struct):
    choices: list[_Choice]
    id: str | None = None
    created: int | None = None
    model: str | None = None
    service_tier: str | None = None


_completion: Final = msgspec.json.Decoder(_Completion, strict=False)


def answer_of(body: JsonBody, chat: Mapping[str, msgspec.Raw], usage: Usage) -> bytes:
    """The response to the client's `body`. Raises msgspec.DecodeError when `chat` is no chat completion."""
    completion = _completion.decode(msgspec.json.encode(chat))
    if not completion.choices:
        raise msgspec.ValidationError("a chat completion without choices")
    envelope = Envelope(body, chat_id=completion.id, model=completion.model, created=completion.created)
    choice = completion.choices[0]
    reason = choice.finish_reason or ""
    document = envelope.document(
        status_of(reason),
        _output(choice, envelope.key, status_of(reason)),
        usage_of(usage),
        finish_reason=reason,
        service_tier=completion.service_tier,
    )
    return msgspec.json.encode(document)


def _output(choice: _Choice, key: str, status: str) -> list[Json]:
    said = choice.message
    output: list[Json] = []
    calls = said.tool_calls or []
    encrypted = sealed(Memory(said.reasoning_details or [], _marks(calls)))
    if said.thought or encrypted is not None:
        output.append(reasoning_item(f"rs_{key}_0", said.thought, encrypted))
    parts = []
    if said.text or not (calls or said.refusal):
        odds = (choice.logprobs.content if choice.logprobs is not None else None) or ()
        annotations = [annotation_of(annotation) for annotation in said.annotations or ()]
        parts.append(text_part(said.text, [logprob_of(odd) for odd in odds], annotations))
    if said.refusal:
        parts.append(refusal_part(said.refusal))
    if parts:
        output.append(message_item(f"msg_{key}_{len(output)}", parts, status))
    for call in calls:
        if call.function is not None:
            item_id = f"fc_{key}_{len(output)}"
            name, arguments = call.function.name or "", call.function.arguments or ""
            output.append(call_item(item_id, call.id or item_id, name, arguments, "completed"))
    return output


def _marks(calls: list[ToolCallPiece]) -> dict[str, Any]:
    return {call.id: call.extra_content for call in calls if call.id and call.extra_content is not None}
