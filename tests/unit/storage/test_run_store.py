from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest

from fedkd.errors import RunFolderError
from fedkd.records import PartitionRecord, RoundRecord, RunRecord
from fedkd.reporting import RunStore, run_name

NOW = datetime(2026, 1, 31, 14, 25, 30, tzinfo=UTC)


@pytest.fixture
def store(tmp_path: Path) -> RunStore:
    return RunStore.create(tmp_path / "runs", "a-run")


def test_run_name_tells_method_source_seed_and_time() -> None:
    assert re.fullmatch(r"fkd-digits-s0-20260131-142530-[0-9a-f]{6}", run_name("fkd", "digits", 0, NOW))


def test_two_runs_in_one_second_differ() -> None:
    assert len({run_name("fkd", "digits", 0, NOW) for _ in range(20)}) == 20


@pytest.mark.parametrize("hostile", ["my.package:Method", "../../etc", "a/b c", ".hidden", "ü"])
def test_run_name_is_a_plain_file_name_whatever_the_method(hostile: str, tmp_path: Path) -> None:
    store = RunStore.create(tmp_path, run_name(hostile, hostile, 1, NOW))
    assert store.path.parent == tmp_path
    assert store.path.is_dir()


def test_create_makes_the_folder_and_its_parents(tmp_path: Path) -> None:
    store = RunStore.create(tmp_path / "deep" / "runs", "a-run")
    assert store.path == tmp_path / "deep" / "runs" / "a-run"
    assert store.path.is_dir()


def test_two_runs_never_share_a_folder(store: RunStore) -> None:
    with pytest.raises(RunFolderError, match="two runs never share a folder"):
        RunStore.create(store.path.parent, store.path.name)


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "/abs", "../up"])
def test_create_refuses_a_name_that_leads_elsewhere(name: str, tmp_path: Path) -> None:
    with pytest.raises(RunFolderError, match="plain file name"):
        RunStore.create(tmp_path, name)


def test_create_below_a_file_is_a_run_folder_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(RunFolderError, match="cannot make the folder"):
        RunStore.create(tmp_path / "file", "a-run")
    with pytest.raises(RunFolderError, match="Not a directory"):
        RunStore.create(tmp_path / "file" / "below", "a-run")


def test_create_where_nothing_may_be_made_is_a_run_folder_error() -> None:
    with pytest.raises(RunFolderError, match="cannot make the folder"):
        RunStore.create(Path("/proc/no-such-place"), "a-run")


def test_open_says_what_is_missing(tmp_path: Path, store: RunStore) -> None:
    with pytest.raises(RunFolderError, match="it is missing"):
        RunStore.open(tmp_path / "gone")
    with pytest.raises(RunFolderError, match=r"config\.toml is missing"):
        RunStore.open(store.path)
    store.write_config({"method": "fkd"})
    with pytest.raises(RunFolderError, match="not a folder"):
        RunStore.open(store.config_path)


def test_config_comes_back_without_what_was_none(store: RunStore, config: dict[str, object]) -> None:
    store.write_config(config)
    expected = {
        "method": "fkd",
        "seed": 0,
        "rounds": 10,
        "data": {"source": "digits", "num_clients": 8, "partition": {"dirichlet_alpha": 0.3}},
        "distillation": {"temperature": 3.0, "alpha": 0.9, "epochs": 5},
        "models": [{"name": "mlp", "width": 64}, {"name": "cnn", "width": 16}],
    }
    assert RunStore.open(store.path).read_config() == expected
    assert tomllib.loads(store.config_path.read_text(encoding="utf-8")) == expected


def test_a_damaged_config_is_a_run_folder_error(store: RunStore) -> None:
    store.config_path.write_bytes(b"rounds = \xff")
    with pytest.raises(RunFolderError, match="is not TOML"):
        store.read_config()


def test_environment_comes_back(store: RunStore, environment: dict[str, object]) -> None:
    store.write_environment(environment)
    assert store.read_environment() == environment


