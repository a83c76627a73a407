"""Access tokens that are renewed ahead of their expiry, so that a request nearly never waits for one."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final

from shared.errors import FinOpsError
from shared.telemetry import get_logger

log = get_logger(__name__)

AHEAD_S: Final = 600.0
"""A token is renewed in the background once it has less than this left."""
MARGIN_S: Final = 15.0
"""A token with less left than this counts as expired: the request that carries it takes time to arrive."""
PAUSE_S: Final = 20.0
"""Between two renewals, while the token still serves: one failed, or its tokens never last as long as AHEAD_S."""
_NOTHING: Final[Mapping[str, str]] = MappingProxyType({})


class TokenRefused(FinOpsError):
    """The token server says no, or the credential cannot be read: another attempt will not help."""

    code = "token_refused"


class TokenUnavailable(FinOpsError):
    """The token server could not be asked."""

    code = "token_unavailable"


@dataclass(frozen=True, slots=True)
class Token:
    """`expires_at` is in seconds since 1970."""

    value: str
    expires_at: float
    headers: Mapping[str, str] = field(default_factory=lambda: _NOTHING)
    """What goes with it on each request."""


Fetch = Callable[[], Awaitable[Token]]
"""Asks for a new token. Raises TokenRefused or TokenUnavailable."""


class TokenSource:
    """One credential's token. However many ask at once, one question is under way at most."""

    def __init__(self, fetch: Fetch, now: Callable[[], float] = time.time) -> None:
        self._fetch = fetch
        self._now = now
        self._token: Token | None = None
        self._running: asyncio.Task[Token] | None = None
        self._pause_until = 0.0

    async def token(self) -> str:
        """A token that is good now. Waits only where there is none. Raises TokenRefused or TokenUnavailable."""
        token, now = self._token, self._now()
        if token is None or token.expires_at - MARGIN_S <= now:
            # A caller that leaves must not take the others' answer with it.
            return (await asyncio.shield(self._renewal())).value
        if token.expires_at - AHEAD_S <= now and now >= self._pause_until:
            self._renewal()
        return token.value

    @property
    def headers(self) -> Mapping[str, str]:
        """What goes with the token that was handed out last."""
        return self._token.headers if self._token is not None else _NOTHING

    def forget(self) -> None:
        """The token was refused by the server that it is for: ask for another next time."""
        self._token = None

    async def close(self) -> None:
        if self._running is not None:
            self._running.cancel()
            await asyncio.gather(self._running, return_exceptions=True)

    def _renewal(self) -> asyncio.Task[Token]:
        if self._running is None:
            self._running = asyncio.get_running_loop().create_task(self._renew(), name="renew-access-token")
            self._running.add_done_callback(self._ended)
        return self._running

    async def _renew(self) -> Token:
        self._token = await self._fetch()
        return self._token

    def _ended(self, task: "asyncio.Task[Token]") -> None:
        self._running = None
        self._pause_until = self._now() + PAUSE_S
        if not task.cancelled() and (error := task.exception()) is not None:
            log.warning("access_token_not_renewed", reason=str(error))
