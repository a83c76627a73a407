"""The spool's files: what is forced to the disk and when, and what a power cut leaves of them."""

import errno
import os
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.eventlog.leftovers import adopt
from shared.eventlog.spool import MARK, SpoolWriter, read_frames, segment_path
from shared.eventlog.spool_frames import Place, SpooledRecord, encode
from shared.topics import USAGE


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


class Life:
    """A spool that is written, forced and acknowledged, and what a power cut at its end may leave of it."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory / "own"
        self.directory.mkdir()
        self.writer = SpoolWriter(self.directory, segment_bytes=120)
        self.writer.open()
        self.ends: list[Place] = []
        self.forced = self.acknowledged = 0
        self.marks = [b""]

    def step(self, what: Literal["put", "force", "acknowledge"]) -> None:
        if what == "put":
            record = SpooledRecord(USAGE, 0, "k", len(self.ends) + 1, "t", b"v" * (len(self.ends) * 7 % 50))
            self.ends.append(self.writer.append(encode(1, (record,))))
        elif what == "force":
            self.writer.sync()
            self.forced = len(self.ends)
        elif self.acknowledged < len(self.ends):
            self.acknowledged += 1
            self.writer.acknowledge(self.ends[self.acknowledged - 1])
            self.marks.append((self.directory / MARK).read_bytes())

    def cut(self, data: st.DataObject) -> None:
        """Of what was not forced any part may be there, and any version of the mark."""
        forced = self.ends[self.forced - 1] if self.forced else Place(1, 0)
        for path in self.directory.glob("*.spool"):
            size = path.stat().st_size
            number = int(path.stem)
            least = size if number < forced.segment else forced.offset if number == forced.segment else 0
            os.truncate(path, data.draw(st.integers(min(least, size), size)))
        (self.directory / MARK).write_bytes(data.draw(st.sampled_from(self.marks)))


@given(st.lists(st.sampled_from(["put", "put", "put", "force", "acknowledge"]), max_size=60), st.data())
def test_after_a_power_cut_all_that_was_forced_and_not_acknowledged_is_there_once_and_in_order(
    steps: list[Literal["put", "force", "acknowledge"]], data: st.DataObject
) -> None:
    with TemporaryDirectory() as root:
        life = Life(Path(root))
        for step in steps:
            life.step(step)
        life.writer.close()
        life.cut(data)

        found: list[int] = []
        for leftover in adopt(Path(root)):
            place: Place | None = leftover.place
            while place is not None:
                frames, place = read_frames(leftover.directory, place)
                found += [record.seq for frame in frames for record in frame.records]
            assert leftover.records == len(found)
            assert leftover.damaged == set()
            leftover.lock.release()

    assert found == sorted(set(found))
    assert set(found) >= set(range(life.acknowledged + 1, life.forced + 1))
    assert set(found) <= set(range(1, len(life.ends) + 1))


@given(st.integers(1, 6), st.data())
def test_a_frame_that_changed_on_the_disk_costs_no_other_segment(puts: int, data: st.DataObject) -> None:
    with TemporaryDirectory() as root:
        life = Life(Path(root))
        for _ in range(puts * 4):
            life.step("put")
        life.writer.close()
        hurt = segment_path(life.directory, 1)
        content = bytearray(hurt.read_bytes())
        content[data.draw(st.integers(8, len(content) - 1))] ^= 255
        hurt.write_bytes(content)

        (leftover,) = adopt(Path(root))
        found: list[int] = []
        place: Place | None = leftover.place
        while place is not None:
            frames, place = read_frames(leftover.directory, place)
            found += [record.seq for frame in frames for record in frame.records]
        leftover.lock.release()

    others = {number + 1 for number, end in enumerate(life.ends) if end.segment > 1}
    assert others <= set(found)
