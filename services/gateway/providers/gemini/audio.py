"""Speech and transcripts, both by `:generateContent`: the one answers in sound, the other is asked for the words."""

import base64
import binascii
import struct
from typing import Any, Final

import msgspec

from services.gateway.providers.answer import OpenAIAnswer
from services.gateway.providers.body import JsonBody, ParsedBody
from services.gateway.providers.errors import BadRequest, UpstreamError
from services.gateway.providers.estimate import estimate_answer
from services.gateway.providers.gemini.answer import block_message, blocked, failed, read_generated
from services.gateway.providers.gemini.contents import inline
from services.gateway.providers.gemini.errors import empty_answer
from services.gateway.providers.gemini.usage import usage_of
from services.gateway.providers.gemini.wire import GenerateResponse, Part
from services.gateway.providers.multipart import MultipartBody
from services.gateway.providers.operations import Operation
from services.gateway.providers.parameters import left_over
from services.gateway.providers.usage import Usage, usage_json
from services.gateway.providers.wire_errors import unreadable_answer

Built = tuple[dict[str, Any], tuple[str, ...]]
DEFAULT_RATE: Final = 24_000
_VOICES: Final = {
    "alloy": "Kore", "ash": "Orus", "ballad": "Vindemiatrix", "cedar": "Algenib", "coral": "Aoede", "echo": "Charon",
    "fable": "Puck", "marin": "Despina", "nova": "Leda", "onyx": "Fenrir", "sage": "Sulafat", "shimmer": "Zephyr",
    "verse": "Iapetus",
}  # fmt: skip
"""OpenAI's names for voices, which clients send unasked, and a voice like it."""
_TYPES: Final = {
    "mp3": "audio/mp3", "wav": "audio/wav", "flac": "audio/flac", "ogg": "audio/ogg", "opus": "audio/ogg",
    "m4a": "audio/mp4", "mp4": "audio/mp4", "webm": "audio/webm", "mpga": "audio/mp3", "mpeg": "audio/mpeg", "aac": "audio/aac",
}  # fmt: skip
_ASKED: Final = "Write down word for word what is said in this recording. Answer with these words only."
_SPOKEN: Final = frozenset({"input", "voice", "instructions", "response_format", "stream_format"})
_HEARD: Final = frozenset({"file", "language", "prompt", "response_format", "stream", "temperature"})
_PLAIN: Final = "text/plain; charset=utf-8"


def speech_body(body: JsonBody) -> Built:
    """Raises BadRequest naming what is missing."""
    text = body.text("input")
    if not text:
        raise BadRequest("`input` must be the text to speak.", param="input")
    if body.text("stream_format") == "sse":
        raise BadRequest("`stream_format` cannot be 'sse' with this model.", param="stream_format")
    dropped = left_over(body, _SPOKEN)
    if (body.text("response_format") or "wav") not in ("wav", "pcm"):
        dropped.append("response_format")  # there is no encoder here: it is always uncompressed
    voice = body.text("voice") or "alloy"
    said = f"{body.text('instructions')}: {text}" if body.text("instructions") else text
    speech = {"voiceConfig": {"prebuiltVoiceConfig": {"voiceName": _VOICES.get(voice, voice)}}}
    config = {"responseModalities": ["AUDIO"], "speechConfig": speech}
    return {"contents": [_turn({"text": said})], "generationConfig": config}, tuple(dropped)


def transcript_body(body: MultipartBody) -> Built:
    """Raises BadRequest naming what is missing, or a form of transcript that takes times, which nobody knows here."""
    file = next((part for part in body.files if part.name == "file"), None)
    if file is None:
        raise BadRequest("`file` must hold the recording.", param="file")
    if (body.text("response_format") or "json") not in ("json", "text"):
        raise BadRequest(
            "`response_format` must be 'json' or 'text' with this model.", param="response_format"
        )
    if body.stream:
        raise BadRequest("`stream` cannot be used with this model.", param="stream")
    asked = _ASKED
    if language := body.text("language"):
        asked += f" The language is {language}."
    if hint := body.text("prompt"):
        asked += f" For spelling: {hint}"
    ending = (file.filename or "").rpartition(".")[2].lower()
    data = base64.b64encode(body.content_of(file)).decode()
    wire: dict[str, Any] = {
        "contents": [_turn(inline(_TYPES.get(ending, "audio/wav"), data), {"text": asked})]
    }
    if temperature := body.text("temperature"):
        wire["generationConfig"] = {"temperature": _temperature(temperature)}
    return wire, tuple(left_over(body, _HEARD))


