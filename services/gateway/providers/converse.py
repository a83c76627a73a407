"""Ways to an answer that take more than one call."""

from dataclasses import replace
from typing import Final

from services.gateway.providers.port import Converse
from services.gateway.upstream.port import UpstreamClient, UpstreamRequest, UpstreamResponse

_DRAIN_S: Final = 1.0
_UNKNOWN_ADDRESS: Final = (404, 405)


def or_at(url: str) -> Converse:
    """Asks again at `url` where the server does not know the request's own address."""

    async def converse(client: UpstreamClient, request: UpstreamRequest) -> UpstreamResponse:
        response = await client.send(request)
        if response.status not in _UNKNOWN_ADDRESS:
            return response
        try:
            await response.drain(_DRAIN_S)
        finally:
            response.close()
        return await client.send(replace(request, url=url))

    return converse
