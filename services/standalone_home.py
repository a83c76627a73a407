"""The data directory of a standalone installation: private, and used by one process at a time."""

import fcntl
import os
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from shared.errors import ConfigurationError

LOCK_NAME: Final = "finops.lock"
SOCKET_NAME: Final = "log-ingest-{}.sock"
LONGEST_SOCKET_PATH: Final = 100
"""The kernel takes 108 bytes on Linux and 104 on macOS."""


@contextmanager
def data_directory(path: Path) -> Generator[Path]:
    """Make `path` (mode 0700 when new) and hold its lock while the context is open; the absolute path.

    Raises ConfigurationError when it cannot be written, or when another process holds it.
    """
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(path / LOCK_NAME, os.O_RDWR | os.O_CREAT, 0o600)
    except OSError as error:
        raise ConfigurationError(
            f"FINOPS_DATA_DIR is wrong: {path} cannot be written ({error.strerror})."
        ) from error
    try:
        _lock(descriptor, path)
        os.ftruncate(descriptor, 0)
        os.write(descriptor, str(os.getpid()).encode())
        yield path.resolve()
    finally:
        os.close(
            descriptor
        )  # releases the lock; the file stays, so that no two processes lock different files


@contextmanager
def socket_path(directory: Path) -> Generator[Path]:
    """Where the child's Unix socket goes: in `directory`, or in a short-named private one when that is too long.

    Each start has a name of its own, because the child of a killed start may still be on its way out, and removes its
    socket at its end. Names that killed starts left behind are removed.
    """
    for left in directory.glob(SOCKET_NAME.format("*")):
        left.unlink(missing_ok=True)
    name = SOCKET_NAME.format(os.getpid())
    path = directory / name
    if len(str(path).encode()) <= LONGEST_SOCKET_PATH:
        yield path
        return
    with TemporaryDirectory(prefix="finops-") as short:
        yield Path(short) / name


def _lock(descriptor: int, path: Path) -> None:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        owner = os.read(descriptor, 20).decode(errors="replace") or "unknown"
        raise ConfigurationError(
            f"{path} is in use by another running FinOps (process {owner}); stop it or set FINOPS_DATA_DIR."
        ) from error
