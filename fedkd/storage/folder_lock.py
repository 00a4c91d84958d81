"""Who writes a run folder: the one process that holds it locked. The system frees the lock when the process ends."""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from fedkd.errors import RunFolderError
from fedkd.storage.files import naming_failures

_TRIES, _PAUSE = 3, 0.05


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Keep other processes from writing to a folder while the block runs.

    Raises:
        RunFolderError: another process is at it.
    """
    with _opened(path) as folder:
        try:
            _take(folder)
        except BlockingIOError as cause:
            raise RunFolderError(f"{path} is being written by another process") from cause
        yield


def is_locked(path: Path) -> bool:
    """Return whether a process holds the folder locked. Asking takes a shared lock for an instant."""
    with _opened(path) as folder:
        try:
            fcntl.flock(folder, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


@contextmanager
def _opened(path: Path) -> Iterator[int]:
    with naming_failures("open", path):
        folder = os.open(path, os.O_RDONLY)
    try:
        yield folder
    finally:
        os.close(folder)


def _take(folder: int) -> None:
    """Take the lock; who only asks (`is_locked`) holds it for an instant, and is waited for."""
    for _ in range(_TRIES - 1):
        with suppress(BlockingIOError):
            fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        time.sleep(_PAUSE)
    fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
