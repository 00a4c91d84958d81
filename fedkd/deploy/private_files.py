"""Files and folders that nobody else may read, and that belong to the user of the containers."""

from __future__ import annotations

import os
from pathlib import Path

from fedkd.storage.files import naming_failures, read_bytes, write_atomically


def make_private_folder(path: Path) -> Path:
    """Make a folder and its parents, mode 0700; one that is there stays as it is.

    Raises:
        RunFolderError: it cannot be made.
    """
    with naming_failures("make", path):
        for folder in reversed([path, *path.parents]):
            if not folder.exists():
                folder.mkdir(mode=0o700, exist_ok=True)
    return path


def write_once(path: Path, content: bytes) -> bool:
    """Write a private file, mode 0600, unless there is one; says whether it was written.

    The content takes the name in one step, so that a file that is there is whole.

    Raises:
        RunFolderError: it cannot be written.
    """
    if path.exists():
        return False
    neighbour = path.with_name(f".{path.name}.tmp")
    with naming_failures("write", path):
        with os.fdopen(os.open(neighbour, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        try:
            os.link(neighbour, path)  # fails where somebody was faster; a rename would not
        finally:
            neighbour.unlink()
    return True


def write_if_other(path: Path, content: bytes) -> None:
    """Write a private file, mode 0600, in one step, unless it holds this already.

    Raises:
        RunFolderError: it cannot be read or written.
    """
    if not path.exists() or read_bytes(path) != content:
        write_atomically(path, content, 0o600)


def give_to(folder: Path, uid: int, gid: int) -> None:
    """Let a user own a folder and all in it, as far as this process may decide that.

    Raises:
        RunFolderError: this process is root, and the system refuses all the same.
    """
    if os.geteuid() != 0:
        return
    with naming_failures("give away", folder):
        for path in [folder, *folder.rglob("*")]:
            os.chown(path, uid, gid, follow_symlinks=False)


def owner_of_files() -> tuple[int, int]:
    """User and group that containers run as: whoever calls, or for root the image's own."""
    return (os.geteuid(), os.getegid()) if os.geteuid() != 0 else (IMAGE_USER, IMAGE_USER)


IMAGE_USER = 10001
"""User and group that docker/Dockerfile makes."""
