"""The port to upstream HTTP servers: one call that gives an answer whose body is read as it arrives.

    Retryable
    └── UpstreamFault             the provider could not be asked, or its answer did not arrive whole
        ├── UpstreamConnectFailed no connection: refused, unknown host, TLS. The provider has seen nothing
        ├── UpstreamTimedOut      one of the four times ran out; `phase` says which
        ├── UpstreamBroken        the connection dropped before the answer was whole
        └── UpstreamTooLarge      the answer is bigger than the caller is ready to hold

Adapters translate every foreign exception into these, in one place each.
"""

from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from typing import Final, Literal, Protocol

from shared.errors import Retryable

USER_AGENT: Final = "finops-gateway"
"""Who calls. What stands before some providers (xAI, Groq) answers 403 to whoever does not say it."""
Phase = Literal["connect", "first_byte", "between_chunks", "total"]


@dataclass(frozen=True, slots=True)
class UpstreamTimeouts:
    """Seconds. Hashable, so that adapters may keep what they derive from it."""

    connect: float = 10.0
    """Until a connection is there, waiting for a free one in the pool included."""
    first_byte: float = 300.0
    """From the start of the call until the answer's headers."""
    between_chunks: float = 120.0
    """Longest silence inside the body. Time during which nobody reads does not count."""
    total: float = 900.0
    """From the start of the call until the body's end."""


@dataclass(slots=True)
class UpstreamRequest:
    """One call. `headers` hold everything that is sent but `Host`, `Content-Length`, `Accept-Encoding`, and
    `User-Agent` where they have none of their own."""

    method: str
    url: str
    """Absolute, and already percent-encoded: it is sent as it stands."""
    headers: Mapping[str, str]
    body: bytes | AsyncIterator[bytes] | None = None
    timeouts: UpstreamTimeouts = UpstreamTimeouts()


class UpstreamResponse(Protocol):
    """An answer whose headers have arrived. The holder must `close` it, whatever happens."""

    @property
    def status(self) -> int: ...

    @property
    def headers(self) -> Mapping[str, str]:
        """Lookups ignore case. They describe the body as it is handed out here (never compressed)."""
        ...

    async def read(self, limit_bytes: int) -> bytes:
        """The whole body. Raises UpstreamTooLarge (and drops the connection) when it is over the limit.

        Raises another UpstreamFault when it breaks off, which holds what had been `received`.
        """
        ...

    def chunks(self) -> AsyncIterator[bytes]:
        """The body's pieces, each as soon as it arrives, never empty. Raises UpstreamFault."""
        ...

    async def drain(self, timeout_s: float) -> None:
        """Discard what is left, so that the connection can be used again; drop it when that takes longer."""
        ...

    def close(self) -> None:
        """Give the connection back if the body was read to its end, else drop it at once. May be called twice."""
        ...


class UpstreamClient(Protocol):
    """Cancelling the calling task at any point, also before the headers, closes the connection at once."""

    async def send(self, request: UpstreamRequest) -> UpstreamResponse:
        """Call and wait for the answer's headers. Any status is an answer; redirects are not followed.

        Raises UpstreamFault.
        """
        ...

    async def close(self) -> None:
        """Close all connections. No call may be made afterwards."""
        ...


class UpstreamFault(Retryable):
    """The provider could not be asked, or its answer did not arrive whole."""

    code = "upstream_unavailable"
    received: bytes = b""
    """What `UpstreamResponse.read` had of the body when it broke off."""


class UpstreamConnectFailed(UpstreamFault):
    """No connection could be made: the provider has seen nothing of this request."""

    code = "upstream_connect_failed"


class UpstreamTimedOut(UpstreamFault):
    """One of the four times ran out."""

    code = "upstream_timeout"

    def __init__(self, phase: Phase, limit_s: float) -> None:
        super().__init__(f"The provider did not answer in time ({phase.replace('_', ' ')}: {limit_s:g} s).")
        self.phase = phase
        self.limit_s = limit_s


class UpstreamBroken(UpstreamFault):
    """The connection dropped. `answered` tells whether the headers of an answer had arrived."""

    code = "upstream_connection_lost"

    def __init__(self, message: str, *, answered: bool) -> None:
        super().__init__(message)
        self.answered = answered


class UpstreamTooLarge(UpstreamFault):
    """The body is over the caller's limit."""

    code = "upstream_answer_too_large"

    def __init__(self, limit_bytes: int) -> None:
        super().__init__(f"The provider's answer is larger than {limit_bytes} bytes.")
        self.limit_bytes = limit_bytes
