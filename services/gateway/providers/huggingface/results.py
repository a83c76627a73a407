"""What inference providers answer beside OpenAI's format, made into what OpenAI answers.

The forms are those that `huggingface_hub` reads: fal's files, and Replicate's predictions with outputs of every kind.
An answer of another form is given back as it is: whoever reads it says what it is not.
"""

import base64
from collections.abc import Sequence
from typing import Final

import msgspec

from services.gateway.providers.chat.completion import unix_now
from services.gateway.providers.chat.images import is_data_url
from services.gateway.providers.huggingface.asked import Asked
from services.gateway.providers.huggingface.talk import Talk, whole
from services.gateway.upstream.port import UpstreamResponse, UpstreamTimedOut
from services.gateway.upstream.whole import WholeResponse

REPLICATE_WAITS_S: Final = 60.0
"""So long Replicate holds an answer back for `prefer: wait`."""
_FAILED: Final = frozenset({"failed", "canceled", "aborted"})


class _File(msgspec.Struct):
    url: str


class _Drawn(msgspec.Struct):
    images: list[_File]


class _Spoken(msgspec.Struct):
    audio: _File


class _Prediction(msgspec.Struct):
    output: msgspec.Raw = msgspec.Raw(b"null")
    status: str = ""
    error: str | None = None


class _Heard(msgspec.Struct):
    transcription: str | None = None
    translation: str | None = None
    txt_file: str | None = None


_drawn: Final = msgspec.json.Decoder(_Drawn)
_spoken: Final = msgspec.json.Decoder(_Spoken)
_prediction: Final = msgspec.json.Decoder(_Prediction)
_addresses: Final = msgspec.json.Decoder(str | list[str])
_heard: Final = msgspec.json.Decoder(str | _Heard | list[str | _Heard])


async def as_it_is(talk: Talk, asked: Asked, response: UpstreamResponse) -> UpstreamResponse:
    """It speaks OpenAI's format."""
    return response


async def fal_pictures(talk: Talk, asked: Asked, response: UpstreamResponse) -> UpstreamResponse:
    """Raises UpstreamFault or UpstreamError, as all of these do."""
    if response.status >= 300:
        return response
    answer = await whole(response)
    try:
        images = _drawn.decode(answer).images
    except msgspec.DecodeError:
        return WholeResponse(answer)
    return await _pictures(talk, asked, [image.url for image in images])


async def fal_speech(talk: Talk, asked: Asked, response: UpstreamResponse) -> UpstreamResponse:
    if response.status >= 300:
        return response
    answer = await whole(response)
    try:
        address = _spoken.decode(answer).audio.url
    except msgspec.DecodeError:
        return WholeResponse(answer)
    return await _sound(talk, address)


async def replicate_pictures(talk: Talk, asked: Asked, response: UpstreamResponse) -> UpstreamResponse:
    if response.status >= 300:
        return response
    found = _addresses_in(await whole(response))
    return found if isinstance(found, WholeResponse) else await _pictures(talk, asked, found)


async def replicate_speech(talk: Talk, asked: Asked, response: UpstreamResponse) -> UpstreamResponse:
    if response.status >= 300:
        return response
    answer = await whole(response)
    found = _addresses_in(answer)
    if isinstance(found, WholeResponse):
        return found
    return await _sound(talk, found[0]) if found else WholeResponse(answer)


async def replicate_transcript(talk: Talk, asked: Asked, response: UpstreamResponse) -> UpstreamResponse:
    if response.status >= 300:
        return response
    answer = await whole(response)
    made = _output(answer)
    if isinstance(made, WholeResponse):
        return made
    try:
        heard = _heard.decode(made)
    except msgspec.DecodeError:
        return WholeResponse(answer)
    text = await _text(talk, heard)
    return WholeResponse(answer if text is None else msgspec.json.encode({"text": text}))


async def _text(talk: Talk, heard: str | _Heard | Sequence[str | _Heard]) -> str | None:
    """The text of the first that was heard; of several forms of it the one that is the most complete."""
    if isinstance(heard, list):
        heard = heard[0] if heard else _Heard()
    if isinstance(heard, str):
        return heard
    if not isinstance(heard, _Heard):
        return None
    if heard.txt_file is not None:
        return (await talk.file(heard.txt_file)).data.decode("utf-8", "replace")
    return heard.translation if heard.translation is not None else heard.transcription


def _addresses_in(answer: bytes) -> list[str] | WholeResponse:
    """Where the files are that a prediction made, or what the client is told instead."""
    made = _output(answer)
    if isinstance(made, WholeResponse):
        return made
    try:
        addresses = _addresses.decode(made)
    except msgspec.DecodeError:
        return WholeResponse(answer)
    return [addresses] if isinstance(addresses, str) else addresses


def _output(answer: bytes) -> bytes | WholeResponse:
    """What a prediction has made, or what is answered instead. Raises UpstreamTimedOut where it made nothing yet."""
    try:
        made = _prediction.decode(answer)
    except msgspec.DecodeError:
        return WholeResponse(answer)
    if made.status in _FAILED:
        message = made.error or f"The prediction was {made.status}."
        error = {"message": message, "code": f"prediction_{made.status}", "type": "upstream_error"}
        return WholeResponse(msgspec.json.encode({"error": error}), 502)
    if bytes(made.output) == b"null" and made.status:
        raise UpstreamTimedOut("total", REPLICATE_WAITS_S)
    return bytes(made.output)


async def _pictures(talk: Talk, asked: Asked, addresses: Sequence[str]) -> UpstreamResponse:
    data = []
    for address in addresses:
        if is_data_url(address):
            data.append({"b64_json": address.partition(",")[2]})
        elif asked.in_base64:
            file = await talk.file(address)
            data.append({"b64_json": base64.b64encode(file.data).decode()})
        else:
            data.append({"url": address})
    return WholeResponse(msgspec.json.encode({"created": unix_now(), "data": data}))


async def _sound(talk: Talk, address: str) -> UpstreamResponse:
    file = await talk.file(address)
    kind = file.media_type if file.media_type.startswith("audio/") else "audio/mpeg"
    return WholeResponse(file.data, headers={"content-type": kind})
