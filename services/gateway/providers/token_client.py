"""An upstream client that puts an access token on each request that wants one, fetched ahead of its expiry."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

import msgspec

from services.gateway.providers.tokens import Fetch, TokenRefused, TokenSource, TokenUnavailable
from services.gateway.upstream.port import (
    UpstreamClient,
    UpstreamConnectFailed,
    UpstreamRequest,
    UpstreamResponse,
)
from services.gateway.upstream.whole import WholeResponse

MAX_SOURCES: Final = 1_000
UNAUTHENTICATED: Final = 401


@dataclass(slots=True)
class TokenRequest(UpstreamRequest):
    """A request that is sent with an access token for the credential in `secret`, which is never sent itself."""

    secret: str = field(default="", repr=False)
    tokens: list[str] = field(default_factory=list, repr=False)
    """Those that it was sent with, so that nobody repeats them."""


class TokenClient:
    """See UpstreamClient. Tokens are kept in memory only, one source for each credential."""

    def __init__(self, network: UpstreamClient, fetch_for: Callable[[str], Fetch]) -> None:
        """`fetch_for` gives how a credential's token is had. `network` belongs to whoever made it; `close` leaves it open."""
        self._network = network
        self._fetch_for = fetch_for
        self._sources: dict[str, TokenSource] = {}

    async def send(self, request: UpstreamRequest) -> UpstreamResponse:
        if not isinstance(request, TokenRequest):
            return await self._network.send(request)
        source = self._source(request.secret)
        try:
            token = await source.token()
        except TokenUnavailable as error:
            raise UpstreamConnectFailed(str(error)) from error
        except TokenRefused as error:
            return _refusal(str(error))
        request.tokens.append(token)
        headers = {**source.headers, **request.headers, "authorization": f"Bearer {token}"}
        response = await self._network.send(
            UpstreamRequest(request.method, request.url, headers, request.body, request.timeouts)
        )
        if response.status == UNAUTHENTICATED:
            source.forget()
        return response

    async def close(self) -> None:
        """End what is under way at token servers."""
        for source in self._sources.values():
            await source.close()

    def _source(self, secret: str) -> TokenSource:
        source = self._sources.get(secret)
        if source is None:
            if len(self._sources) >= MAX_SOURCES:
                del self._sources[next(iter(self._sources))]
            source = self._sources[secret] = TokenSource(self._fetch_for(secret))
        return source


def _refusal(message: str) -> UpstreamResponse:
    """What the token server's refusal means to the call: it is not authenticated."""
    error = {"code": UNAUTHENTICATED, "message": message, "status": "UNAUTHENTICATED"}
    return WholeResponse(msgspec.json.encode({"error": error}), UNAUTHENTICATED)


def with_token(request: UpstreamRequest, secret: str) -> TokenRequest:
    return TokenRequest(
        request.method, request.url, request.headers, request.body, request.timeouts, secret=secret
    )
