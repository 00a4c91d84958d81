"""Arrays of rounds on disk: what is written is read, round by round; a damaged file is named."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy

from fedkd.errors import RunFolderError
from fedkd.payload import Rows
from fedkd.storage.round_arrays import RoundArraysStore
from fedkd.storage.run_store import RunStore

SENT = {
    10: Rows.of([0, 4], [[1.5, -2.0, 3.0], [0.1, 0.2, 0.3]], [1.0, 0.25]),
    2: Rows.of(np.empty(0), np.empty((0, 3))),
}
MODELS = {1: {"layer.weight": np.arange(6, dtype=np.float32).reshape(2, 3), "a/b": np.array(7, np.int64)}}


def assert_equal(rows: Rows, expected: Rows) -> None:
    for name in ("keys_N", "values_ND", "weights_N"):
        np.testing.assert_array_equal(getattr(rows, name), getattr(expected, name), strict=True)


def test_what_is_written_is_read_in_the_order_of_clients(tmp_path: Path) -> None:
    store = RoundArraysStore(tmp_path / "arrays")
    store.write_rows(3, SENT)
    store.write_teacher(3, SENT[10])
    store.write_clients(3, MODELS)
    again = RoundArraysStore(tmp_path / "arrays")
    rows, teacher = again.read_rows(3), again.read_teacher(3)
    assert list(rows) == [2, 10]
    for client, sent in SENT.items():
        assert_equal(rows[client], sent)
    assert teacher is not None
    assert_equal(teacher, SENT[10])
    assert list(again.read_clients(3)) == [1]
    for name, array in MODELS[1].items():
        np.testing.assert_array_equal(again.read_clients(3)[1][name], array, strict=True)


def test_the_files_can_be_read_without_fedkd(tmp_path: Path) -> None:
    RoundArraysStore(tmp_path).write_rows(3, SENT)
    arrays = safetensors.numpy.load_file(tmp_path / "round-000003" / "rows.safetensors")
    assert sorted(arrays) == ["10/keys", "10/values", "10/weights", "2/keys", "2/values", "2/weights"]
    np.testing.assert_array_equal(arrays["10/weights"], np.array([1.0, 0.25], np.float32), strict=True)


def test_what_was_not_written_is_empty(tmp_path: Path) -> None:
    store = RoundArraysStore(tmp_path / "arrays")
    assert store.rounds == ()
    store.write_teacher(2, SENT[10])
    assert store.rounds == (2,)
    assert (store.read_rows(2), store.read_clients(2)) == ({}, {})
    assert store.read_teacher(1) is None


def test_a_round_that_is_run_again_replaces_its_arrays(tmp_path: Path) -> None:
    store = RoundArraysStore(tmp_path)
    store.write_rows(1, SENT)
    store.write_rows(1, {5: SENT[10]})
    assert list(store.read_rows(1)) == [5]


def test_a_run_that_goes_back_forgets_the_arrays_of_later_rounds(tmp_path: Path) -> None:
    store = RunStore.create(tmp_path, "run")
    for server_round in (1, 2, 11):
        store.arrays.write_teacher(server_round, SENT[10])
    store.keep_rounds(0)
    assert store.arrays.rounds == ()
    for server_round in (1, 2, 11):
        store.arrays.write_teacher(server_round, SENT[10])
    store.arrays.keep(2)
    assert store.arrays.rounds == (1, 2)


@pytest.mark.parametrize("name", ["keys", "x/keys", "4/"])
def test_an_array_of_no_client_is_named(tmp_path: Path, name: str) -> None:
    store = RoundArraysStore(tmp_path)
    store.write_rows(1, SENT)
    safetensors.numpy.save_file({name: np.zeros(1)}, tmp_path / "round-000001" / "rows.safetensors")
    with pytest.raises(RunFolderError, match=rf"holds an array '{name}'; a client's number, a slash and a name"):
        store.read_rows(1)


def test_rows_that_lack_an_array_are_named(tmp_path: Path) -> None:
    store = RoundArraysStore(tmp_path)
    store.write_teacher(1, SENT[10])
    safetensors.numpy.save_file({"keys": np.zeros(1)}, tmp_path / "round-000001" / "teacher.safetensors")
    with pytest.raises(RunFolderError, match=r"teacher\.safetensors does not hold rows: 'values' is missing"):
        store.read_teacher(1)
