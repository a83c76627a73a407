"""One request of a client that takes several calls to a provider: sent side by side, their answers in one."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Final

import msgspec

from services.gateway.providers.port import Converse, Prepared
from services.gateway.providers.usage import NO_PICTURE
from services.gateway.upstream.port import (
    UpstreamClient,
    UpstreamRequest,
    UpstreamResponse,
)
from services.gateway.upstream.whole import WholeResponse
from shared.pricing.model import Picture

MAX_CALLS: Final = 256
_AT_ONCE: Final = 8
_MAX_ANSWER_BYTES: Final = 64 * 1_048_576
_MAX_ERROR_BYTES: Final = 262_144


class _Many(msgspec.Struct):
    answers: list[msgspec.Raw]


_many: Final = msgspec.json.Decoder(_Many)


def prepared(
    request: UpstreamRequest,
    bodies: Sequence[bytes],
    dropped: Sequence[str] = (),
    *,
    counter: str = "",
    picture: Picture = NO_PICTURE,
) -> Prepared:
    """The call, or the calls, of these bodies; the answer to be read with `answers_in`.

    `counter`: a header whose numbers add up.
    """
    converse = together(bodies, counter) if len(bodies) > 1 else None
    return Prepared(request, False, tuple(sorted(set(dropped))), converse, picture)


def together(bodies: Sequence[bytes], counter: str) -> Converse:
    """Asks with each body. The first answer that is an error stands for all."""

    async def converse(client: UpstreamClient, request: UpstreamRequest) -> UpstreamResponse:
        turn = asyncio.Semaphore(_AT_ONCE)
        calls = [asyncio.ensure_future(_call(client, replace(request, body=body), turn)) for body in bodies]
        try:
            answers = []
            for call in calls:
                status, headers, answer = await call
                if status >= 400:
                    return WholeResponse(answer, status, headers)
                answers.append((headers, answer))
        finally:
            for call in calls:
                call.cancel()
            await asyncio.gather(*calls, return_exceptions=True)
        headers = {"content-type": "application/json"}
        if counter:
            headers[counter] = str(sum(count_in(one, counter) for one, _ in answers))
        body = b'{"answers":[' + b",".join(answer for _, answer in answers) + b"]}"
        return WholeResponse(body, headers=headers)

    return converse


def answers_in(answer: bytes) -> list[bytes]:
    """The single answers, of one call or of several. Raises msgspec.DecodeError for what is no JSON."""
    if not answer.startswith(b'{"answers":['):
        return [answer]
    return [bytes(one) for one in _many.decode(answer).answers]


def count_in(headers: Mapping[str, str], name: str) -> int:
    """The number in a header; 0 when there is none."""
    text = headers.get(name, "")
    return int(text) if text.isdecimal() else 0


async def _call(
    client: UpstreamClient, request: UpstreamRequest, turn: asyncio.Semaphore
) -> tuple[int, Mapping[str, str], bytes]:
    async with turn:
        response = await client.send(request)
        try:
            failed = response.status >= 400
            answer = await response.read(_MAX_ERROR_BYTES if failed else _MAX_ANSWER_BYTES)
            return response.status, response.headers, answer
        finally:
            response.close()
