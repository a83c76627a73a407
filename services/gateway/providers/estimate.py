"""Estimates of what a request will use and has used, where nobody says. Deliberately simple: text bytes to tokens."""

import re
from collections.abc import Sequence
from typing import Final

import msgspec

from services.gateway.providers.body import JsonBody, ParsedBody
from services.gateway.providers.multipart import MultipartBody, Part
from services.gateway.providers.operations import FREE, PICTURES, TRANSCRIPTS, Operation
from services.gateway.providers.rerank import document_count, units_of
from services.gateway.providers.sse import blocks, data_of
from services.gateway.providers.stretches import LARGE_BYTES, Gap, abridged, left_out
from services.gateway.providers.usage import Usage
from shared.events import Tokens
from shared.pricing.estimate import estimate_tokens

IMAGE_TOKENS: Final = 1_000
"""Assumed for one image in a prompt: a 1024 x 1024 picture is 765 tokens at OpenAI's, 1,400 elsewhere."""
AUDIO_BYTES_PER_SECOND: Final = 4_000
"""Assumed of an uploaded recording: speech at 32 kbit/s. WAV files say their own rate."""
AUDIO_TOKENS_PER_SECOND: Final = 10
"""Of a recording, as OpenAI counts."""
AUDIO_DATA_MIN_BYTES: Final = 1_024
_BASE64_MARK: Final = b";base64,"
_BARE_MARKS: Final = (b'"base64"', b'"file_data"')
_BARE_BASE64: Final = re.compile(rb'"(?:file_)?data"\s*:\s*"[A-Za-z0-9+/]{1024}')
"""The beginning of a file that is no data URL: Anthropic's sources, and files as some clients send them."""
_TALK: Final = frozenset({Operation.CHAT, Operation.COMPLETIONS, Operation.RESPONSES, Operation.MESSAGES})
_TEXT_BEGINS: Final = re.compile(rb'"(?:content|text)"\s*:')
"""What stands before the words of a model in an answer of any provider's."""
_PROMPT_FIELDS: Final = (
    "messages",
    "system",
    "tools",
    "functions",
    "response_format",
    "prompt",
    "input",
    "suffix",
    "instructions",
)


class _Delta(msgspec.Struct):
    content: str | list[msgspec.Raw] | None = None
    reasoning_content: str | None = None
    reasoning: str | None = None
    refusal: str | None = None
    tool_calls: msgspec.Raw = msgspec.Raw(b"")


class _Choice(msgspec.Struct):
    delta: _Delta | None = None
    message: _Delta | None = None
    text: str | None = None


class _Completion(msgspec.Struct):
    choices: list[_Choice] = []


class _Transcript(msgspec.Struct):
    text: str = ""


_completion: Final = msgspec.json.Decoder(_Completion)
_transcript: Final = msgspec.json.Decoder(_Transcript)


def estimate_prompt(operation: Operation, body: ParsedBody) -> Tokens:
    """What the request itself will use, before it is sent: prompt tokens, images asked for, characters, audio."""
    if operation in FREE:
        return Tokens()
    if isinstance(body, MultipartBody):
        return _estimate_form(operation, body)
    if operation is Operation.EMBEDDINGS:
        return Tokens(prompt=_embedding_tokens(body))
    if operation is Operation.SPEECH:
        text = body.text("input") or ""
        return Tokens(prompt=estimate_tokens(len(text.encode())), characters=len(text))
    if operation is Operation.RERANK:
        return _ranking(body)
    prompt = sum(_text_tokens(raw) for name in _PROMPT_FIELDS if (raw := body.raw(name)))
    return Tokens(prompt=prompt, images=body.n if operation is Operation.IMAGES else 0)


def estimate_answer(operation: Operation, body: ParsedBody, answer: bytes) -> Usage:
    """The usage of a whole answer whose provider sent none."""
    asked = estimate_prompt(operation, body)
    completion = spoken = 0
    if operation in (Operation.CHAT, Operation.COMPLETIONS):
        completion = _message_tokens(answer)
    elif operation in TRANSCRIPTS:
        completion = _transcript_tokens(answer)
    elif operation is Operation.SPEECH:
        completion = spoken = spoken_tokens(asked.characters)
    tokens = msgspec.structs.replace(asked, completion=completion, completion_audio=spoken, images=0)
    return Usage(tokens, estimated=True)


def estimate_part(operation: Operation, body: ParsedBody, part: bytes) -> Usage:
    """The usage of a whole answer that broke off after this much: the request itself, and the text that came."""
    usage = estimate_answer(operation, body, part)
    if operation not in _TALK:
        return usage
    begins = _TEXT_BEGINS.search(part)
    completion = estimate_tokens(len(part) - begins.end()) if begins is not None else 0
    return Usage(msgspec.structs.replace(usage.tokens, completion=completion), estimated=True)


