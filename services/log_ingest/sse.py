"""Put the answer of a stream together from its SSE transcript."""

import re
from collections.abc import Iterator
from typing import Any, Final

import msgspec

from services.log_ingest.sse_chat import ChatStream
from services.log_ingest.sse_messages import MessagesStream
from services.log_ingest.sse_responses import ResponsesStream

_LINES: Final = re.compile(r"\r\n|\n|\r")  # as SSE ends lines; other separators may stand inside JSON


def assemble(transcript: str) -> dict[str, Any]:
    """The whole answer in the shape of a non-streamed one. Broken or cut events are left out."""
    stream: ChatStream | MessagesStream | ResponsesStream | None = None
    for event in _events(transcript):
        if stream is None:
            stream = _stream_of(str(event.get("type", "")))
        stream.add(event)
    return (stream or ChatStream()).whole()


def _stream_of(first_type: str) -> ChatStream | MessagesStream | ResponsesStream:
    """The format of a stream shows in its first event."""
    if first_type.startswith("response."):
        return ResponsesStream()
    return MessagesStream() if first_type in {"message_start", "ping"} else ChatStream()


def _events(transcript: str) -> Iterator[dict[str, Any]]:
    for line in _LINES.split(transcript):
        if not line.startswith("data:"):
            continue
        try:
            event = msgspec.json.decode(line[5:].strip().encode())
        except (msgspec.DecodeError, RecursionError):
            continue  # [DONE], or the line in which the transcript was cut
        if isinstance(event, dict):
            yield event