def read_speech(body: ParsedBody, answer: bytes) -> OpenAIAnswer:
    """Never raises: an answer that cannot be read, or is silent, has its `error` set."""
    response = _spoken(answer)
    if isinstance(response, UpstreamError):
        return failed(answer, response)
    sounds = [part.inline_data for part in _parts(response) if part.inline_data is not None]
    if not sounds:
        return failed(answer, empty_answer("NO_AUDIO"))
    try:
        sound = b"".join(base64.b64decode(one.data) for one in sounds)
    except (binascii.Error, ValueError):
        return failed(answer, unreadable_answer())
    usage = _usage(Operation.SPEECH, body, response, answer)
    if isinstance(body, JsonBody) and body.text("response_format") == "pcm":
        return OpenAIAnswer(sound, "audio/pcm", usage)
    return OpenAIAnswer(_wav(sound, _rate(sounds[0].mime_type)), "audio/wav", usage)


def read_transcript(body: ParsedBody, answer: bytes) -> OpenAIAnswer:
    """Never raises: an answer that cannot be read has its `error` set."""
    response = _spoken(answer)
    if isinstance(response, UpstreamError):
        return failed(answer, response)
    text = "".join(part.text or "" for part in _parts(response)).strip()
    usage = _usage(Operation.TRANSCRIPTIONS, body, response, answer)
    if body.text("response_format") == "text":
        return OpenAIAnswer(text.encode() + b"\n", _PLAIN, usage)
    counts = {"type": msgspec.Raw(b'"tokens"'), **usage_json(usage, images=True)}
    fields = {
        "text": msgspec.Raw(msgspec.json.encode(text)),
        "usage": msgspec.Raw(msgspec.json.encode(counts)),
    }
    return OpenAIAnswer(msgspec.json.encode(fields), "application/json", usage, fields=fields)


def _temperature(text: str) -> float:
    try:
        value = float(text)
    except ValueError as error:
        raise BadRequest("`temperature` must be a number.", param="temperature") from error
    if not 0 <= value <= 2:
        raise BadRequest("`temperature` must be from 0 to 2.", param="temperature")
    return value


def _turn(*parts: dict[str, Any]) -> dict[str, Any]:
    return {"role": "user", "parts": list(parts)}


def _spoken(answer: bytes) -> GenerateResponse | UpstreamError:
    response = read_generated(answer)
    if isinstance(response, UpstreamError) or response.candidates:
        return response
    if blocked(response.prompt_feedback):
        message = block_message(response.prompt_feedback)
        return UpstreamError(status=400, message=message, code="content_filter")
    return empty_answer("NO_CANDIDATES")


def _parts(response: GenerateResponse) -> list[Part]:
    return [part for one in response.candidates for part in one.content.parts if not part.thought]


def _usage(operation: Operation, body: ParsedBody, response: GenerateResponse, answer: bytes) -> Usage:
    reported = response.usage_metadata
    return usage_of(reported) if reported is not None else estimate_answer(operation, body, answer)


def _rate(media_type: str) -> int:
    """The rate in `audio/L16;codec=pcm;rate=24000`."""
    value = media_type.partition("rate=")[2].partition(";")[0]
    return int(value) if value.isdecimal() and 0 < int(value) < 1_000_000 else DEFAULT_RATE


def _wav(sound: bytes, rate: int) -> bytes:
    """A file around samples of 16 bits on one channel."""
    size = len(sound)
    head = struct.pack(
        "<4sI4s4sIHHIIHH4sI",
        b"RIFF", 36 + size, b"WAVE", b"fmt ", 16, 1, 1, rate, rate * 2, 2, 16, b"data", size,
    )  # fmt: skip
    return head + sound
