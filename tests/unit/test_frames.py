"""Tables of runs and rounds: a column for every field, the numbers of the records, the keys that differ."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from fedkd.config.experiment import parse_config
from fedkd.errors import RunFolderError
from fedkd.frames import rounds_frame, runs_frame
from fedkd.records import RoundRecord, RunRecord, StudentScore
from fedkd.storage.run_store import RunStore

ROUND = RoundRecord(
    server_round=1,
    completed=True,
    selected=(0, 1, 2),
    replied=(0, 2),
    student=StudentScore(accuracy=0.25, loss=2.0),
)


def run_of(*history: RoundRecord, **changes: object) -> RunRecord:
    fields = {"run_dir": "runs/a", "method": "fkd", "seed": 0, "rounds": 2, "student": StudentScore(accuracy=0.5)}
    rest = {"ensemble_teacher": {}, "clients": {}, "baselines": {}, "bytes": {"up": 7}, "seconds": {"total": 1.5}}
    return RunRecord.model_validate({**fields, **rest, "history": history, **changes})


@pytest.fixture
def finished(tmp_path: Path) -> Callable[..., Path]:
    """Writes the folder of a run that is over."""

    def write(name: str, method: str, **sections: dict[str, object]) -> Path:
        store = RunStore.create(tmp_path, name)
        config = parse_config({"method": {"name": method}, "run": {"name": name}, **sections})
        store.write_config(config.model_dump(mode="json"))
        store.write_environment({})
        store.write_run(run_of(run_dir=str(store.path), method=method))
        return store.path

    return write


def test_a_row_holds_a_round() -> None:
    later = ROUND.model_copy(update={"server_round": 2, "student": StudentScore()})
    frame = rounds_frame(run_of(ROUND, later))
    assert list(frame["server_round"]) == [1, 2]
    assert frame["student.accuracy"][0] == 0.25
    assert np.isnan(frame["student.accuracy"][1])
    assert list(frame["replied"]) == [(0, 2), (0, 2)]
    assert frame["bytes.up"].sum() == 0


def test_columns_do_not_depend_on_what_was_measured() -> None:
    """A script that reads a column of numbers never fails for a method that has no such number."""
    one, none = rounds_frame(run_of(ROUND)), rounds_frame(run_of())
    assert list(one.columns) == list(none.columns)
    assert len(none) == 0
    for column in ("student.loss", "clients.worst_accuracy", "distillation.agreement", "seconds.total", "train_loss"):
        assert one[column].dtype == none[column].dtype == np.float64, column
    assert {"bytes.evaluation", "temperature_choice.temperature", "confusion.student"} <= set(one.columns)
    assert not any(column in one.columns for column in ("student", "distillation", "bytes", "seconds"))


def test_every_number_of_a_record_is_in_its_row() -> None:
    """Against pandas' own flattening of the record."""
    (expected,) = pd.json_normalize(ROUND.model_dump()).to_dict("records")
    (row,) = rounds_frame(run_of(ROUND)).to_dict("records")
    for name, value in expected.items():
        if isinstance(value, int | float) and not np.isnan(value):
            assert row[name] == value, name


def test_what_is_by_name_has_a_column_a_name() -> None:
    measured = ROUND.model_copy(update={"metrics": {"student/macro_f1": 0.75}})
    frame = rounds_frame(run_of(ROUND, measured))
    assert np.isnan(frame["metrics.student/macro_f1"][0])
    assert frame["metrics.student/macro_f1"][1] == 0.75
    assert "metrics" not in frame.columns


def test_runs_have_the_keys_that_differ_and_their_results(finished: Callable[..., Path]) -> None:
    paths = [
        finished("first", "fkd", training={"epochs": 3}),
        finished("second", "fedprox", training={"epochs": 4}, student={"model": "cnn"}, clients={"models": ["cnn"]}),
    ]
    frame = runs_frame(paths)
    assert list(frame["run_dir"]) == [str(path) for path in paths]
    assert list(frame["method.name"]) == ["fkd", "fedprox"]
    assert list(frame["training.epochs"]) == [3, 4]
    assert list(frame["student.accuracy"]) == [0.5, 0.5]
    assert list(frame["bytes.up"]) == [7, 7]
    assert not {"run.name", "run.seed", "history"} & set(frame.columns)


def test_one_run_differs_from_none(finished: Callable[..., Path]) -> None:
    frame = runs_frame([finished("only", "fkd")])
    assert frame.shape[0] == 1
    assert "method.name" not in frame.columns


def test_no_runs_are_an_empty_table() -> None:
    frame = runs_frame([])
    assert len(frame) == 0
    assert "student.accuracy" in frame.columns


def test_a_folder_that_is_no_run_is_named(tmp_path: Path) -> None:
    with pytest.raises(RunFolderError, match="it is missing"):
        rounds_frame(tmp_path / "absent")
    with pytest.raises(RunFolderError, match="it is missing"):
        runs_frame([str(tmp_path / "absent")])