def spoken_tokens(characters: int) -> int:
    """Of the sound that is made of so much text: 1,250 tokens a minute, in which 900 characters are read out."""
    return characters * 7 // 5


def completion_tokens_seen(stream: bytes) -> int:
    """Completion tokens in the text that an event stream carried so far."""
    size = 0
    for block in blocks(stream):
        data = data_of(block)
        if data:
            size += _text_size(data)
    return estimate_tokens(size) if size else 0


def _message_tokens(answer: bytes) -> int:
    size = _text_size(answer)
    return estimate_tokens(size) if size else 0


def _transcript_tokens(answer: bytes) -> int:
    """The text in an answer, which is nothing else where it is no JSON."""
    try:
        text = _transcript.decode(answer).text.encode()
    except msgspec.DecodeError:
        text = answer
    return estimate_tokens(len(text)) if text else 0


def _text_size(data: bytes) -> int:
    try:
        completion = _completion.decode(data)
    except msgspec.DecodeError:
        return 0  # not a piece of a completion: it holds no text of the model
    size = 0
    for choice in completion.choices:
        size += len((choice.text or "").encode())
        for part in (choice.delta, choice.message):
            if part is None:
                continue
            for text in (part.content, part.reasoning_content or part.reasoning, part.refusal):
                if isinstance(text, str):
                    size += len(text.encode())
                elif text is not None:
                    size += sum(len(bytes(piece)) for piece in text)
            size += len(bytes(part.tool_calls)) if bytes(part.tool_calls) != b"null" else 0
    return size


def _text_tokens(raw: bytes) -> int:
    """Tokens of a JSON value. Pictures and recordings inside are counted by the piece, not by their base64."""
    text_bytes = len(raw)
    gaps: Sequence[Gap] = ()
    if text_bytes > LARGE_BYTES:
        raw, gaps = abridged(raw)
    pieces = 0
    at = raw.find(_BASE64_MARK)
    while at >= 0:
        end = raw.find(b'"', at)
        if end < 0:
            break
        text_bytes -= end - at + left_out(gaps, at, end)
        pieces += 1
        at = raw.find(_BASE64_MARK, end)
    if any(mark in raw for mark in _BARE_MARKS):
        for match in _BARE_BASE64.finditer(raw):
            end = raw.find(b'"', match.end())
            text_bytes -= end - match.start() + left_out(gaps, match.start(), end)
            pieces += 1
    audio_bytes = _inline_audio_bytes(raw, gaps)
    text_bytes -= audio_bytes
    audio_tokens = audio_bytes * 3 // 4 // AUDIO_BYTES_PER_SECOND * AUDIO_TOKENS_PER_SECOND
    linked = raw.count(b'"image_url"') // 2 if not pieces else 0
    return estimate_tokens(max(0, text_bytes)) + (pieces + linked) * IMAGE_TOKENS + audio_tokens


def _inline_audio_bytes(raw: bytes, gaps: Sequence[Gap]) -> int:
    """Base64 bytes of `input_audio` parts, whose data has no mark of its own."""
    size = 0
    at = raw.find(b'"input_audio"')
    while at >= 0:
        start = raw.find(b'"data"', at)
        first = raw.find(b'"', start + 6) + 1 if start >= 0 else 0
        end = raw.find(b'"', first) if first else -1
        if end < 0:
            break
        if end - first >= AUDIO_DATA_MIN_BYTES:
            size += end - first + left_out(gaps, first, end)
        at = raw.find(b'"input_audio"', end)
    return size


def _embedding_tokens(body: JsonBody) -> int:
    raw = body.raw("input") or b""
    if b'"' in raw:
        return estimate_tokens(len(raw))
    return raw.count(b",") + 1  # already tokens: a list of numbers


def _ranking(body: JsonBody) -> Tokens:
    """The query is read once with each document."""
    documents = body.raw("documents") or b""
    count = document_count(documents)
    query = estimate_tokens(len(body.raw("query") or b""))
    return Tokens(prompt=estimate_tokens(len(documents)) + query * count, search_units=units_of(count))


def _estimate_form(operation: Operation, body: MultipartBody) -> Tokens:
    prompt = estimate_tokens(len((body.text("prompt") or "").encode()))
    if operation in PICTURES:
        return Tokens(prompt=prompt + IMAGE_TOKENS * len(body.files), images=body.n)
    audio_ms = sum(_length_ms(body.raw_body, part) for part in body.files)
    heard = audio_ms * AUDIO_TOKENS_PER_SECOND // 1000
    return Tokens(prompt=prompt + heard, prompt_audio=heard, audio_ms=audio_ms)


def _length_ms(form: bytes, part: Part) -> int:
    rate = AUDIO_BYTES_PER_SECOND
    head = form[part.start : min(part.end, part.start + 32)]
    if head[:4] == b"RIFF" and head[8:12] == b"WAVE":
        rate = int.from_bytes(head[28:32], "little") or rate
    return part.size_bytes * 1000 // rate
