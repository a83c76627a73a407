"""The calls that a prediction takes: create it, wait for it or follow its stream, fetch what it made, cancel it."""

import asyncio
import base64
import re
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Final
from urllib.parse import urlsplit

import msgspec

from services.gateway.providers.jobs import CANCEL_S, FIRST_POLL_S, Leaver, polled
from services.gateway.providers.port import Converse
from services.gateway.providers.replicate.wire import Prediction, prediction_decoder
from services.gateway.upstream.port import (
    UpstreamBroken,
    UpstreamClient,
    UpstreamFault,
    UpstreamRequest,
    UpstreamResponse,
)
from services.gateway.upstream.whole import WholeResponse

SETTLING_POLLS: Final = 4
_OF_CREATION: Final = frozenset({"prefer", "cancel-after", "content-type"})
MAX_PREDICTION_BYTES: Final = 64 * 1_048_576
MAX_FILE_BYTES: Final = 32 * 1_048_576
_DOMAIN: Final = ".replicate.com"
_FILES: Final = re.compile(r"https://(?:[a-z0-9-]+\.)*replicate\.delivery/")
PREDICTION_EVENT: Final = b"prediction"
"""The name of the event that the gateway adds to the end of a stream: the finished prediction."""


def until_finished(predictions_url: str, leaver: Leaver, *, fetch_files: bool) -> Converse:
    """The answer is the finished prediction; with `fetch_files` the files it made are data URLs in it."""

    async def converse(client: UpstreamClient, request: UpstreamRequest) -> UpstreamResponse:
        made = await _Talk(client, request, predictions_url, leaver).finished()
        if not isinstance(made, Prediction):
            return made
        if fetch_files:
            made.output = [await _data_url(client, request, address) for address in made.outputs]
        return WholeResponse(msgspec.json.encode(made))

    return converse


def followed(predictions_url: str, leaver: Leaver) -> Converse:
    """The answer is the prediction's stream, with the finished prediction as its last event.

    A model that does not stream is answered for by the finished prediction alone.
    """

    async def converse(client: UpstreamClient, request: UpstreamRequest) -> UpstreamResponse:
        talk = _Talk(client, request, predictions_url, leaver)
        made = await talk.created()
        if not isinstance(made, Prediction):
            return made
        address = made.urls.stream if made.urls is not None else None
        if not address or not made.running:
            done = await talk.waited(made)
            return WholeResponse(msgspec.json.encode(done)) if isinstance(done, Prediction) else done
        return await talk.stream_of(made, address)

    return converse