@pytest.mark.parametrize("content", ["{", "[1]"])
def test_a_damaged_environment_is_a_run_folder_error(store: RunStore, content: str) -> None:
    store.environment_path.write_text(content)
    with pytest.raises(RunFolderError, match=r"environment\.json"):
        store.read_environment()


@pytest.mark.parametrize("value", [float("nan"), object()])
def test_environment_refuses_what_json_cannot_hold(store: RunStore, value: object) -> None:
    with pytest.raises(RunFolderError, match="as JSON"):
        store.write_environment({"key": value})
    assert not store.environment_path.exists()


def test_partition_comes_back(store: RunStore, make_partition: Callable[..., PartitionRecord]) -> None:
    store.write_partition(make_partition())
    assert store.read_partition() == make_partition()


def test_run_comes_back(store: RunStore, make_run: Callable[..., RunRecord]) -> None:
    run = make_run()
    assert not store.finished
    store.write_run(run)
    assert store.finished
    assert store.read_run() == run
    assert json.loads(store.run_path.read_text())["student"]["accuracy"] == run.student.accuracy


def test_a_run_of_an_earlier_version_is_refused(store: RunStore, make_run: Callable[..., RunRecord]) -> None:
    run = make_run(1).model_dump(mode="json")
    store.run_path.write_text(json.dumps(run | {"bounds": run.pop("baselines")}), encoding="utf-8")
    with pytest.raises(RunFolderError, match=r"'bounds' are called 'baselines' now.*run it again"):
        store.read_run()


def test_a_run_that_is_still_going_can_be_read(store: RunStore, make_round: Callable[..., RoundRecord]) -> None:
    store.write_config({"method": "fkd"})
    store.append_round(make_round(1))
    store.append_round(make_round(2))
    reader = RunStore.open(store.path)
    assert reader.read_config() == {"method": "fkd"}
    assert reader.read_rounds() == (make_round(1), make_round(2))
    with pytest.raises(RunFolderError, match=r"still going or was stopped; rounds: 2"):
        reader.read_run()


def test_student_comes_back_bit_for_bit_and_writable(store: RunStore) -> None:
    rng = np.random.default_rng(0)
    arrays = {
        "weight": rng.normal(size=(3, 4)).astype(np.float32),
        "transposed": rng.normal(size=(3, 4)).astype(np.float32).T,
        "strided": np.arange(10, dtype=np.int64)[::2],
        "steps": np.array(7, dtype=np.int64),
        "empty": np.zeros((0, 3), dtype=np.float32),
    }
    store.write_student(arrays, {"model": "mlp", "input_shape": "1x8x8"})
    read = store.read_student()
    assert read.keys() == arrays.keys()
    for name, array in arrays.items():
        np.testing.assert_array_equal(read[name], array, strict=True)
        assert read[name].flags.writeable
    assert store.read_student_metadata() == {"model": "mlp", "input_shape": "1x8x8"}


def test_a_damaged_or_missing_student_is_a_run_folder_error(store: RunStore) -> None:
    with pytest.raises(RunFolderError, match="missing"):
        store.read_student()
    with pytest.raises(RunFolderError, match="missing"):
        store.read_student_metadata()
    store.student_path.write_bytes(b"not a model")
    with pytest.raises(RunFolderError, match="not a safetensors file"):
        store.read_student()
    with pytest.raises(RunFolderError, match="not a safetensors file"):
        store.read_student_metadata()


def test_a_student_of_strings_is_refused(store: RunStore) -> None:
    with pytest.raises(RunFolderError, match="as safetensors"):
        store.write_student({"names": np.array(["a"])}, {})


def test_plots_and_report_have_their_places(store: RunStore) -> None:
    assert store.write_plot("accuracy", "<svg/>") == store.path / "plots" / "accuracy.svg"
    assert store.write_report("<p>é</p>") == store.path / "report.html"
    assert store.report_path.read_bytes() == "<p>é</p>".encode()
