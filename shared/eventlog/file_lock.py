"""An exclusive lock on a file that the kernel releases when its process dies, however it dies."""

import fcntl
import os
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path


class FileLock:
    """Not reentrant. The file stays behind after `release`; whoever finds it unlocked may remove it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._fd = -1

    @property
    def held(self) -> bool:
        return self._fd >= 0

    def acquire(self, *, wait: bool = False) -> bool:
        """Take the lock. False: another holder lives (a second lock in this process counts as another, too).

        With `wait` it blocks until the lock is free: not for the event loop.
        """
        while True:
            fd = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
            except BlockingIOError:
                os.close(fd)
                return False
            if self._is_named(fd):
                self._fd = fd
                return True
            os.close(fd)  # removed by its last holder after it was opened here

    def _is_named(self, fd: int) -> bool:
        try:
            return os.path.samestat(os.fstat(fd), os.stat(self.path))
        except FileNotFoundError:
            return False

    def release(self, *, remove: bool = False) -> None:
        """Give the lock back; with `remove` the file goes first, so that nobody can lock a name about to vanish."""
        if self._fd < 0:
            return
        if remove:
            self.path.unlink(missing_ok=True)
        os.close(self._fd)
        self._fd = -1


@contextmanager
def holding(path: Path) -> Generator[None]:
    """Wait for the lock at `path` and hold it meanwhile: not for the event loop."""
    lock = FileLock(path)
    lock.acquire(wait=True)
    try:
        yield
    finally:
        lock.release()


def holder_is_alive(path: Path) -> bool:
    """Whether some process holds the lock at `path`. A missing file has no holder."""
    try:
        fd = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(fd)
    return False
