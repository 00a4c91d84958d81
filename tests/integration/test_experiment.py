from __future__ import annotations

import importlib.metadata
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fedkd
from fedkd import experiment
from fedkd.config.experiment import ExperimentConfig, load_config
from fedkd.data.federated import load_federated_data
from fedkd.experiment import RunObserver
from fedkd.federation import baselines_cache, references
from fedkd.records import Baselines, RoundRecord, RunRecord
from fedkd.reporting import RunStore
from fedkd.run_reports import read_run

MakeConfig = Callable[..., ExperimentConfig]


@pytest.fixture(autouse=True)
def _undrawn(monkeypatch: pytest.MonkeyPatch) -> None:
    """No plots: they take longer than these runs, and the tests of the command line draw them."""
    monkeypatch.setattr(experiment, "write_report", lambda run_dir: run_dir / "report.html")


@pytest.fixture
def trainings(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Seeds of the baselines that were really trained, in order."""
    seeds: list[int] = []
    train = references.train_baselines

    def counted(config: ExperimentConfig, *rest: Any) -> Baselines:
        seeds.append(config.run.seed)
        return train(config, *rest)

    monkeypatch.setattr(baselines_cache, "train_baselines", counted)
    return seeds


def _with_output(folder: Path, **run: Any) -> dict[str, Any]:
    return {"output": str(folder), **run}


def test_a_run_returns_what_its_folder_holds(small_config: MakeConfig, tmp_path: Path) -> None:
    config = small_config(run=_with_output(tmp_path / "new" / "runs"))
    record = fedkd.run(config)
    folder = Path(record.run_dir)
    store = RunStore.open(folder)
    assert folder.parent == tmp_path / "new" / "runs"
    assert RunRecord.model_validate_json((folder / "run.json").read_bytes()) == record
    assert store.read_rounds() == record.history
    assert read_run(folder) == record
    assert load_config(folder / "config.toml") == config
    assert (record.method, record.seed, record.rounds) == ("fkd", 0, 2)
    assert record.student == record.history[-1].student
    for way in ("up", "down"):
        assert getattr(record.bytes, way) == sum(getattr(entry.bytes, way) for entry in record.history)
    student = store.read_student()
    assert sum(array.size for array in student.values()) > 0
    assert all(np.isfinite(array).all() for array in student.values())


def test_a_run_records_how_student_and_teacher_agree(small_config: MakeConfig, tmp_path: Path) -> None:
    first, last = fedkd.run(small_config(run=_with_output(tmp_path))).history
    assert first.agreement is not None
    assert first.confusion is None
    assert last.confusion is not None
    right = {
        "student": last.student.accuracy,
        "ensemble_teacher": last.ensemble_teacher.accuracy,
        "student_teacher": last.agreement,
    }
    for name, share in right.items():
        counts_CC = np.array(getattr(last.confusion, name))
        assert np.trace(counts_CC) / counts_CC.sum() == share


def test_a_run_says_what_it_depended_on(small_config: MakeConfig, tmp_path: Path) -> None:
    config = small_config(run=_with_output(tmp_path, seed=11, rounds=1))
    environment = json.loads((Path(fedkd.run(config).run_dir) / "environment.json").read_text())
    assert environment["seed"] == 11
    assert environment["public_digest"] == load_federated_data(config.data, 4, seed=11).public_digest
    assert environment["versions"]["fedkd"] == fedkd.__version__
    for package in ("torch", "flwr", "flwr-datasets", "numpy"):
        assert environment["versions"][package] == importlib.metadata.version(package)


def test_a_run_can_be_watched(small_config: MakeConfig, tmp_path: Path) -> None:
    heard: list[str] = []

    class Listener(RunObserver):
        def on_folder(self, path: Path, rounds: int) -> None:
            heard.append(f"folder {path.name}, {rounds} rounds, {sorted(entry.name for entry in path.iterdir())}")

        def on_round(self, record: RoundRecord) -> None:
            written = len((tmp_path / "watched" / "rounds.jsonl").read_text().splitlines())
            heard.append(f"round {record.server_round}, {written} on disk")

        def on_baselines(self, what: str, done: int, total: int) -> None:
            heard.append(f"{what} {done}/{total}")

    fedkd.run(small_config(run=_with_output(tmp_path, name="watched", baselines=True)), Listener())
    assert heard == [
        "folder watched, 2 rounds, ['.lock', 'config.toml', 'environment.json', 'partition.json']",
        "round 1, 1 on disk",
        "round 2, 2 on disk",
        *(f"local-only {client}/4" for client in range(4)),
        "centralised 0/1",
        "baselines 1/1",
    ]


def test_a_run_leaves_tensorboard_events(small_config: MakeConfig, tmp_path: Path) -> None:
    record = fedkd.run(small_config(run=_with_output(tmp_path, rounds=1)))
    (events,) = (Path(record.run_dir) / "tensorboard").glob("events.out.tfevents.*")
    assert b"accuracy/student" in events.read_bytes()


def test_equal_runs_share_no_folder_but_everything_that_counts(small_config: MakeConfig, tmp_path: Path) -> None:
    first, second = (fedkd.run(small_config(run=_with_output(tmp_path, rounds=1))) for _ in range(2))
    assert first.run_dir != second.run_dir
    assert first.student == second.student
    assert first.clients == second.clients
    assert first.bytes == second.bytes


def test_baselines_are_trained_once_for_equal_data_and_training(
    small_config: MakeConfig, tmp_path: Path, trainings: list[int]
) -> None:
    first = fedkd.run(small_config(run=_with_output(tmp_path, baselines=True)))
    assert trainings == [0]
    assert len(first.baselines.local_only_history) == len(first.baselines.centralised_history) == 2
    assert first.baselines.local_only == first.baselines.local_only_history[-1]
    other_method = small_config(run=_with_output(tmp_path, baselines=True), method={"name": "fedmd"})
    assert fedkd.run(other_method).baselines == first.baselines
    assert trainings == [0]


def test_without_baselines_nothing_is_trained_for_them(
    small_config: MakeConfig, tmp_path: Path, trainings: list[int]
) -> None:
    assert fedkd.run(small_config(run=_with_output(tmp_path, rounds=1))).baselines == Baselines()
    assert trainings == []
    assert not (tmp_path / ".baselines").exists()


def test_a_stop_during_the_baselines_loses_neither_rounds_nor_student(
    small_config: MakeConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: Any) -> Baselines:
        raise KeyboardInterrupt

    monkeypatch.setattr(baselines_cache, "train_baselines", interrupted)
    with pytest.raises(KeyboardInterrupt):
        fedkd.run(small_config(run=_with_output(tmp_path, name="stopped", baselines=True)))
    store, record = RunStore.open(tmp_path / "stopped"), read_run(tmp_path / "stopped")
    assert store.finished, "the federation is over, so its student can be used"
    assert [entry.server_round for entry in record.history] == [1, 2]
    assert record.student == record.history[-1].student
    assert (record.rounds, record.baselines) == (2, Baselines())
    assert store.read_student()


def test_a_method_without_a_student_leaves_none(small_config: MakeConfig, tmp_path: Path) -> None:
    record = fedkd.run(small_config(run=_with_output(tmp_path, rounds=1), method={"name": "fedmd"}))
    assert (record.student.accuracy, record.student.loss) == (None, None)
    assert record.ensemble_teacher.accuracy is not None
    assert record.history[-1].agreement is None
    confusion = record.history[-1].confusion
    assert confusion is not None
    assert (confusion.student, confusion.student_teacher) == (None, None)
    assert confusion.ensemble_teacher is not None
    assert not (Path(record.run_dir) / "student.safetensors").exists()
