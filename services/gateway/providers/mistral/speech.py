"""Text to speech: OpenAI's request in Mistral's words, and the sound out of its answer, which is JSON.

The format is that of `SpeechRequest` and `SpeechResponse` in Mistral's SDK; the voices are presets of its documentation
(docs.mistral.ai, text to speech).
"""

from typing import Any, Final

import msgspec

from services.gateway.providers.answer import OpenAIAnswer
from services.gateway.providers.body import JsonBody
from services.gateway.providers.chat.completion import failed_answer
from services.gateway.providers.errors import BadRequest
from services.gateway.providers.parameters import left_over
from services.gateway.providers.usage import Usage
from services.gateway.providers.wire_errors import unreadable_answer

JANE, OLIVER, PAUL = "gb_jane_neutral", "gb_oliver_neutral", "en_paul_neutral"
VOICES: Final = {
    "alloy": JANE, "ash": PAUL, "ballad": OLIVER, "cedar": PAUL, "coral": JANE, "echo": PAUL, "fable": OLIVER,
    "marin": JANE, "nova": JANE, "onyx": OLIVER, "sage": JANE, "shimmer": JANE, "verse": PAUL,
}  # fmt: skip
"""OpenAI's names for voices, which clients send unasked, and the voice that is nearest to each."""
_TYPES: Final = {"mp3": "audio/mpeg", "opus": "audio/opus", "flac": "audio/flac", "wav": "audio/wav"}
"""Mistral's `pcm` is not among them: its samples are floating-point numbers of 32 bits, OpenAI's are integers of 16."""
_USUAL: Final = "mp3"
_OWN: Final = (
    "voice_id", "ref_audio", "expressiveness", "phoneme_hints", "conversation_history", "metadata", "prompt_cache_key",
)  # fmt: skip
_TAKEN: Final = frozenset({"input", "voice", "response_format", "stream_format", *_OWN})


class _Custom(msgspec.Struct):
    """OpenAI's object for a voice of one's own."""

    id: str


class _Spoken(msgspec.Struct):
    audio_data: bytes


_voice: Final = msgspec.json.Decoder(str | _Custom)
_spoken: Final = msgspec.json.Decoder(_Spoken)


def speech_fields(body: JsonBody) -> tuple[dict[str, Any], tuple[str, ...]]:
    """The request but for its model, and what was left out. Raises BadRequest naming what is missing or unknown."""
    text = body.text("input")
    if not text:
        raise BadRequest("`input` must be the text to speak.", param="input")
    fields: dict[str, Any] = {"input": text, "response_format": _sound(body)}
    fields |= {name: msgspec.Raw(raw) for name in _OWN if (raw := body.raw(name)) is not None}
    if not fields.keys() & {"voice_id", "ref_audio"}:
        fields["voice_id"] = _voice_of(body)
    if _streams(body):
        fields["stream"] = True
    return fields, tuple(left_over(body, _TAKEN))


def read_speech(body: JsonBody, answer: bytes, usage: Usage) -> OpenAIAnswer:
    """Never raises: an answer without a sound has its `error` set."""
    try:
        sound = _spoken.decode(answer).audio_data
    except msgspec.DecodeError:
        return failed_answer(answer, unreadable_answer())
    if not sound:
        return failed_answer(answer, unreadable_answer())
    return OpenAIAnswer(sound, _TYPES[_sound(body)], usage)


def _sound(body: JsonBody) -> str:
    asked = body.text("response_format") or _USUAL
    if asked not in _TYPES:
        known = ", ".join(f"'{name}'" for name in _TYPES)
        raise BadRequest(
            f"`response_format` must be one of {known} with this model.", param="response_format"
        )
    return asked


def _voice_of(body: JsonBody) -> str:
    try:
        voice = _voice.decode(body.raw("voice") or b'"alloy"')
    except msgspec.DecodeError as error:
        raise BadRequest("`voice` must be a name, or an object with an `id`.", param="voice") from error
    return voice.id if isinstance(voice, _Custom) else VOICES.get(voice, voice)


def _streams(body: JsonBody) -> bool:
    asked = body.text("stream_format") or "audio"
    if asked not in ("audio", "sse"):
        raise BadRequest("`stream_format` must be 'audio' or 'sse'.", param="stream_format")
    return asked == "sse"
