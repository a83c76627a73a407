"""The spool's files: what is forced to the disk, and when."""

import errno
import os
from pathlib import Path

import pytest

from shared.eventlog.spool import SpoolWriter


class Disk:
    """Stands before `os.fsync` and `os.close`: writes down the names of what they are called with."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.forced: list[str] = []
        self.closed: list[str] = []
        self.fails_at = ""
        self._fsync, self._close = os.fsync, os.close
        monkeypatch.setattr(os, "fsync", self._force)
        monkeypatch.setattr(os, "close", self._let_go)

    def _force(self, fd: int) -> None:
        name = self._name(fd)
        if name == self.fails_at:
            raise OSError(errno.EIO, "Input/output error")
        self._fsync(fd)
        self.forced.append(name)

    def _let_go(self, fd: int) -> None:
        self.closed.append(self._name(fd))
        self._close(fd)

    @staticmethod
    def _name(fd: int) -> str:
        return Path(os.readlink(f"/proc/self/fd/{fd}")).name


@pytest.fixture
def writer(tmp_path: Path) -> SpoolWriter:
    (tmp_path / "spool" / "own").mkdir(parents=True)
    writer = SpoolWriter(tmp_path / "spool" / "own", segment_bytes=10)
    writer.open()
    return writer


def test_files_and_their_names_are_forced_to_the_disk(
    writer: SpoolWriter, monkeypatch: pytest.MonkeyPatch
) -> None:
    disk = Disk(monkeypatch)

    for _ in range(2):
        writer.append(b"0123456789")
    writer.sync()
    assert disk.forced == ["own", "00000001.spool", "00000002.spool"]
    assert not writer.dirty
    writer.append(b"0")
    writer.sync()
    assert disk.forced[3:] == ["own", "00000002.spool", "00000003.spool"]
    writer.close()


def test_after_a_failed_fsync_the_next_one_does_the_rest_and_touches_no_closed_file(
    writer: SpoolWriter, monkeypatch: pytest.MonkeyPatch
) -> None:
    disk = Disk(monkeypatch)
    for _ in range(3):
        writer.append(b"0123456789")
    disk.fails_at = "00000002.spool"

    with pytest.raises(OSError, match="Input/output"):
        writer.sync()
    assert writer.dirty
    disk.fails_at = ""
    writer.sync()

    assert [name for name in disk.forced if name != "own"] == [
        f"0000000{number}.spool" for number in (1, 2, 3)
    ]
    assert [name for name in disk.closed if name != "own"] == ["00000001.spool", "00000002.spool"]
    writer.close()
