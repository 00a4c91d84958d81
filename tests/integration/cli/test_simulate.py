from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import click
import pytest
from typer.testing import CliRunner

from fedkd import experiment
from fedkd.cli.main import app
from fedkd.config.experiment import load_config

CONTRACT: dict[str, dict[str, type]] = {
    "student": {"accuracy": float, "loss": float},
    "ensemble_teacher": {"accuracy": float},
    "clients": {"mean_accuracy": float, "worst_accuracy": float},
    "baselines": {"local_only": float, "centralised": float},
    "bytes": {"up": int, "down": int},
    "seconds": dict.fromkeys(("total", "local_training", "aggregation", "distillation", "evaluation"), float),
}


def test_json_is_alone_on_standard_output(finished: subprocess.CompletedProcess[str]) -> None:
    assert (finished.returncode, finished.stderr) == (0, "")
    assert finished.stdout.count("\n") == 1
    assert "\x1b" not in finished.stdout
    assert isinstance(json.loads(finished.stdout), dict)


def test_json_has_what_was_promised(finished: subprocess.CompletedProcess[str]) -> None:
    record = json.loads(finished.stdout)
    assert (record["run_dir"], record["method"], record["seed"], record["rounds"]) == ("runs/first", "fkd", 0, 2)
    for section, keys in CONTRACT.items():
        for key, kind in keys.items():
            assert type(record[section][key]) is kind, (section, key)
            assert record[section][key] > 0, (section, key)
            assert record[section][key] <= 1 or "accuracy" not in key
    assert record["clients"]["worst_accuracy"] <= record["clients"]["mean_accuracy"]
    assert [entry["server_round"] for entry in record["history"]] == [1, 2]
    assert record["history"][-1]["student"] == record["student"]
    assert record["bytes"]["up"] == sum(entry["bytes"]["up"] for entry in record["history"])


def test_a_run_folder_is_complete(finished: subprocess.CompletedProcess[str], run_dir: Path) -> None:
    files = {path.relative_to(run_dir).as_posix() for path in run_dir.rglob("*") if path.is_file()}
    (events,) = (name for name in files if name.startswith("tensorboard/"))
    assert files - {events} == {
        ".lock",
        "config.toml",
        "environment.json",
        "partition.json",
        "rounds.jsonl",
        "run.json",
        "student.safetensors",
        "report.html",
        *(f"plots/{name}.svg" for name in ("accuracy", "agreement", "bytes", "partition", "seconds")),
        *(f"plots/confusion-{name}.svg" for name in ("both", "student", "teacher")),
    }
    record = json.loads(finished.stdout)
    assert json.loads((run_dir / "run.json").read_text()) == record
    rounds = [json.loads(line) for line in (run_dir / "rounds.jsonl").read_text().splitlines()]
    assert rounds == record["history"]
    assert load_config(run_dir / "config.toml") == load_config(run_dir.parents[1] / "experiment.toml")


def test_people_see_rounds_results_and_where_the_report_is(folder: Path, tmp_path: Path) -> None:
    overrides = ["--set", f"run.output={tmp_path}", "--set", "run.baselines=false", "--set", "run.rounds=1"]
    result = CliRunner().invoke(app, ["simulate", str(folder / "experiment.toml"), *overrides])
    assert result.exit_code == 0
    clients, first_round = click.unstyle(result.stderr).splitlines()
    assert clients == "3 clients take part"
    assert first_round.startswith("round 1 · student")
    assert first_round.endswith(" s")
    accuracy = json.loads((tmp_path / "first" / "run.json").read_text())["student"]["accuracy"]
    output = click.unstyle(result.stdout)
    assert f"{100 * accuracy:.1f} %" in output
    assert output.splitlines()[-1] == f"report: {tmp_path / 'first' / 'report.html'}"


def test_what_a_method_does_not_have_is_null(
    folder: Path, tmp_path: Path, invoke: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(experiment, "write_report", lambda run_dir: run_dir / "report.html")  # drawing takes seconds
    changes = ["method.name=fedmd", "run.name=", f"run.output={tmp_path}", "run.baselines=false", "run.rounds=1"]
    overrides = [part for change in changes for part in ("--set", change)]
    record = json.loads(invoke("simulate", folder / "experiment.toml", *overrides, "--json"))
    assert record["student"] == {"accuracy": None, "balanced_accuracy": None, "loss": None}
    assert (record["baselines"]["local_only"], record["baselines"]["centralised"]) == (None, None)
    assert record["ensemble_teacher"]["accuracy"] > 0
    assert Path(record["run_dir"]).name.startswith("fedmd-digits-s0-")
    result = CliRunner().invoke(app, ["predict", record["run_dir"], str(folder)])
    assert (result.exit_code, result.stdout) == (2, "")
    assert "has no student: method fedmd leaves none" in result.stderr
