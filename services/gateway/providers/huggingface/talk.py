"""The calls that one request takes at an inference provider, all within the request's time."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Final
from urllib.parse import urlsplit

from services.gateway.providers.chat.images import Fetched, data_url, is_data_url
from services.gateway.providers.errors import BadRequest, UpstreamError
from services.gateway.providers.fetch import NotFetched
from services.gateway.providers.jobs import CANCEL_S, Leaver
from services.gateway.upstream.port import (
    UpstreamClient,
    UpstreamRequest,
    UpstreamResponse,
    UpstreamTimedOut,
    UpstreamTimeouts,
)

JSON: Final = "application/json"
MAX_ANSWER_BYTES: Final = 64 * 1_048_576
MAX_FILE_BYTES: Final = 32 * 1_048_576
_NOTHING: Final[Mapping[str, str]] = MappingProxyType({})

FetchFiles = Callable[[Sequence[str]], Awaitable[Mapping[str, Fetched]]]
"""What public addresses hold, whoever named them. Raises NotFetched."""


@dataclass(frozen=True, slots=True)
class Call:
    """What is sent to an inference provider."""

    path: str
    """Below its address at the router, with what stands in the query."""
    body: bytes
    content_type: str = JSON
    headers: Mapping[str, str] = field(default_factory=lambda: _NOTHING)


class Talk:
    """One request's calls. `request` is one to the provider's address at the router, with the headers of all calls.

    Every call raises UpstreamFault, UpstreamTimedOut when the request's time is over.
    """

    def __init__(
        self, client: UpstreamClient, request: UpstreamRequest, files: FetchFiles, leaver: Leaver
    ) -> None:
        self.client = client
        self.total_s = request.timeouts.total
        self.deadline = asyncio.get_running_loop().time() + self.total_s
        self._request = request
        self._files = files
        self._leaver = leaver

    @property
    def timeouts(self) -> UpstreamTimeouts:
        """Of a call that begins now."""
        return replace(self._request.timeouts, total=self._left_s())

    async def post(self, call: Call) -> UpstreamResponse:
        headers = {**self._request.headers, "content-type": call.content_type, **call.headers}
        url = self._request.url + call.path
        return await self.client.send(UpstreamRequest("POST", url, headers, call.body, self.timeouts))

    async def get(self, path: str) -> UpstreamResponse:
        return await self.client.send(self._about("GET", path, self.timeouts))

    async def file(self, address: str) -> Fetched:
        """What a model made. The router's own server is asked as always, but without the credential; any other must
        be a public one. Raises UpstreamError when it cannot be had."""
        if is_data_url(address):
            return _inline(address)
        theirs, ours = urlsplit(address), urlsplit(self._request.url)
        if (theirs.scheme, theirs.netloc) == (ours.scheme, ours.netloc):
            return await self._own_file(address)
        try:
            async with asyncio.timeout(self._left_s()):
                return (await self._files([address]))[address]
        except TimeoutError as error:
            raise UpstreamTimedOut("total", self.total_s) from error
        except NotFetched as error:
            raise _lost(str(error)) from error

    def leave(self, method: str, path: str) -> None:
        """Send this, which cancels a job, and wait for nothing."""
        timeouts = replace(self._request.timeouts, first_byte=CANCEL_S, total=CANCEL_S)
        self._leaver.leave(self.client, self._about(method, path, timeouts))

    def leave_made(self, making: "asyncio.Task[UpstreamResponse]", leave: Callable[[bytes], None]) -> None:
        """`leave` is given what was answered to the call that made a job, once it is."""
        self._leaver.leave_made(asyncio.create_task(_read(making), name="read-job"), leave)

    def _about(self, method: str, path: str, timeouts: UpstreamTimeouts) -> UpstreamRequest:
        return UpstreamRequest(method, self._request.url + path, self._request.headers, None, timeouts)

    async def _own_file(self, address: str) -> Fetched:
        request = UpstreamRequest("GET", address, {"accept": "*/*"}, None, self.timeouts)
        response = await self.client.send(request)
        try:
            if response.status != 200:
                raise _lost(f"its address answers with status {response.status}.")
            data = await response.read(MAX_FILE_BYTES)
            return Fetched(response.headers.get("content-type", ""), data)
        finally:
            response.close()

    def _left_s(self) -> float:
        left_s = self.deadline - asyncio.get_running_loop().time()
        if left_s <= 0:
            raise UpstreamTimedOut("total", self.total_s)
        return left_s


async def whole(response: UpstreamResponse) -> bytes:
    """The body of an answer that is nobody else's any more. Raises UpstreamFault."""
    try:
        return await response.read(MAX_ANSWER_BYTES)
    finally:
        response.close()


async def _read(making: "asyncio.Task[UpstreamResponse]") -> bytes:
    return await whole(await making)


def _inline(address: str) -> Fetched:
    try:
        return Fetched(*data_url(address, "url"))
    except BadRequest as error:
        raise _lost("it is no data URL in base64.") from error


def _lost(reason: str) -> UpstreamError:
    """Not to be repeated: what the model made is paid for already."""
    return UpstreamError(
        status=502,
        message=f"The file that the model made could not be fetched: {reason}",
        code="file_not_fetched",
    )
