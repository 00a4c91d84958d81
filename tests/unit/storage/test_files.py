from __future__ import annotations

import errno
import os
import threading
from pathlib import Path
from typing import Any

import pytest
from filelock import lock_descriptor, unlock_descriptor

from fedkd.errors import RunFolderError
from fedkd.records import PartitionRecord
from fedkd.storage import files
from fedkd.storage.files import READER_SECONDS, is_locked, locked, read_bytes, read_record, to_toml, write_atomically


def test_write_replaces_the_whole_file_and_leaves_no_neighbour(tmp_path: Path) -> None:
    path = tmp_path / "file"
    write_atomically(path, b"a long first content")
    write_atomically(path, b"short")
    assert path.read_bytes() == b"short"
    assert [entry.name for entry in tmp_path.iterdir()] == ["file"]


def test_one_process_at_a_time_and_every_process_can_see_it(tmp_path: Path) -> None:
    lock = tmp_path / "lock"
    assert not is_locked(lock)
    with locked(tmp_path, lock, patience=0):
        assert is_locked(lock)
        with pytest.raises(RunFolderError, match="is being written by another process"):
            locked(tmp_path, lock, patience=0).__enter__()
    assert not is_locked(lock)


def test_a_lock_is_seen_by_a_reader_that_may_not_write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As root the rights of a file say nothing: opening it for writing is made to fail."""
    lock, opened = tmp_path / "lock", os.open

    def read_only(path: Any, flags: int, *rest: Any, **more: Any) -> int:
        if flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT):
            raise PermissionError(13, "Permission denied", str(path))
        return opened(path, flags, *rest, **more)

    with locked(tmp_path, lock):
        monkeypatch.setattr(os, "open", read_only)
        assert is_locked(lock)
        monkeypatch.undo()
    monkeypatch.setattr(os, "open", read_only)
    assert not is_locked(lock)


def test_a_writer_waits_for_a_reader(tmp_path: Path) -> None:
    lock = tmp_path / "lock"
    with locked(tmp_path, lock):
        pass
    with lock.open("rb") as reader:
        lock_descriptor(reader.fileno())
        threading.Timer(0.1, reader.close).start()
        with locked(tmp_path, lock, patience=READER_SECONDS):
            assert is_locked(lock)


def test_readers_do_not_take_each_other_for_a_writer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lock = tmp_path / "lock"
    lock.touch()
    with lock.open("rb") as reader:
        lock_descriptor(reader.fileno())
        monkeypatch.setattr(files.time, "sleep", lambda _: unlock_descriptor(reader.fileno()))
        assert not is_locked(lock)


def test_a_full_disk_leaves_the_old_file_and_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "file"
    write_atomically(path, b"old")

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(RunFolderError, match=r"cannot write .*file: No space left on device"):
        write_atomically(path, b"new")
    assert path.read_bytes() == b"old"
    assert [entry.name for entry in tmp_path.iterdir()] == ["file"]


def test_writing_below_a_file_is_a_run_folder_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(RunFolderError, match="Not a directory"):
        write_atomically(tmp_path / "file" / "below", b"")


def test_writing_into_a_missing_folder_is_a_run_folder_error(tmp_path: Path) -> None:
    with pytest.raises(RunFolderError, match="missing"):
        write_atomically(tmp_path / "gone" / "file", b"")


def test_reading_what_is_missing_or_a_folder_is_a_run_folder_error(tmp_path: Path) -> None:
    with pytest.raises(RunFolderError, match="missing"):
        read_bytes(tmp_path / "gone")
    with pytest.raises(RunFolderError, match="Is a directory"):
        read_bytes(tmp_path)


def test_a_record_with_a_wrong_field_is_named_with_the_field(tmp_path: Path) -> None:
    path = tmp_path / "partition.json"
    path.write_text('{"class_names": ["a"], "counts": [[1.5]], "skew": {}, "description": ""}')
    with pytest.raises(RunFolderError, match=r"does not hold a PartitionRecord: counts\.0\.0: "):
        read_record(path, PartitionRecord)


def test_toml_refuses_what_it_cannot_hold() -> None:
    with pytest.raises(RunFolderError, match="as TOML"):
        to_toml({"key": object()})
