"""Tells by its first event in whose format a stream comes: Google's, Anthropic's or OpenAI's."""

from typing import Final, Literal

import msgspec

from services.gateway.providers.anthropic.stream import MessagesTranslator
from services.gateway.providers.chat.translate import TranslatedRelay
from services.gateway.providers.errors import UpstreamError
from services.gateway.providers.gemini.stream import GeminiTranslator
from services.gateway.providers.port import Relay, RelayOptions
from services.gateway.providers.relay import OpenAIRelay
from services.gateway.providers.sse import blocks, data_of
from services.gateway.providers.usage import Usage

Format = Literal["google", "anthropic", "openai"]
MAX_HELD_BYTES: Final = 65_536
_fields: Final = msgspec.json.Decoder(dict[str, msgspec.Raw])


class VertexRelay:
    """See Relay. Until the format is known everything is held back."""

    def __init__(self, options: RelayOptions) -> None:
        self.done = False
        self.started = False
        self.error: UpstreamError | None = None
        self.finish_reason = ""
        self.received_bytes = 0
        self._options = options
        self._inner: Relay = TranslatedRelay(options, GeminiTranslator(options.model))
        self._held = b""
        self._known = False

    def feed(self, chunk: bytes) -> bytes:
        if not self._known:
            self._held += chunk
            found = _format_of_events(self._held)
            if found is None and len(self._held) < MAX_HELD_BYTES:
                self.received_bytes = len(self._held)
                return b""
            chunk = self._begin(found)
        return self._after(self._inner.feed(chunk))

    def end(self) -> bytes:
        rest = b"" if self._known else self._inner.feed(self._begin(None))
        return self._after(rest + self._inner.end())

    def fail(self, error: UpstreamError) -> bytes:
        rest = b"" if self._known else self._inner.feed(self._begin(None))
        return self._after(rest + self._inner.fail(error))

    def usage(self) -> Usage:
        return self._inner.usage()

    @property
    def transcript(self) -> bytes:
        return self._inner.transcript

    def _begin(self, found: Format | None) -> bytes:
        """Choose who reads on; what was held back is for it."""
        self._known = True
        if found == "anthropic":
            self._inner = TranslatedRelay(self._options, MessagesTranslator())
        elif found == "openai":
            self._inner = OpenAIRelay(self._options)
        held, self._held = self._held, b""
        return held

    def _after(self, out: bytes) -> bytes:
        inner = self._inner
        self.done, self.started, self.error = inner.done, inner.started, inner.error
        self.finish_reason, self.received_bytes = inner.finish_reason, inner.received_bytes
        return out


def format_of(data: bytes) -> Format:
    """Whose format an answer or the data of an event is in; Google's where nothing tells."""
    try:
        names = _fields.decode(data).keys()
    except msgspec.DecodeError:
        return "google"
    if "choices" in names or "object" in names:
        return "openai"
    return "anthropic" if "type" in names else "google"


def _format_of_events(events: bytes) -> Format | None:
    """None while no event with data is whole."""
    if events.lstrip()[:1] not in b"deir:\xef":
        return "google"  # no stream at all: an error in plain JSON
    for block in blocks(events):
        if not block.endswith((b"\n\n", b"\n\r\n")):
            return None
        data = data_of(block)
        if data is not None:
            return format_of(data)
    return None


def proves_port(relay: VertexRelay) -> Relay:
    """Makes the type checker prove that the relay fits its port."""
    return relay
