"""AWS's binary event stream: frames are cut out of it wherever the network cuts it."""

import struct
from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, Final

import msgspec
from botocore.eventstream import EventStreamBuffer, EventStreamMessage, ParserError

from services.gateway.providers.bedrock.errors import fault_in, named_error
from services.gateway.providers.chat.translate import Delta
from services.gateway.providers.errors import UpstreamError
from services.gateway.providers.usage import Usage
from services.gateway.providers.wire_errors import unreadable_stream

MAX_PLAIN_BYTES: Final = 1_048_576
_FRAME_STARTS: Final = (0, 1)
"""The first byte of a frame is the highest of its length, which is below 32 MB."""


class FramedStream(ABC):
    """See StreamTranslator. What the events mean is each operation's own."""

    def __init__(self) -> None:
        self.id = ""
        self.model = ""
        self.usage: Usage | None = None
        self.error: UpstreamError | None = None
        self.whole = False
        self.ended = False
        self._buffer = EventStreamBuffer()
        self._plain: bytes | None = None
        self._begun = False

    def feed(self, chunk: bytes) -> list[Delta]:
        if not self._begun and chunk:
            self._begun = True
            if chunk[0] not in _FRAME_STARTS:
                self._plain = b""
        if self._plain is not None:
            self._plain = (self._plain + chunk)[:MAX_PLAIN_BYTES]
            return []
        out: list[Delta] = []
        if self.error is not None:
            return out
        try:
            self._buffer.add_data(chunk)
            for message in self._buffer:
                self._event(message, out)
                if self.error is not None:
                    break
        except (ParserError, msgspec.DecodeError, struct.error, UnicodeDecodeError, LookupError) as error:
            self.error = unreadable_stream(f"a frame of it cannot be read ({type(error).__name__})")
        return out

    def end(self) -> list[Delta]:
        if self._plain is not None:
            self.error = fault_in(self._plain) or unreadable_stream("it sent something else")
        return []

    @abstractmethod
    def _event(self, message: EventStreamMessage, out: list[Delta]) -> None:
        """Add what one frame means. Raises what decoding it raises."""


def failure_in(headers: Mapping[str, Any], payload: bytes) -> UpstreamError:
    """What a frame without an event tells: an exception that the service's model names, or an error that it does not."""
    fault = fault_in(payload)
    name = headers.get(":exception-type") or headers.get(":error-code") or ""
    message = headers.get(":error-message") or (fault.message if fault is not None else "")
    return named_error(str(name), str(message))