class _Talk:
    """One prediction's calls. An answer that is an error is given back as it is."""

    def __init__(self, client: UpstreamClient, request: UpstreamRequest, url: str, leaver: Leaver) -> None:
        self._client = client
        self._request = request
        self._url = url
        self._leaver = leaver
        self._deadline = asyncio.get_running_loop().time() + request.timeouts.total

    async def created(self) -> Prediction | UpstreamResponse:
        making = asyncio.create_task(self._ask(self._request), name="make-prediction")
        try:
            return await asyncio.shield(making)
        except asyncio.CancelledError:
            self._leaver.leave_made(making, self._leave_made)
            raise

    async def finished(self) -> Prediction | UpstreamResponse:
        made = await self.created()
        return await self.waited(made) if isinstance(made, Prediction) else made

    async def waited(self, made: Prediction) -> Prediction | UpstreamResponse:
        """The finished prediction. Whatever else ends the waiting ends the prediction too."""
        id, finished = made.id, False
        try:
            asked = await polled(
                made,
                lambda: self.looked_up(id),
                deadline=self._deadline,
                total_s=self._request.timeouts.total,
            )
            finished = isinstance(asked, Prediction)
            return asked
        finally:
            if not finished:
                self.leave(id)

    async def stream_of(self, made: Prediction, address: str) -> UpstreamResponse:
        headers = {"accept": "text/event-stream", "cache-control": "no-store"}
        if _same_house(address, self._request.url):
            headers |= {
                name: value for name, value in self._request.headers.items() if name == "authorization"
            }
        begun = False
        try:
            stream = await self._client.send(
                replace(self._request, method="GET", url=address, headers=headers, body=None)
            )
            begun = stream.status < 400
        finally:
            if not begun:
                self.leave(made.id)
        return _Stream(stream, self, made) if begun else stream

    async def settled(self, id: str) -> Prediction | UpstreamResponse:
        """The prediction, whose stream has ended: it is finished within moments, or something is wrong with it."""
        made = await self.looked_up(id)
        for _ in range(SETTLING_POLLS):
            if not isinstance(made, Prediction) or not made.running:
                break
            await asyncio.sleep(FIRST_POLL_S)
            made = await self.looked_up(id)
        return made

    async def looked_up(self, id: str) -> Prediction | UpstreamResponse:
        return await self._ask(self._about(f"{self._url}/{id}"))

    def leave(self, id: str) -> None:
        """Nobody waits for the prediction any more."""
        timeouts = replace(self._request.timeouts, first_byte=CANCEL_S, total=CANCEL_S)
        request = replace(self._about(f"{self._url}/{id}/cancel"), method="POST", timeouts=timeouts)
        self._leaver.leave(self._client, request)

    def _leave_made(self, made: Prediction | UpstreamResponse) -> None:
        if not isinstance(made, Prediction):
            made.close()
        elif made.running:
            self.leave(made.id)

    def _about(self, url: str) -> UpstreamRequest:
        headers = {name: value for name, value in self._request.headers.items() if name not in _OF_CREATION}
        return replace(self._request, method="GET", url=url, headers=headers, body=None)

    async def _ask(self, request: UpstreamRequest) -> Prediction | UpstreamResponse:
        response = await self._client.send(request)
        if response.status >= 400:
            return response
        try:
            body = await response.read(MAX_PREDICTION_BYTES)
        finally:
            response.close()
        try:
            return prediction_decoder.decode(body)
        except msgspec.DecodeError:
            return WholeResponse(body)  # whoever reads it says that it is no prediction


class _Stream:
    """See UpstreamResponse. The stream, and then the prediction, which alone knows what was used."""

    def __init__(self, stream: UpstreamResponse, talk: _Talk, made: Prediction) -> None:
        self._stream = stream
        self._talk = talk
        self._id = made.id
        self._running = True
        self.status = stream.status
        self.headers = stream.headers

    async def read(self, limit_bytes: int) -> bytes:
        return await self._stream.read(limit_bytes)

    async def chunks(self) -> AsyncIterator[bytes]:
        async for chunk in self._stream.chunks():
            yield chunk
        try:
            made = await self._talk.settled(self._id)
        except UpstreamFault:
            return  # what was used is estimated then
        if isinstance(made, Prediction):
            self._running = made.running
            made.output = None
            yield b"\n\nevent: " + PREDICTION_EVENT + b"\ndata: " + msgspec.json.encode(made) + b"\n\n"
        else:
            made.close()

    async def drain(self, timeout_s: float) -> None:
        await self._stream.drain(timeout_s)

    def close(self) -> None:
        """A prediction that is not known to be finished is cancelled."""
        self._stream.close()
        if self._running:
            self._running = False
            self._talk.leave(self._id)


async def _data_url(client: UpstreamClient, request: UpstreamRequest, address: str) -> str:
    """The file at an address of Replicate's, without showing it our credential.

    A model writes its output itself, so any other address stays as it is: it is not ours to open.
    """
    if not _same_house(address, request.url) and not _FILES.match(address):
        return address
    response = await client.send(
        replace(request, method="GET", url=address, headers={"accept": "*/*"}, body=None)
    )
    try:
        data = await response.read(MAX_FILE_BYTES)
        if response.status != 200:
            raise UpstreamBroken("A file that the model made could not be fetched.", answered=True)
        kind = response.headers.get("content-type", "application/octet-stream")
    finally:
        response.close()
    return f"data:{kind};base64,{base64.b64encode(data).decode()}"


def _same_house(address: str, known: str) -> bool:
    """Whether a credential for `known` may be shown to `address`: the same server, or both are Replicate's own."""
    theirs, ours = urlsplit(address), urlsplit(known)
    if theirs.scheme != ours.scheme:
        return False
    return theirs.netloc == ours.netloc or all(
        (place.hostname or "").endswith(_DOMAIN) for place in (theirs, ours)
    )
