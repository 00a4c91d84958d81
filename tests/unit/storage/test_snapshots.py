"""The store of snapshots by itself: whole or not there, the last two kept, states of clients written once."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from fedkd.errors import RunFolderError
from fedkd.storage.snapshots import SnapshotStore


def written(path: Path, *rounds: int) -> SnapshotStore:
    """A store in which client 0 changes in every round, client 1 in the first."""
    store = SnapshotStore(path)
    for server_round in rounds:
        changed = [(0, b"zero %d" % server_round)]
        if server_round == rounds[0]:
            changed.append((1, b"one"))
        store.write(server_round, {"w": np.full((2, 3), server_round, np.float32)}, changed)
    return store


def test_what_is_written_is_read(tmp_path: Path) -> None:
    written(tmp_path / "s", 1, 2, 3)
    snapshot = SnapshotStore(tmp_path / "s").read_latest()
    assert snapshot is not None
    assert snapshot.server_round == 3
    np.testing.assert_array_equal(snapshot.server["w"], np.full((2, 3), 3, np.float32), strict=True)
    assert snapshot.clients == {0: b"zero 3", 1: b"one"}


def test_nothing_is_kept_that_the_last_two_do_not_need(tmp_path: Path) -> None:
    written(tmp_path / "s", 1, 2, 3, 4)
    assert sorted(path.name for path in (tmp_path / "s").iterdir()) == [
        "client-000000-000003.state",
        "client-000000-000004.state",
        "client-000001-000001.state",  # as it was, by the index of the fourth
        "round-000003.json",
        "round-000004.json",
        "server-000003.safetensors",
        "server-000004.safetensors",
    ]


def test_a_store_that_goes_on_keeps_the_states_it_read(tmp_path: Path) -> None:
    written(tmp_path / "s", 1, 2)
    again = SnapshotStore(tmp_path / "s")
    assert again.read_latest() is not None
    again.write(3, {"w": np.zeros(1)}, [])
    snapshot = SnapshotStore(tmp_path / "s").read_latest()
    assert snapshot is not None
    assert snapshot.clients == {0: b"zero 2", 1: b"one"}


@pytest.mark.parametrize(
    ("name", "harm"),
    [
        ("round-000003.json", "empty"),
        ("round-000003.json", "flipped"),
        ("server-000003.safetensors", "gone"),
        ("server-000003.safetensors", "empty"),
        ("server-000003.safetensors", "flipped"),
        ("client-000000-000003.state", "gone"),
        ("client-000000-000003.state", "flipped"),
    ],
)
def test_a_damaged_one_is_named_and_the_one_before_it_read(
    tmp_path: Path, name: str, harm: str, caplog: pytest.LogCaptureFixture
) -> None:
    written(tmp_path / "s", 1, 2, 3)
    victim = tmp_path / "s" / name
    if harm == "gone":
        victim.unlink()
    else:
        content = bytearray(victim.read_bytes())
        content[len(content) // 2] ^= 1
        victim.write_bytes(bytes(content) if harm == "flipped" else b"")
    snapshot = SnapshotStore(tmp_path / "s").read_latest()
    assert snapshot is not None
    assert (snapshot.server_round, snapshot.clients[0]) == (2, b"zero 2")
    assert f"{tmp_path}/s/round-000003.json is damaged" in caplog.text


def test_files_of_a_snapshot_that_was_not_finished_are_no_snapshot(tmp_path: Path) -> None:
    store = written(tmp_path / "s", 1)
    (tmp_path / "s" / "round-000002.json").mkdir()  # the index cannot be written
    with pytest.raises(RunFolderError, match=r"round-000002\.json"):
        store.write(2, {"w": np.zeros(1)}, [(0, b"two")])
    (tmp_path / "s" / "round-000002.json").rmdir()
    snapshot = SnapshotStore(tmp_path / "s").read_latest()
    assert snapshot is not None
    assert (snapshot.server_round, snapshot.clients[0]) == (1, b"zero 1")


def test_an_absent_folder_holds_none_and_clears(tmp_path: Path) -> None:
    store = SnapshotStore(tmp_path / "s")
    assert store.read_latest() is None
    store.clear()
    written(tmp_path / "s", 1).clear()
    assert not (tmp_path / "s").exists()
