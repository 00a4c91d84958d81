from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from fedkd.errors import RunFolderError
from fedkd.storage import folder_lock
from fedkd.storage.folder_lock import is_locked, locked


@pytest.fixture
def asking(tmp_path: Path) -> Iterator[int]:
    """The folder, opened and locked as by one who only asks."""
    folder = os.open(tmp_path, os.O_RDONLY)
    fcntl.flock(folder, fcntl.LOCK_SH)
    yield folder
    os.close(folder)


def test_one_process_at_a_time_and_everybody_can_see_it(tmp_path: Path) -> None:
    assert not is_locked(tmp_path)
    with locked(tmp_path):
        assert is_locked(tmp_path)
        with pytest.raises(RunFolderError, match="is being written by another process"), locked(tmp_path):
            pass
    assert not is_locked(tmp_path)


def test_a_writer_waits_for_one_who_only_asks(asking: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(folder_lock.time, "sleep", lambda _: fcntl.flock(asking, fcntl.LOCK_UN))
    with locked(tmp_path):
        assert is_locked(tmp_path)


def test_two_who_ask_do_not_take_each_other_for_a_writer(asking: int, tmp_path: Path) -> None:
    assert not is_locked(tmp_path)


def test_a_folder_that_is_gone_is_named(tmp_path: Path) -> None:
    with pytest.raises(RunFolderError, match=r"cannot open .*absent"):
        is_locked(tmp_path / "absent")
