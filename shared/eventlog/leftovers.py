"""Spools of incarnations that died with records in them."""

import os
import shutil
from dataclasses import dataclass, field
from pathlib import Path

from shared.eventlog.file_lock import FileLock
from shared.eventlog.spool import (
    CHUNK_BYTES,
    LOCK,
    MARK,
    encode_mark,
    read_frames,
    read_mark,
    segment_path,
    segments,
)
from shared.eventlog.spool_frames import Place, is_torn
from shared.telemetry import get_logger

DAMAGED = ".damaged"

log = get_logger("outbox")


@dataclass(slots=True)
class Leftover:
    """One adopted spool. `place` moves on while it is replayed; the lock is held until it is removed."""

    producer: str
    directory: Path
    lock: FileLock
    place: Place
    records: int = 0
    size: int = 0
    damaged: set[int] = field(default_factory=set)
    """Segments with bytes that are neither a frame nor a torn one. They are kept aside, not deleted."""

    def acknowledge(self, place: Place) -> None:
        """Everything before `place` is in the log: a second crash does not replay it again.

        Where the disk does not let us say so, it does: that costs only what readers recognise anyway.
        """
        try:
            for number in segments(self.directory):
                if number < place.segment:
                    self._drop(number)
            fd = os.open(self.directory / MARK, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                os.pwrite(fd, encode_mark(place), 0)
            finally:
                os.close(fd)
        except OSError as error:
            log.warning("spool_not_marked", directory=str(self.directory), error=error.strerror)

    def remove(self) -> None:
        """The caller holds the registry lock: nobody may find the directory half gone."""
        for number in segments(self.directory):
            self._drop(number)
        shutil.rmtree(self.directory)
        self.lock.release()

    def _drop(self, number: int) -> None:
        path = segment_path(self.directory, number)
        if number in self.damaged:
            path.rename(self.directory.parent / f"{self.producer}-{path.stem}{DAMAGED}")
        else:
            path.unlink()


def adopt(directory: Path) -> list[Leftover]:
    """Lock the spools below `directory` whose process is gone, oldest first. The caller holds the registry lock."""
    adopted: list[Leftover] = []
    for path in sorted(entry for entry in directory.iterdir() if entry.is_dir()):
        lock = FileLock(path / LOCK)
        if not lock.acquire():
            continue
        leftover = Leftover(path.name, path, lock, read_mark(path))
        _measure(leftover)
        if leftover.records or leftover.damaged:
            adopted.append(leftover)
        else:
            leftover.remove()
    return adopted


def _measure(leftover: Leftover) -> None:
    place: Place | None = leftover.place
    ends: dict[int, int] = {leftover.place.segment: leftover.place.offset}
    while place is not None:
        found, place = read_frames(leftover.directory, place)
        leftover.records += sum(len(frame.records) for frame in found)
        leftover.size += sum(frame.size for frame in found)
        for frame in found:
            ends[frame.end.segment] = frame.end.offset
    for number in segments(leftover.directory):
        if number < leftover.place.segment:
            continue
        path = segment_path(leftover.directory, number)
        end = ends.get(number, 0)
        with path.open("rb") as file:
            file.seek(end)
            rest = file.read(CHUNK_BYTES)
        if rest and not is_torn(rest, path.stat().st_size - end):
            leftover.damaged.add(number)
