"""The events of InvokeModelWithResponseStream, for the models that take a bare prompt."""

from typing import Final

import msgspec
from botocore.eventstream import EventStreamMessage

from services.gateway.providers.bedrock.completions import Written, written_decoder
from services.gateway.providers.bedrock.frames import FramedStream, failure_in
from services.gateway.providers.chat.translate import Delta, FinishDelta, TextDelta
from services.gateway.providers.usage import Usage
from shared.events import Tokens


class _Part(msgspec.Struct):
    data: bytes = msgspec.field(name="bytes")
    """JSON of the model's own."""


_part: Final = msgspec.json.Decoder(_Part)


class CompletionStream(FramedStream):
    """See StreamTranslator."""

    def __init__(self) -> None:
        super().__init__()
        self._prompt: int | None = None
        self._completion = 0

    def _event(self, message: EventStreamMessage, out: list[Delta]) -> None:
        headers, payload = message.headers, message.payload
        kind = headers.get(":event-type")
        if kind == "chunk":
            self._add(written_decoder.decode(_part.decode(payload).data), out)
        elif kind is None:
            self.error = failure_in(headers, payload)

    def _add(self, written: Written, out: list[Delta]) -> None:
        if written.text:
            out.append(TextDelta(written.text))
        reason = written.finish_reason
        if reason is not None and not self.whole:
            self.whole = True
            out.append(FinishDelta(reason))
        self._count(written)
        self.ended = self.whole and written.metrics is not None

    def _count(self, written: Written) -> None:
        """Llama counts as it goes on; all are counted at the end."""
        metrics = written.metrics
        prompt = written.prompt_token_count if metrics is None else metrics.inputTokenCount
        completion = written.generation_token_count if metrics is None else metrics.outputTokenCount
        self._prompt = self._prompt if prompt is None else max(0, prompt)
        self._completion = self._completion if completion is None else max(0, completion)
        if self._prompt is not None:
            self.usage = Usage(Tokens(prompt=self._prompt, completion=self._completion))
