"""Spool files of one incarnation: numbered segments, a mark of what was acknowledged, and a lock while it lives.

    DIRECTORY/INCARNATION/{00000001.spool, ..., acknowledged, lock}

`SpoolWriter` belongs to the living process, `read_frames` serves it and whoever takes over after its death.
"""

import os
import struct
from collections import deque
from pathlib import Path
from zlib import crc32

from shared.errors import SpoolFull
from shared.eventlog.spool_frames import HEAD_BYTES, Frame, Place, needed, scan
from shared.telemetry import get_logger

SUFFIX = ".spool"
LOCK = "lock"
MARK = "acknowledged"
CHUNK_BYTES = 4 * 1_048_576
_MARK = struct.Struct("<QQ")
_CHECK = struct.Struct("<I")

log = get_logger("outbox")


def segment_path(directory: Path, number: int) -> Path:
    return directory / f"{number:08d}{SUFFIX}"


def segments(directory: Path) -> list[int]:
    return sorted(int(path.stem) for path in directory.glob(f"*{SUFFIX}"))


def read_frames(
    directory: Path, place: Place, until: Place | None = None
) -> tuple[list[Frame], Place | None]:
    """Some frames from `place` on, at most about CHUNK_BYTES, never beyond `until`.

    Returns them and where to go on; None: there is nothing more. A torn end of a segment is passed over.
    """
    numbers = [number for number in segments(directory) if number >= place.segment]
    if not numbers:
        return [], None
    if numbers[0] != place.segment:
        place = Place(numbers[0], 0)
    limit = until.offset if until is not None and until.segment == place.segment else None
    frames = scan(_read(segment_path(directory, place.segment), place.offset, limit), place)
    if frames:
        return frames, frames[-1].end
    if until is not None and until.segment <= place.segment or len(numbers) == 1:
        return [], None
    return [], Place(numbers[1], 0)


def _read(path: Path, offset: int, limit: int | None) -> bytes:
    with path.open("rb") as file:
        file.seek(offset)
        size = CHUNK_BYTES if limit is None else min(CHUNK_BYTES, limit - offset)
        data = file.read(size)
        if len(data) >= HEAD_BYTES and needed(data) > len(data):
            data += file.read(needed(data) - len(data))
    return data


def read_mark(directory: Path) -> Place:
    """Up to where the spool was acknowledged; its beginning if there is no readable mark."""
    try:
        data = (directory / MARK).read_bytes()
    except FileNotFoundError:
        return Place(0, 0)
    if (
        len(data) != _MARK.size + _CHECK.size
        or crc32(data[: _MARK.size]) != _CHECK.unpack_from(data, _MARK.size)[0]
    ):
        return Place(0, 0)
    return Place(*_MARK.unpack_from(data))


def encode_mark(place: Place) -> bytes:
    body = _MARK.pack(*place)
    return body + _CHECK.pack(crc32(body))


def sync_directory(directory: Path) -> None:
    """Make the names in `directory` durable: the fsync of a new file alone need not."""
    fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


class SpoolWriter:
    """Appends frames with one `write` each. What `append` returned for survives the death of the process."""

    def __init__(self, directory: Path, segment_bytes: int) -> None:
        self.directory = directory
        self._segment_bytes = segment_bytes
        self._first = 1
        """The oldest segment that is still on disk."""
        self._number = 0
        self._offset = 0
        self._fd = -1
        self._finished: deque[int] = deque()
        """Files of full segments that still wait for their fsync."""
        self._dirty = False
        self._listed = 0
        """The newest segment whose name is durable."""
        self._mark_fd = -1
        self._mark_fails = False

    def open(self) -> None:
        self._mark_fd = os.open(self.directory / MARK, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
        self._next_segment()
        for folder in (self.directory.parent, self.directory.parent.parent):
            sync_directory(folder)

    @property
    def end(self) -> Place:
        return Place(self._number, self._offset)

    def append(self, frame: bytes) -> Place:
        """The place after the frame. Raises SpoolFull when the disk takes no more; nothing of it is left then."""
        if self._offset >= self._segment_bytes:
            self._next_segment()
        try:
            written = os.write(self._fd, frame)
        except OSError as error:
            raise SpoolFull(f"The spool in {self.directory} cannot be written: {error.strerror}.") from error
        if written != len(frame):
            os.ftruncate(self._fd, self._offset)
            raise SpoolFull(f"The disk of the spool in {self.directory} is full.")
        self._offset += written
        self._dirty = True
        return Place(self._number, self._offset)

    def _next_segment(self) -> None:
        path = segment_path(self.directory, self._number + 1)
        try:
            fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise SpoolFull(f"The spool in {self.directory} cannot be written: {error.strerror}.") from error
        if self._fd >= 0:
            self._finished.append(self._fd)
        self._fd, self._number, self._offset = fd, self._number + 1, 0
        self._dirty = True

    def acknowledge(self, place: Place) -> None:
        """Everything before `place` is in the log: delete the segments that are passed, move the mark.

        Both only spare a successor what it would send again for nothing. So a disk that is full, or gone, stops
        nothing here; deleting comes first, as it makes room.
        """
        try:
            while self._first < place.segment:
                segment_path(self.directory, self._first).unlink(missing_ok=True)
                self._first += 1
            os.pwrite(self._mark_fd, encode_mark(place), 0)
        except OSError as error:
            if not self._mark_fails:
                log.warning("spool_not_marked", directory=str(self.directory), error=error.strerror)
            self._mark_fails = True
        else:
            self._mark_fails = False

    @property
    def dirty(self) -> bool:
        return self._dirty

    def sync(self) -> None:
        """fsync what was written. For a thread; `append` may go on meanwhile, `close` must not be called.

        After an OSError the next call does the rest.
        """
        self._dirty = False
        # In this order: a segment that gets full from here on is left to the next call, and its file stays open.
        finished, current, number = len(self._finished), self._fd, self._number
        try:
            if number > self._listed:
                sync_directory(self.directory)
                self._listed = number
            for _ in range(finished):
                os.fsync(self._finished[0])
                os.close(self._finished.popleft())
            os.fsync(current)
        except OSError:
            self._dirty = True
            raise

    def close(self) -> None:
        self.sync()
        os.close(self._fd)
        os.close(self._mark_fd)
        self._fd = self._mark_fd = -1
