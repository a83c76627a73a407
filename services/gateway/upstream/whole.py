"""An answer of no network's: put together from several, or made by the gateway itself."""

from collections.abc import AsyncIterator, Mapping
from types import MappingProxyType
from typing import Final

from multidict import CIMultiDict

from services.gateway.upstream.port import UpstreamTooLarge

JSON: Final[Mapping[str, str]] = MappingProxyType({"content-type": "application/json"})


class WholeResponse:
    """See UpstreamResponse. All of it is here already; by default a success in JSON."""

    __slots__ = ("_body", "headers", "status")

    def __init__(self, body: bytes, status: int = 200, headers: Mapping[str, str] = JSON) -> None:
        self.status = status
        self.headers: Mapping[str, str] = CIMultiDict(headers)
        self._body = body

    async def read(self, limit_bytes: int) -> bytes:
        if len(self._body) > limit_bytes:
            raise UpstreamTooLarge(limit_bytes)
        return self._body

    async def chunks(self) -> AsyncIterator[bytes]:
        if self._body:
            yield self._body

    async def drain(self, timeout_s: float) -> None:
        self.close()

    def close(self) -> None:
        self._body = b""
