"""Mistral: OpenAI's format but for the parts of messages and the events of transcripts."""

from collections.abc import Mapping
from typing import Final

import msgspec

from services.gateway.providers.answer import OpenAIAnswer
from services.gateway.providers.body import ParsedBody
from services.gateway.providers.mistral.parts import MODEL_LENGTH, plain_content, plain_end
from services.gateway.providers.mistral.relay import MistralRelay, MistralTranscript
from services.gateway.providers.openai import OpenAIAdapter
from services.gateway.providers.operations import Operation
from services.gateway.providers.port import Adapter, Answer, Relay, RelayOptions

_fields: Final = msgspec.json.Decoder(dict[str, msgspec.Raw])


class MistralAdapter(OpenAIAdapter):
    """See Adapter."""

    def read_answer(
        self, operation: Operation, body: ParsedBody, headers: Mapping[str, str], answer: bytes
    ) -> Answer:
        read = super().read_answer(operation, body, headers, answer)
        if operation is not Operation.CHAT or read.error is not None:
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
        if operation is Operation.TRANSCRIPTIONS:
            return MistralTranscript(options, typed=True)
        return super().relay(operation, options)


def proves_port(adapter: MistralAdapter) -> Adapter:
    """Makes the type checker prove that the adapter fits its port."""
    return adapter
