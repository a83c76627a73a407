"""Demo pictures and sounds, drawn with the standard library: a PNG that says DEMO, a beep, a made-up transcript."""

import base64
import math
import re
import struct
import zlib
from functools import lru_cache
from typing import Final

import msgspec

from services.gateway.providers.body import JsonBody, ParsedBody
from services.gateway.providers.errors import BadRequest
from services.gateway.providers.multipart import MultipartBody

MAX_SIDE: Final = 1024
MIN_SIDE: Final = 64
MAX_IMAGES: Final = 10
SAMPLE_RATE: Final = 16_000
_LETTERS: Final = {
    "D": ("####.", "#...#", "#...#", "#...#", "#...#", "#...#", "####."),
    "E": ("#####", "#....", "#....", "####.", "#....", "#....", "#####"),
    "M": ("#...#", "##.##", "#.#.#", "#...#", "#...#", "#...#", "#...#"),
    "O": (".###.", "#...#", "#...#", "#...#", "#...#", "#...#", ".###."),
}
_LABEL: Final = tuple(".".join(_LETTERS[letter][row] for letter in "DEMO") for row in range(7))
_INK: Final = 255
_PICTURES: Final = frozenset({"image", "image[]"})


def answer_image(body: ParsedBody, created: int) -> dict[str, object]:
    """`n` labelled pictures of the size asked for, as base64 or as data URLs.

    Raises BadRequest when there is no prompt, or no picture where one is to be edited.
    """
    prompt = body.text("prompt")
    if not prompt:
        raise BadRequest("`prompt` must say what to draw.", param="prompt")
    if isinstance(body, MultipartBody) and not any(part.name in _PICTURES for part in body.files):
        raise BadRequest("`image` must be the picture to edit.", param="image")
    width, height = _size(body.text("size") or "512x512")
    picture = base64.b64encode(demo_png(width, height)).decode()
    item = (
        {"url": f"data:image/png;base64,{picture}"}
        if body.text("response_format") == "url"
        else {"b64_json": picture}
    )
    n = min(body.n, MAX_IMAGES)
    return {
        "created": created,
        "data": [{**item, "revised_prompt": f"Demo picture for: {prompt}"} for _ in range(n)],
    }


@lru_cache(maxsize=16)
def demo_png(width: int, height: int) -> bytes:
    """A palette picture: a gradient with the word DEMO across it."""
    scale = max(1, (width * 3 // 4) // len(_LABEL[0]))
    left = (width - scale * len(_LABEL[0])) // 2
    top = (height - scale * len(_LABEL)) // 2
    rows = []
    for y in range(height):
        shade = bytes([y * 250 // height])
        line = (y - top) // scale
        if 0 <= line < len(_LABEL) and y >= top:
            pixels = b"".join((bytes([_INK]) if dot == "#" else shade) * scale for dot in _LABEL[line])
            row = shade * left + pixels
            row += shade * (width - len(row))
        else:
            row = shade * width
        rows.append(b"\x00" + row)
    palette = b"".join(bytes((40 + i // 3, 60 + i // 2, 150 + i // 4)) for i in range(255)) + b"\xff\xff\xff"
    return b"".join(
        (
            b"\x89PNG\r\n\x1a\n",
            _png_chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 3, 0, 0, 0)),
            _png_chunk(b"PLTE", palette),
            _png_chunk(b"tEXt", b"Comment\x00DEMO picture, made by the demo provider"),
            _png_chunk(b"IDAT", zlib.compress(b"".join(rows), 6)),
            _png_chunk(b"IEND", b""),
        )
    )


def answer_speech(body: JsonBody) -> tuple[str, bytes]:
    """Content type and sound: silence in MP3 (what players expect unasked), a beep in WAV or PCM."""
    text = body.text("input")
    if not text:
        raise BadRequest("`input` must be the text to speak.", param="input")
    seconds = min(10.0, max(0.5, len(text) / 15))
    kind = body.text("response_format") or "mp3"
    if kind == "mp3":
        return "audio/mpeg", silent_mp3(seconds)
    if kind == "wav":
        return "audio/wav", beep_wav(seconds)
    if kind == "pcm":
        return "audio/pcm", _beep(seconds)
    raise BadRequest("The demo voice speaks mp3, wav and pcm only.", param="response_format")


def answer_transcription(body: MultipartBody) -> tuple[str, bytes]:
    """Content type and text. Raises BadRequest when there is no file."""
    recording = next((part for part in body.files if part.name == "file"), None)
    if recording is None:
        raise BadRequest("`file` must be the recording.", param="file")
    text = f"Demo transcript of {recording.filename or 'a recording'} ({recording.size_bytes} bytes)."
    seconds = max(1, round(recording.size_bytes / (2 * SAMPLE_RATE)))
    kind = body.text("response_format") or "json"
    if kind == "text":
        return "text/plain; charset=utf-8", text.encode() + b"\n"
    document: dict[str, object] = {"text": text, "usage": {"type": "duration", "seconds": seconds}}
    if kind == "verbose_json":
        document |= {"task": "transcribe", "language": "english", "duration": float(seconds), "segments": []}
    elif kind != "json":
        raise BadRequest("The demo transcript comes as json, verbose_json or text.", param="response_format")
    return "application/json", msgspec.json.encode(document)


def beep_wav(seconds: float) -> bytes:
    sound = _beep(seconds)
    form = struct.pack("<4sIHHIIHH", b"fmt ", 16, 1, 1, SAMPLE_RATE, SAMPLE_RATE * 2, 2, 16)
    data = struct.pack("<4sI", b"data", len(sound)) + sound
    return b"RIFF" + struct.pack("<I", 4 + len(form) + len(data)) + b"WAVE" + form + data


def silent_mp3(seconds: float) -> bytes:
    """MPEG-1 layer III, 128 kbit/s, 44.1 kHz: frames of 417 bytes without any coefficient are silence."""
    frame = b"\xff\xfb\x90\xc4" + bytes(413)
    return frame * max(1, round(seconds * 44_100 / 1_152))


def _beep(seconds: float) -> bytes:
    """A 440 Hz tone, 16 bit, mono. One period of 40 ms is computed and repeated."""
    count = SAMPLE_RATE // 25
    period = struct.pack(
        f"<{count}h", *(int(8_000 * math.sin(2 * math.pi * 440 * i / SAMPLE_RATE)) for i in range(count))
    )
    return period * max(1, round(seconds * 25))


def _size(text: str) -> tuple[int, int]:
    if text == "auto":
        return 512, 512
    match = re.fullmatch(r"(\d{1,5})x(\d{1,5})", text)
    if match is None:
        raise BadRequest("`size` must be like 512x512.", param="size")
    width, height = (min(MAX_SIDE, max(MIN_SIDE, int(side))) for side in match.groups())
    return width, height


def _png_chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
