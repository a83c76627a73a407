"""Mistral's streams, where they differ from OpenAI's: content in lists of parts, speech and transcripts under other
names."""

import re
from typing import Final

import msgspec

from services.gateway.providers.mistral.parts import MODEL_LENGTH, plain_content, plain_end
from services.gateway.providers.relay import OpenAIRelay
from services.gateway.providers.sse import event, event_name
from services.gateway.providers.usage import read_usage, usage_json

_MODEL_LENGTH: Final = MODEL_LENGTH.strip(b'"').decode()
_LIST: Final = re.compile(rb'"content"\s*:\s*\[')
_NAMES: Final = {
    b'"transcription.text.delta"': b'"transcript.text.delta"',
    b'"transcription.done"': b'"transcript.text.done"',
}


class MistralRelay(OpenAIRelay):
    """See Relay. What a model thinks and what it says come in one list; OpenAI's clients want them apart."""

    __slots__ = ()

    def _means_something(self, events: bytes) -> bool:
        return (
            super()._means_something(events)
            or (b'"content"' in events and _LIST.search(events) is not None)
            or MODEL_LENGTH in events
        )

    def _note_finish(self, events: bytes) -> None:
        super()._note_finish(events)
        if self.finish_reason == _MODEL_LENGTH:
            self.finish_reason = "length"

    def _chunk(self, block: bytes, fields: dict[str, msgspec.Raw]) -> bytes:
        try:
            ended = MODEL_LENGTH in block and plain_end(fields)
            if (_LIST.search(block) is not None and plain_content(fields, "delta")) or ended:
                block = event(msgspec.json.encode(fields))
        except msgspec.DecodeError:
            pass  # choices of another shape: the client gets them as they came
        return super()._chunk(block, fields)


class MistralTranscript(OpenAIRelay):
    """See Relay. The events of a transcript by OpenAI's names; others pass as they come."""

    __slots__ = ()

    def _means_something(self, events: bytes) -> bool:
        return b'"transcription.' in events or super()._means_something(events)

    def _typed_event(self, block: bytes, fields: dict[str, msgspec.Raw]) -> bytes:
        name = _NAMES.get(bytes(fields.get("type", b"")))
        if name is None:
            return super()._typed_event(block, fields)
        fields["type"] = msgspec.Raw(name)
        if "text" in fields and name.endswith(b'delta"'):
            fields["delta"] = fields.pop("text")
        named = b"event: " + name.strip(b'"') + b"\n" if event_name(block) else b""
        return super()._typed_event(named + event(msgspec.json.encode(fields)), fields)


class MistralSpeech(OpenAIRelay):
    """See Relay. The events have OpenAI's names; what is in them has not."""

    __slots__ = ()

    def _means_something(self, events: bytes) -> bool:
        return b'"speech.audio.' in events or super()._means_something(events)

    def _typed_event(self, block: bytes, fields: dict[str, msgspec.Raw]) -> bytes:
        if "audio_data" in fields:
            fields["audio"] = fields.pop("audio_data")
        if "usage" in fields and (used := read_usage(bytes(fields["usage"]))) is not None:
            fields["usage"] = msgspec.Raw(msgspec.json.encode(usage_json(used, images=True)))
        name = event_name(block)
        named = b"event: " + name + b"\n" if name else b""
        return super()._typed_event(named + event(msgspec.json.encode(fields)), fields)
