"""Frames of the spool: what one `put` wrote, whole or not at all.

    length (4 bytes, little endian) | CRC-32 of the payload (4 bytes) | payload (msgpack)

A crash of the machine can leave a torn last frame, or zeros; both end the reading of a segment. A frame of length
zero is never written, because zeros would be a valid one.
"""

import struct
from typing import NamedTuple
from zlib import crc32

import msgspec

_HEAD = struct.Struct("<II")
HEAD_BYTES = _HEAD.size


class SpooledRecord(NamedTuple):
    """One record as it waits in the spool. `seq` counts within the incarnation that wrote it."""

    topic: str
    partition: int
    key: str
    seq: int
    event_type: str
    value: bytes


class Place(NamedTuple):
    """A position in the spool of one incarnation; places rise."""

    segment: int
    offset: int


class Frame(NamedTuple):
    """The records of one `put`. `end` is the place after it, `size` its bytes in the file."""

    at_ms: int
    records: tuple[SpooledRecord, ...]
    end: Place
    size: int


_Payload = tuple[int, tuple[SpooledRecord, ...]]
_encoder = msgspec.msgpack.Encoder()
_decoder: msgspec.msgpack.Decoder[_Payload] = msgspec.msgpack.Decoder(_Payload)


def encode(at_ms: int, records: tuple[SpooledRecord, ...]) -> bytes:
    payload = _encoder.encode((at_ms, records))
    return _HEAD.pack(len(payload), crc32(payload)) + payload


def scan(data: bytes, start: Place) -> list[Frame]:
    """The whole frames at the beginning of `data`, which was read at `start`."""
    frames: list[Frame] = []
    position, view = 0, memoryview(data)
    while position + HEAD_BYTES <= len(data):
        length, checksum = _HEAD.unpack_from(data, position)
        first, last = position + HEAD_BYTES, position + HEAD_BYTES + length
        if length == 0 or last > len(data) or crc32(view[first:last]) != checksum:
            break
        try:
            at_ms, records = _decoder.decode(view[first:last])
        except msgspec.DecodeError:  # whole, but not of this format: the reader of the segment reports it
            break
        frames.append(Frame(at_ms, records, Place(start.segment, start.offset + last), last - position))
        position = last
    return frames


def needed(data: bytes) -> int:
    """How many bytes the frame at the beginning of `data` takes, as far as its head tells."""
    if len(data) < HEAD_BYTES:
        return HEAD_BYTES
    length: int = _HEAD.unpack_from(data)[0]
    return HEAD_BYTES + length


def is_torn(rest: bytes, size: int) -> bool:
    """Whether what follows the last whole frame is just a write that a crash cut short, or zeros of a power cut.

    `size` is its length in the file, `rest` the beginning of it.
    """
    return needed(rest) > size or not any(rest)
