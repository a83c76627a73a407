"""Transcripts: OpenAI's form without what Cohere has not, and the text that it answers.

The format is that of `audio.transcriptions.create` in Cohere's SDK: it wants to be told the language.
"""

from typing import Final

import msgspec

from services.gateway.providers.answer import OpenAIAnswer
from services.gateway.providers.body import ParsedBody
from services.gateway.providers.chat.completion import failed_answer
from services.gateway.providers.errors import BadRequest
from services.gateway.providers.estimate import estimate_answer
from services.gateway.providers.multipart import MultipartBody
from services.gateway.providers.operations import Operation
from services.gateway.providers.parameters import left_over
from services.gateway.providers.wire_errors import unreadable_answer

_SENT: Final = frozenset({"model", "file", "language", "temperature"})
_SAID_HERE: Final = frozenset({"response_format", "stream"})


class _Transcript(msgspec.Struct):
    text: str


_transcript: Final = msgspec.json.Decoder(_Transcript)
_fields: Final = msgspec.json.Decoder(dict[str, msgspec.Raw])


def transcript_form(body: MultipartBody, model: str) -> tuple[bytes, tuple[str, ...]]:
    """The form and what was left out of it.

    Raises BadRequest naming what is missing, or what nobody knows here: times, for one.
    """
    if [part.name for part in body.files] != ["file"]:
        raise BadRequest("`file` must hold one recording.", param="file")
    if not body.text("language"):
        raise BadRequest("`language` must be given with this model, as in 'en'.", param="language")
    if (body.text("response_format") or "json") not in ("json", "text"):
        raise BadRequest(
            "`response_format` must be 'json' or 'text' with this model.", param="response_format"
        )
    if body.stream:
        raise BadRequest("`stream` cannot be used with this model.", param="stream")
    form = body.with_changes({"model": body.encoded(model)}, body.names - _SENT)
    return form, tuple(left_over(body, _SENT | _SAID_HERE))


def read_transcript(request: ParsedBody, raw: bytes) -> OpenAIAnswer:
    """Never raises: an answer without a text has its `error` set."""
    try:
        text = _transcript.decode(raw).text
        fields = _fields.decode(raw)
    except msgspec.DecodeError:
        return failed_answer(raw, unreadable_answer())
    usage = estimate_answer(Operation.TRANSCRIPTIONS, request, raw)
    if request.text("response_format") == "text":
        return OpenAIAnswer(text.encode() + b"\n", "text/plain; charset=utf-8", usage)
    return OpenAIAnswer(raw, "application/json", usage, fields=fields)
