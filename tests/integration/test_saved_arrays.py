"""`run.save` and `run.observers`: what a run keeps is what its observers hear, also after a stop, and under masks."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

import fedkd
from fedkd import experiment
from fedkd.config.experiment import ExperimentConfig
from fedkd.errors import ConfigError, RunFolderError
from fedkd.federation.answers import RoundArrays
from fedkd.records import RoundRecord

MakeConfig = Callable[..., ExperimentConfig]
OBSERVER = """
from pathlib import Path

import fedkd


class Notes(fedkd.RunObserver):
    def __init__(self, file: str, tag: str = "") -> None:
        self.file, self.tag = Path(file), tag

    def note(self, words: str) -> None:
        with self.file.open("a") as file:
            file.write(f"{self.tag}{words}\\n")

    def on_folder(self, path: Path, rounds: int) -> None:
        self.note(f"{path.name}, {rounds} rounds")

    def on_arrays(self, server_round: int, arrays: fedkd.RoundArrays) -> None:
        self.note(f"arrays of round {server_round}: {sorted(arrays.client_rows)}, {len(arrays.teacher)}")

    def on_round(self, record: fedkd.RoundRecord) -> None:
        self.note(f"round {record.server_round}")


class NoObserver:
    pass
"""


@pytest.fixture(autouse=True)
def _undrawn(monkeypatch: pytest.MonkeyPatch) -> None:
    """No plots: they take longer than these runs."""
    monkeypatch.setattr(experiment, "write_report", lambda run_dir: run_dir / "report.html")


@pytest.fixture
def notes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A module `run_notes` with an observer, and the file that it writes."""
    (tmp_path / "run_notes.py").write_text(OBSERVER, encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    yield tmp_path / "notes.txt"
    sys.modules.pop("run_notes", None)


class Heard(fedkd.RunObserver):
    """Keeps the arrays that it hears of; stops the run after a round."""

    def __init__(self, stop_after: int = 0) -> None:
        self.rounds: dict[int, RoundArrays] = {}
        self._stop_after = stop_after

    def on_arrays(self, server_round: int, arrays: RoundArrays) -> None:
        self.rounds[server_round] = arrays

    def on_round(self, record: RoundRecord) -> None:
        if record.server_round == self._stop_after:
            raise KeyboardInterrupt


def assert_equal_rows(found: fedkd.Rows | None, expected: fedkd.Rows | None) -> None:
    assert found is not None
    assert expected is not None
    for name in ("keys_N", "values_ND", "weights_N"):
        np.testing.assert_array_equal(getattr(found, name), getattr(expected, name), strict=True)


def test_every_round_keeps_what_observers_hear(small_config: MakeConfig, tmp_path: Path) -> None:
    heard = Heard()
    run = {"output": str(tmp_path), "name": "kept", "save": ["rows", "teacher"]}
    record = fedkd.run(small_config(run=run), heard)
    assert sorted(heard.rounds) == [1, 2]
    for server_round, arrays in heard.rounds.items():
        kept = fedkd.load_round(record.run_dir, server_round)
        assert list(kept.client_rows) == [0, 1, 2, 3]
        for client, rows in arrays.client_rows.items():
            assert_equal_rows(kept.client_rows[client], rows)
        assert_equal_rows(kept.teacher, arrays.teacher)
        assert (kept.client_weights, kept.student) == ({}, None)
    assert not (tmp_path / "kept" / "arrays" / "round-000001" / "clients.safetensors").exists()
    with pytest.raises(RunFolderError, match=r"no arrays of round 3; run\.save kept those of: 1, 2"):
        fedkd.load_round(record.run_dir, 3)


def test_the_teacher_of_fkd_is_the_mean_of_the_rows_that_were_kept(small_config: MakeConfig, tmp_path: Path) -> None:
    run = {"output": str(tmp_path), "rounds": 1, "save": ["rows", "teacher"]}
    kept = fedkd.load_round(fedkd.run(small_config(run=run, method={"aggregator": "mean_logits"})).run_dir, 1)
    assert kept.teacher is not None
    mean_ND = np.mean([rows.values_ND for rows in kept.client_rows.values()], axis=0, dtype=np.float64)
    np.testing.assert_allclose(kept.teacher.values_ND, mean_ND, rtol=0, atol=1e-5)


def test_weights_that_travel_are_kept(small_config: MakeConfig, tmp_path: Path) -> None:
    heard = Heard()
    run = {"output": str(tmp_path), "rounds": 1, "save": ["clients"]}
    record = fedkd.run(small_config(run=run, method={"name": "fedavg"}), heard)
    kept = fedkd.load_round(record.run_dir, 1)
    assert (kept.client_rows, kept.teacher) == ({}, None)
    assert list(kept.client_weights) == [0, 1, 2, 3]
    for client, weights in heard.rounds[1].client_weights.items():
        assert kept.client_weights[client].keys() == weights.keys()
        for name, array in weights.items():
            np.testing.assert_array_equal(kept.client_weights[client][name], array, strict=True)


def test_a_run_that_keeps_nothing_has_no_folder_for_it(small_config: MakeConfig, tmp_path: Path) -> None:
    record = fedkd.run(small_config(run={"output": str(tmp_path), "rounds": 1}))
    assert not (Path(record.run_dir) / "arrays").exists()
    with pytest.raises(RunFolderError, match="kept those of: none"):
        fedkd.load_round(record.run_dir, 1)


def test_a_resumed_run_keeps_the_bytes_of_a_whole_one(small_config: MakeConfig, tmp_path: Path) -> None:
    run = {"output": str(tmp_path), "rounds": 3, "save": ["rows", "teacher"]}
    fedkd.run(small_config(run=run | {"name": "whole"}))
    with pytest.raises(KeyboardInterrupt):
        fedkd.run(small_config(run=run | {"name": "stopped"}), Heard(stop_after=2))
    repeated = tmp_path / "stopped" / "arrays" / "round-000002" / "rows.safetensors"
    repeated.write_bytes(b"of a round that is repeated")
    later = repeated.parents[1] / "round-000007" / "rows.safetensors"
    later.parent.mkdir()
    later.write_bytes(b"of a round that is not there")
    fedkd.resume(tmp_path / "stopped")
    files = [
        {path.relative_to(folder): path.read_bytes() for path in (folder / "arrays").rglob("*.safetensors")}
        for folder in (tmp_path / "whole", tmp_path / "stopped")
    ]
    assert len(files[0]) == 6
    assert files[0] == files[1]


def test_under_masks_the_teacher_alone_is_kept(small_config: MakeConfig, tmp_path: Path) -> None:
    run = {"output": str(tmp_path), "rounds": 1, "save": ["teacher"]}
    record = fedkd.run(small_config(run=run, secure_aggregation={"enabled": True}))
    kept = fedkd.load_round(record.run_dir, 1)
    assert kept.teacher is not None
    assert kept.teacher.values_ND.shape == (60, 10)
    assert kept.client_rows == {}


def test_observers_of_the_configuration_are_told_all(small_config: MakeConfig, tmp_path: Path, notes: Path) -> None:
    observers = [{"name": "run_notes:Notes", "file": str(notes), "tag": "> "}]
    run = {"output": str(tmp_path), "name": "watched", "rounds": 1, "observers": observers}
    heard = Heard()
    fedkd.run(small_config(run=run), heard)
    told = ["> watched, 1 rounds", "> arrays of round 1: [0, 1, 2, 3], 60", "> round 1"]
    assert notes.read_text().splitlines() == told
    assert list(heard.rounds) == [1]


def test_observers_of_the_configuration_are_told_after_a_stop(
    small_config: MakeConfig, tmp_path: Path, notes: Path
) -> None:
    observers = [{"name": "run_notes:Notes", "file": str(notes)}]
    run = {"output": str(tmp_path), "name": "stopped", "observers": observers}
    with pytest.raises(KeyboardInterrupt):
        fedkd.run(small_config(run=run), Heard(stop_after=1))
    notes.unlink()
    fedkd.resume(tmp_path / "stopped")
    assert notes.read_text().splitlines()[0] == "stopped, 2 rounds"
    assert notes.read_text().splitlines()[-1] == "round 2"


@pytest.mark.parametrize(
    ("observer", "problem"),
    [
        ("run_notes:NoObserver", "an? Observer; this makes a NoObserver"),
        ("run_notes:Absent", "has no attribute 'Absent'"),
        ({"name": "run_notes:Notes", "fil": "x"}, r"run\.observers\.file?"),
    ],
)
def test_an_observer_that_cannot_be_made_is_refused_before_a_folder_is_made(
    small_config: MakeConfig, tmp_path: Path, notes: Path, observer: object, problem: str
) -> None:
    config = small_config(run={"output": str(tmp_path / "runs"), "observers": [observer]})
    with pytest.raises(ConfigError, match=problem) as refused:
        fedkd.run(config)
    assert refused.value.key.startswith("run.observers")
    assert not (tmp_path / "runs").exists()
