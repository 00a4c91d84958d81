"""Reading, writing and locking single files of a run folder. A file is whole or absent; all failures are
`RunFolderError`s.
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar

import tomli_w
from filelock import FileLock, Timeout, lock_descriptor
from pydantic import ValidationError

from fedkd.errors import RunFolderError
from fedkd.records import Record

RecordT = TypeVar("RecordT", bound=Record)

READER_SECONDS = 0.5
"""How long a writer waits for a lock at least: a reader may have taken it for an instant (see `is_locked`)."""

_READER_TRIES, _READER_PAUSE = 3, 0.02


@contextlib.contextmanager
def naming_failures(action: str, path: Path) -> Iterator[None]:
    """Turn what the operating system refuses into a `RunFolderError` that says what was tried, and on which path."""
    try:
        yield
    except FileNotFoundError as cause:
        raise RunFolderError(f"cannot {action} {path}: it, or the folder it should lie in, is missing") from cause
    except OSError as cause:
        raise RunFolderError(f"cannot {action} {path}: {cause.strerror or cause}") from cause


def write_atomically(path: Path, content: bytes, mode: int = 0o666) -> None:
    """Write `content` so that a reader sees the old file or the new one, never a part.

    The bytes go to a neighbour of `path`, reach the disk, and take the name with one rename. `mode` is what the file
    may be used for, and by whom, less what the process's umask takes away.

    Raises:
        RunFolderError: the folder is missing, read-only or full. The old file, if any, is left as it was.
    """
    neighbour = path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp")
    with naming_failures("write", path):
        try:
            with open(neighbour, "xb", opener=lambda name, flags: os.open(name, flags, mode)) as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            neighbour.replace(path)
        finally:
            with contextlib.suppress(FileNotFoundError, NotADirectoryError):
                neighbour.unlink()


@contextlib.contextmanager
def locked(path: Path, lock_path: Path, patience: float = -1) -> Iterator[None]:
    """Be the only process that writes `path` while the block runs. The lock ends with the process, however that ends.

    Args:
        path: the file or folder that is written.
        lock_path: the lock file; it and its folder are made where they are missing.
        patience: seconds to wait for another process; below 0, without a limit.

    Raises:
        RunFolderError: another process still holds the lock, or the lock file cannot be made.
    """
    lock = FileLock(lock_path)
    try:
        with naming_failures("lock", lock_path):
            lock.acquire(timeout=patience)
    except RunFolderError as refused:
        if isinstance(refused.__cause__, Timeout):
            raise RunFolderError(f"{path} is being written by another process") from refused.__cause__
        raise
    try:
        yield
    finally:
        lock.release()


def is_locked(lock_path: Path) -> bool:
    """Return whether a process holds a lock file locked. The caller needs no right to write.

    It takes the lock for an instant itself; because another caller may do so at the same time, it tries three times.

    Raises:
        RunFolderError: the lock file cannot be read.
    """
    with naming_failures("read", lock_path):
        if not lock_path.exists():
            return False
        with lock_path.open("rb") as file:
            for _ in range(_READER_TRIES):
                if lock_descriptor(file.fileno(), blocking=False):
                    return False  # closing the file frees the lock
                time.sleep(_READER_PAUSE)
    return True


def read_bytes(path: Path) -> bytes:
    """Return a file's content.

    Raises:
        RunFolderError: the file is missing or cannot be read.
    """
    with naming_failures("read", path):
        return path.read_bytes()


def read_json_object(path: Path) -> dict[str, Any]:
    """Read one JSON object.

    Raises:
        RunFolderError: the file is missing, or does not hold one.
    """
    try:
        content = json.loads(read_bytes(path))
    except ValueError as cause:
        raise RunFolderError(f"{path} is not JSON: {cause}") from cause
    if not isinstance(content, dict):
        raise RunFolderError(f"{path} holds {type(content).__name__}; an object is expected")
    return content


def read_record(path: Path, kind: type[RecordT]) -> RecordT:
    """Read one JSON record.

    Raises:
        RunFolderError: the file is missing, or does not hold a `kind`.
    """
    try:
        return kind.model_validate_json(read_bytes(path))
    except ValidationError as cause:
        raise RunFolderError(f"{path} does not hold a {kind.__name__}: {first_problem(cause)}") from cause


def first_problem(error: ValidationError) -> str:
    """Return the first of a validation error's problems as `"field.path: what is wrong"`."""
    problem = error.errors(include_url=False)[0]
    where = ".".join(str(part) for part in problem["loc"])
    return f"{where}: {problem['msg']}" if where else problem["msg"]


def to_toml(config: Mapping[str, object]) -> str:
    """Return a nested configuration as TOML. `None` has no TOML form: keys that hold it are left out.

    Raises:
        RunFolderError: a value has no TOML form.
    """
    try:
        return tomli_w.dumps(_without_none(config))
    except (TypeError, ValueError) as cause:
        raise RunFolderError(f"the configuration cannot be written as TOML: {cause}") from cause


def _without_none(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _without_none(entry) for key, entry in value.items() if entry is not None}
    if isinstance(value, list | tuple):
        return [_without_none(entry) for entry in value]
    return value
