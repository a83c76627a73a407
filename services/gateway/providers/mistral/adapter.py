"""Mistral: OpenAI's format but for parts of messages and events of transcripts, and its own for texts, speech, moderation."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, Final

import msgspec

from services.gateway.providers.answer import OpenAIAnswer
from services.gateway.providers.body import JsonBody, ParsedBody
from services.gateway.providers.estimate import estimate_answer
from services.gateway.providers.mistral.fim import PATH, FimRelay, fim_fields, read_text
from services.gateway.providers.mistral.moderation import moderation_fields, read_moderation
from services.gateway.providers.mistral.parts import MODEL_LENGTH, plain_content, plain_end
from services.gateway.providers.mistral.relay import MistralRelay, MistralSpeech, MistralTranscript
from services.gateway.providers.mistral.speech import read_speech, speech_fields
from services.gateway.providers.openai import OpenAIAdapter
from services.gateway.providers.operations import Operation
from services.gateway.providers.port import Adapter, Answer, Prepared, Relay, RelayOptions, Target
from shared.events import Tokens

_REWRITTEN: Final[Mapping[Operation, Callable[[JsonBody], tuple[dict[str, Any], tuple[str, ...]]]]] = {
    Operation.COMPLETIONS: fim_fields,
    Operation.SPEECH: speech_fields,
    Operation.MODERATIONS: moderation_fields,
}
"""What is asked for in a format of its own, and how: the fields but for the model, and what was left out."""
_fields: Final = msgspec.json.Decoder(dict[str, msgspec.Raw])


class MistralAdapter(OpenAIAdapter):
    """See Adapter."""

    def build(self, operation: Operation, target: Target, body: ParsedBody) -> Prepared:
        prepared = super().build(operation, target, body)
        rewritten = _REWRITTEN.get(operation)
        if rewritten is None or not isinstance(body, JsonBody):
            return prepared
        fields, dropped = rewritten(body)
        sent = msgspec.json.encode({"model": target.model_on_wire, **fields})
        url = prepared.request.url
        if operation is Operation.COMPLETIONS:
            url = url.removesuffix(operation.path) + PATH
        request = replace(prepared.request, url=url, body=sent)
        return msgspec.structs.replace(prepared, request=request, dropped=dropped)

    def read_answer(
        self, operation: Operation, body: ParsedBody, headers: Mapping[str, str], answer: bytes
    ) -> Answer:
        read = super().read_answer(operation, body, headers, answer)
        if read.error is not None:
            return read
        if operation is Operation.SPEECH and isinstance(body, JsonBody):
            return read_speech(body, answer, read.usage)
        if operation is Operation.COMPLETIONS:
            return read_text(read, answer)
        if operation is Operation.MODERATIONS:
            told = read.usage.tokens != Tokens()
            return read_moderation(answer, read.usage if told else estimate_answer(operation, body, answer))
        if operation is not Operation.CHAT:
            return read
        try:
            fields = _fields.decode(answer)
            ended = MODEL_LENGTH in answer and plain_end(fields)
            if not plain_content(fields, "message") and not ended:
                return read
        except msgspec.DecodeError:
            return read  # choices of another shape: the client gets them as they came
        return OpenAIAnswer(
            msgspec.json.encode(fields),
            read.content_type,
            read.usage,
            fields=fields,
            finish_reason="length" if ended else read.finish_reason,
        )

    def relay(self, operation: Operation, options: RelayOptions) -> Relay:
        if operation is Operation.CHAT:
            return MistralRelay(options)
        if operation is Operation.COMPLETIONS:
            return FimRelay(options)
        if operation is Operation.TRANSCRIPTIONS:
            return MistralTranscript(options, typed=True)
        if operation is Operation.SPEECH:
            return MistralSpeech(options, typed=True)
        return super().relay(operation, options)


def proves_port(adapter: MistralAdapter) -> Adapter:
    """Makes the type checker prove that the adapter fits its port."""
    return adapter
