"""A whole chat completion as a response."""

from collections.abc import Mapping
from typing import Final

import msgspec

from services.gateway.providers.body import JsonBody
from services.gateway.providers.chat.memory import Memory
from services.gateway.providers.inbound import ChunkDelta, ChunkLogprobs
from services.gateway.providers.responses.envelope import (
    Envelope,
    annotation_of,
    call_item,
    logprob_of,
    message_item,
    refusal_part,
    status_of,
    text_part,
    usage_of,
)
from services.gateway.providers.responses.reading import Json
from services.gateway.providers.responses.reasoning import OUR_PREFIX, reasoning_item, thought_field
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
        _output(choice, envelope, status_of(reason)),
        usage_of(usage),
        finish_reason=reason,
        service_tier=completion.service_tier,
    )
    return msgspec.json.encode(document)


def _output(choice: _Choice, envelope: Envelope, status: str) -> list[Json]:
    """Only what was written last can be cut off."""
    said = choice.message
    output: list[Json] = []
    calls = [(call, call.function) for call in said.tool_calls or () if call.function is not None]
    marks = {call.id: call.extra_content for call, _ in calls if call.id and call.extra_content is not None}
    memory = Memory(said.reasoning_details or [], marks, thought_field(said))
    if said.thought or memory != Memory():
        output.append(reasoning_item(envelope.item_id(OUR_PREFIX, 0), said.thought, memory))
    parts = []
    if said.text or not (calls or said.refusal):
        odds = (choice.logprobs.content if choice.logprobs is not None else None) or ()
        annotations = [annotation_of(annotation) for annotation in said.annotations or ()]
        parts.append(text_part(said.text, [logprob_of(odd) for odd in odds], annotations))
    if said.refusal:
        parts.append(refusal_part(said.refusal))
    if parts:
        ended = "completed" if calls else status
        output.append(message_item(envelope.item_id("msg", len(output)), parts, ended))
    for at, (call, function) in enumerate(calls, 1):
        item_id = envelope.item_id("fc", len(output))
        ended = status if at == len(calls) else "completed"
        name, arguments = function.name or "", function.arguments or ""
        output.append(call_item(item_id, call.id or item_id, name, arguments, ended))
    return output
