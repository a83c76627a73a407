"""Judges requests to Mistral by its SDK's own types, and makes its answers of them."""

import base64
import json
import re
from typing import Any

import pydantic
from mistralai.client import models

Document = dict[str, Any]
THOUGHT_AND_TEXT: list[Document] = [
    {"type": "thinking", "thinking": [{"type": "text", "text": "Hm. "}, {"type": "text", "text": "Yes."}]},
    {"type": "text", "text": "Hé"},
    {"type": "text", "text": "llo"},
]


def judge(model: type[pydantic.BaseModel], body: Document) -> None:
    """Fails unless the SDK's type takes this body and knows every field of it, however deep."""
    known(model.model_validate(body), body)


def wrong_in_order(messages: list[Document]) -> list[str]:
    """What Mistral has against the order of messages and the ids of calls, which its SDK's types do not say.

    In the words of its answers with the codes 3280 and 3230, and of the one about the last role.
    """
    found = []
    for at, message in enumerate(messages):
        before = messages[at - 1]["role"] if at else ""
        if message["role"] == "user" and before == "tool":
            found.append("Unexpected role 'user' after role 'tool'")
        ids = [call["id"] for call in message.get("tool_calls") or [] if "id" in call]
        for id in [*ids, *([message["tool_call_id"]] if message.get("tool_call_id") else [])]:
            if not re.fullmatch(r"[A-Za-z0-9]{9}", id):
                found.append(f"Tool call id was {id} but must be a-z, A-Z, 0-9, with a length of 9")
    if messages and messages[-1]["role"] not in ("user", "tool") and not messages[-1].get("prefix"):
        found.append("Expected last role User or Tool (or Assistant with prefix True) for serving")
    return found


def known(value: Any, document: Any) -> None:
    if isinstance(value, pydantic.BaseModel):
        assert getattr(value, "is_unknown", False) is not True, f"unknown kind: {document}"
        fields = {field.alias or name: name for name, field in type(value).model_fields.items()}
        assert set(document) <= set(fields), (type(value).__name__, sorted(set(document) - set(fields)))
        for alias, inner in document.items():
            known(getattr(value, fields[alias]), inner)
    elif isinstance(value, list):
        for item, inner in zip(value, document, strict=True):
            known(item, inner)


def answer(content: Any, **message: Any) -> bytes:
    """A whole answer."""
    choice = {
        "index": 0,
        "message": {"role": "assistant", "content": content, **message},
        "finish_reason": "stop",
    }
    usage = {"prompt_tokens": 9, "completion_tokens": 4, "total_tokens": 13}
    made = models.ChatCompletionResponse.model_validate(
        {
            "id": "c1",
            "object": "chat.completion",
            "model": "magistral-medium",
            "created": 1,
            "usage": usage,
            "choices": [choice],
        }
    )
    return made.model_dump_json(by_alias=True).encode()


def stream(*deltas: Document) -> list[bytes]:
    """Events of a stream with these deltas; the last chunk ends it and has the usage, unasked."""
    events = []
    for at, delta in enumerate(deltas):
        last = at == len(deltas) - 1
        chunk: Document = {
            "id": "c1",
            "object": "chat.completion.chunk",
            "model": "magistral-medium",
            "created": 1,
            "choices": [{"index": 0, "delta": delta, "finish_reason": "stop" if last else None}],
        }
        if last:
            chunk["usage"] = {"prompt_tokens": 9, "completion_tokens": 4, "total_tokens": 13}
        made = models.CompletionChunk.model_validate(chunk)
        events.append(b"data: " + made.model_dump_json(by_alias=True).encode() + b"\n\n")
    return [*events, b"data: [DONE]\n\n"]


def transcript_events(*texts: str) -> list[bytes]:
    """Events of a transcript, in the SDK's types."""
    usage = {"prompt_tokens": 4, "completion_tokens": 3, "total_tokens": 7, "prompt_audio_seconds": 5}
    made: list[pydantic.BaseModel] = [
        models.TranscriptionStreamTextDelta.model_validate({"type": "transcription.text.delta", "text": text})
        for text in texts
    ]
    done = {"type": "transcription.done", "model": "voxtral", "language": "en", "text": "".join(texts)}
    made.append(models.TranscriptionStreamDone.model_validate(done | {"usage": usage}))
    return [
        f"event: {getattr(event, 'type')}\ndata: {event.model_dump_json(by_alias=True)}\n\n".encode()  # noqa: B009  # the base type has none
        for event in made
    ]


def speech(sound: bytes) -> bytes:
    """A whole answer with this sound."""
    made = models.SpeechResponse(audio_data=base64.b64encode(sound).decode())
    return made.model_dump_json(by_alias=True).encode()


def speech_events(*sounds: bytes) -> list[bytes]:
    """Events of speech, in the SDK's types."""
    usage = models.UsageInfo(prompt_tokens=14, completion_tokens=101, total_tokens=115)
    made: list[models.SpeechStreamAudioDelta | models.SpeechStreamDone] = [
        models.SpeechStreamAudioDelta(audio_data=base64.b64encode(sound).decode()) for sound in sounds
    ]
    made.append(models.SpeechStreamDone(usage=usage))
    return [
        f"event: {event.type}\ndata: {event.model_dump_json(by_alias=True)}\n\n".encode() for event in made
    ]


def moderation(model: str, *verdicts: dict[str, bool]) -> Document:
    """What is said of each text: whether it falls into a category."""
    results = [
        models.ModerationObject(
            categories=verdict, category_scores={name: 0.9 if hit else 0.01 for name, hit in verdict.items()}
        )
        for verdict in verdicts
    ]
    made = models.ModerationResponse(id="mod-e5cc70bb", model=model, results=results)
    document: Document = json.loads(made.model_dump_json(by_alias=True))
    return document
