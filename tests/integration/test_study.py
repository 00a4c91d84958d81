"""Studies that are killed, that fail in part, and whose workers die."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from ray import cloudpickle
from sklearn.datasets import load_digits
from typer.testing import CliRunner

from fedkd import experiment
from fedkd.cli.main import app
from fedkd.config.experiment import RayConfig
from fedkd.engines.tasks import Died, open_tasks
from fedkd.study import load_study
from fedkd.study.folder import StudyFolder

BASE = """
[run]
rounds = 3
[data]
train_size = 200
test_size = 100
[data.public]
size = 60
[data.partition]
kind = "iid"
[clients]
number = 3
models = ["mlp"]
[training]
epochs = 1
[student]
model = "mlp"
epochs = 2
"""
METHODS = 'name = "small"\nbase = "base.toml"\nseeds = [0, 1]\n[grid]\n"method.name" = ["fkd", "fedavg"]\n'
COMPARED = ("results.csv", "results.parquet", "rounds.csv", "rounds.parquet", "summary.md", "study.html")


@pytest.fixture(autouse=True)
def _no_reports_of_single_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(experiment, "write_report", lambda run_dir: run_dir / "report.html")  # drawing takes seconds


@pytest.fixture
def study_path(tmp_path: Path) -> Path:
    (tmp_path / "base.toml").write_text(BASE, encoding="utf-8")
    path = tmp_path / "study.toml"
    path.write_text(METHODS, encoding="utf-8")
    return path


def study(*arguments: object) -> tuple[int, list[str]]:
    """Run `fedkd study` in this process, a cell at a time; returns the exit code and the lines of standard error."""
    result = CliRunner().invoke(app, ["study", *map(str, arguments), "--workers", "1"])
    assert "Traceback" not in result.output
    return result.exit_code, result.stderr.splitlines()


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="there is no SIGKILL")
def test_a_killed_study_ends_as_a_whole_one(study_path: Path, tmp_path: Path) -> None:
    assert study(study_path, "--output", tmp_path / "whole")[0] == 0
    whole, killed = tmp_path / "whole" / "small", tmp_path / "killed" / "small"
    second = killed / "cells" / "method.name=fkd,seed=1" / "rounds.jsonl"
    kill_when(second.is_file, "study", str(study_path), "--output", str(killed.parent), "--workers", "1")
    done = killed / "cells" / "method.name=fkd,seed=0" / "run.json"
    before = done.stat().st_mtime_ns
    (killed / "cells" / "method.name=fedavg,seed=0").mkdir()  # as if it had been killed before it said what it is
    exit_code, lines = study(study_path, "--output", killed.parent)
    assert (exit_code, lines[0]) == (0, "4 cells, 3 to run, one at a time")
    assert done.stat().st_mtime_ns == before
    outcomes = StudyFolder(killed).read_outcomes(load_study(study_path))
    assert {name for name, outcome in outcomes.items() if outcome.resumed} == {"method.name=fkd,seed=1"}
    assert {name: (killed / name).read_bytes() == (whole / name).read_bytes() for name in COMPARED} == dict.fromkeys(
        COMPARED, True
    )
    assert len((whole / "rounds.csv").read_text().splitlines()) == 1 + 4 * 3
    assert len(list((whole / "cells" / ".baselines").glob("*.json"))) == 2  # one a seed, whatever the method


def kill_when(there: Callable[[], bool], *arguments: str) -> None:
    """Start the command in a process of its own and kill it as soon as something is there."""
    program = [sys.executable, "-c", "from fedkd.cli.main import main; main()", *arguments]
    with subprocess.Popen(program, stderr=subprocess.PIPE, env=os.environ | {"OMP_NUM_THREADS": "1"}) as process:
        while process.poll() is None and not there():
            time.sleep(0.005)
        process.send_signal(signal.SIGKILL)
        process.communicate()
    assert process.returncode == -signal.SIGKILL


@pytest.mark.slow
def test_failing_cells_are_named_and_cost_no_other(study_path: Path, tmp_path: Path) -> None:
    there, missing = tmp_path / "there.npz", tmp_path / "missing.npz"
    images, labels = load_digits(return_X_y=True)
    images = images.reshape(-1, 8, 8).astype(np.uint8) * 16
    arrays = {"x_train": images[:600], "y_train": labels[:600], "x_test": images[600:800], "y_test": labels[600:800]}
    np.savez(there, **arrays)
    text = METHODS.split("[grid]")[0] + '[fixed]\n"data.source" = "npz"\n"run.baselines" = false\n"run.rounds" = 1\n'
    study_path.write_text(f'{text}[grid]\n"data.root" = ["{there}", "{missing}"]\n', encoding="utf-8")
    names = [cell.name for cell in load_study(study_path).cells]

    exit_code, lines = study(study_path, "--output", tmp_path)
    assert exit_code == 1
    failed = [line for line in lines if line.startswith("failed: ")]
    assert [line.split(": ")[1] for line in failed] == names[2:]
    assert all(f"npz file '{missing}' cannot be read" in line for line in failed)
    results = (tmp_path / "small" / "results.csv").read_text()
    assert (results.count('"done"'), results.count('"failed"')) == (2, 2)
    assert "## Failed cells" in (tmp_path / "small" / "summary.md").read_text()

    exit_code, lines = study(study_path, "--output", tmp_path)
    assert exit_code == 1
    assert not any(line.startswith(names[0]) for line in lines)

    np.savez(missing, **arrays)
    exit_code, lines = study(study_path, "--output", tmp_path, "--retry-failed")
    assert exit_code == 0
    assert [line.split(": ")[0] for line in lines] == ["4 cells, 2 to run, one at a time", *names[2:]]
    assert (tmp_path / "small" / "results.csv").read_text().count('"done"') == 4


def test_a_dry_run_says_what_would_run_and_writes_nothing(study_path: Path, tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["study", str(study_path), "--output", str(tmp_path / "runs"), "--dry-run"])
    assert result.exit_code == 0
    assert result.stdout.splitlines() == [
        "4 cells: 0 done, 0 failed, 4 to run",
        "method.name: fkd, fedavg",
        "seeds: 0, 1",
        "time: unknown; it is measured on cells that are done, and there is none yet",
    ]
    assert not (tmp_path / "runs").exists()


def test_bad_input_is_one_line(study_path: Path) -> None:
    study_path.write_text(METHODS.replace("fedavg", "fedvag"), encoding="utf-8")
    exit_code, lines = study(study_path)
    assert (exit_code, len(lines)) == (2, 1)
    assert lines[0].startswith(f"error: {study_path}, cell method.name=fedvag,seed=0: method.name = 'fedvag'")


def _die_over(folder: Path, item: str) -> str:
    """Kill the process: the first time over `once`, every time over `always`."""
    (folder / f"{item}-{len(list(folder.glob(f'{item}-*')))}").touch()
    tries = len(list(folder.glob(f"{item}-*")))
    if item == "always" or (item == "once" and tries == 1):
        os.kill(os.getpid(), signal.SIGKILL)
    return f"{item} after {tries}"


@pytest.mark.slow
@pytest.mark.usefixtures("ray_on_this_machine")
def test_a_worker_that_dies_costs_its_item_alone_after_one_retry(tmp_path: Path) -> None:
    cloudpickle.register_pickle_by_value(sys.modules[__name__])
    with open_tasks(RayConfig(workers=2), at_most=4) as tasks:
        assert tasks.workers == 2
        found = dict(tasks.results(partial(_die_over, tmp_path), ["once", "always", "a", "b"]))
    assert found.pop("always") == Died("its process died")
    assert found == {"once": "once after 2", "a": "a after 1", "b": "b after 1"}
    assert len(list(tmp_path.glob("always-*"))) == 2
